"""The printed card: what it says is what works, and no failure of it stands in the way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.config import parse
from orchestrator.core.topology import Topology
from orchestrator.runtime.breakglass.cards import card, refresh
from orchestrator.runtime.control import ControlPlane
from real.glass import CHAT, NAME, Site
from workflows.wire import Applied

Shell = Callable[..., Any]
TOPOLOGY = """\
apiVersion: failover/v1
kind: Topology
regions: [cloud/eu, cloud/us]
vantages:
  - {id: v1, region: cloud/eu}
  - {id: v2, region: cloud/us}
services:
  - id: chat
    name: chat.example
    probes:
      - {id: http, kind: http, path: /, interval: 2s, timeout: 1500ms}
    endpoints:
      - {id: eu, url: "http://192.0.2.1", answer: [192.0.2.1], region: cloud/eu, role: active, capacity: 10}
      - {id: us, url: "http://192.0.2.2", answer: ["2001:db8::2"], region: cloud/us, role: standby, capacity: 10}
    steering:
      provider: rfc2136
      zone: example
      ttl: 10s
      primary: 192.0.2.53:53
      servers: ["192.0.2.53:53", "192.0.2.54:53"]
      key: {name: failover, secret: {env: TSIG_SECRET}}
    policy: {capacity: 5}
"""


class Plane(ControlPlane):
    """A control plane that takes every topology."""

    def __init__(self) -> None:
        self.revision = 0

    async def topology(self) -> tuple[Applied, Topology]:
        return Applied(self.revision, ""), Topology((), (), ())

    async def apply(self, topology: Topology, *, expects: int, by: str, reason: str = "") -> Applied:
        self.revision += 1
        return Applied(self.revision, "")


async def plane(address: str | None, namespace: str | None) -> ControlPlane:
    return Plane()


def test_a_card_names_everything_that_hands_need(monkeypatch: Any) -> None:
    """Record, fence, servers, key, places and commands, and no secret."""
    monkeypatch.setenv("TSIG_SECRET", "c2VjcmV0IG9mIHRoZSBrZXk=")
    said = card(parse(TOPOLOGY, "failover.yaml"), CHAT, Path("/etc/my files/failover.yaml"))
    for text in (
        "chat.example. in zone example., time to live 10 s",
        "_failover.chat.example. TXT",
        "192.0.2.53:53, 192.0.2.54:53",
        "failover. (hmac-sha256), from env TSIG_SECRET",
        "addresses 192.0.2.1",
        "dig +short +norecurse @192.0.2.54 -p 53 _failover.chat.example. TXT",
        "failover break-glass plan '/etc/my files/failover.yaml' chat --to us --reason '...' --out chat.plan.json",
        "failover break-glass run chat.plan.json",
        "update add chat.example. 10 IN AAAA 2001:db8::2",
        "failover adopt chat",
    ):
        assert text in said, text
    assert "c2VjcmV0" not in said
    assert max(len(line) for line in said.splitlines()) <= 140


async def test_apply_writes_the_cards_anew(failover: Shell, tmp_path: Path) -> None:
    """One for each service, those of services that are gone taken away, other files left alone."""
    file = tmp_path / "failover.yaml"
    file.write_text(TOPOLOGY, encoding="utf-8")
    cards = tmp_path / ".failover" / "cards"
    gone = replace(parse(TOPOLOGY, "f"), services=(replace(parse(TOPOLOGY, "f").services[0], id="old"),))  # type: ignore[arg-type]  # an id is text
    await asyncio.to_thread(refresh, gone, file, cards)
    (cards / "mine.txt").write_text("keep me", encoding="utf-8")
    failover.connect = plane  # type: ignore[attr-defined]  # the shell of these tests
    ended = await failover("apply", str(file), "--yes")
    assert ended.status == 0, ended.err
    assert sorted(path.name for path in cards.iterdir()) == ["chat.txt", "mine.txt"]
    shown = await failover("card", "chat")
    assert (shown.status, shown.out) == (0, (cards / "chat.txt").read_text(encoding="utf-8"))
    other = await failover("apply", str(file), "--yes", "--cards", str(tmp_path / "paper"))
    assert (other.status, (tmp_path / "paper" / "chat.txt").exists()) == (0, True)


async def test_a_card_that_cannot_be_written_fails_nothing(failover: Shell, tmp_path: Path) -> None:
    """The topology is in force; a sentence says what became of the cards."""
    file = tmp_path / "failover.yaml"
    file.write_text(TOPOLOGY, encoding="utf-8")
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    failover.connect = plane  # type: ignore[attr-defined]  # the shell of these tests
    ended = await failover("apply", str(file), "--yes", "--json", "--cards", str(tmp_path / "taken"))
    assert ended.status == 0
    assert '"applied": true' in ended.out
    assert "the break-glass cards were not written" in ended.err
    assert (await failover("card", "chatt")).status == 4


async def test_the_commands_by_hand_move_the_traffic_and_are_refused_when_it_has_moved(site: Site) -> None:
    """dig and nsupdate as the card has them: a person moves the answer, and a fence read too early does nothing."""
    said = card(site.topology, CHAT, site.file)
    secret = site.dns.secret
    key = re.search(r"KEYFILE: (key .*)", said)
    read = re.search(r"FENCE=\$\(.*\)", said)
    script = re.search(r"to ohio:\n    nsupdate -k KEYFILE <<EOF\n(.*?)    EOF\n", said, re.DOTALL)
    assert key
    assert read
    assert script
    await asyncio.to_thread((site.folder / "KEYFILE").write_text, key[1].replace("...", secret), encoding="utf-8")
    move = f"nsupdate -k KEYFILE <<EOF\n{script[1]}EOF\n"

    async def bash(text: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", text, cwd=site.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    fence = await site.dns.ask(f"_failover.{NAME}", "TXT")
    assert await bash(f"{read[0]}\n{move}") == (0, "")
    assert await site.dns.ask(NAME, "A") == (site.world.place("ohio").address,)
    assert await site.dns.ask(f"_failover.{NAME}", "TXT") == fence
    old = (await bash(f'{read[0]}\necho "$FENCE"'))[1].strip()
    await site.write("tokyo")
    status, out = await bash(f"FENCE='{old}'\n{move}")
    assert (status, "NXRRSET" in out) == (2, True)
    assert await site.dns.ask(NAME, "A") == (site.world.place("tokyo").address,)
