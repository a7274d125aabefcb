"""What ``storm.py`` sees from outside: each write in the zone, when each vantage saw what, what the processes used.

Nothing here asks the product how it did: writes are told by the name server (serials as they appear, and afterwards
every change by incremental transfer, RFC 1995), opinions by the workers' logs, CPU by the kernel. What people would
ask of the product (reasons, ledger, records) is asked in ``storm.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.rrset
import dns.tsigkeyring

from orchestrator.core.steering import decode
from real.bind import Bind

POLL_S = 0.01
SAMPLE_S = 0.5


# ------------------------------------------------------------------ when was written


@dataclass
class Serials:
    """Polls the zone's serial, which every update raises by one. Times are Unix time."""

    server: Bind
    seen: list[tuple[float, int]] = field(default_factory=list)
    """Each serial that was seen, and when first; updates between two polls show as a jump."""
    unanswered: int = 0
    _over: bool = False

    @property
    def last(self) -> tuple[float, int]:
        """The latest change."""
        return self.seen[-1]

    async def watch(self) -> None:
        """Poll until it is over."""
        question = dns.message.make_query(self.server.zone, "SOA", flags=0)
        wire = question.to_wire()
        host, _, port = self.server.at.rpartition(":")
        loop = asyncio.get_running_loop()
        before = b""
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.setblocking(False)
            client.connect((host, int(port)))
            while not self._over:
                due = loop.time() + POLL_S
                try:
                    async with asyncio.timeout(0.5):
                        await loop.sock_sendall(client, wire)
                        reply = await loop.sock_recv(client, 4096)
                except (TimeoutError, OSError):
                    self.unanswered += 1
                else:
                    if reply != before:
                        before = reply
                        self._note(dns.message.from_wire(reply))
                await asyncio.sleep(max(0.0, due - loop.time()))

    def stop(self) -> None:
        """End the polling."""
        self._over = True

    def _note(self, reply: dns.message.Message) -> None:
        serial = next(int(rdata.serial) for rrset in reply.answer for rdata in rrset)
        if not self.seen or serial > self.seen[-1][1]:
            self.seen.append((time.time(), serial))

    def at(self, serial: int) -> float:
        """When *serial* was there. Raises LookupError for one that nobody saw come."""
        return next(at for at, seen in self.seen if seen >= serial)


# ------------------------------------------------------------------ what was written


@dataclass(frozen=True, slots=True)
class Saying:
    """What a name says: its addresses, and the generation of its fence (0: none stands)."""

    answer: tuple[str, ...] = ()
    generation: int = 0


Sayings = dict[str, Saying]
"""By absolute name."""


@dataclass(frozen=True, slots=True)
class Update:
    """One update, as the server took it."""

    serial: int
    now: Sayings
    """The names that it touched, as they are after it."""


def _transfer(server: Bind, kind: str, serial: int = 0) -> Iterator[dns.rrset.RRset]:
    host, _, port = server.at.rpartition(":")
    ring = dns.tsigkeyring.from_text({server.key: server.secret})
    replies = dns.query.xfr(
        host,
        server.zone,
        rdtype=kind,
        port=int(port),
        keyring=ring,
        keyalgorithm=server.algorithm,
        relativize=False,
        serial=serial,
        timeout=30,
    )
    for reply in replies:
        yield from reply.answer


def _said(rrset: dns.rrset.RRset) -> tuple[str, Saying] | None:
    """What the records of a service's name say, or of its fence's; None for any other."""
    name = rrset.name.to_text()
    if rrset.rdtype == dns.rdatatype.A:
        return name, Saying(answer=tuple(sorted(rdata.to_text() for rdata in rrset)))
    if rrset.rdtype == dns.rdatatype.TXT and name.startswith("_failover."):
        text = next(b"".join(rdata.strings).decode() for rdata in rrset)
        return name.partition(".")[2], Saying(generation=decode(text).generation)
    return None


def whole(server: Bind) -> tuple[int, Sayings]:
    """The zone's serial, and what every name says now."""
    serial, found = 0, defaultdict(Saying)
    for rrset in _transfer(server, "AXFR"):
        if rrset.rdtype == dns.rdatatype.SOA:
            serial = int(rrset[0].serial)
        elif (said := _said(rrset)) is not None:
            name, saying = said
            found[name] = _with(found[name], saying)
    return serial, dict(found)


