"""A real BIND (``named``) that serves one zone from a temporary directory, with a TSIG key and an update policy.

    async with Bind(records=("chat 5 A 127.0.1.10",)) as server:
        assert await server.ask("chat.example.", "A") == ("127.0.1.10",)

A secondary follows a primary and is told of changes by NOTIFY:

    secondary = Bind.secondary_of(primary := Bind())
    await primary.start()
    await secondary.start()
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.update

from real.ports import free_port

ADDRESS = "127.0.0.1"
"""named listens only on addresses that an interface carries; of 127.0.0.0/8 that is this one."""

ANYTHING = ("grant {key} zonesub ANY;",)
"""An update policy for a key that may change the whole zone."""


def least(name: str) -> tuple[str, ...]:
    """The update policy of a key that may steer *name* and nothing more."""
    return (f"grant {{key}} name {name} A AAAA CNAME;", f"grant {{key}} name _failover.{name} TXT;")


async def ask(address: str, name: str, kind: str, *, timeout_s: float = 1.0) -> tuple[str, ...]:
    """Sorted values of *kind* at *name*, asked of ``address`` ("host:port") over UDP; empty where there are none.

    TXT values come joined and without quotes. Raises dns.exception.Timeout and OSError.
    """
    host, _, port = address.rpartition(":")
    query = dns.message.make_query(name, kind, flags=0)
    reply = await dns.asyncquery.udp(query, host, timeout=timeout_s, port=int(port), ignore_unexpected=True)
    wanted = dns.rdatatype.from_text(kind)
    values = [rdata for rrset in reply.answer if rrset.rdtype == wanted for rdata in rrset]
    if wanted == dns.rdatatype.TXT:
        return tuple(sorted(b"".join(rdata.strings).decode() for rdata in values))
    return tuple(sorted(rdata.to_text() for rdata in values))


@dataclass
class Bind:
    """``named`` as a process. It keeps its zone across ``stop``, ``kill`` and the next ``start``."""

    zone: str = "example."
    records: tuple[str, ...] = ()
    """Zone file lines beside SOA, NS and the server's own address: ``chat 5 A 127.0.1.10``."""
    policy: tuple[str, ...] = ANYTHING
    """Lines of ``update-policy``; ``{key}`` stands for the key's name."""
    key: str = "failover."
    secret: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    algorithm: str = "hmac-sha256"
    port: int = 0
    """0: a free port is found."""
    tells: list[str] = field(default_factory=list)
    """``host:port`` of secondaries that get NOTIFY."""
    follows: str | None = None
    """``host:port`` of the primary; None: this server is the primary."""
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="named-")))
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port = self.port or free_port(ADDRESS)

    @classmethod
    def secondary_of(cls, primary: Bind) -> Bind:
        """A server that transfers *primary*'s zone. Make it before *primary* starts, so that it is told of changes."""
        secondary = cls(
            zone=primary.zone,
            key=primary.key,
            secret=primary.secret,
            algorithm=primary.algorithm,
            follows=primary.at,
        )
        primary.tells.append(secondary.at)
        return secondary

    @property
    def at(self) -> str:
        """``host:port``, as a topology writes it."""
        return f"{ADDRESS}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def start(self, *, within_s: float = 10.0) -> None:
        """Start, and wait until the zone is served. Raises RuntimeError with the log's end when it is not."""
        self._configure()
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220  spawning takes a millisecond and outlives the loop
                ["named", "-g", "-4", "-n", "1", "-c", str(self.directory / "named.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = asyncio.get_running_loop().time() + within_s
        while asyncio.get_running_loop().time() < deadline and self.process.poll() is None:
            try:
                if await ask(self.at, self.zone, "SOA", timeout_s=0.05):
                    return
            except (dns.exception.DNSException, OSError):
                pass
            await asyncio.sleep(0.01)
        said = self.log()[-2000:]
        self.close()
        raise RuntimeError(f"named did not serve {self.zone}: {said}")

    def stop(self) -> None:
        """End it as an operator does (SIGTERM), and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: the port stays open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        """What named has said so far."""
        path = self.directory / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    async def ask(self, name: str, kind: str, *, timeout_s: float = 1.0) -> tuple[str, ...]:
        """Sorted values of *kind* at *name*, by this server's own word."""
        return await ask(self.at, name, kind, timeout_s=timeout_s)

    async def edit(self, name: str, kind: str, *values: str, ttl_s: int = 5) -> None:
        """Replace the RRset as a person with nsupdate would, with no prerequisite; no values: delete it."""
        update = dns.update.UpdateMessage(self.zone)
        update.use_tsig(dns.tsigkeyring.from_text({self.key: self.secret}), algorithm=self.algorithm)
        update.delete(dns.name.from_text(name), kind)
        for value in values:
            update.add(dns.name.from_text(name), ttl_s, kind, value)
        reply = await dns.asyncquery.tcp(update, ADDRESS, timeout=2.0, port=self.port)
        if reply.rcode() != dns.rcode.NOERROR:
            raise RuntimeError(f"{self.at} answered {dns.rcode.to_text(reply.rcode())} to an edit of {name}")

    def _end(self, how: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self._signal(how)
        self._signal(signal.SIGCONT)  # a frozen process takes SIGTERM only once it runs again
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def _configure(self) -> None:
        tells = "".join(f" {host} port {port};" for host, _, port in (to.rpartition(":") for to in self.tells))
        told = f"notify explicit; also-notify {{{tells} }}; notify-delay 0;" if tells else "notify no;"
        if self.follows:
            host, _, port = self.follows.rpartition(":")
            role = f'type secondary; primaries {{ {host} port {port} key "{self.key}"; }}; allow-notify {{ any; }};'
        else:
            policy = " ".join(line.format(key=f'"{self.key}"') for line in self.policy)
            role = f"type primary; update-policy {{ {policy} }};"
            self._write_zone()
        (self.directory / "named.conf").write_text(
            f'key "{self.key}" {{ algorithm {self.algorithm}; secret "{self.secret}"; }};\n'
            f'options {{ directory "{self.directory}"; listen-on port {self.port} {{ {ADDRESS}; }};\n'
            "  listen-on-v6 { none; }; recursion no; dnssec-validation no; empty-zones-enable no;\n"
            "  pid-file none; lock-file none; session-keyfile none; min-refresh-time 1; min-retry-time 1;\n"
            "  notify-rate 1000; startup-notify-rate 1000; serial-query-rate 1000; };\n"
            "controls { };\n"
            f'zone "{self.zone}" {{ {role} {told} file "zone.db"; allow-transfer {{ key "{self.key}"; }}; }};\n',
            encoding="utf-8",
        )

    def _write_zone(self) -> None:
        path = self.directory / "zone.db"
        if path.exists():
            return  # the journal beside it has what was written since
        lines = [
            f"$ORIGIN {self.zone}",
            "$TTL 5",
            "@ SOA ns hostmaster 1 60 5 86400 1",
            "@ NS ns",
            f"ns A {ADDRESS}",
            *self.records,
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
