"""A region is lost: its services are led out of it together, and every one of them by its own decision."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from orchestrator.core.governing import Ledger
from orchestrator.core.health import EndpointState, Health
from orchestrator.core.names import Domain, RunId, ServiceId, VantageId
from orchestrator.core.orders import Limits, Orders, Pool
from orchestrator.core.quorum import Report
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Mode
from orchestrator.runtime.control import ControlPlane, NoSuch, RefusedByRule
from providers.base import Transient
from real.scenery import AWAY, EU, TOLD, US, VANTAGES, World, service
from real.stage import RealTime, Stage, desk, real_time, stage, until
from real.town import Town
from runbooks.plan import Converge
from workflows import options
from workflows.activities.governing import Governing
from workflows.activities.leading import AGAIN, Leading
from workflows.activities.looking import Pulses
from workflows.wire import (
    CONTROL_QUEUE,
    GOVERNOR_ID,
    Carry,
    Heartbeats,
    ServiceState,
    Slice,
    StepResult,
    StepTask,
    lost_id,
    service_id,
    steps_queue,
)
from workflows.wire.acts import ActKind, RunAct
from workflows.wire.evacuation import EvacuationReport, EvacuationStop, Fate
from workflows.wire.governor import GiveBack, GovernorState, Regime
from workflows.wire.lost import Bundle, Fallen, LeadAnswer, LeadRequest, LeadTask, Led
from workflows.wire.run import Ahead, HeadStart

PARIS, OHIO = Domain("alpha/paris"), Domain("beta/ohio")
WELL = (EndpointState(US, Health.HEALTHY, "", 0.1, None, proven=True),)
MOMENTS = [Mark.DETECTED, Mark.DECIDED, Mark.STARTED, Mark.VERIFIED, Mark.STEERED, Mark.CONVERGED, Mark.CLOSED]
SLOW = frozenset({"question", "run.stuck"})
"""What a busy machine lets be told besides."""
EVERYWHERE = (steps_queue(OHIO), steps_queue(Domain("onprem/tokyo")), CONTROL_QUEUE)
FELL = (EndpointState(EU, Health.DOWN, "http: connection refused", 1.0, 0.5, proven=False), *WELL)


@dataclass
class Region:
    """Services whose traffic is in Paris, with standbys in Ohio, where they share a pool."""

    client: Client
    town: Town
    stages: dict[str, Stage]
    seq: int = 0
    leaders: list[str] = field(default_factory=list)
    """The queues on which somebody led."""

    async def open(self, limits: Limits | None = None, pool: int = 1000, **policy: Any) -> None:
        """Everything stands in Paris and is well."""
        limits = limits or Limits()
        pools = (Pool("h100", pool),)
        names = tuple(ServiceId(name) for name in self.stages)
        await self.client.start_workflow(
            "governor",
            GovernorState(Ledger()),
            id=GOVERNOR_ID,
            task_queue=CONTROL_QUEUE,
            start_signal="configure",
            start_signal_args=[Regime(1, limits, pools, names)],
        )
        for each in self.stages.values():
            each.service = replace(each.service, policy=replace(each.service.policy, **policy))
            piece = Slice(1, each.service, VANTAGES, TOLD, True, orders=Orders(pools=pools, limits=limits))
            await self.client.start_workflow(
                "service", ServiceState(piece), id=service_id(each.service.id), task_queue=CONTROL_QUEUE
            )
            await each.all_say(eu="healthy", us="healthy")
        for each in self.stages.values():
            await each.until(lambda status: status.routing is not None)

    def report(self, vantage: str, name: str, states: tuple[EndpointState, ...] = FELL) -> Report:
        self.seq += 1
        return Report(ServiceId(name), VantageId(vantage), 0, vantage, 2, self.seq, 1, False, states)

    async def falls(self, *vantages: str, **ranks: tuple[int, tuple[ServiceId, ...]]) -> None:
        """Paris is down in the eyes of *vantages*, for all services at once; *ranks*: tier, and what it stands on."""
        for vantage in vantages:
            stands = next(each.region for each in VANTAGES if each.id == vantage)
            fallen = tuple(Fallen(self.report(vantage, name), *ranks.get(name, (3, ()))) for name in self.stages)
            await self.client.start_workflow(
                "lost",
                PARIS,
                id=lost_id(PARIS),
                task_queue=CONTROL_QUEUE,
                start_signal="heard",
                start_signal_args=[Bundle(PARIS, VantageId(vantage), stands, len(VANTAGES), 10, fallen)],
            )

    async def event(self) -> EvacuationReport:
        """What became of the region so far."""
        found: EvacuationReport = await self.client.get_workflow_handle(lost_id(PARIS)).query(
            "report", result_type=EvacuationReport
        )
        return found

    async def led(self) -> EvacuationReport:
        """The event once nobody is on the way any more."""

        def arrived(event: EvacuationReport) -> bool:
            return len(event.departures) == len(self.stages) and all(each.ended for each in event.departures)

        return await until(self.event, arrived, 30)

    async def closed(self, name: str) -> Record:
        """The service's run, closed."""
        status = await self.stages[name].until(lambda status: status.run is None and bool(status.last_runs), 30)
        return status.last_runs[0]

    async def held(self) -> Ledger:
        ledger: Ledger = await self.client.get_workflow_handle(GOVERNOR_ID).query("held", result_type=Ledger)
        return ledger

    def wrote(self) -> dict[str, int]:
        return {name: len(world.wrote) for name, world in self.town.worlds.items()}


