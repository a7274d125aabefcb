"""A region that slows in the middle of a staged failback: what came goes back, by the run's own analysis."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest
from temporalio import activity

from orchestrator.core.easing import return_of
from orchestrator.core.move import MoveKind
from orchestrator.core.names import Domain
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer, ProbeKind, ProbeSpec, Shares
from providers.probes.chat import Completion
from real.scenery import AWAY, EU, US, World
from real.stage import until
from workflows.activities.translate import translated
from workflows.activities.verbs import Verbs
from workflows.wire import ActKind, RunAct, RunState, StepResult, StepTask

STAGED = "  - {id: shift, type: steer, stages: [10, 50, 100], hold: 300ms, analysis: {samples: 6}}\n"
CHAT = ProbeSpec("chat", ProbeKind.CHAT, 60.0, 0.5, model="m", prompt="say yes", max_tokens=4)
WELL = Completion(OutcomeKind.PASSED, 0.3, completed=True, first_token_s=0.1)
ERRORS = Outcome(OutcomeKind.FAILED, 0.01, "status 503")
SLOW = Completion(OutcomeKind.PASSED, 1.9, completed=True, first_token_s=1.5)
CUT = Outcome(OutcomeKind.FAILED, 0.3, "the stream ended before the completion did")
LATE = Outcome(OutcomeKind.TIMED_OUT, 0.5, "no complete answer within 0.5 s")


@dataclass
class Region:
    """Paris answers completions as well as Ohio does, as long as no more than a tenth of the traffic is there."""

    world: World
    beyond: Outcome | None
    """How it answers when it has more; None: not at all."""

    async def ask(self, spec: ProbeSpec, url: str, *, name: str, fresh: bool = False) -> Outcome:
        fence = self.world.routing.fence
        assert fence is not None
        if "192.0.2.2" in url or dict(fence.weights)[EU] <= 10:
            return WELL
        if self.beyond is None:
            await asyncio.Event().wait()
        assert self.beyond is not None
        return self.beyond

    async def look(self, task: StepTask) -> StepResult:
        """The real look at a stage, at answers of this region."""
        with translated():
            return await Verbs(self, activity.heartbeat).do(task)


@pytest.fixture
def away(runs: Any) -> Any:
    """A model whose traffic is in Ohio, behind a steering that can weigh."""
    one = runs.stage.service
    options = (("eu", "192.0.2.1"), ("us", "192.0.2.2"))
    endpoints = tuple(replace(each, probes=(CHAT,), workload=None) for each in one.endpoints)
    steering = replace(one.steering, provider="local", options=options, shares=Shares.WEIGHTED)
    runs.stage.service = replace(one, endpoints=endpoints, steering=steering)
    runs.world.routing = replace(
        runs.world.routing, answer=Answer("addresses", ("192.0.2.2",)), fence=Fence(7, "a", "a", AWAY)
    )
    return runs


def tokens(runs: Any, record: Record) -> list[str]:
    """The steps of the run that wrote, in order."""
    return [token.removeprefix(f"{record.run}/") for token in runs.world.wrote]


TROUBLE = [
    pytest.param(ERRORS, "answers of the target failed (status 503), and 0 % may, after", id="error-rate"),
    pytest.param(SLOW, "the target's first token takes 1.50 s and the source's 0.10 s", id="first-token"),
    pytest.param(CUT, "answers of the target failed (the stream ended before", id="completions-cut"),
    pytest.param(LATE, "answers of the target failed (no complete answer within", id="completions-missing"),
]


@pytest.mark.parametrize(("beyond", "why"), TROUBLE)
async def test_a_region_that_slows_at_half_gives_it_all_back(away: Any, beyond: Outcome, why: str) -> None:
    """A tenth goes well; at half Paris slows: one write brings all back to Ohio, and the region is known to have said
    no, which holds up the failbacks of others."""
    away.world.looking = Region(away.world, beyond).look
    record = await (await away.by(STAGED, MoveKind.FAILBACK)).result()
    assert record.status is RunStatus.UNDONE
    assert tokens(away, record) == ["shift.10", "shift.50", "shift.50-undo"]
    assert away.world.routing.fence.weights == AWAY
    failed = record.first(Mark.STEP_FAILED)
    assert failed is not None
    assert failed.step == "shift.50.hold"
    assert failed.text.startswith("eu beside us: ")
    assert why in failed.text
    end = return_of(record, away.stage.service)
    assert end is not None
    assert (end.regions, end.failed) == ((Domain("alpha/paris"),), failed.text)


async def test_a_region_that_falls_silent_gets_no_more(away: Any) -> None:
    """At half no answer comes from Paris at all, good or bad: half stays half, and a person is asked."""
    away.world.looking = Region(away.world, None).look
    made = away.plan(MoveKind.FAILBACK, away.book(STAGED))
    hurried = tuple(replace(step, timeout_s=1.5) if step.id == "shift.50.hold" else step for step in made.steps)
    handle = await away.begin(replace(made, steps=hurried))

    async def ask() -> RunState:
        found: RunState = await handle.query("state", result_type=RunState)
        return found

    state: RunState = await until(ask, lambda found: bool(found.waiting))
    assert "0 of 6 answers came from the target: too few to judge by" in state.waiting[0].text
    assert away.world.routing.fence.weights == ((EU, 50), (US, 50))
    await handle.execute_update("act", RunAct("a", ActKind.ABORT, "alice", "Paris does not answer"))
    assert (await handle.result()).status is RunStatus.ABORTED
    assert away.world.routing.fence.weights == AWAY
