"""One authoritative zone in memory: lookups, and dynamic updates by RFC 2136 sections 3.2 - 3.4. No sockets here."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rrset
import dns.update

Key = tuple[dns.name.Name, dns.rdatatype.RdataType]
Records = tuple[int, tuple[dns.rdata.Rdata, ...]]
"""Time to live and the set. Never changed in place: an update works on a shallow copy and replaces it whole."""

WEIGHTS_LABEL = "_weights"
_META = frozenset({dns.rdatatype.AXFR, dns.rdatatype.MAILA, dns.rdatatype.MAILB, dns.rdatatype.IXFR, dns.rdatatype.ANY})
_ADDRESSES = (dns.rdatatype.A, dns.rdatatype.AAAA)


class _Rejected(Exception):
    def __init__(self, rcode: dns.rcode.Rcode) -> None:
        super().__init__(dns.rcode.to_text(rcode))
        self.rcode = rcode


@dataclass(frozen=True, slots=True)
class Grant:
    """A right to change one name's records of some types (BIND: ``grant KEY name NAME TYPES``)."""

    name: dns.name.Name
    types: frozenset[dns.rdatatype.RdataType]


@dataclass
class Zone:
    """Records of one zone, and who may change which of them."""

    origin: dns.name.Name
    records: dict[Key, Records]
    grants: tuple[Grant, ...] = ()
    """Empty: a good key may change everything in the zone."""
    _weights: dict[dns.name.Name, tuple[tuple[str, int], ...]] = field(default_factory=dict)

    @property
    def serial(self) -> int:
        return self._soa(self.records).serial

    def _soa(self, records: dict[Key, Records]) -> dns.rdtypes.ANY.SOA.SOA:
        soa = records[self.origin, dns.rdatatype.SOA][1][0]
        if not isinstance(soa, dns.rdtypes.ANY.SOA.SOA):
            raise TypeError("the zone's SOA is no SOA")
        return soa

    # ------------------------------------------------------------ lookups

    def holds(self, name: dns.name.Name) -> bool:
        """Whether *name* lies in this zone."""
        return name.is_subdomain(self.origin)

    def weighs(self, name: dns.name.Name) -> bool:
        """Whether answers for *name* are drawn by weight."""
        return name in self._weights

    def lookup(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, *, whole: bool = False
    ) -> tuple[dns.rcode.Rcode, list[dns.rrset.RRset]]:
        """The code and the answer for one question; a CNAME is followed inside the zone.

        Where weights stand beside the name, one address is drawn; *whole* gives the set all the same.
        """
        answer: list[dns.rrset.RRset] = []
        seen: set[dns.name.Name] = set()
        while name not in seen and self.holds(name):
            seen.add(name)
            found = self.records.get((name, rdtype))
            if found is not None:
                answer.append(self._rrset(name, rdtype, found, whole))
                return dns.rcode.NOERROR, answer
            alias = self.records.get((name, dns.rdatatype.CNAME))
            if alias is None:
                return (dns.rcode.NOERROR if answer or self._exists(name) else dns.rcode.NXDOMAIN), answer
            answer.append(self._rrset(name, dns.rdatatype.CNAME, alias, True))
            name = alias[1][0].target  # type: ignore[attr-defined]  # rdata classes are made at run time
        return dns.rcode.NOERROR, answer

    def _exists(self, name: dns.name.Name) -> bool:
        # A name with only descendants exists too: NOERROR without data (RFC 8020).
        return any(owner.is_subdomain(name) for owner, _ in self.records)

    def _rrset(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, found: Records, whole: bool
    ) -> dns.rrset.RRset:
        ttl, items = found
        if not whole and rdtype in _ADDRESSES and name in self._weights:
            items = (_draw(items, dict(self._weights[name])),)
        return dns.rrset.from_rdata_list(name, ttl, items)

    # ------------------------------------------------------------ updates

    def update(self, message: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        """Carry out *message* as one act: all of it, or nothing and the code that says why."""
        try:
            self._check_zone(message)
            self._check_prerequisites(message.prerequisite)
            self._check_grants(message.update)
            self._scan(message.update)
        except _Rejected as rejected:
            return rejected.rcode
        changed = dict(self.records)
        for rrset in message.update:
            _apply(changed, rrset, self.origin)
        if changed != self.records:
            if changed[self.origin, dns.rdatatype.SOA] == self.records[self.origin, dns.rdatatype.SOA]:
                soa = self._soa(changed)
                ttl = changed[self.origin, dns.rdatatype.SOA][0]
                changed[self.origin, dns.rdatatype.SOA] = (ttl, (soa.replace(serial=(soa.serial + 1) % 2**32 or 1),))
            self._weights = _read_weights(changed)
            self.records = changed
        return dns.rcode.NOERROR

    def _check_zone(self, message: dns.update.UpdateMessage) -> None:
        if len(message.zone) != 1 or message.zone[0].rdtype != dns.rdatatype.SOA:
            raise _Rejected(dns.rcode.FORMERR)
        if message.zone[0].name != self.origin or message.zone[0].rdclass != dns.rdataclass.IN:
            raise _Rejected(dns.rcode.NOTAUTH)

    def _check_prerequisites(self, prerequisites: Iterable[dns.rrset.RRset]) -> None:
        """RFC 2136 section 3.2. Sets that must be equal are gathered first and compared whole."""
        wanted: dict[Key, set[dns.rdata.Rdata]] = {}
        for rrset in prerequisites:
            if rrset.ttl != 0:
                raise _Rejected(dns.rcode.FORMERR)
            if not self.holds(rrset.name):
                raise _Rejected(dns.rcode.NOTZONE)
            if rrset.deleting is None:
                wanted.setdefault((rrset.name, rrset.rdtype), set()).update(rrset)
            else:
                self._check_presence(rrset)
        for key, items in wanted.items():
            if items != set(self.records.get(key, (0, ()))[1]):
                raise _Rejected(dns.rcode.NXRRSET)

    def _check_presence(self, rrset: dns.rrset.RRset) -> None:
        """A prerequisite without a value: a name or a set must (class ANY) or must not (class NONE) be there."""
        if rrset.rdtype == dns.rdatatype.ANY:
            there = any(owner == rrset.name for owner, _ in self.records)
            missing, present = dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN
        else:
            there = (rrset.name, rrset.rdtype) in self.records
            missing, present = dns.rcode.NXRRSET, dns.rcode.YXRRSET
        if rrset.deleting == dns.rdataclass.ANY and not there:
            raise _Rejected(missing)
        if rrset.deleting == dns.rdataclass.NONE and there:
            raise _Rejected(present)

    def _check_grants(self, updates: Iterable[dns.rrset.RRset]) -> None:
        if not self.grants:
            return
        for rrset in updates:
            if not any(grant.name == rrset.name and rrset.rdtype in grant.types for grant in self.grants):
                raise _Rejected(dns.rcode.REFUSED)

    def _scan(self, updates: Iterable[dns.rrset.RRset]) -> None:
        """RFC 2136 section 3.4.1: nothing is applied when any part is malformed."""
        for rrset in updates:
            if not self.holds(rrset.name):
                raise _Rejected(dns.rcode.NOTZONE)
            if rrset.deleting is not None and rrset.ttl != 0:
                raise _Rejected(dns.rcode.FORMERR)
            allowed = {dns.rdatatype.ANY} if rrset.deleting == dns.rdataclass.ANY else set()
            if rrset.rdtype in _META - allowed:
                raise _Rejected(dns.rcode.FORMERR)


def _apply(records: dict[Key, Records], rrset: dns.rrset.RRset, origin: dns.name.Name) -> None:
    """One update RR, RFC 2136 section 3.4.2. What the apex needs (SOA, the last NS) is never taken away."""
    key = (rrset.name, rrset.rdtype)
    apex = rrset.name == origin
    if rrset.deleting is None:
        _add(records, rrset)
    elif rrset.deleting == dns.rdataclass.ANY:
        doomed = [
            found for found in records if found == key or (rrset.rdtype == dns.rdatatype.ANY and found[0] == key[0])
        ]
        for found in doomed:
            if not (apex and found[1] in {dns.rdatatype.SOA, dns.rdatatype.NS}):
                del records[found]
    elif key in records and rrset.rdtype != dns.rdatatype.SOA:
        ttl, items = records[key]
        left = tuple(item for item in items if item not in rrset)
        if left:
            records[key] = (ttl, left)
        elif not (apex and rrset.rdtype == dns.rdatatype.NS):
            del records[key]


def _add(records: dict[Key, Records], rrset: dns.rrset.RRset) -> None:
    key = (rrset.name, rrset.rdtype)
    siblings = {rdtype for owner, rdtype in records if owner == rrset.name}
    if rrset.rdtype == dns.rdatatype.CNAME:
        # A CNAME allows no sibling: the RFC says to pass over such an addition in silence.
        if siblings - {dns.rdatatype.CNAME}:
            return
        records[key] = (rrset.ttl, tuple(rrset))
    elif dns.rdatatype.CNAME in siblings:
        return
    elif rrset.rdtype == dns.rdatatype.SOA:
        old, new = records.get(key), rrset[0]
        # Serial numbers are compared on a circle (RFC 1982).
        if old is not None and 0 < (new.serial - old[1][0].serial) % 2**32 < 2**31:  # type: ignore[attr-defined]  # SOA
            records[key] = (rrset.ttl, (new,))
    else:
        items = records.get(key, (0, ()))[1]
        records[key] = (rrset.ttl, items + tuple(item for item in rrset if item not in items))


def _read_weights(records: dict[Key, Records]) -> dict[dns.name.Name, tuple[tuple[str, int], ...]]:
    """Weights by name, from the TXT records at ``_weights.<name>``: ``127.1.1.1=25 127.1.2.1=75``."""
    weights = {}
    for (owner, rdtype), (_, items) in records.items():
        if rdtype == dns.rdatatype.TXT and owner.labels[0].lower() == WEIGHTS_LABEL.encode():
            text = b" ".join(b"".join(item.strings) for item in items).decode("ascii", "replace")  # type: ignore[attr-defined]  # TXT
            pairs = (part.rpartition("=") for part in text.split())
            weights[owner.parent()] = tuple((value, int(share)) for value, _, share in pairs if share.isdecimal())
    return weights


def _draw(items: tuple[dns.rdata.Rdata, ...], weights: dict[str, int]) -> dns.rdata.Rdata:
    shares = [weights.get(item.to_text(), 0) for item in items]
    if not any(shares):
        shares = [1] * len(items)
    return random.choices(items, shares)[0]  # noqa: S311  # spreads clients; guards nothing