@contextlib.asynccontextmanager
async def region(
    *names: str, leading: Callable[[Region, Leading], dict[str, Any]] | None = None
) -> AsyncIterator[Region]:
    """A region with these services; *leading* says who leads on which queue, else everybody outside does."""
    async with real_time() as client, contextlib.AsyncExitStack() as stack:
        clock = RealTime(client)
        town = Town(clock.get_current_time)
        stages = {}
        for name in names:
            town.worlds[name] = World(clock.get_current_time)
            one = service(name)
            pooled = tuple(replace(each, pool="h100") if each.id == US else each for each in one.endpoints)
            stages[name] = Stage(clock, town.worlds[name], replace(one, endpoints=pooled))
        town.governing = Governing(client)
        play = Region(client, town, stages)

        async def do(task: StepTask) -> StepResult:
            play.leaders.append(activity.info().task_queue)
            try:
                return await town.worlds[task.service].step(task)
            except ApplicationError as error:
                raise Transient(error.message) from error

        usual = Leading(client, do, town.recheck, town.governing, Pulses(client))
        acts = leading(play, usual) if leading else dict.fromkeys(EVERYWHERE, usual.lead)
        control = [acts[CONTROL_QUEUE]] if CONTROL_QUEUE in acts else []
        await stack.enter_async_context(desk(client, town, *town.activities(), usual.hand_over, *control))
        for vantage in VANTAGES:
            queue = steps_queue(vantage.region)
            here = [town.step, town.undo, *([acts[queue]] if queue in acts else [])]
            await stack.enter_async_context(Worker(client, task_queue=queue, activities=here))
        yield play


