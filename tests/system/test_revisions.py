"""A topology that turned out bad at night: which revision was good, the way back to it, and the failover it allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.core.record import RunStatus
from orchestrator.core.revisions import Judged
from orchestrator.core.topology import Topology
from real.command import failover
from real.system import PAIR, System, until

BAKE_S = 3.0


def only(topology: Topology, *endpoints: str) -> Topology:
    """*topology* with those endpoints of chat alone, and a bake time that a test can wait for."""
    (chat,) = topology.services
    kept = tuple(each for each in chat.endpoints if each.id in endpoints)
    orders = replace(topology.orders, bake_s=BAKE_S)
    return replace(topology, services=(replace(chat, endpoints=kept),), orders=orders)


async def test_the_way_back_from_a_topology_without_a_standby(tmp_path: Path) -> None:
    """The only standby was taken out, and the region died: the good revision comes back, and with it the failover."""
    async with System.start(tmp_path, vantages=PAIR, change=lambda whole: only(whole, "paris", "ohio")) as system:

        async def judged() -> tuple[Judged, ...]:
            _, topology = await system.plane.topology()
            return await system.plane.revisions.judged(topology)

        await system.steady()
        await until(judged, lambda found: found[0].good, "revision 1 has baked")
        without = only(system.topology, "paris")
        await system.plane.apply(without, expects=1, by="bob", reason="ohio costs too much")
        await until(system.status, lambda seen: seen.revision == 2, "revision 2 is everywhere")
        serial = await system.eye.serial()
        await system.black_hole("paris")
        await until(system.status, lambda seen: bool(seen.hold), "nothing can take over")
        await until(judged, lambda found: "chat: paris was down" in "; ".join(found[0].why), "the crash is noted")

        told = await failover(system, "topology", "history", "--json")
        newest, before = told.document
        assert (newest["revision"], newest["by"], newest["reason"]) == (2, "bob", "ohio costs too much")
        assert (newest["good"], before["good"]) == (False, True)
        assert await system.eye.serial() == serial

        ended = await failover(system, "topology", "restore", "--reason", "chat has no standby", "--yes")
        assert ended.status == 0, ended.err
        assert "+  services[chat].endpoints[ohio]" in ended.out
        assert "What revision 1 said is in force as revision 3." in ended.err
        record = await system.closed(await system.run())
        assert (record.status, record.target, record.revision) == (RunStatus.COMPLETED, "ohio", 3)
        assert await system.dns.ask("chat.local.test.", "A") == system.answer("ohio")
        found = await judged()
        assert [each.revision.number for each in found] == [3, 2, 1]
        assert found[0].revision.digest == found[2].revision.digest
        assert [each.good for each in found[1:]] == [False, True]
        assert found[0].revision.reason == "back to revision 1: chat has no standby"
