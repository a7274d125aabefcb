"""Every kind of mistake: the whole sentence that a user reads, with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.document import compose

CASES = compose((Path(__file__).parent / "mistakes.yaml").read_text(encoding="utf-8"), "mistakes.yaml").data


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_a_mistake_is_one_sentence_with_its_place(told, case: dict[str, str]) -> None:
    """A mistake in the file is answered with file, line, column, path, what is wrong and the cure."""
    assert told((case["replace"], case["by"])) == tuple(f"failover.yaml:{sentence}" for sentence in case["told"])


def test_the_base_has_no_mistake(told) -> None:
    """A good topology is taken without a word."""
    assert told() == ()


def test_all_mistakes_come_at_once_in_the_order_of_the_file(told) -> None:
    """A file with mistakes of every sort is answered with all of them, wrong values and wrong references together."""
    found = told(
        ("kind: Topology", "kind: Topolgy"),
        ("path: /health", "interval: 50ms"),
        ("id: eu\n", "id: us\n"),
        ("region: onprem/fra1\n", "region: onprem/fra9\n"),
        ("provider: rfc2136", "provider: rfc2163"),
        ("mode: observe", "mode: observe\n      prefer: [ap]"),
    )
    assert [" ".join(sentence.removeprefix("failover.yaml:").split(": ")[:2]) for sentence in found] == [
        "2:7 kind",
        "11:19 services[chat].probes[http].interval",
        "18:13 services[chat].endpoints[1].id",
        "21:17 services[chat].endpoints[1].region",
        "24:17 services[chat].steering.provider",
        "30:16 services[chat].policy.prefer[0]",
    ]


def test_two_missing_fields_of_one_mapping_are_both_told(told) -> None:
    """Fields that are missing from one endpoint are each named, though they share a place."""
    assert told(("        region: aws/us-east-1\n        role: active\n", "")) == (
        (
            "failover.yaml:13:9: services[chat].endpoints[us].region: is missing; "
            "add it (the region (or a zone in it) where it stands, from the list of regions)"
        ),
        "failover.yaml:13:9: services[chat].endpoints[us].role: is missing; add it ('active' or 'standby')",
    )


def test_a_misspelt_field_is_not_also_called_missing(told) -> None:
    """A required field with a slip in its name is one mistake, not two."""
    assert told(("role: active", "rol: active")) == (
        "failover.yaml:17:9: services[chat].endpoints[us].rol: unknown field; correct it (did you mean 'role'?)",
    )


def test_a_secret_is_never_repeated(told) -> None:
    """No mistake shows the secret that stands in the wrong place."""
    shown = told(
        ("path: /health", "headers: {Authorization: hunter2, X-Token: [hunter2]}"),
        ("primary: 192.0.2.53:53", "primary: 192.0.2.53:53\n      key: {name: k, secret: {value: hunter2}}"),
        ("https://us.chat.example.com", "https://me:hunter2@us.chat.example.com"),
        ("vantages:", "notify: [{webhook: 'https://h.example/?token=hunter2', secret: hunter2}]\nvantages:"),
    )
    assert len(shown) == 6
    assert "hunter2" not in "".join(shown)