async def test_all_services_leave_a_lost_region_and_people_are_told_once() -> None:
    """Two of three vantages lose Paris: every service moves by its own run, written once, and one message goes out."""
    async with region("a", "b", "c", "d") as play:
        await play.open()
        await play.falls("v2", "v3")
        event = await play.led()
        assert {each.service: each.fate for each in event.departures} == dict.fromkeys("abcd", Fate.MOVED)
        assert event.by == "automatic"
        assert "v2, v3" in event.reason
        for name in play.stages:
            record = await play.closed(name)
            assert record.status is RunStatus.COMPLETED
            assert record.trigger.by == "automatic"
            marks = [entry.mark for entry in record.entries]
            order = [
                Mark.DETECTED,
                Mark.DECIDED,
                Mark.STARTED,
                Mark.VERIFIED,
                Mark.STEERED,
                Mark.CONVERGED,
                Mark.CLOSED,
            ]
            assert [mark for mark in marks if mark in order] == order
            assert [entry.at for entry in record.entries] == sorted(entry.at for entry in record.entries)
        assert play.wrote() == dict.fromkeys("abcd", 1)
        assert CONTROL_QUEUE not in play.leaders, "workers outside the region led"
        told = [each for each in play.town.told if each.event not in SLOW]
        assert [each.event for each in told] == ["region-lost"]
        assert "alpha/paris is lost: v2, v3 find it down" in told[0].text
        ledger = await play.held()
        assert not ledger.grants
        assert {each.service for each in ledger.standing} == set(play.stages), "what they take now stands in the ledger"


async def test_no_pool_is_promised_twice_when_a_region_falls() -> None:
    """The pool carries two of three: two move, the third asks people, and never was more promised than there is."""
    async with region("a", "b", "c") as play:
        await play.open(pool=100)
        await play.falls("v2", "v3")
        event = await play.led()
        fates = sorted(each.fate for each in event.departures)
        assert fates == [Fate.MOVED, Fate.MOVED, Fate.REFUSED]
        left = next(each.service for each in event.departures if each.fate is Fate.REFUSED)
        status = await play.stages[left].until(lambda status: status.question is not None)
        assert [reason.rule for reason in status.hold] == ["pool-full"]
        assert sum(play.wrote().values()) == 2


async def test_services_take_turns_where_few_may_move_at_once() -> None:
    """With one place, one moves after the other, and each place is free as soon as its traffic has moved."""
    async with region("a", "b", "c") as play:
        await play.open(Limits(at_once=1, per_domain=1, change_guard=100))
        await play.falls("v2", "v3")
        event = await play.led()
        assert {each.fate for each in event.departures} == {Fate.MOVED}
        assert play.wrote() == dict.fromkeys("abc", 1)


async def test_the_important_ones_are_led_first_and_what_they_stand_on_before_them() -> None:
    """One at a time: the important one's foundation, though of the last tier, then itself, then the others by tier."""
    async with region("a", "other", "page", "z") as play:
        await play.open(Limits(at_once=1, per_domain=1, change_guard=100))
        await play.falls("v2", "v3", page=(1, (ServiceId("z"),)), other=(2, ()))
        event = await play.led()
        assert [each.service for each in event.departures] == ["z", "page", "other", "a"]


