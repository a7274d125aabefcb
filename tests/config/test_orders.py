"""What a file says for all services, and what is found in it: windows, jurisdictions, pools, limits, the gate."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.config import Change, difference, dump, findings, parse, restore
from orchestrator.core.names import Domain
from orchestrator.core.orders import Freeze, Limits, Orders, Pool, Span, Weekly
from orchestrator.core.topology import Topology

TOP = """\
automation: {off: the vendor is at work}
freeze:
  - {from: 2026-12-24T00:00:00Z, to: "2026-12-27T01:00:00+01:00", reason: year end, unplanned: true}
  - {days: [Sunday, sat], from: "9:00", to: "24:00", zone: Europe/Berlin, reason: nobody is in}
jurisdictions: {onprem: eu, aws: us, aws/us-east-1: us}
pools: {h100: {capacity: 64}}
limits: {at_once: 4, per_domain: 2, change_guard: 50}
regions:"""
POLICY = """\
      mode: automatic
      flap_window: 2h
      acknowledge: true
      serving: {least: 2}
      residency: [us, eu]
      freeze: [{from: 2026-01-01T00:00:00Z, to: 2026-01-02T00:00:00Z, reason: audit}]
"""
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def whole(base: str) -> Topology:
    """The good topology with everything in it that a safety rule reads."""
    text = base.replace("regions:", TOP, 1).replace("      mode: observe\n", POLICY)
    return parse(text.replace("        role: standby\n", "        role: standby\n        pool: h100\n"), "x")


def test_the_file_says_what_holds_for_every_service(whole: Topology) -> None:
    """Automation, windows in two forms, jurisdictions, pools and limits are read as they are meant."""
    assert whole.orders == Orders(
        gate="the vendor is at work",
        freezes=(
            Freeze("year end", Span(_at("2026-12-24"), _at("2026-12-27")), unplanned=True),
            Freeze("nobody is in", Weekly((5, 6), 9 * 60, 24 * 60, "Europe/Berlin")),
        ),
        jurisdictions=((Domain("aws"), "us"), (Domain("aws/us-east-1"), "us"), (Domain("onprem"), "eu")),
        pools=(Pool("h100", 64),),
        limits=Limits(4, 2, 50),
    )
    (service,) = whole.services
    policy = service.policy
    assert (policy.least, policy.residency, policy.acknowledge, policy.flap_window_s) == (2, ("eu", "us"), True, 7200.0)
    assert policy.freezes == (Freeze("audit", Span(_at("2026-01-01"), _at("2026-01-02"))),)
    assert [endpoint.pool for endpoint in service.endpoints] == ["h100", None]


def test_a_file_that_says_nothing_lets_everything_be(base: str) -> None:
    """Without a word automation is on, nothing is frozen and any jurisdiction will do."""
    assert parse(base, "x").orders == Orders()
    assert parse(base.replace("regions:", "automation: on\nregions:", 1), "x").orders.gate is None
    assert parse(base.replace("regions:", "automation: off\nregions:", 1), "x").orders.gate == ""


def test_what_holds_for_every_service_is_stored(whole: Topology) -> None:
    """Moments, hours and limits come back from the store as they went in."""
    assert restore(dump(whole)) == whole
    assert dump(restore(dump(whole))) == dump(whole)


def test_changes_are_told_in_the_words_of_the_file(whole: Topology, base: str) -> None:
    """apply shows each rule that changes at the place where the file has it."""
    found = difference(parse(base, "x"), whole)
    service = "services[chat]"
    assert found == (
        Change("changed", "automation", "on", "off (the vendor is at work)"),
        Change(
            "added",
            "freeze",
            None,
            "2026-12-24T00:00:00Z to 2026-12-27T00:00:00Z, unplanned moves too (year end), sat and sun 09:00-24:00 "
            "Europe/Berlin (nobody is in)",
        ),
        Change("added", "jurisdictions[aws/us-east-1]", None, "us"),
        Change("added", "jurisdictions[aws]", None, "us"),
        Change("added", "jurisdictions[onprem]", None, "eu"),
        Change("changed", "limits.at_once", "10", "4"),
        Change("changed", "limits.change_guard", "30", "50"),
        Change("changed", "limits.per_domain", "5", "2"),
        Change("added", "pools[h100]", None, "capacity 64"),
        Change("added", f"{service}.endpoints[eu].pool", None, "h100"),
        Change("changed", f"{service}.policy.acknowledge", "false", "true"),
        Change("changed", f"{service}.policy.flap_window", "6h", "2h"),
        Change("added", f"{service}.policy.freeze", None, "2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z (audit)"),
        Change("changed", f"{service}.policy.mode", "observe", "automatic"),
        Change("added", f"{service}.policy.residency", None, "eu, us"),
        Change("changed", f"{service}.policy.serving.least", "1", "2"),
    )


# ------------------------------------------------------------------ findings


def _found(base: str, *changes: tuple[str, str], top: str = "", now: datetime = NOW) -> list[tuple[str, str, str]]:
    text = base.replace("kind: Topology\n", f"kind: Topology\n{top}\n", 1)
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    before = {each.text for each in findings(parse(base, "x"), NOW)}
    found = findings(parse(text, "x"), now)
    return [(each.severity, each.path, each.text) for each in found if each.text not in before]


def _policy(*lines: str) -> tuple[str, str]:
    return ("      mode: observe\n", "      mode: observe\n" + "".join(f"      {line}\n" for line in lines))


FREEZE = "freeze: [{from: 2026-06-30T00:00:00Z, to: 2026-07-02T00:00:00Z, reason: audit}]"


def test_a_window_that_is_open_now_is_told(base: str) -> None:
    """Whoever applies a file in a freeze knows that planned moves will be refused, and until when."""
    text = "it covers the present, until 2026-07-02T00:00:00Z (audit): planned moves are refused"
    assert _found(base, top=FREEZE) == [("warning", "freeze[0]", text)]
    assert _found(base, _policy(FREEZE)) == [("warning", "services[chat].policy.freeze[0]", text)]
    strict = FREEZE.replace("audit}", "audit, unplanned: true}")
    assert _found(base, top=strict)[0][2].endswith("planned moves are refused, and unplanned ones ask")
    assert _found(base, top=FREEZE, now=_at("2026-06-29")) == []


def test_a_window_that_is_over_is_told(base: str) -> None:
    """Old windows do not gather in the file."""
    late = _at("2026-07-03")
    assert _found(base, top=FREEZE, now=late) == [("warning", "freeze[0]", "it was over at 2026-07-02T00:00:00Z")]


LAWS = "jurisdictions: {aws: us, onprem: eu}"
RESIDENCY = [
    ("[eu, us]", LAWS, []),
    (
        "[us]",
        LAWS,
        [("warning", "only endpoint 'us' stands in us, so there is nowhere to fail over to")],
    ),
    (
        "[eu]",
        LAWS,
        [
            ("warning", "endpoint 'us' is active and stands in us, not in eu"),
            ("warning", "only endpoint 'eu' stands in eu, so there is nowhere to fail over to"),
        ],
    ),
    (
        "[us]",
        "jurisdictions: {aws: us}",
        [
            ("warning", "nobody says whose law holds for eu, so no traffic may go there"),
            ("warning", "only endpoint 'us' stands in us, so there is nowhere to fail over to"),
        ],
    ),
    (
        "[us]",
        "jurisdictions: {aws: eu, aws/us-east-1/z9: us, onprem: eu}",
        [("error", "no endpoint stands in us, so its traffic may go nowhere")],
    ),
]


@pytest.mark.parametrize(("allowed", "laws", "told"), RESIDENCY)
def test_residency_that_leaves_no_target_is_told(
    base: str, allowed: str, laws: str, told: list[tuple[str, str]]
) -> None:
    """Nobody learns in the outage that the law leaves nowhere to go."""
    found = _found(base, _policy(f"residency: {allowed}"), top=laws)
    assert {path for _, path, _ in found} <= {"services[chat].policy.residency"}
    assert [(severity, text) for severity, _, text in found] == told


def test_more_that_serve_than_there_can_be_is_told(base: str) -> None:
    """A number that cannot be met, or not after any loss, is told before it holds up a failover."""
    path = "services[chat].policy.serving.least"
    assert _found(base, _policy("serving: {least: 3}")) == [
        ("error", path, "3 endpoints are to serve and there are 2"),
    ]
    (warning,) = _found(base, _policy("serving: {least: 2}"))
    assert warning[:2] == ("warning", path)
    assert warning[2].startswith("losing any endpoint leaves fewer than the 2 that are to serve")
    one = _found(
        base,
        _policy("serving: {least: 2}"),
        ("answer: [192.0.2.1]", "answer: {cname: a.example.net}"),
        ("answer: [192.0.2.2]", "answer: {cname: b.example.net}"),
    )
    told = "2 endpoints are to serve and they answer by cname, of which DNS allows one at a time"
    assert one == [("error", path, told)]


def test_a_pool_that_is_too_small_is_told(base: str) -> None:
    """Two services that count on the same hardware are told that it does not carry both."""
    text = base.replace("        role: standby\n", "        role: standby\n        pool: h100\n        capacity: 50\n")
    text = text.replace("      mode: observe\n", "      mode: observe\n      capacity: 40\n")
    second = (
        text[text.index("  - id: chat") :].replace("id: chat", "id: embed").replace("chat.example", "embed.example")
    )
    second = second.replace("name: chat", "name: embed")
    both = text + second
    found = [
        (each.path, each.text)
        for each in findings(parse(both.replace("regions:", "pools: {h100: {capacity: 64}}\nregions:", 1), "x"), NOW)
        if "pool" in each.path or "pool" in each.text
    ]
    assert found == [
        ("pools[h100].capacity", "chat, embed may need 80 requests in flight together and it carries 64"),
    ]
    small = both.replace("regions:", "pools: {h100: {capacity: 45}, spare: {capacity: 1}}\nregions:", 1)
    said = [(each.path, each.text) for each in findings(parse(small, "x"), NOW)]
    assert ("pools[spare]", "no endpoint stands in it") in said
    above = "its capacity of 50 is above the 45 of its pool 'h100'"
    assert ("services[chat].endpoints[eu].capacity", above) in said


def test_rules_that_say_nothing_are_told(base: str) -> None:
    """A limit that another one makes idle, and a window too short for two runs."""
    limits = _found(base, top="limits: {at_once: 3, per_domain: 4}")
    assert limits == [("warning", "limits.per_domain", "4 runs to one region are more than the 3 in all")]
    automatic = ("      mode: observe\n", "      mode: automatic\n      cooldown: 1h\n      flap_window: 30m\n")
    assert any(path == "services[chat].policy.flap_window" for _, path, _ in _found(base, automatic))


def test_automation_that_is_off_is_told(base: str) -> None:
    """Somebody who turned all automation off for a while is reminded at each apply."""
    automatic = ("      mode: observe\n", "      mode: automatic\n")
    said = "all automation is off (the vendor is at work), so chat asks a person instead of acting"
    assert ("warning", "automation", said) in _found(base, automatic, top="automation: {off: the vendor is at work}")
    assert _found(base, top="automation: off") == []
