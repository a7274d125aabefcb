"""A real Knot DNS (``knotd``) that serves one zone from a temporary directory, with a TSIG key and an update rule.

async with Knot(records=("chat 5 A 127.0.1.10",)) as server:
    assert await server.ask("chat.example.", "A") == ("127.0.1.10",)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from real.nameserver import ADDRESS, NameServer


@dataclass
class Knot(NameServer):
    """``knotd`` as a process. Its rules are those that docs/steering-dns.md tells people to write."""

    PROGRAM: ClassVar[str] = "knotd"

    owners: tuple[str, ...] = ()
    """The only names that the key may change, and there only A, AAAA, CNAME and TXT; empty: the whole zone."""

    def prepare(self) -> tuple[str, ...]:
        path = self.directory / "knot.conf"
        path.write_text(self._configuration(), encoding="utf-8")
        return ("knotd", "--config", str(path))

    def _configuration(self) -> str:
        rule = ""
        if self.owners:
            rule = (
                "    update-type: [A, AAAA, CNAME, TXT]\n"
                "    update-owner: name\n"
                f"    update-owner-name: [{', '.join(self.owners)}]\n"
                "    update-owner-match: equal\n"
            )
        return (
            f'server:\n    rundir: "{self.directory}"\n    listen: {ADDRESS}@{self.port}\n'
            "    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n"
            f'database:\n    storage: "{self.directory}"\n    journal-db-max-size: 16M\n'
            "    kasp-db-max-size: 5M\n    timer-db-max-size: 1M\n    catalog-db-max-size: 5M\n"
            "log:\n  - target: stderr\n    any: info\n"
            f'key:\n  - id: {self.key}\n    algorithm: {self.algorithm}\n    secret: "{self.secret}"\n'
            f"acl:\n  - id: steering\n    key: {self.key}\n    action: update\n{rule}"
            f'zone:\n  - domain: {self.zone}\n    file: "{self.zone_file()}"\n'
            "    zonefile-sync: -1\n    acl: steering\n"
        )