async def test_the_loss_of_very_many_services_goes_on_in_a_new_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The history has become too long in the middle of it: all are led, each once, and it stays one event."""
    monkeypatch.setattr(options, "LOST_LONG", 20_000)
    names = "abcdefghijkl"
    async with region(*names) as play:
        await play.open(Limits(at_once=3, per_domain=3, change_guard=100))
        await play.falls("v2", "v3")
        first = (await play.event()).id
        event = await play.led()
        now = await play.client.get_workflow_handle(lost_id(PARIS)).describe()
        assert now.run_id != first, "it never went on in a new execution"
        assert event.id == first
        assert {each.service: each.fate for each in event.departures} == dict.fromkeys(names, Fate.MOVED)
        for name in play.stages:
            record = await play.closed(name)
            assert record.status is RunStatus.COMPLETED
            assert [entry.mark for entry in record.entries].count(Mark.STEERED) == 1
        assert play.wrote() == dict.fromkeys(names, 1)
        assert [each.event for each in play.town.told if each.event not in SLOW] == ["region-lost"]


async def test_a_leader_that_falls_silent_is_followed_by_another() -> None:
    """A leader dies after its writes, unheard: the next one does all again under the same tokens; each landed once."""

    def leading(play: Region, usual: Leading) -> dict[str, Any]:
        @activity.defn(name=options.LEAD)
        async def silent(task: LeadTask) -> LeadAnswer:
            await usual.lead(task)
            await asyncio.Event().wait()
            raise AssertionError

        return {steps_queue(OHIO): silent, CONTROL_QUEUE: usual.lead}

    async with region("a", "b", leading=leading) as play:
        await play.open()
        await play.falls("v3", "v2")
        event = await play.led()
        assert {each.fate for each in event.departures} == {Fate.MOVED}
        assert {(await play.closed(name)).status for name in play.stages} == {RunStatus.COMPLETED}
        assert play.wrote() == {"a": 1, "b": 1}
        assert set(play.leaders) == {steps_queue(OHIO), CONTROL_QUEUE}


async def test_where_nobody_can_lead_every_service_goes_by_itself() -> None:
    """No worker leads: the reports go on to the services, and each moves as it does where no region is lost."""
    async with region("a", "b", leading=lambda *_: {}) as play:
        await play.open()
        await play.falls("v2", "v3")
        for name in play.stages:
            assert (await play.closed(name)).status is RunStatus.COMPLETED
        assert play.wrote() == {"a": 1, "b": 1}


async def test_one_vantage_alone_loses_no_region() -> None:
    """Only one vantage finds Paris down: nothing moves, and its word reaches the services all the same."""
    async with region("a", "b") as play:
        await play.open()
        await play.falls("v2")
        for each in play.stages.values():
            await each.until(lambda status: any(view.epoch == 2 for view in status.views))
        assert not (await play.event()).departures
        assert play.wrote() == {"a": 0, "b": 0}


async def test_a_vantage_in_the_lost_region_has_no_vote() -> None:
    """It and one other find Paris down: nobody is led before a second one from outside says so too."""
    async with region("a", "b") as play:
        await play.open()
        await play.falls("v1", "v2")
        for each in play.stages.values():
            await each.until(lambda status: sum(view.epoch == 2 for view in status.views) == 2)
        assert not (await play.event()).departures
        await play.falls("v3")
        for name in play.stages:
            assert (await play.closed(name)).status is RunStatus.COMPLETED
        assert play.wrote() == {"a": 1, "b": 1}


async def test_once_it_is_stopped_nobody_is_led() -> None:
    """A person stops the event before a majority has spoken: the services decide, each by itself."""
    async with region("a", "b") as play:
        await play.open(mode=Mode.OBSERVE)
        await play.falls("v2")
        handle = play.client.get_workflow_handle(lost_id(PARIS))
        await handle.execute_update(
            "stop", EvacuationStop("ann", "a test of the probers"), result_type=EvacuationReport
        )
        await play.falls("v3")
        for each in play.stages.values():
            await each.until(lambda status: sum(view.epoch == 2 for view in status.views) == 2)
        event = await play.event()
        assert event.stopped == "stopped by ann: a test of the probers"
        assert not event.departures


async def test_a_step_that_fails_at_first_is_the_runs_own() -> None:
    """The leader's first try at the proof fails: the run begins at once, tries again, and completes."""
    async with region("a") as play:
        play.town.worlds["a"].stumbling["verify"] = [
            ApplicationError("not yet", type="Transient") for _ in range(AGAIN)
        ]
        await play.open()
        await play.falls("v2", "v3")
        record = await play.closed("a")
        assert record.status is RunStatus.COMPLETED
        assert play.wrote() == {"a": 1}
        assert play.town.worlds["a"].steps.count("verify") == AGAIN + 1


async def test_a_service_that_only_watches_is_not_led() -> None:
    """In observe mode the service says what it would have done, and nothing is written."""
    async with region("a", "b") as play:
        await play.open(mode=Mode.OBSERVE)
        await play.falls("v2", "v3")
        event = await play.led()
        assert {each.fate for each in event.departures} == {Fate.REFUSED}
        for each in play.stages.values():
            status = await each.until(lambda status: bool(status.last_runs))
            assert status.last_runs[0].status is RunStatus.OBSERVED
        assert play.wrote() == {"a": 0, "b": 0}


# ------------------------------------------------------------------ the service's side


