"""What people ask a service for: a runbook and its values, to leave an endpoint, a plan that was saved."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.steering import Fence
from real.scenery import AT_HOME, AWAY, EU, US
from real.stage import Stage, stage
from runbooks.books import packed
from runbooks.plan import Plan, Promote
from workflows.wire import Explanation, FailoverRequest, Heartbeats, Look, PlanQuestion, Refusal, Started

ANSWER: Any = Started | Refusal
HEAD = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: %s}\n"
CAREFUL = (
    HEAD % "careful"
    + """\
parameters:
  pause: {type: duration, default: 5s}
steps:
  - {id: rest, type: wait, for: {param: pause}}
  - {id: steer, type: steer}
"""
)
READY = HEAD % "ready" + "steps:\n  - {id: up, type: promote}\n"


def wish(**changes: Any) -> Request:
    return replace(Request(MoveKind.SWITCHOVER, Trigger("ann@laptop", "because"), US), **changes)


@pytest.fixture
async def play() -> AsyncIterator[Stage]:
    """A service with two runbooks of its own; all is well."""
    async with stage() as one:
        await one.open()
        await configure(one)
        await one.all_say(eu="healthy", us="healthy")
        yield one


async def configure(play: Stage, revision: int = 2, careful: str = CAREFUL, **changes: Any) -> None:
    books = tuple((file, packed(text, file)) for file, text in (("careful.yaml", careful), ("ready.yaml", READY)))
    await play.settled()
    await play.handle.signal("configure", replace(play.slice(revision), books=books, **changes))
    await play.settled()


async def ask(play: Stage, request: Request, saved: Plan | None = None, number: int = 1) -> Started | Refusal:
    asked = FailoverRequest(f"request-{number}", request, saved=saved)
    answer: Started | Refusal = await play.handle.execute_update("request", asked, result_type=ANSWER)
    return answer


async def preview(play: Stage, request: Request) -> Explanation:
    await play.settled()
    now = await play.env.get_current_time()
    heard = Heartbeats(tuple((vantage.id, now) for vantage in play.slice().vantages))
    question = PlanQuestion(now, Look(heard, play.world.routing), request)
    found: Explanation = await play.handle.query("explain", question, result_type=Explanation)
    return found


async def plan(play: Stage, request: Request) -> Plan:
    found = await preview(play, request)
    assert found.decision == "go", found.reasons
    assert found.plan is not None
    return found.plan


async def record(play: Stage) -> Record:
    return (await play.until(lambda s: s.run is None and bool(s.last_runs))).last_runs[0]


def refused(answer: Started | Refusal) -> dict[str, str]:
    assert isinstance(answer, Refusal)
    return {reason.rule: reason.text for reason in answer.reasons}


# ------------------------------------------------------------------ runbooks


async def test_a_person_chooses_the_runbook_and_its_values(play: Stage) -> None:
    """The run takes the steps of the runbook that was named, with the value that was given."""
    request = wish(runbook="careful", values=(("pause", "40s"),))
    shown = await plan(play, request)
    assert [step.id for step in shown.steps] == ["rest", "steer"]
    assert isinstance(await ask(play, request), Started)
    closed = (await play.closed()).last_runs[0]
    assert (closed.status, closed.runbook) == (RunStatus.COMPLETED, "careful")
    assert "40 s" in next(entry.text for entry in closed.entries if entry.step == "rest" and entry.seconds)
    assert play.world.routing.fence is not None
    assert play.world.routing.fence.weights == AWAY


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"runbook": "carefull"}, "did you mean 'careful'?"),
        ({"runbook": "careful", "values": (("pase", "1s"),)}, "did you mean 'pause'?"),
        ({"runbook": "careful", "values": (("pause", "long"),)}, "is not a duration"),
    ],
    ids=["name", "parameter", "value"],
)
async def test_a_runbook_that_cannot_be_is_refused(play: Stage, changes: dict[str, Any], said: str) -> None:
    """A runbook that there is not, and a value that does not fit, are said when planning and when asking."""
    assert said in refused(await ask(play, wish(**changes)))["bad-runbook"]
    assert said in (await preview(play, wish(**changes))).reasons[0].text
    assert not play.world.steps


async def test_a_preparation_moves_no_traffic(play: Stage) -> None:
    """A runbook without a step that steers makes the standby ready, and leaves the traffic where it is."""
    shown = await plan(play, wish(runbook="ready", target=None))
    assert (shown.kind, shown.source, shown.target, shown.after) == (MoveKind.PREPARATION, (), US, AT_HOME)
    assert isinstance(await ask(play, wish(runbook="ready", target=None)), Started)
    closed = await record(play)
    assert (closed.status, closed.kind) == (RunStatus.COMPLETED, MoveKind.PREPARATION)
    assert play.world.replicas["us"] == 2
    assert not play.world.wrote


async def test_what_fails_after_a_preparation_is_met_at_once(play: Stage) -> None:
    """A preparation starts no cool-down: the outage that follows it is answered without a wait."""
    assert isinstance(await ask(play, wish(runbook="ready")), Started)
    await record(play)
    await play.all_say(eu="down", us="healthy")
    status = await play.until(lambda s: len(s.last_runs) == 2 and s.run is None)
    assert status.last_runs[0].kind is MoveKind.FAILOVER
    assert play.world.routing.fence is not None
    assert play.world.routing.fence.weights == AWAY


async def test_traffic_leaves_the_endpoint_that_was_named(play: Stage) -> None:
    """Who leaves eu moves its traffic to the other; leaving what carries none is refused."""
    assert "already-there" in refused(await ask(play, wish(target=None, leaving=(US,))))
    assert isinstance(await ask(play, wish(target=None, leaving=(EU,)), number=2), Started)
    assert (await record(play)).after == AWAY


# ------------------------------------------------------------------ saved plans


async def test_a_saved_plan_runs_as_it_was_saved(play: Stage) -> None:
    """Where nothing has moved, exactly the saved steps run, under a run of their own."""
    saved = await plan(play, wish())
    answer = await ask(play, wish(), saved)
    assert isinstance(answer, Started)
    assert answer.run != saved.run
    closed = await record(play)
    assert closed.status is RunStatus.COMPLETED
    assert [step.id for step in closed.steps] == [step.id for step in saved.steps]
    assert play.world.routing.fence is not None
    assert (play.world.routing.generation, play.world.routing.fence.weights) == (saved.generation + 1, AWAY)


async def test_a_saved_plan_is_refused_when_the_world_has_moved(play: Stage) -> None:
    """Everything that has changed since is named at once, and nothing is started."""
    saved = await plan(play, wish(runbook="careful"))
    play.world.routing = replace(play.world.routing, fence=Fence(9, "run-x", "steer", AT_HOME))
    await configure(play, 3, CAREFUL.replace("default: 5s", "default: 9s"))
    answer = await ask(play, wish(runbook="careful"), saved)
    assert isinstance(answer, Refusal)
    assert {reason.rule for reason in answer.reasons} == {"world-moved"}
    said = "\n".join(reason.text for reason in answer.reasons)
    assert "it replaces generation 7, and 9 stands now" in said
    assert "it was made from topology revision 2, and 3 is in force" in said
    assert "runbook 'careful' had pause 5s, and has pause 9s now" in said
    assert "step rest" in said
    assert not play.world.wrote


async def test_a_saved_plan_that_somebody_has_changed_is_refused(play: Stage) -> None:
    """Steps that the service itself would not plan are never carried out."""
    saved = await plan(play, wish())
    steps = tuple(
        replace(step, work=replace(step.work, replicas=50)) if isinstance(step.work, Promote) else step
        for step in saved.steps
    )
    assert steps != saved.steps
    text = refused(await ask(play, wish(), replace(saved, steps=steps)))["world-moved"]
    assert text == "step promote would scale us to 2, and was saved with 50"
    assert not play.world.steps


async def test_a_value_out_of_range_is_told_in_a_sentence(play: Stage) -> None:
    """A value that no step of the library's runbook can use is refused with the step, the value and the cure."""
    found = await preview(play, wish(runbook="canary-shift", values=(("slower", "1000"),)))
    assert found.decision == "hold"
    assert "slower: 1000" in found.reasons[0].text
    assert "too large; write" in found.reasons[0].text
