"""The service workflow: folding reports, deciding, one run at a time, and answering for itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import Mark, RunStatus
from orchestrator.core.topology import Mode
from real.stage import EU, US, Stage, service, stage
from workflows.wire import AdoptRequest, FailoverRequest, Pause, Refusal, SetMode, Started

ANSWER = Started | Refusal


def asking(number: int, kind: MoveKind = MoveKind.SWITCHOVER, by: str = "ann@laptop") -> FailoverRequest:
    return FailoverRequest(f"request-{number}", Request(kind, Trigger(by, "because"), US))


async def test_a_majority_of_vantages_moves_the_traffic() -> None:
    """Two of three vantages see the active endpoint down: the traffic moves once, and the service is free again."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.report("v2", eu="down", us="healthy")
        status = await play.status()
        assert status.run is None
        await play.report("v3", eu="down", us="healthy")
        status = await play.until(lambda s: bool(s.last_runs) and s.run is None)
        record = status.last_runs[0]
        assert record.status is RunStatus.COMPLETED
        assert [token.rpartition("/")[2] for token in play.world.wrote] == ["steer"]
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == ((EU, 0), (US, 100))
        marks = [entry.mark for entry in record.entries]
        for mark in (Mark.LAST_GOOD, Mark.DETECTED, Mark.DECIDED, Mark.STEERED, Mark.CONVERGED, Mark.CLOSED):
            assert mark in marks
        assert record.ttd_s is not None


async def test_one_vantage_alone_moves_nothing() -> None:
    """A single vantage that sees the endpoint down is not believed."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.report("v2", eu="down", us="healthy")
        await play.env.sleep(timedelta(minutes=2))
        status = await play.status()
        assert status.run is None
        assert not play.world.wrote
        assert {a.endpoint: a.verdict for a in status.assessments}[EU] is not Verdict.DOWN


async def test_silent_vantages_are_not_counted() -> None:
    """A vantage whose prober has fallen silent has no vote, whatever it said last."""
    async with stage() as play:
        await play.open()
        play.world.beating = ("v1", "v2")
        await play.all_say(eu="healthy", us="healthy")
        await play.report("v3", eu="down", us="healthy")
        await play.env.sleep(timedelta(seconds=30))
        await play.report("v2", eu="down", us="healthy")
        await play.env.sleep(timedelta(seconds=30))
        assert not play.world.wrote


async def test_observe_writes_nothing_and_says_what_it_would_do() -> None:
    """In mode observe the record tells the whole plan, and nothing is written."""
    async with stage(played=service(mode=Mode.OBSERVE)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        status = await play.until(lambda s: bool(s.last_runs))
        record = status.last_runs[0]
        assert record.status is RunStatus.OBSERVED
        assert record.target == US
        assert [step.kind for step in record.steps][-2:] == ["steer", "converge"]
        assert not play.world.wrote
        assert not play.world.steps
        await play.env.sleep(timedelta(minutes=5))
        assert len((await play.status()).last_runs) == 1, "told once per incident"


async def test_everything_down_stays_as_it_is() -> None:
    """When every endpoint looks down the routing stays and the reason is shown."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="down", us="down")
        status = await play.until(lambda s: any(h.rule == "everything-down" for h in s.hold))
        assert status.run is None
        assert not play.world.wrote


async def test_two_people_at_once() -> None:
    """Two people ask for opposite moves in the same second: one runs, the other is told who holds the service."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        play.world.gates["steer"] = asyncio.Event()
        first = play.handle.execute_update("request", asking(1), result_type=ANSWER)
        second = play.handle.execute_update("request", asking(2, by="bob@laptop"), result_type=ANSWER)
        answers = await asyncio.gather(first, second)
        started = [answer for answer in answers if isinstance(answer, Started)]
        refused = [answer for answer in answers if isinstance(answer, Refusal)]
        assert len(started) == len(refused) == 1
        assert refused[0].held_by == started[0].run
        assert refused[0].started_by in {"ann@laptop", "bob@laptop"}
        again = await play.handle.execute_update("request", asking(1), result_type=ANSWER)
        mine = next((a for a in answers if isinstance(a, Started)), None)
        assert isinstance(again, Refusal) or again == mine
        play.world.gates["steer"].set()
        await play.until(lambda s: s.run is None and bool(s.last_runs))
        assert len(play.world.wrote) == 1


async def test_a_retried_request_starts_one_run() -> None:
    """A person whose connection broke asks again with the same id and gets the same run."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        first = await play.handle.execute_update("request", asking(1), result_type=ANSWER)
        second = await play.handle.execute_update("request", asking(1), result_type=ANSWER)
        assert isinstance(first, Started)
        assert first == second
        await play.until(lambda s: s.run is None and bool(s.last_runs))
        assert await play.handle.execute_update("request", asking(1), result_type=ANSWER) == first


async def test_paused_holds_automation_only() -> None:
    """A paused service does not move by itself; after resume it does."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.handle.execute_update("pause", Pause("ann", "maintenance"))
        await play.all_say(eu="down", us="healthy")
        await play.until(lambda s: "paused" in {h.rule for h in s.hold})
        assert not play.world.wrote
        await play.handle.execute_update("resume", Pause("ann", "done"))
        await play.until(lambda s: s.run is None and bool(s.last_runs))
        assert len(play.world.wrote) == 1


async def test_approval_asks() -> None:
    """In mode approval a question is put, with the reasons; nothing is written until somebody says yes."""
    async with stage(played=service(mode=Mode.APPROVAL)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        status = await play.until(lambda s: s.question is not None)
        assert status.question is not None
        assert status.question.target == US
        assert not play.world.wrote
        answer = await play.handle.execute_update("request", asking(1, MoveKind.FAILOVER), result_type=ANSWER)
        assert isinstance(answer, Started)
        await play.until(lambda s: s.run is None and bool(s.last_runs))
        assert len(play.world.wrote) == 1


async def test_mode_set_by_a_person() -> None:
    """A person may switch a service to observe; it then moves nothing."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.handle.execute_update("set_mode", SetMode(Mode.OBSERVE, "ann", "look first"))
        await play.all_say(eu="down", us="healthy")
        await play.until(lambda s: bool(s.last_runs))
        assert not play.world.wrote


async def history_length(play: Stage) -> int:
    return int((await play.handle.describe()).raw_description.workflow_execution_info.history_length)


async def test_goes_on_for_ever_without_losing_a_report() -> None:
    """Hundreds of reports carry it over into new executions, and the last word of each vantage stands."""
    async with stage() as play:
        await play.open()
        first = (await play.handle.describe()).run_id
        for _ in range(60):
            for vantage in ("v1", "v2", "v3"):
                await play.report(vantage, eu="healthy", us="degraded")
                await play.report(vantage, eu="healthy", us="healthy")
        await play.until(lambda s: len(s.views) == 3 and all(v.seq > 350 for v in s.views))
        assert (await play.handle.describe()).run_id != first
        status = await play.status()
        assert {view.vantage: view.seq for view in status.views} == {"v1": 356, "v2": 358, "v3": 360}
        assert await history_length(play) < 600


async def test_nothing_to_adopt_without_steering() -> None:
    """Adopting a service without steering says so."""
    bare = replace(service(), steering=None)
    async with stage(played=bare) as play:
        await play.open()
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await play.handle.execute_update("adopt", AdoptRequest("ann"))
        assert "no steering" in str(caught.value.cause)
