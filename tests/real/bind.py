"""A real BIND (``named``) that serves one zone from a temporary directory, with a TSIG key and an update policy.

    async with Bind(records=("chat 5 A 127.0.1.10",)) as server:
        assert await server.ask("chat.example.", "A") == ("127.0.1.10",)

A secondary follows a primary and is told of changes by NOTIFY:

    secondary = Bind.secondary_of(primary := Bind())
    await primary.start()
    await secondary.start()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from real.nameserver import ADDRESS, NameServer, ask

__all__ = ["ADDRESS", "ANYTHING", "Bind", "ask", "least"]

ANYTHING = ("grant {key} zonesub ANY;",)
"""An update policy for a key that may change the whole zone."""


def least(name: str) -> tuple[str, ...]:
    """The update policy of a key that may steer *name* and nothing more."""
    return (f"grant {{key}} name {name} A AAAA CNAME;", f"grant {{key}} name _failover.{name} TXT;")


@dataclass
class Bind(NameServer):
    """``named`` as a process."""

    PROGRAM: ClassVar[str] = "named"

    policy: tuple[str, ...] = ANYTHING
    """Lines of ``update-policy``; ``{key}`` stands for the key's name."""
    signed: bool = False
    """The zone is signed by the server itself (``dnssec-policy default``)."""
    tells: list[str] = field(default_factory=list)
    """``host:port`` of secondaries that get NOTIFY."""
    clauses: str = ""
    """What the zone says besides: ``check-names ignore;``."""
    follows: str | None = None
    """``host:port`` of the primary; None: this server is the primary."""

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

    def prepare(self) -> tuple[str, ...]:
        path = self.directory / "named.conf"
        path.write_text(self._configuration(), encoding="utf-8")
        return ("named", "-g", "-4", "-n", "1", "-c", str(path))

    def _configuration(self) -> str:
        tells = "".join(f" {host} port {port};" for host, _, port in (to.rpartition(":") for to in self.tells))
        told = f"notify explicit; also-notify {{{tells} }}; notify-delay 0;" if tells else "notify no;"
        if self.follows:
            host, _, port = self.follows.rpartition(":")
            role = f'type secondary; primaries {{ {host} port {port} key "{self.key}"; }}; allow-notify {{ any; }};'
        else:
            policy = " ".join(line.format(key=f'"{self.key}"') for line in self.policy)
            role = f"type primary; update-policy {{ {policy} }}; {self.clauses}"
            role += " dnssec-policy default; inline-signing yes;" if self.signed else ""
            self.zone_file()
        return (
            f'key "{self.key}" {{ algorithm {self.algorithm}; secret "{self.secret}"; }};\n'
            f'options {{ directory "{self.directory}"; listen-on port {self.port} {{ {ADDRESS}; }};\n'
            "  listen-on-v6 { none; }; recursion no; dnssec-validation no; empty-zones-enable no;\n"
            "  pid-file none; lock-file none; session-keyfile none; min-refresh-time 1; min-retry-time 1;\n"
            "  notify-rate 1000; startup-notify-rate 1000; serial-query-rate 1000; };\n"
            "controls { };\n"
            f'zone "{self.zone}" {{ {role} {told} file "zone.db"; allow-transfer {{ key "{self.key}"; }}; }};\n'
        )