def _with(saying: Saying, more: Saying) -> Saying:
    return Saying(tuple(sorted({*saying.answer, *more.answer})), more.generation or saying.generation)


def _without(saying: Saying, less: Saying) -> Saying:
    return Saying(
        tuple(value for value in saying.answer if value not in less.answer),
        0 if less.generation else saying.generation,
    )


def updates(server: Bind, serial: int, sayings: Sayings) -> list[Update]:
    """Every update since *serial*, when names said *sayings*; in order. Raises RuntimeError where BIND forgot some."""
    rrsets = list(_transfer(server, "IXFR", serial))
    if len(rrsets) <= 1:
        return []
    if len(rrsets) < 3 or rrsets[1].rdtype != dns.rdatatype.SOA:
        raise RuntimeError(f"{server.at} no longer knows what changed since serial {serial}")
    now, found = dict(sayings), []
    # After the present SOA: for each update the old SOA and what went, the new SOA and what came; then the SOA again.
    serials, going, touched = 0, False, set[str]()
    for rrset in rrsets[1:]:
        if rrset.rdtype == dns.rdatatype.SOA:
            going = not going
            if going and touched:
                found.append(Update(serials, {name: now.get(name, Saying()) for name in touched}))
                touched = set()
            serials = int(rrset[0].serial)
        elif (said := _said(rrset)) is not None:
            name, saying = said
            touched.add(name)
            now[name] = (_without if going else _with)(now.get(name, Saying()), saying)
    return found


# ------------------------------------------------------------------ who saw what, and when


def verdicts(logs: list[Path], endpoint: str, since: float, majority: int) -> dict[str, float]:
    """By service, when the vantage that made a majority saw *endpoint* down, by the workers' logs; Unix time."""
    first: dict[str, dict[str, float]] = defaultdict(dict)
    for path in logs:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if '"endpoint.turned"' not in line:
                continue
            with contextlib.suppress(ValueError, KeyError):
                event = json.loads(line)
                at = datetime.fromisoformat(event["timestamp"]).timestamp()
                if event["endpoint"] == endpoint and event["now"] == "down" and at >= since:
                    first[event["service"]].setdefault(event["vantage"], at)
    return {service: sorted(seen.values())[majority - 1] for service, seen in first.items() if len(seen) >= majority}


def complaints(logs: list[Path]) -> dict[str, int]:
    """How often each warning or error stands in the workers' logs; the most frequent first."""
    found: Counter[str] = Counter()
    for path in logs:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, AttributeError):
                event = json.loads(line)
                if event.get("level") in {"warning", "error", "critical"}:
                    said = str(event.get("event"))
                    activity = re.search(r"'activity_type': '([\w-]+)'", said)
                    found[
                        f"activity {activity[1]} failed" if activity else re.sub(r"\b[0-9a-f-]{36}\b", "", said)[:80]
                    ] += 1
    return dict(found.most_common(12))


# ------------------------------------------------------------------ what it cost


def cpu_s(pid: int) -> float | None:
    """CPU seconds of the process so far; None once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Meter:
    """CPU seconds of every process, twice a second."""

    pids: Callable[[], dict[str, int]]
    samples: list[tuple[float, dict[str, float]]] = field(default_factory=list)

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_S)

    def sample(self) -> None:
        """Read the meters now."""
        read = {name: cpu_s(pid) for name, pid in self.pids().items()}
        self.samples.append((time.time(), {name: used for name, used in read.items() if used is not None}))

    def used(self, begin: float, end: float) -> dict[str, float]:
        """CPU seconds from *begin* to *end*, by process."""
        total: Counter[str] = Counter()
        for (before, old), (at, new) in pairwise(self.samples):
            share = max(0.0, min(at, end) - max(before, begin)) / (at - before)
            for name, used in new.items():
                total[name] += (used - old.get(name, used)) * share
        return {name: round(seconds, 2) for name, seconds in sorted(total.items())}
