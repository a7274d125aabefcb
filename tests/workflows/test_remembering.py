"""What a service remembers of how it served: the topology's revisions are judged by it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.core.crashes import Memory
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.provoked import put_in
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.record import Entry, Mark, Record, RunStatus
from real.scenery import AT_HOME, AWAY, EU, US, VANTAGES, at_home, service
from real.stage import Stage, stage
from workflows import remembering
from workflows.wire import ServiceState, Slice, StatusQuestion

NOW = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)


async def memory(play: Stage) -> Memory:
    await play.settled()
    question = StatusQuestion(await play.env.get_current_time())
    found: Memory = await play.handle.query("memory", question, result_type=Memory)
    return found


async def test_a_failover_is_remembered_until_its_endpoint_is_well() -> None:
    """Traffic was saved at us, and eu is down still: the crash lasts to this day, and ends when eu is well again."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="down", us="healthy")
        await play.closed()
        before = await memory(play)
        (crash,) = before.crashes
        assert (crash.endpoint, crash.saved, crash.revision, before.since) == (EU, True, 1, None)
        await play.pass_(minutes=5)
        lasting = (await memory(play)).crashes[0].seen
        assert lasting >= crash.seen + timedelta(minutes=5)
        await play.all_say(eu="healthy", us="healthy")
        await play.pass_(minutes=10)
        (over,) = (await memory(play)).crashes
        assert over.seen < await play.env.get_current_time() - timedelta(minutes=9)


async def test_what_nothing_could_take_over_is_not_saved() -> None:
    """Everything is down: the endpoint that carries the traffic has crashed, and nothing has saved its service."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="down", us="down")
        await play.until(lambda s: any(h.rule == "everything-down" for h in s.hold))
        (crash,) = (await memory(play)).crashes
        assert (crash.endpoint, crash.saved) == (EU, False)
        assert "eu was down" in crash.text


async def test_a_day_of_health_leaves_nothing_to_remember() -> None:
    """A standby that falls and comes back crashes nothing."""
    async with stage() as play:
        await play.open()
        await play.all_say(eu="healthy", us="down")
        await play.pass_(minutes=3)
        await play.all_say(eu="healthy", us="healthy")
        assert (await memory(play)).crashes == ()


def run(name: str, kind: MoveKind, at: datetime, **changes: Any) -> Record:
    made = Record(
        run=RunId(name),
        service=service().id,
        kind=kind,
        trigger=Trigger("automatic", "eu is down"),
        status=RunStatus.COMPLETED,
        started=at,
        objective_s=60,
        source=(EndpointId("eu"),),
        target=EndpointId("us"),
        before=AT_HOME,
        after=AWAY,
        revision=1,
        generation=7,
        runbook="region-failover",
        steps=(),
        entries=(Entry(at - timedelta(seconds=5), Mark.DETECTED, "eu is down"),),
        closed=at,
    )
    return replace(made, **changes)


def test_the_fault_of_a_drill_is_no_crash() -> None:
    """eu fell while a drill's fault was in: that is not remembered. What falls long after, or elsewhere, is real."""
    fault = put_in(None, "d-1", EU, NOW + timedelta(minutes=5), NOW)
    state = ServiceState(Slice(1, service(), VANTAGES), routing=at_home(), faulted=fault)
    down = (Assessment(EU, Verdict.DOWN, "down", None, None, True),)
    for minutes, crashed in ((1, 0), (5, 0), (7, 1)):
        began = NOW + timedelta(minutes=minutes)
        known = replace(state, detected=((EU, began),))
        assert len(remembering.looked(known, down, began + timedelta(minutes=1)).crashes) == crashed
    elsewhere = replace(state, faulted=replace(fault, endpoint=US), detected=((EU, NOW + timedelta(minutes=1)),))
    assert len(remembering.looked(elsewhere, down, NOW + timedelta(minutes=2)).crashes) == 1


def test_a_service_that_is_there_for_a_drill_remembers_nothing() -> None:
    """What falls in a rehearsal has nothing to do with the topology."""
    state = ServiceState(Slice(1, service(), VANTAGES, drill="d-1"), routing=at_home(), detected=((EU, NOW),))
    found = (Assessment(EU, Verdict.DOWN, "down", None, None, True), Assessment(US, Verdict.DOWN, "", None, None, True))
    assert remembering.looked(state, found, NOW + timedelta(minutes=1)) == state
    assert remembering.ran(state, run("chat-2", MoveKind.FAILOVER, NOW), NOW) == state
