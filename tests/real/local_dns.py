"""The local world's DNS server as a process of its own, for the Steering contract: it can be frozen and killed."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from orchestrator.core.topology import Answer, Secret, SecretSource, Shares, SteeringSpec, TsigKey
from orchestrator.local.dns_server import DnsServer
from orchestrator.local.dns_zone import WEIGHTS_LABEL, Grant, Zone
from providers.base import Steering
from providers.local.steering import LocalSteering

NAME = "chat.example."
KEY = "failover."
RECORDS = (
    ("example.", "SOA", "ns.example. hostmaster.example. 1 60 5 86400 1"),
    ("example.", "NS", "ns.example."),
    ("ns.example.", "A", "127.0.0.1"),
    (NAME, "A", "127.0.1.10"),
    (NAME, "AAAA", "2001:db8::1"),
)


class LocalDnsWorld:
    """The name at the local world's DNS server, with weights, by a key that has the least grant."""

    def __init__(self) -> None:
        self.home = Answer("addresses", ("127.0.1.10", "2001:db8::1"))
        self.away = Answer("addresses", ("127.0.2.10", "127.0.2.11"))
        self.directory = Path(tempfile.mkdtemp(prefix="local-dns-"))
        self._secret = base64.b64encode(secrets.token_bytes(32)).decode()
        self._secrets = 0
        self._process: subprocess.Popen[str] | None = None
        options = (("eu", ",".join(self.home.values)), ("us", ",".join(self.away.values)))
        self.spec = SteeringSpec("local", NAME, "example.", 5, "127.0.0.1:1", (), self.key(), options, Shares.WEIGHTED)

    async def open(self) -> None:
        self._process = subprocess.Popen(  # noqa: ASYNC220  # spawning takes a millisecond
            [sys.executable, __file__, self._secret],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        self.spec = replace(self.spec, primary=f"127.0.0.1:{await self._line()}")

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return (await asyncio.to_thread(self._process.stdout.readline)).strip()

    def steering(self, **changes: object) -> Steering:
        return LocalSteering(replace(self.spec, **changes))  # type: ignore[arg-type]  # a test names fields freely

    def key(self, *, name: str | None = None, secret: str | None = None) -> TsigKey:
        self._secrets += 1
        path = self.directory / f"secret-{self._secrets}"
        path.write_text(secret or self._secret, encoding="utf-8")
        return TsigKey(name or KEY, Secret(SecretSource.FILE, str(path)))

    async def edit(self, kind: str, *values: str) -> None:
        update = dns.update.UpdateMessage("example.")
        update.use_tsig(dns.tsig.Key(KEY, self._secret, "hmac-sha256"))
        update.delete(dns.name.from_text(NAME), kind)
        for value in values:
            update.add(dns.name.from_text(NAME), 5, kind, value)
        reply = await dns.asyncquery.tcp(update, "127.0.0.1", timeout=10.0, port=self._port)
        assert reply.rcode() == dns.rcode.NOERROR

    async def now(self) -> Answer | None:
        values: list[str] = []
        for kind in ("A", "AAAA"):
            query = dns.message.make_query(NAME, kind, flags=0)
            # Signed, since a resolver would be told one address at a time.
            query.use_tsig(dns.tsig.Key(KEY, self._secret, "hmac-sha256"))
            reply = await dns.asyncquery.udp(query, "127.0.0.1", timeout=5.0, port=self._port)
            values += [item.to_text() for rrset in reply.answer for item in rrset]
        return Answer("addresses", tuple(sorted(values))) if values else None

    @property
    def _port(self) -> int:
        return int(self.spec.primary.rpartition(":")[2])

    async def forbid(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("forbid\n")
        self._process.stdin.flush()
        assert await self._line() == "forbidden"

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def _grant(owner: str, *kinds: str) -> Grant:
    return Grant(dns.name.from_text(owner), frozenset(dns.rdatatype.from_text(kind) for kind in kinds))


async def _serve(secret: str) -> None:
    records = {}
    for owner, kind, text in RECORDS:
        rdtype = dns.rdatatype.from_text(kind)
        rdata = dns.rdata.from_text(dns.rdataclass.IN, rdtype, text)
        records[dns.name.from_text(owner), rdtype] = (5, (rdata,))
    answer, weights = _grant(NAME, "A", "AAAA", "CNAME"), _grant(f"{WEIGHTS_LABEL}.{NAME}", "TXT")
    zone = Zone(dns.name.from_text("example."), records, (answer, weights, _grant(f"_failover.{NAME}", "TXT")))
    name = dns.name.from_text(KEY)
    server = DnsServer(zone, {name: dns.tsig.Key(name, secret, "hmac-sha256")})
    await server.start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    # The pipe closes when the test is gone, however it went.
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == "forbid":
            zone.grants = (answer, weights)
            sys.stdout.write("forbidden\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
