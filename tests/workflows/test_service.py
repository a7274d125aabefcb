"""The service workflow: folding reports, deciding, one run at a time, and answering for itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Objection, Trigger
from orchestrator.core.names import RunId
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer, Mode
from real.scenery import AT_HOME, EU, US, World, refusal, service
from real.stage import RealTime, Stage, endpoint, real_time, staff, stage, until
from workflows import options
from workflows.activities.looking import Looking, Pulses
from workflows.wire import (
    ActiveRun,
    AdoptRequest,
    FailoverRequest,
    Pause,
    Refusal,
    SetMode,
    Slice,
    Started,
)

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
        await play.pass_(minutes=2)
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
        await play.pass_(seconds=30)
        await play.report("v2", eu="down", us="healthy")
        await play.pass_(seconds=30)
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
        await play.pass_(minutes=5)
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
                await play.report(vantage, in_a_rush=True, eu="healthy", us="degraded")
                await play.report(vantage, in_a_rush=True, eu="healthy", us="healthy")
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


# ------------------------------------------------------------------ when


async def test_confirm_is_waited_for_to_the_second() -> None:
    """With ten seconds to confirm, traffic moves ten seconds after the first failed probe, and no later."""
    async with stage(played=service(confirm_s=10.0)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy", age_s=2.0)
        began = await play.env.get_current_time() - timedelta(seconds=2)
        record = (await play.closed()).last_runs[0]
        steered = record.first(Mark.STEERED)
        assert steered is not None
        assert timedelta(seconds=9.5) <= steered.at - began < timedelta(seconds=14)
        assert play.world.events().count("held") == 0, "what passes by itself is not told"


async def test_a_blip_moves_nothing_and_wakes_nobody() -> None:
    """An endpoint that is back before the time to confirm is over moves no traffic, and nobody is told."""
    async with stage(played=service(confirm_s=10.0)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        await play.until(lambda s: "confirm" in {h.rule for h in s.hold})
        await play.pass_(seconds=5)
        await play.all_say(eu="healthy", us="healthy")
        await play.pass_(minutes=2)
        status = await play.status()
        assert (status.hold, status.last_runs, play.world.told, play.world.wrote) == ((), (), [], [])


async def test_flaps_shorter_than_confirm_move_nothing() -> None:
    """An endpoint that is never down for as long as it takes to confirm keeps its traffic, however often it falls."""
    async with stage(played=service(confirm_s=3.0)) as play:
        await play.open()
        for _ in range(8):
            await play.all_say(eu="down", us="healthy", age_s=0.1)
            await play.pass_(seconds=1.7)
            await play.all_say(eu="healthy", us="healthy")
            await play.pass_(seconds=1.7)
        status = await play.status()
        assert (status.run, status.last_runs, play.world.wrote) == (None, (), [])


async def test_a_flapping_endpoint_moves_once() -> None:
    """An endpoint that goes down and comes back again and again causes one run, not one for each fall."""
    async with stage(played=service(cooldown_s=300.0)) as play:
        await play.open()
        for _ in range(6):
            await play.all_say(eu="down", us="healthy")
            await play.until(lambda s: s.run is None and bool(s.last_runs))
            await play.all_say(eu="healthy", us="down")
            await play.until(lambda s: "cool-down" in {h.rule for h in s.hold})
        assert [token.rpartition("/")[2] for token in play.world.wrote] == ["steer"]


async def test_cool_down_keeps_runs_apart_and_ends_by_itself() -> None:
    """The new home falls right after a run: automation waits for the cool-down, then moves without further news."""
    async with stage(played=service(cooldown_s=60.0)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        first = (await play.closed()).last_runs[0]
        assert first.closed is not None
        await play.all_say(eu="healthy", us="down")
        status = await play.until(lambda s: "cool-down" in {h.rule for h in s.hold})
        assert len(play.world.wrote) == 1
        assert status.run is None
        second = (await play.closed(runs=2)).last_runs[0]
        assert second.target == EU
        assert second.kind is MoveKind.FAILOVER
        waited = second.started - first.closed
        assert timedelta(seconds=60) <= waited < timedelta(seconds=64)


async def test_a_person_need_not_wait_for_the_cool_down() -> None:
    """Cool-down binds automation; a person's request runs at once."""
    async with stage(played=service(cooldown_s=3600.0)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        await play.closed()
        await play.all_say(eu="healthy", us="healthy")
        back = FailoverRequest("back", Request(MoveKind.FAILBACK, Trigger("ann", "home"), EU))
        assert isinstance(await play.handle.execute_update("request", back, result_type=ANSWER), Started)
        await play.closed(runs=2)
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AT_HOME


async def test_an_outage_during_a_run_is_not_forgotten() -> None:
    """The target falls while the run that goes there is at work: when it has closed, the service decides anew."""
    async with stage(played=service(cooldown_s=0.0)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        gate = play.world.gates["converge"] = asyncio.Event()
        await play.all_say(eu="down", us="healthy")
        await until(lambda: asyncio.sleep(0, play.world.steps), lambda steps: "converge" in steps)
        await play.all_say(eu="healthy", us="down")
        gate.set()
        status = await play.closed(runs=2)
        assert [record.target for record in status.last_runs] == [EU, US]


@pytest.mark.parametrize("step", ["promote", "verify"])
async def test_a_target_that_falls_while_it_is_prepared_is_left(step: str) -> None:
    """The standby falls while it loads and a third endpoint is well: the run ends at once, and the next goes there."""
    third = endpoint("ap", "gamma/tokyo", "192.0.2.3")
    played = service(cooldown_s=300.0)
    async with stage(played=replace(played, endpoints=(third, *played.endpoints))) as play:
        play.world.replicas["ap"] = 2
        play.world.routing = replace(play.world.routing, fence=Fence(7, "adopt", "adopt", ((third.id, 0), *AT_HOME)))
        await play.open()
        await play.all_say(ap="degraded", eu="healthy", us="healthy")
        gate = play.world.gates[step] = asyncio.Event()
        await play.all_say(ap="degraded", eu="down", us="healthy")
        await until(lambda: asyncio.sleep(0, play.world.steps), lambda steps: step in steps)
        del play.world.gates[step]
        await play.all_say(ap="healthy", eu="down", us="down")
        status = await play.closed(runs=2)
        gate.set()
        assert [record.target for record in status.last_runs] == ["ap", US]
        assert [record.status for record in status.last_runs] == [RunStatus.COMPLETED, RunStatus.UNDONE]
        assert "us fell meanwhile" in status.last_runs[1].entries[-1].text
        assert play.world.wrote == [f"{status.last_runs[0].run}/steer"]


async def test_a_target_without_room_is_passed_over_at_once() -> None:
    """The preferred standby's cloud has no capacity: the run is put back, and the next goes to the third at once."""
    third = endpoint("zz", "gamma/tokyo", "192.0.2.3")
    played = service(cooldown_s=300.0, prefer=(US,))
    async with stage(played=replace(played, endpoints=(*played.endpoints, third))) as play:
        play.world.replicas["zz"] = 2
        play.world.routing = replace(play.world.routing, fence=Fence(7, "adopt", "adopt", (*AT_HOME, (third.id, 0))))
        play.world.stumbling["promote"] = [refusal("NoCapacity", "no room for 3 replicas")]
        await play.open()
        await play.all_say(eu="healthy", us="healthy", zz="healthy")
        await play.all_say(eu="down", us="healthy", zz="healthy")
        status = await play.closed(runs=2)
        assert [record.target for record in status.last_runs] == ["zz", US]
        assert [record.status for record in status.last_runs] == [RunStatus.COMPLETED, RunStatus.UNDONE]
        assert "no room for 3 replicas" in status.last_runs[1].entries[-1].text
        assert status.last_runs[0].started - status.last_runs[1].closed < timedelta(seconds=20)


async def test_a_stale_plan_is_made_again_from_the_world_as_it_is() -> None:
    """A rival took the generation: the run ends as stale, and the next one is planned from what stands now."""
    async with stage(played=service(cooldown_s=60.0)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        gate = play.world.gates["verify"] = asyncio.Event()
        await play.all_say(eu="down", us="healthy")
        await until(lambda: asyncio.sleep(0, play.world.steps), lambda steps: "verify" in steps)
        play.world.routing = replace(play.world.routing, fence=Fence(8, "rival", "steer", AT_HOME))
        gate.set()
        status = await play.closed(runs=2)
        second, first = status.last_runs
        assert first.status is RunStatus.STALE
        assert second.status is RunStatus.COMPLETED
        assert second.generation == 8
        assert second.started - first.closed < timedelta(seconds=20), "nothing had been done: there is nothing to cool"


async def test_a_fence_that_never_holds_still_is_not_chased() -> None:
    """Every plan meets a newer fence: after the second one the service waits for its cool-down."""
    async with stage(played=service(cooldown_s=60.0)) as play:
        await play.open()
        play.world.failing["steer"] = refusal("StaleGeneration", "generation 9 stands")
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        await play.closed(runs=2)
        await play.pass_(seconds=30)
        assert len((await play.status()).last_runs) == 2


# ------------------------------------------------------------------ the record at the name server


async def test_a_hand_edit_is_kept_and_told_once() -> None:
    """Somebody edited the answer: nothing is overwritten, and people are told once which command puts it right."""
    async with stage() as play:
        play.world.routing = replace(play.world.routing, answer=Answer("addresses", ("198.51.100.7",)))
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        status = await play.until(lambda s: "changed-outside" in {h.rule for h in s.hold})
        assert "failover adopt chat" in " ".join(h.text for h in status.hold)
        await play.pass_(minutes=10)
        assert play.world.events() == ["held", "held"], "the edit itself, and the outage that it leaves unmended"
        assert len({telling.text for telling in play.world.told}) == 2
        assert not play.world.wrote


async def test_a_record_that_is_not_ours_is_left_alone() -> None:
    """A record without our fence is not written; the reason names the command to run, and after it traffic moves."""
    async with stage() as play:
        play.world.routing = replace(play.world.routing, fence=None)
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        status = await play.until(lambda s: "not-adopted" in {h.rule for h in s.hold})
        assert "failover adopt chat" in next(h.text for h in status.hold if h.rule == "not-adopted")
        assert not play.world.wrote
        await play.handle.execute_update("adopt", AdoptRequest("ann"))
        await play.closed()
        assert len(play.world.wrote) == 1


async def test_reading_that_fails_kills_no_service() -> None:
    """The activity that looks at the world breaks: the service lives, says what it cannot read, and recovers."""
    async with stage() as play:
        play.world.blind = refusal("Bug", "this should not happen")
        await play.open()
        await play.all_say(eu="down", us="healthy")
        await play.until(lambda s: "routing-unknown" in {h.rule for h in s.hold})
        play.world.blind = None
        await play.closed()
        assert len(play.world.wrote) == 1


# ------------------------------------------------------------------ telling


async def test_every_incident_is_told_and_observed_once() -> None:
    """Two outages in mode observe: two records and two tellings, however long each of them lasts."""
    async with stage(played=service(mode=Mode.OBSERVE)) as play:
        await play.open()
        for incident in (1, 2):
            await play.all_say(eu="down", us="healthy")
            await play.until(lambda s, n=incident: len(s.last_runs) == n)
            await play.pass_(minutes=20)
            await play.all_say(eu="healthy", us="healthy")
            await play.until(lambda s: not s.hold)
        await until(lambda: asyncio.sleep(0, play.world.events()), lambda events: len(events) >= 2)
        assert play.world.events() == ["held", "held"]
        assert len(play.world.published) == 2


async def test_a_day_of_outage_in_observe_costs_few_events() -> None:
    """A day in which the endpoint is down and nothing may be done: about a hundred looks, and few history events."""
    async with stage(played=service(mode=Mode.OBSERVE)) as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        await play.until(lambda s: bool(s.last_runs))
        length, looks, first = await history_length(play), play.world.looks, await run_id(play)
        await play.pass_(hours=12)
        assert await run_id(play) == first
        assert play.world.looks - looks <= 60
        assert await history_length(play) - length <= 400


async def test_an_outage_that_cannot_be_mended_yet_is_looked_at_every_minute() -> None:
    """An automatic service that is held looks again ever more rarely, but once a minute at least."""
    async with stage() as play:
        await play.open(held=(Objection("recreated", "it was lost"),))
        await play.all_say(eu="down", us="healthy")
        await play.until(lambda s: "held" in {h.rule for h in s.hold})
        looks = play.world.looks
        await play.pass_(hours=1)
        assert 40 <= play.world.looks - looks <= 70
        assert not play.world.wrote


async def test_a_day_without_news_costs_nothing() -> None:
    """A steady service is not woken by itself: a day later its history is as long as before."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.until(lambda s: len(s.views) == 3)
        await play.pass_(minutes=1)
        length = await history_length(play)
        await play.pass_(days=1)
        assert await history_length(play) == length


# ------------------------------------------------------------------ the topology, and time


async def test_an_older_topology_changes_nothing() -> None:
    """A revision that arrives late is not put in force over a newer one."""
    async with stage() as play:
        await play.open()
        newer = replace(play.slice(revision=5), service=service(mode=Mode.MANUAL))
        await play.handle.signal("configure", newer)
        await play.handle.signal("configure", play.slice(revision=4))
        status = await play.until(lambda s: s.revision == 5)
        assert status.mode is Mode.MANUAL
        assert (await play.handle.query("slice", result_type=Slice)).revision == 5


async def test_a_persons_mode_lasts_until_the_topology_says_otherwise() -> None:
    """A new revision keeps the mode that a person has set, unless it changes the mode itself."""
    async with stage() as play:
        await play.open()
        await play.handle.execute_update("set_mode", SetMode(Mode.OBSERVE, "ann", "look first"))
        await play.handle.signal("configure", play.slice(revision=2))
        assert (await play.until(lambda s: s.revision == 2)).mode is Mode.OBSERVE
        await play.handle.signal("configure", replace(play.slice(revision=3), service=service(mode=Mode.APPROVAL)))
        assert (await play.until(lambda s: s.revision == 3)).mode is Mode.APPROVAL
        await play.handle.signal("configure", play.slice(revision=4))
        assert (await play.until(lambda s: s.revision == 4)).mode is Mode.AUTOMATIC


async def test_a_retired_service_ends() -> None:
    """A service that is gone from the topology ends its workflow."""
    async with stage() as play:
        await play.open()
        await play.handle.signal("retire")
        await asyncio.wait_for(play.handle.result(), 10)


async def test_a_run_outlives_its_service() -> None:
    """The service is retired in the middle of a run: the run completes, and publishes its record itself."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        gate = play.world.gates["steer"] = asyncio.Event()
        await play.all_say(eu="down", us="healthy")
        run = (await play.until(lambda s: s.run is not None)).run
        await play.handle.signal("retire")
        await asyncio.wait_for(play.handle.result(), 10)
        gate.set()
        handle = play.client.get_workflow_handle(f"failover/chat/{run}", result_type=Record)
        assert (await handle.result()).status is RunStatus.COMPLETED
        await until(
            lambda: asyncio.sleep(0, [p.record.status for p in play.world.published if p.record]),
            lambda statuses: RunStatus.COMPLETED in statuses,
        )


@contextlib.asynccontextmanager
async def on_real_time() -> AsyncIterator[Stage]:
    """The development server: the time-skipping one may lose a task that a signal meets, and here hundreds do."""
    async with real_time() as client:
        clock = RealTime(client)
        world = World(clock.get_current_time)
        async with staff(client, world):
            yield Stage(clock, world, service())


async def test_never_continued_in_the_middle_of_a_run() -> None:
    """Hundreds of reports during a run: the service goes over into a new execution after it, and remembers requests."""
    async with on_real_time() as play:
        await play.open()
        first = (await play.handle.describe()).run_id
        await play.all_say(eu="healthy", us="healthy")
        gate = play.world.gates["steer"] = asyncio.Event()
        answer = await play.handle.execute_update("request", asking(1), result_type=ANSWER)
        assert isinstance(answer, Started)
        while await history_length(play) <= options.CONTINUE_AT:
            for _ in range(20):
                await play.report("v1", in_a_rush=True, eu="healthy", us="degraded")
                await play.report("v2", in_a_rush=True, eu="healthy", us="healthy")
        await play.until(lambda s: any(v.seq == play.seq for v in s.views))
        assert (await play.handle.describe()).run_id == first
        gate.set()
        await play.closed()
        await until(lambda: run_id(play), lambda now: now != first)
        assert await play.handle.execute_update("request", asking(1), result_type=ANSWER) == answer
        status = await play.status()
        assert [record.run for record in status.last_runs] == [answer.run]
        assert len(play.world.wrote) == 1


async def run_id(play: Stage) -> str:
    return str((await play.handle.describe()).run_id)


# ------------------------------------------------------------------ runs that never come back


async def test_a_run_that_ended_without_a_word_holds_the_service() -> None:
    """A run is found to have ended without closing its record: the lock is free, and automation waits for a person."""
    async with stage() as play:
        gone = ActiveRun(RunId("chat-20240101-000000-dead"), "failover/chat/dead", "automatic")
        play.world.ended[gone.workflow] = "TERMINATED"
        await play.open(run=gone)
        await play.all_say(eu="down", us="healthy")
        await play.pass_(seconds=28)
        assert (await play.status()).run == gone.run
        await play.pass_(seconds=4)
        status = await play.status()
        assert status.run is None
        assert [held.rule for held in status.held] == ["run-lost"]
        assert "failover resume chat" in status.held[0].text
        await play.pass_(minutes=5)
        assert not play.world.wrote
        assert "run-lost" in play.world.events()
        await play.handle.execute_update("resume", Pause("ann", "looked"))
        await play.closed()
        assert len(play.world.wrote) == 1


async def test_asking_after_a_run_may_fail() -> None:
    """The server does not say what became of the run: the service keeps waiting, and asks again."""
    async with stage() as play:
        gone = ActiveRun(RunId("chat-20240101-000000-dead"), "failover/chat/dead", "automatic")
        play.world.blind = refusal("Bug", "unavailable")
        await play.open(run=gone)
        await play.pass_(seconds=70)
        assert (await play.status()).run == gone.run
        play.world.blind, play.world.ended[gone.workflow] = None, "TIMED_OUT"
        await play.pass_(seconds=40)
        assert (await play.status()).run is None


async def test_a_terminated_run_is_known_as_that() -> None:
    """Somebody terminates a run from outside, on a real server: whoever asks after it is told so."""
    async with real_time() as client:
        handle = await client.start_workflow("failover", id="failover/chat/gone", task_queue="nobody")
        assert await Looking(client, Pulses(client)).describe_run(handle.id) == "RUNNING"
        await handle.terminate("by a test")
        assert await Looking(client, Pulses(client)).describe_run(handle.id) == "TERMINATED"
        assert await Looking(client, Pulses(client)).describe_run("failover/chat/never") == "GONE"