def reports(play: Stage) -> tuple[Report, ...]:
    return tuple(
        Report(play.service.id, VantageId(vantage), 0, vantage, 2, 1, 1, False, FELL) for vantage in ("v2", "v3")
    )


async def ask(play: Stage, **changes: Any) -> Led:
    """A leader asks the service."""
    until_ = datetime.now(UTC) + timedelta(seconds=60)
    asked = replace(LeadRequest("event-1", PARIS, reports(play), Heartbeats(), until_), **changes)
    led: Led = await play.handle.execute_update("lead", asked, id=str(uuid.uuid4()), result_type=Led)
    return led


async def test_a_run_whose_leader_is_never_heard_of_begins_by_itself() -> None:
    """The leader decided with the service and died: after a minute the run goes its whole way."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        now = await play.env.get_current_time()
        led = await ask(play, until=now + timedelta(seconds=60))
        assert led.run is not None
        status = await play.status()
        assert status.run == led.run
        assert not play.world.wrote
        await play.pass_(seconds=61)
        status = await play.closed()
        assert [(record.run, record.status) for record in status.last_runs] == [(led.run, RunStatus.COMPLETED)]
        assert len(play.world.wrote) == 1


async def test_a_service_is_led_once_and_says_which_run_holds_it() -> None:
    """A second leader gets the run that holds the service; where the governor refused that run, another is chosen."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        first = await ask(play)
        second = await ask(play)
        assert (second.run, second.carry) == (first.run, None)
        assert second.text == f"run {first.run} is under way"
        third = await ask(play, instead=first.run)
        assert third.run not in {None, first.run}
        assert third.carry is not None
        assert (await play.status()).run == third.run


