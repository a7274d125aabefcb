"""A real PowerDNS (``pdns_server`` on SQLite) that serves one zone from a temporary directory, with a TSIG key.

async with PowerDns(records=("chat 5 A 127.0.1.10",)) as server:
    assert await server.ask("chat.example.", "A") == ("127.0.1.10",)
"""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from real.nameserver import ADDRESS, NameServer

SCHEMA = Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
"""Where Debian's package keeps it."""


def least(name: str) -> str:
    """The update policy of a key that may steer *name* and nothing more, as docs/steering-dns.md has it."""
    return script(((name, ("A", "AAAA", "CNAME")), (f"_failover.{name}", ("TXT",))))


def script(rights: tuple[tuple[str, tuple[str, ...]], ...], *, deny: str = 'error("not allowed")') -> str:
    """A policy of *rights* by name; *deny* is the statement for everything else."""
    allowed = "".join(
        f'  ["{name}"] = {{ {", ".join(f"[pdns.{kind}] = true" for kind in kinds)} }},\n' for name, kinds in rights
    )
    return (
        f"local allowed = {{\n{allowed}}}\n\n"
        "function updatepolicy(input)\n"
        "  local types = allowed[input:getQName():toString()]\n"
        '  local ours = input:getTsigName():toString() == "failover."\n'
        "  if ours and types and types[input:getQType()] then return true end\n"
        f"  {deny}\n"
        "end\n"
    )


@dataclass
class PowerDns(NameServer):
    """``pdns_server`` as a process."""

    PROGRAM: ClassVar[str] = "pdns_server"

    policy: str = ""
    """The Lua script that judges updates; empty: the key may change the whole zone."""

    def prepare(self) -> tuple[str, ...]:
        policy = self.directory / "policy.lua"
        policy.write_text(self.policy, encoding="utf-8")
        lines = (
            "launch=gsqlite3",
            f"gsqlite3-database={self._database()}",
            "gsqlite3-pragma-synchronous=0",
            "security-poll-suffix=",  # nothing of a test leaves this machine
            "distributor-threads=1",
            f"local-address={ADDRESS}",
            f"local-port={self.port}",
            f"socket-dir={self.directory}",
            "receiver-threads=1",
            "dnsupdate=yes",
            "allow-axfr-ips=",
            *((f"lua-dnsupdate-policy-script={policy}",) if self.policy else ()),
            "",
        )
        (self.directory / "pdns.conf").write_text("\n".join(lines), encoding="utf-8")
        if not (self.directory / "zone.db").exists():
            self._load()
        return ("pdns_server", f"--config-dir={self.directory}", "--daemon=no", "--guardian=no")

    def _database(self) -> Path:
        path = self.directory / "pdns.sqlite3"
        if not path.exists():
            with closing(sqlite3.connect(path)) as database:
                schema = SCHEMA.read_text(encoding="utf-8")
                # One transaction: each statement alone would wait for the disk.
                database.executescript(f"PRAGMA synchronous = OFF; BEGIN; {schema} COMMIT;")
        return path

    def _load(self) -> None:
        key, zone = self.key.rstrip("."), self.zone.rstrip(".")
        self._util("load-zone", zone, str(self.zone_file()))
        self._util("import-tsig-key", key, self.algorithm, self.secret)
        self._util("set-meta", zone, "TSIG-ALLOW-DNSUPDATE", key)

    def _util(self, *words: str) -> None:
        subprocess.run(  # the key's secret is a test's own
            ["pdnsutil", f"--config-dir={self.directory}", *words], check=True, capture_output=True, timeout=45
        )
