"""The governor of the running product: asked before each run, told after it, and missed when it is gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.core.governing import Ledger
from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Topology, Ungoverned
from orchestrator.runtime.governing import held
from real.system import CHAT, PAIR, System, until
from workflows.wire import GOVERNOR_ID


async def ledger(system: System) -> Ledger | None:
    return await held(system.plane.client)


def careful(topology: Topology) -> Topology:
    """*topology* whose service does not move while nobody counts."""
    (chat,) = topology.services
    policy = replace(chat.policy, without_governor=Ungoverned.ASK)
    return replace(topology, services=(replace(chat, policy=policy),))


async def test_a_run_is_counted_while_it_lasts_and_the_governor_is_missed(tmp_path: Path) -> None:
    """A failover holds its place until it is closed; without a governor automation asks, and apply makes a new one."""
    async with System.start(tmp_path, vantages=PAIR, change=careful) as system:
        await system.steady()
        fault = await system.black_hole("paris")
        await system.promoting("ohio")
        taken = await ledger(system)
        run = await system.run()
        assert taken is not None
        assert taken.services == 1
        assert [(each.request.moving.service, each.request.workflow) for each in taken.grants] == [(CHAT, run)]
        assert [each.request.moving.into for each in taken.grants] == [("beta/ohio",)]
        assert (await system.closed(run)).status is RunStatus.COMPLETED
        await system.moved_once(fault)
        await until(lambda: ledger(system), lambda seen: seen is not None and not seen.grants, "the place is free")
        await system.go_home()

        await system.plane.client.get_workflow_handle(GOVERNOR_ID).terminate("lost")
        assert [text for text in await system.plane.stuck() if text.startswith("governor was terminated")]
        await system.black_hole("paris", key="again")
        status = await until(system.status, lambda status: status.question is not None, "a question")
        assert status.question is not None
        assert [reason.rule for reason in status.question.reasons] == ["governor-silent"]
        applied, topology = await system.plane.topology()
        await system.plane.apply(topology, expects=applied.revision, by="ann")
        await system.closed(await system.run(nth=3))
        assert system.eye.told[-1] == system.answer("ohio")
