"""What holds of faults and of the zone after any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.update
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import BadInput
from orchestrator.local.dns_zone import Zone
from orchestrator.local.faults import LONGEST, FaultBoard, Kind
from orchestrator.local.layout import Place

START = datetime(2026, 1, 1, tzinfo=UTC)
PLACES = tuple(
    Place(name, region, f"127.1.{number}.1", "standby", 1)
    for number, (name, region) in enumerate([("paris", "alpha/paris"), ("ohio", "beta/ohio"), ("lyon", "alpha/lyon")])
)
ORIGIN = dns.name.from_text("example.")

keys = st.sampled_from(["a", "b", "c"])
targets = st.sampled_from(["paris", "alpha", "beta/ohio", "lyon"])
acts = st.one_of(
    st.tuples(st.just("inject"), keys, st.sampled_from(Kind), targets, st.integers(-2, 9)),
    st.tuples(st.just("clear"), keys),
    st.tuples(st.just("expire")),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(acts, max_size=25))
def test_a_fault_that_is_out_never_comes_back(history: list[tuple[object, ...]]) -> None:
    """Whatever is asked in whatever order: out stays out, deadlines never move, and only deadlines expire a fault."""
    board, out, deadlines, cleared = FaultBoard(PLACES), set(), {}, set()
    for second, act in enumerate(history):
        now = START + timedelta(seconds=second)
        match act:
            case ("inject", str(key), Kind() as kind, str(target), int(seconds)):
                board.inject(kind, target, key=key, deadline=now + timedelta(seconds=seconds), now=now)
            case ("clear", str(key)):
                board.clear(key)
                cleared.add(key)
            case _:
                board.expire(now)
                assert all(fault.deadline > now for fault in board.all() if fault.active)
        for fault in board.all():
            assert not (fault.active and (fault.key in out or fault.key in cleared or fault.expired))
            assert deadlines.setdefault(fault.key, fault.deadline) == fault.deadline
            out |= set() if fault.active else {fault.key}
        for place in PLACES:
            suffered = {f.kind for f in board.all() if f.active and place.id in f.endpoints}
            assert board.standing(place.id) == suffered


def test_a_cloud_takes_all_its_regions_and_no_fault_lasts_for_ever() -> None:
    """A fault on a cloud hits each of its regions and nothing else, for an hour at most."""
    board = FaultBoard(PLACES)
    fault = board.inject(Kind.BLACKHOLE, "alpha", key="k", deadline=START + timedelta(days=9), now=START)
    assert fault.endpoints == ("paris", "lyon")
    assert fault.deadline == START + LONGEST
    with pytest.raises(BadInput, match="called 'alph'"):
        board.inject(Kind.BLACKHOLE, "alph", key="other", deadline=START, now=START)


names = st.sampled_from(["@", "a", "b", "a.b"])
values = {"A": "127.0.0.1", "CNAME": "c.example.", "TXT": '"x"', "NS": "ns2.example.", "AAAA": "::1"}
changes = st.lists(
    st.tuples(st.sampled_from(["add", "delete", "delete-value"]), names, st.sampled_from(sorted(values))), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(st.lists(changes, max_size=6))
def test_a_zone_keeps_its_apex_and_its_cnames_alone(updates: list[list[tuple[str, str, str]]]) -> None:
    """After any updates the zone has SOA and name server, and no CNAME has a sibling."""

    def record(kind: str, text: str) -> tuple[int, tuple[dns.rdata.Rdata, ...]]:
        return 5, (dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(kind), text),)

    soa, ns = dns.rdatatype.SOA, dns.rdatatype.NS
    zone = Zone(ORIGIN, {(ORIGIN, soa): record("SOA", "ns. hm. 1 60 5 600 1"), (ORIGIN, ns): record("NS", "ns.")})
    for steps in updates:
        before, serial = zone.records, zone.serial
        message = dns.update.UpdateMessage(ORIGIN)
        for verb, name, kind in steps:
            if verb == "add":
                message.add(name, 5, kind, values[kind])
            elif verb == "delete":
                message.delete(name, kind)
            else:
                message.delete(name, kind, values[kind])
        wired = dns.message.from_wire(message.to_wire(), one_rr_per_rrset=True)
        assert isinstance(wired, dns.update.UpdateMessage)
        assert zone.update(wired) == dns.rcode.NOERROR
        assert (zone.serial == serial) == (zone.records == before)
        assert {(ORIGIN, soa), (ORIGIN, ns)} <= set(zone.records)
        for owner, rdtype in zone.records:
            siblings = {other for name, other in zone.records if name == owner}
            assert rdtype != dns.rdatatype.CNAME or siblings == {dns.rdatatype.CNAME}
