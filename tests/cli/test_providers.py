"""'failover providers': what there is, what each can do, and where its control plane lives."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.catalog import anchor, ours, renewed
from providers import base, calls, registry
from providers.catalog import Part

SDKS = {"azure", "boto3", "botocore", "google", "grpc", "httpx", "kubernetes", "msal"}
"""What no list of providers needs; HTTP clients, too."""


def loaded_by(*words: str) -> set[str]:
    """The modules that the command of these words has imported when it ends, in a process of its own."""
    code = (
        "import sys\n"
        "from orchestrator.cli.app import assemble\n"
        "try:\n"
        "    assemble()(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print(*sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


def test_every_provider_is_listed_by_part(failover: Any) -> None:
    """Each part has its heading, and under it each provider with what it does and where its control plane lives."""
    ended = failover("providers")
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert headings == [part.upper() for part in Part if registry.entries(part)]
    steering = " ".join(" ".join(lines[: lines.index("WORKLOAD")]).split())
    assert (
        "rfc2136 Any name server that takes dynamic updates: BIND, Knot DNS, PowerDNS. "
        "shares: a set of endpoints, evenly control plane: the primary name server, wherever you run it"
    ) in steering
    said = " ".join(ended.out.split())
    for entry in registry.entries():
        assert f" {entry.name} {entry.says}" in said
        for plane in entry.planes:
            assert plane.domain in said
            assert plane.source in said


def test_an_address_is_never_cut(failover: Any) -> None:
    """A vendor's page can be copied out of a narrow terminal."""
    failover.env["COLUMNS"] = "60"
    words = failover("providers").out.split()
    sources = {plane.source for entry in registry.entries() for plane in entry.planes if plane.domain}
    assert {source for source in sources if " " not in source} <= {word.strip("()") for word in words}


def test_one_provider_is_told_with_its_options(failover: Any) -> None:
    """Every part of it: what must be written first, then what may be, and what to install."""
    ended = failover("providers", "local")
    assert (ended.status, ended.err) == (0, "")
    assert [line for line in ended.out.splitlines() if not line.startswith(" ")] == [
        "local, steering",
        "local, workload",
        "local, drain",
        "local, fault",
    ]
    assert "option world" in ended.out
    assert "required; the world's control API" in ended.out
    assert "zone, ttl, primary, key" in ended.out
    assert "nothing more" in ended.out


def test_required_options_come_first(failover: Any) -> None:
    """In text and in the document, for every provider."""
    for name in {entry.name for entry in registry.entries()}:
        (*parts,) = failover("providers", name, "--json").document
        for part in parts:
            required = [option["required"] for option in part["options"]]
            assert required == sorted(required, reverse=True)
        shown = [line for line in failover("providers", name).out.splitlines() if line.startswith("  option ")]
        assert [line.split()[1] for line in shown] == [each["name"] for part in parts for each in part["options"]]


