"""Findings: what a well formed topology will not do as its owner expects."""

from __future__ import annotations

import pytest

from orchestrator.config import findings, parse
from orchestrator.config.example import EXAMPLE
from orchestrator.config.watching import detection
from orchestrator.core.topology import ProbeKind, ProbeSpec

VANTAGES = "  - {id: v1, region: aws/us-east-1}"
APART = """\
  - {id: v1, region: azure/west}
  - {id: v2, region: gcp/west}
  - {id: v3, region: site/hq}"""
REGIONS = "[aws/us-east-1, onprem/fra1]"
ALL_REGIONS = "[aws/us-east-1, aws/us-west-2, onprem/fra1, azure/west, gcp/west, site/hq]"


def _found(text: str, *changes: tuple[str, str], apart: bool = True) -> list[tuple[str, str, str]]:
    """Severity, path and sentence of each finding, on a base whose vantages are as they should be."""
    text = text.replace(REGIONS, ALL_REGIONS)
    text = text.replace("primary: 192.0.2.53:53", "primary: 192.0.2.53:53\n      key: {name: k, secret: {env: K}}")
    if apart:
        text = text.replace(VANTAGES, APART)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return [(each.severity, each.path, f"{each.text}; {each.cure}") for each in findings(parse(text, "x"))]


def test_a_good_topology_has_no_findings(base: str) -> None:
    """Three vantages apart from two endpoints apart: nothing to say."""
    assert _found(base) == []
    assert findings(parse(EXAMPLE, "x")) == ()


def test_ttl_and_detection_above_the_objective_are_an_error(base: str) -> None:
    """An objective that the TTL and the probes cannot meet is refused, with the sum."""
    assert _found(base, ("mode: observe", "rto: 20s")) == [
        (
            "error",
            "services[chat].policy.rto",
            (
                "TTL 10s + detection 13.7s (probe 'http' of 'eu', confirm 10s) = 23.7s is above the objective of 20s; "
                "lower ttl, interval, timeout, fall or confirm, or raise rto"
            ),
        )
    ]


def test_a_hanging_endpoint_above_the_objective_is_a_warning(base: str) -> None:
    """Where only an endpoint that takes connections and stays silent breaks the objective, that is said."""
    slow = ("path: /health", "interval: 10s\n        timeout: 1s")
    assert _found(base, slow, ("mode: observe", "rto: 40s\n      confirm: 1s")) == [
        (
            "warning",
            "services[chat].policy.rto",
            (
                "an endpoint that accepts connections and does not answer is detected in 32s; "
                "with TTL 10s that is above the objective of 40s; lower interval, timeout or fall, or raise rto"
            ),
        )
    ]


def test_detection_counts_interval_jitter_timeout_fall_and_fast_confirm() -> None:
    """The worst case, figure by figure."""
    probe = ProbeSpec("p", ProbeKind.HTTP, 1.0, 0.8, fall=3, fast_confirm_s=0.1, jitter=0.1)
    found = detection((probe,), confirm_s=0)
    assert found is not None
    assert found.write_s == pytest.approx(1.1 + 0.8 + 2 * (0.8 + 0.1))
    assert found.hang_write_s == pytest.approx(1.1 + 0.8 + 2 * 1.0)
    waiting = detection((probe,), confirm_s=10)
    assert waiting is not None
    assert waiting.write_s == pytest.approx(1.1 + 0.8 + 10)


def test_one_vantage_can_never_say_down(base: str) -> None:
    """Fewer than two vantages are a warning, and an error in automatic mode."""
    sentence = (
        "one vantage can never say 'down', which needs at least two; add vantages, three or more in different regions"
    )
    assert _found(base, apart=False) == [("warning", "vantages", sentence)]
    errors = [each for each in _found(base, ("observe", "automatic"), apart=False) if each[0] == "error"]
    assert errors == [("error", "vantages", sentence)]


def test_each_domain_whose_loss_blinds_is_named(base: str) -> None:
    """A region whose loss leaves too few vantages for an endpoint is named, with the figures."""
    beside = APART.replace("site/hq", "aws/us-east-1")
    assert _found(base, (VANTAGES, beside), apart=False) == [
        (
            "warning",
            "vantages",
            (
                "losing azure/west leaves 1 of 3 vantages to judge chat/us, and 'down' needs 2; "
                "add vantages outside azure/west"
            ),
        ),
        (
            "warning",
            "vantages",
            (
                "losing gcp/west leaves 1 of 3 vantages to judge chat/us, and 'down' needs 2; "
                "add vantages outside gcp/west"
            ),
        ),
    ]


def test_a_cloud_whose_loss_cannot_be_told_is_an_error_when_automatic(base: str) -> None:
    """Where the loss of a cloud takes an endpoint and most vantages with it, automatic mode is refused."""
    inside = APART.replace("azure/west", "aws/us-west-2").replace("gcp/west", "aws/us-west-2")
    found = _found(base, (VANTAGES, inside), ("observe", "automatic"), apart=False)
    assert [each for each in found if each[0] == "error"] == [
        (
            "error",
            "vantages",
            "losing aws leaves 1 of 3 vantages to judge chat/us, and 'down' needs 2; add vantages outside aws",
        )
    ]


def test_vantages_in_one_place_are_named(base: str) -> None:
    """Vantages that fail together see one thing."""
    together = "\n".join(f"  - {{id: v{number}, region: site/hq}}" for number in range(3))
    found = _found(base, (VANTAGES, together), apart=False)
    assert (
        "warning",
        "vantages",
        "all vantages stand in site/hq, so its loss looks like the loss of everything; move vantages to other regions",
    ) in found


