"""The registry and the catalogs: every provider is described truthfully, made lazily, and missed with a cure."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from orchestrator.config.fields import DOMAIN, looks_secret
from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SteeringSpec, Workload
from providers import registry
from providers.catalog import Entry, Option, Part, Plane, domain

ROOT = Path(__file__).parents[2]
OURS = tuple(each for each in registry.entries() if each.factory.startswith("providers."))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
FIELDS = {"zone", "ttl", "primary", "servers", "key"}
SDKS = ("azure", "boto3", "botocore", "google", "grpc", "kubernetes", "msal")


def named(entry: Entry) -> str:
    return f"{entry.part}-{entry.name}"


def test_no_two_providers_have_one_name_in_one_part() -> None:
    """Else one of them could never be had."""
    names = [(each.part, each.name) for each in registry.entries()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entry", OURS, ids=named)
def test_an_entry_describes_its_provider(entry: Entry) -> None:
    """A sentence, options that a topology may hold, and an extra that this package has."""
    assert entry.says.endswith(".")
    assert "\n" not in entry.says
    options = [each.name for each in entry.options]
    assert len(options) == len(set(options))
    for option in entry.options:
        assert not looks_secret(option.name) or "path" in option.says, "no option of a topology holds a secret"
    assert all(each.says and "\n" not in each.says for each in entry.options)
    assert entry.extra in {"", *EXTRAS}
    if entry.part is Part.STEERING:
        assert {*entry.needs, *entry.takes} <= FIELDS
        assert not {*entry.needs} & {*entry.takes}
    else:
        assert not entry.needs + entry.takes


@pytest.mark.parametrize("entry", OURS, ids=named)
def test_an_entry_tells_where_its_control_plane_lives(entry: Entry) -> None:
    """Each call's failure domain with the vendor's page, or in words where the user runs it."""
    assert entry.planes
    given = tuple((option.name, "given") for option in entry.options)
    for plane in entry.planes:
        assert plane.calls
        assert plane.source
        if plane.domain:
            assert plane.source.startswith("https://"), "a claim about a vendor needs the vendor's page"
            there = domain(plane, given)
            assert "{" not in plane.domain.replace("{", "", plane.domain.count("}")), "braces come in pairs"
            assert plane.domain.count("{") == sum(f"{{{option.name}}}" in plane.domain for option in entry.options)
            assert DOMAIN.fullmatch(there) or "/" not in there


@pytest.mark.parametrize("entry", OURS, ids=named)
def test_an_entry_leads_to_its_provider(entry: Entry) -> None:
    """The factory is there, and has the verbs of its part."""
    verbs = {
        Part.STEERING: ("read", "write", "answers"),
        Part.WORKLOAD: ("read", "scale"),
        Part.DRAIN: ("begin", "in_flight", "end"),
        Part.FAULT: ("inject", "clear", "state"),
        Part.SIGNAL: ("read",),
        Part.READINESS: ("examine",),
    }
    module, _, name = entry.factory.partition(":")
    factory = getattr(import_module(module), name)
    made = factory if isinstance(factory, type) else None
    assert callable(factory)
    assert made is None or all(callable(getattr(made, verb, None)) for verb in verbs[entry.part])


def test_an_option_that_is_not_given_leaves_the_rest_of_a_domain() -> None:
    """``aws/{region}`` without a region is somewhere in ``aws``."""
    plane = Plane("all", "aws/{region}/{zone}", "https://vendor.example")
    assert domain(plane, (("region", "eu-west-1"), ("zone", "a"))) == "aws/eu-west-1/a"
    assert domain(plane, (("region", "eu-west-1"),)) == "aws/eu-west-1"
    assert domain(plane, ()) == "aws"
    assert domain(Plane("all", "", "here"), ()) == ""


def test_a_provider_that_nobody_has_is_answered_with_the_nearest() -> None:
    """The sentence names it, and what there is."""
    with pytest.raises(BadInput, match=r"^no steering provider is called 'rfc2163'; did you mean 'rfc2136'\?$"):
        registry.entry(Part.STEERING, "rfc2163")
    with pytest.raises(BadInput, match=r"^no fault provider is called 'xyzzy'; there are: local"):
        registry.faults(Workload("xyzzy", "chat"))


def test_to_know_the_providers_imports_none_of_them() -> None:
    """The catalogs are data: reading them imports no SDK, and no provider."""
    code = "import sys, providers.registry as r; r.entries(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert {name.partition(".")[0] for name in loaded} & {*SDKS} == set()
    assert {entry.factory.partition(":")[0] for entry in OURS} & loaded == set()


WITHOUT = """
import sys
for sdk in sys.argv[1:]:
    sys.modules[sdk] = None
from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SteeringSpec, Workload
from providers import registry
from providers.catalog import Part
make = {Part.STEERING: registry.steering, Part.WORKLOAD: registry.workload, Part.DRAIN: registry.drain}
for entry in registry.entries():
    if entry.extra and entry.part in make:
        steers = entry.part is Part.STEERING
        handle = SteeringSpec(entry.name, "chat.", "", 0, "") if steers else Workload(entry.name, "chat")
        try:
            make[entry.part](handle)
        except BadInput as error:
            print(f"{entry.part} {entry.name} {entry.extra}: {error}")
"""


def test_a_missing_sdk_is_told_with_what_to_install() -> None:
    """Whoever names a provider without its SDK reads which package is missing, and the line that brings it."""
    command = [sys.executable, "-c", WITHOUT, *SDKS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    missed = [line for line in done.stdout.splitlines() if "needs the package" in line]
    for line in missed:
        which, _, said = line.partition(": ")
        part, name, extra = which.split()
        assert said.startswith(f"{part} provider '{name}' needs the package ")
        assert said.endswith(f": pip install 'failover-orchestrator[{extra}]'")
    assert "steering route53 aws" in {line.partition(":")[0] for line in missed}


def test_each_part_is_made_by_its_own_door() -> None:
    """A provider that steers is none that scales."""
    assert registry.steering(SteeringSpec("rfc2136", "chat.example.", "example.", 5, "127.0.0.1:53")) is not None
    with pytest.raises(BadInput, match="no workload provider is called 'rfc2136'"):
        registry.workload(Workload("rfc2136", "chat"))


def test_the_names_of_a_part_are_sorted() -> None:
    """So that a sentence that lists them always reads the same."""
    for part in Part:
        assert list(registry.names(part)) == sorted(registry.names(part))
    assert Option("region", "where").required is False