def test_the_document_says_the_same(failover: Any) -> None:
    """--json is one document: a list, with every field for every provider."""
    found = failover("providers", "--json").document
    assert {(each["part"], each["name"]) for each in found} == {(e.part.value, e.name) for e in registry.entries()}
    assert [each["part"] for each in found] == sorted(
        (each["part"] for each in found), key=lambda part: list(Part).index(Part(part))
    )
    (known,) = failover("providers", "rfc2136", "--json").document
    assert known == {
        "name": "rfc2136",
        "part": "steering",
        "does": "Any name server that takes dynamic updates: BIND, Knot DNS, PowerDNS.",
        "shares": "equal",
        "target": None,
        "needs": ["zone", "ttl", "primary"],
        "takes": ["servers", "key"],
        "options": [],
        "any_option": False,
        "control_planes": [{"calls": "all", "domain": None, "source": "the primary name server, wherever you run it"}],
        "extra": None,
        "tested_against": "BIND 9.18, Knot DNS 3.2, PowerDNS 4.7",
    }
    assert all((each["shares"] is None) == (each["part"] != "steering") for each in found)
    assert known in found


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_provider_that_nobody_has_is_one_sentence(failover: Any, more: tuple[str, ...]) -> None:
    """An unknown name ends with 2, says the nearest one, and steers no terminal."""
    ended = failover("providers", "rfc2163\x1b[31m", *more)
    assert (ended.status, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1
    assert "did you mean 'rfc2136'?" in ended.err
    assert ended.err.strip().isprintable()


@pytest.mark.parametrize(
    "words", [("providers",), ("providers", "rfc2136", "--json"), ("--help",), ("doctor", "--help")]
)
def test_no_sdk_is_imported_to_tell_of_it(words: tuple[str, ...]) -> None:
    """Neither the list of providers nor any help imports a cloud's SDK, and help imports no provider at all."""
    loaded = loaded_by(*words)
    assert {name.partition(".")[0] for name in loaded} & SDKS == set()
    if "--help" in words:
        assert {name for name in loaded if name.startswith("providers.")} == {"providers.base"}
        assert len(loaded) < 550, "help comes up quickly because it imports little"


ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "providers.md"


def test_the_page_says_what_the_catalog_says() -> None:
    """docs/providers.md is up to date, its example to the letter; 'python -m orchestrator.cli.catalog' renews it."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page, ROOT)
    for file in (ROOT / "tests" / "thirdparty").iterdir():
        if file.is_file():
            assert file.read_text(encoding="utf-8").rstrip() in page


def test_the_page_names_every_provider_and_option() -> None:
    """Nothing that a topology may say of our own providers is left out."""
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"\n| {part} |" in page for part in Part)
    for entry in ours():
        _, _, said = page.partition(f"### {entry.name} ({entry.part})\n")
        own = said.partition("\n### ")[0].partition("\n## ")[0]
        assert entry.says in own
        assert all(f"| `{option.name}` |" in own for option in entry.options)
        assert all(plane.domain in own and plane.source in own for plane in entry.planes)


def test_the_page_says_of_each_provider_what_it_was_tested_against() -> None:
    """Nothing is offered of which nobody can say that it works."""
    assert [entry.name for entry in ours() if not entry.proven] == []
    assert "nothing yet" not in PAGE.read_text(encoding="utf-8")


def test_the_page_leads_somewhere() -> None:
    """Each of its links to a heading meets one."""
    page = PAGE.read_text(encoding="utf-8")
    headings = {anchor(line.lstrip("# ")) for line in page.splitlines() if line.startswith("#")}
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= headings


def test_the_page_tells_the_figures_of_calls() -> None:
    """Deadlines, tries and the breaker are those of the code."""
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"{calls.CALL_S:g} s at the longest, {calls.CONNECT_S:g} s of it for connecting" in page
    assert f"after pauses of about {calls.PAUSE_S[0]:g} s and {calls.PAUSE_S[1]:g} s" in page
    assert f"{calls.THREADS} calls for a provider and region" in page
    assert (calls.BUDGET, calls.OPENS_AFTER, calls.OPEN_S) == (10, 5, 5)


SHARED = """\
apiVersion: failover/v1
kind: Topology
regions: [aws/us-east-1, onprem/fra1]
services:
  - id: chat
    name: chat.example.com
    endpoints:
      - {id: us, url: "https://us.example", answer: {target: us.example.}, region: aws/us-east-1, role: active}
      - {id: eu, url: "https://eu.example", answer: {target: eu.example.}, region: onprem/fra1, role: standby}
    steering: {provider: route53, ttl: 10s, options: {zone_id: Z1}}
"""


def test_the_warning_on_the_page_is_the_one_that_is_told(
    failover: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names a steering that is lost with the active endpoint reads what the page says."""
    monkeypatch.chdir(tmp_path)
    Path("failover.yaml").write_text(SHARED, encoding="utf-8")
    said = [line for line in failover("validate", "failover.yaml").out.splitlines() if "control plane" in line]
    assert len(said) == 1
    assert said[0] in " ".join(PAGE.read_text(encoding="utf-8").split())


def test_every_error_of_the_seam_is_on_the_page() -> None:
    """What a provider may raise, and what a person does then."""
    page = PAGE.read_text(encoding="utf-8")
    errors = [each for each in vars(base).values() if isinstance(each, type) and issubclass(each, base.ProviderError)]
    missing = {each.__name__ for each in errors if f"| `{each.__name__}` |" not in page}
    assert missing == {"ProviderError"}