def test_an_endpoint_that_shares_its_region_with_most_vantages_is_named(base: str) -> None:
    """Vantages in an endpoint's own region do not vote on it."""
    beside = APART.replace("azure/west", "aws/us-east-1").replace("gcp/west", "aws/us-east-1")
    assert (
        "warning",
        "vantages",
        (
            "only 1 of 3 vantages stand outside aws/us-east-1, and 'down' needs 2: chat/us can never be down; "
            "add vantages outside aws/us-east-1"
        ),
    ) in _found(base, (VANTAGES, beside), apart=False)


def test_a_service_too_large_to_travel_is_an_error(base: str) -> None:
    """Ninety endpoints with long probes in one service would be refused by Temporal on the night they matter."""
    first = base.index("      - id: us\n")
    endpoint = base[first : base.index("      - id:", first + 1)]
    many = "".join(endpoint.replace("us", f"us{n}", 1).replace("192.0.2.1", f"192.0.3.{n}") for n in range(90))
    long = ("path: /health", f"path: /health?{'x' * 3000}")
    found = [text for severity, _, text in _found(base[:first] + many + base[first:], long) if severity == "error"]
    assert len(found) == 1
    assert "as it travels to whoever watches it, above 200 kB" in found[0]


def test_a_service_without_steering_is_watched_only(base: str) -> None:
    """No steering is fine, and said."""
    bare = base[: base.index("    steering:")] + base[base.index("    policy:") :]
    assert _found(bare) == [
        ("warning", "services[chat]", "it has no steering: it is watched, and cannot be failed over; add steering")
    ]


def test_automatic_without_capacity_is_said_to_ask(base: str) -> None:
    """Automatic mode with unknown capacity asks a person, which may surprise."""
    found = _found(base, ("observe", "automatic"), ("role: standby", "role: standby\n        capacity: 5"))
    assert [(severity, path) for severity, path, _ in found] == [
        ("warning", "notify"),
        ("warning", "services[chat].endpoints[us].capacity"),
        ("warning", "services[chat].policy.capacity"),
    ]
    small = _found(
        base,
        ("mode: observe", "mode: automatic\n      capacity: 10"),
        ("role: standby", "role: standby\n        capacity: 5"),
    )
    sentence = (
        "its capacity of 5 is below the 10 that the service needs; raise it, or accept that moving there asks a person"
    )
    assert ("warning", "services[chat].endpoints[eu].capacity", sentence) in small


def test_answers_that_cannot_be_told_apart_are_an_error(base: str) -> None:
    """Two endpoints with one address are refused."""
    assert _found(base, ("[192.0.2.2]", "[192.0.2.1, 192.0.2.2]")) == [
        (
            "error",
            "services[chat].endpoints[us].answer",
            (
                "192.0.2.1 is also the answer of 'eu', so nobody can tell which of them serves; "
                "give each endpoint an answer of its own"
            ),
        )
    ]


def test_several_active_endpoints_with_a_cname_are_an_error(base: str) -> None:
    """DNS allows one CNAME at a time."""
    aliases = (("[192.0.2.1]", "{cname: us.example.com}"), ("[192.0.2.2]", "{cname: eu.example.com}"))
    assert _found(base, *aliases) == []
    found = _found(base, *aliases, ("role: standby", "role: active"))
    assert found == [
        (
            "error",
            "services[chat].endpoints",
            (
                "endpoints eu, us are active and answer by cname, of which DNS allows one at a time; "
                "make one of them active, or give them addresses"
            ),
        )
    ]


def test_small_slips_are_named(base: str) -> None:
    """TTL 0, a missing answer, a timeout above the interval, a URL at the moving name, an unsigned webhook."""
    found = _found(
        base,
        ("ttl: 10s", "ttl: 0s"),
        ("        answer: [192.0.2.2]\n", ""),
        ("path: /health", "timeout: 3s"),
        ("https://us.chat.example.com", "https://chat.example.com"),
        ("vantages:", "notify: [{webhook: 'https://hooks.example.com'}]\nvantages:"),
    )
    assert sorted({(severity, path) for severity, path, _ in found}) == [
        ("error", "services[chat].endpoints[us].url"),
        ("warning", "notify[0]"),
        ("warning", "services[chat].endpoints[eu].answer"),
        ("warning", "services[chat].endpoints[eu].probes[http].timeout"),
        ("warning", "services[chat].endpoints[us].probes[http].timeout"),
        ("warning", "services[chat].steering.ttl"),
    ]


def test_one_endpoint_or_one_region_is_nowhere_to_go(base: str) -> None:
    """A service with one endpoint, or all of them in one region, is told so."""
    start, end = base.index("      - id: eu"), base.index("    steering:")
    assert [path for _, path, _ in _found(base[:start] + base[end:])] == ["services[chat].endpoints"]
    same = _found(base, ("region: onprem/fra1\n", "region: aws/us-east-1/b\n"))
    assert [path for _, path, _ in same] == ["services[chat].endpoints"]


def test_two_services_at_one_name_are_an_error(base: str) -> None:
    """Two services that steer one name would fight."""
    start, end = base.index("  - id: chat"), len(base)
    double = base + base[start:end].replace("id: chat", "id: other")
    text = double.replace(REGIONS, ALL_REGIONS).replace(VANTAGES, APART)
    found = [each for each in findings(parse(text, "x")) if each.severity == "error"]
    assert [(each.path, each.text) for each in found] == [
        ("services[other].name", "services 'chat' and 'other' both steer chat.example.com")
    ]


def test_a_topology_without_services_is_fine_and_said(base: str) -> None:
    """A file with no services yet is accepted with a warning."""
    empty = base[: base.index("services:")]
    assert [each.severity for each in findings(parse(empty, "x"))] == ["warning"]