async def test_who_asks_for_a_run_that_is_still_to_begin_is_told_so() -> None:
    """Its leader has done the first steps, and many others go first: no question about it hangs, or finds nothing."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        led = await ask(play)
        assert led.run is not None
        plane = ControlPlane(play.env.client)
        assert (await plane.status(ServiceId("chat"))).run == led.run
        with pytest.raises(NoSuch, match=f"run {led.run} is led out of a lost region together with others"):
            await plane.record(led.run)
        with pytest.raises(NoSuch, match="is still to begin, within minutes"):
            await plane.record(led.run)


async def led_run(play: Stage) -> tuple[ControlPlane, Carry]:
    """A run that waits for its leader, and the desk from which people act on it."""
    await play.open()
    await play.all_say(eu="healthy", us="healthy")
    led = await ask(play, until=await play.env.get_current_time() + timedelta(minutes=5))
    assert led.carry is not None
    return ControlPlane(play.env.client), led.carry


def head_of(carry: Carry, now: datetime) -> HeadStart:
    """What a leader says who has moved the traffic."""
    done = (
        Ahead(step.id, StepResult(text=f"{step.id} was done ahead"), ())
        for step in carry.plan.steps
        if not isinstance(step.work, Converge)
    )
    return HeadStart(carry.plan.run, now, tuple(done))


async def test_an_act_on_a_run_that_is_still_to_begin_is_done_when_it_begins() -> None:
    """Two people act before the run begins: each is told so, and once its leader is heard of both are in the record."""
    async with stage() as play:
        plane, carry = await led_run(play)
        run = carry.plan.run
        held = RunAct("a-1", ActKind.PAUSE, "ann@laptop", "let me look")
        told = await plane.act(run, held)
        assert told.text.startswith("paused by ann@laptop: let me look. Its region is lost and others leave it, too")
        assert told.text.endswith("this is done as soon as the run begins, within a minute")
        assert await plane.act(run, held) == told, "a retry is the same act"
        with pytest.raises(RefusedByRule, match="waits for nobody's approval now"):
            await plane.act(run, RunAct("a-2", ActKind.APPROVE, "ann@laptop", "fine"))
        with pytest.raises(RefusedByRule, match="is paused already"):
            await plane.act(run, RunAct("a-3", ActKind.PAUSE, "bob@laptop", "me too"))
        await plane.act(run, RunAct("a-4", ActKind.ABORT, "bob@laptop", "not today"))
        await play.handle.signal("go_on", head_of(carry, await play.env.get_current_time()))
        record = (await play.closed()).last_runs[0]
        assert [entry.text for entry in record.entries if entry.mark is Mark.ACT] == [
            "paused by ann@laptop: let me look",
            "aborted by bob@laptop: not today",
        ]
        assert record.status is RunStatus.HALTED
        assert "stopped: bob@laptop: not today. Nothing was put back" in record.entries[-1].text
        assert "Traffic goes to us." in record.entries[-1].text


async def test_an_act_outlives_the_run_that_the_governor_refused() -> None:
    """The governor refused the run that somebody had aborted: the one that takes its place is aborted."""
    async with stage() as play:
        plane, carry = await led_run(play)
        run = carry.plan.run
        await plane.act(run, RunAct("a-1", ActKind.ABORT, "bob@laptop", "not today"))
        other = await ask(play, instead=run, until=await play.env.get_current_time() + timedelta(minutes=5))
        assert other.run not in {None, run}
        record = (await play.closed()).last_runs[0]
        assert (record.run, record.status, play.world.wrote) == (other.run, RunStatus.ABORTED, [])


async def test_people_are_told_where_their_act_came_to_nothing() -> None:
    """The run that somebody had held is granted nothing, and never begins: people read what keeps the service still."""
    async with stage() as play:
        plane, carry = await led_run(play)
        run = carry.plan.run
        await plane.act(run, RunAct("a-2", ActKind.PAUSE, "bob@laptop", "let me look"))
        await play.handle.signal("left_behind", GiveBack(run))
        await until(lambda: asyncio.sleep(0, play.world.events()), lambda events: "run.note" in events)
        (told,) = (telling.text for telling in play.world.told if telling.event == "run.note")
        assert f"run {run} never began, so nothing came of this: pause by bob@laptop: let me look" in told
        assert "failover pause chat" in told


@pytest.mark.parametrize("wrote", [True, False])
async def test_an_abort_is_told_truly_though_the_leader_is_never_heard_of(wrote: bool) -> None:
    """The leader fell silent, before or after its write: the run begins, and its record says where traffic goes."""
    async with stage() as play:
        plane, carry = await led_run(play)
        run = carry.plan.run
        await plane.act(run, RunAct("a-1", ActKind.ABORT, "bob@laptop", "not today"))
        if wrote:
            play.world.routing = replace(play.world.routing, fence=Fence(8, run, "steer", AWAY))
        began = await play.env.get_current_time()
        record = (await play.closed()).last_runs[0]
        assert record.closed is not None
        assert record.closed - began < timedelta(seconds=75)
        last = record.entries[-1].text
        assert "bob@laptop: not today" in last
        assert (record.status, play.world.wrote) == (RunStatus.HALTED if wrote else RunStatus.ABORTED, [])
        assert ("Traffic goes to us." if wrote else "Traffic was not moved: it goes to eu.") in last
        assert (record.first(Mark.STEERED) is not None) is wrote


async def test_a_service_that_is_left_behind_sees_to_it_by_itself() -> None:
    """Nobody granted its run: it lets it go, decides anew, and moves."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        led = await ask(play)
        assert led.run is not None
        await play.handle.signal("left_behind", GiveBack(led.run))
        status = await play.closed()
        assert [record.run for record in status.last_runs] != [led.run]
        assert status.last_runs[0].status is RunStatus.COMPLETED


async def test_news_of_another_run_change_nothing() -> None:
    """What a leader says of a run that the service does not wait for is not for it."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        led = await ask(play)
        other = HeadStart(RunId("chat-20240101-000000-0000"), datetime.now(UTC))
        await play.handle.signal("go_on", other)
        await play.handle.signal("left_behind", GiveBack(other.run))
        assert (await play.status()).run == led.run
