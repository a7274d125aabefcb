"""The driver by itself: whatever interrupts it, it goes on under the same tokens, and branches go side by side."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.runtime.breakglass.enactor import Closed, Enactor
from orchestrator.runtime.breakglass.journal import Journal, Noted, Opened
from orchestrator.runtime.breakglass.sealed import Sealed
from providers.base import Refused
from real.glass import a_sealed
from runbooks.plan import Converge, Plan, Promote, Steer, Verify, Wait
from workflows.wire import StepResult, StepTask


class Killed(BaseException):
    """As SIGKILL: nobody catches it and nothing is put in order."""


@dataclass
class World:
    """Takes each effect token once, as providers do, and counts how often it was asked."""

    replicas: int = 1
    effects: list[str] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=dict)
    failing: str = ""
    kill: tuple[int, str] = (0, "")
    """At the nth question: ``before`` or ``after`` its effect."""
    doing: set[str] = field(default_factory=set)
    together: set[frozenset[str]] = field(default_factory=set)
    handed: list[int | None] = field(default_factory=list)
    """What undos of promotions were told there was."""

    def doers(self, beat: Callable[..., None]) -> Doer:
        return Doer(self, beat)

    async def take(self, task: StepTask, beat: Callable[..., None], *, undoing: bool) -> StepResult:
        self.asked[task.key] = self.asked.get(task.key, 0) + 1
        at = sum(self.asked.values())
        if isinstance(task.work, Promote) and not undoing:
            beat(self.replicas)
        if (at, "before") == self.kill:
            raise Killed
        self.doing.add(task.step)
        self.together.add(frozenset(self.doing))
        await asyncio.sleep(0)
        self.doing.discard(task.step)
        if task.key not in self.effects:
            self.effects.append(task.key)
            if isinstance(task.work, Promote):
                self.replicas = (task.replicas_before or 0) if undoing else task.work.replicas
        if isinstance(task.work, Promote) and undoing:
            self.handed.append(task.replicas_before)
        if (at, "after") == self.kill:
            raise Killed
        if task.step == self.failing:
            raise Refused("no")
        return StepResult(text="done")


@dataclass
class Doer:
    """Does one attempt in *world*."""

    world: World
    beat: Callable[..., None]

    async def do(self, task: StepTask) -> StepResult:
        return await self.world.take(task, self.beat, undoing=False)

    async def undo(self, task: StepTask) -> StepResult:
        return await self.world.take(task, self.beat, undoing=True)


def quick(plan: Plan) -> Plan:
    """*plan* without waiting."""
    steps = []
    for step in plan.steps:
        work = step.work
        if isinstance(work, Converge):
            work = replace(work, hold_s=0.0)
        steps.append(replace(step, work=Wait(0.0) if isinstance(work, Wait) else work))
    return replace(plan, steps=tuple(steps))


@contextlib.contextmanager
def opened(path: Path, sealed: Sealed) -> Iterator[Journal]:
    with Journal.open(path) as journal:
        if journal.opened is None:
            journal.begin(Opened(datetime(2026, 3, 1, tzinfo=UTC), "ada", "laptop", sealed))
        yield journal


def enact(path: Path, sealed: Sealed, world: World, *, line: int = 0) -> Record:
    """One life of the driver; at the *line*-th line that it writes it dies. Raises Killed."""
    with opened(path, sealed) as journal:
        note, count = journal.note, 0

        def counted(noted: Noted) -> None:
            nonlocal count
            count += 1
            if count == line:
                raise Killed
            note(noted)

        journal.note = counted  # type: ignore[method-assign]  # this journal alone dies
        ended = asyncio.run(Enactor(journal, world.doers, lambda *_: None).go_on())
        assert isinstance(ended, Closed), ended
        return ended.record


def plans() -> dict[str, Sealed]:
    """Plans of the library, and one whose proofs go side by side."""
    found = {name: a_sealed(book=name) for name in ("switchover", "region-failover")}
    found["canary-shift"] = a_sealed(book="canary-shift", provider="local")
    beside = found["switchover"].plan
    proof = next(step for step in beside.steps if isinstance(step.work, Verify))
    twin = replace(proof, id="verify-too")
    steps = [each for step in beside.steps for each in ((step, twin) if step is proof else (step,))]
    steps = [replace(s, after=(*s.after, "verify-too")) if isinstance(s.work, Steer) else s for s in steps]
    found["side-by-side"] = replace(found["switchover"], plan=replace(beside, steps=tuple(steps)))
    return {name: replace(sealed, plan=quick(sealed.plan)) for name, sealed in found.items()}


PLANS = plans()
BESIDE = frozenset({"verify", "verify-too"})
"""Steps that one of the plans does side by side."""
MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_interruption_resumes_and_each_effect_is_there_once(data: st.DataObject) -> None:
    """Killed again and again, at questions and at lines, forward and on the way back: it ends as if nothing was."""
    sealed = PLANS[data.draw(st.sampled_from(sorted(PLANS)), label="plan")]
    taken = sealed.plan.taken(planned=sealed.plan.planned)
    failing = data.draw(st.sampled_from(["", *(step.id for step in taken)]), label="failing")
    # In memory where there is such a place: each line is flushed to the disk, and a busy disk takes its time.
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        whole = World(failing=failing)
        expected = enact(Path(folder) / "whole", sealed, whole)
        world = World(failing=failing)
        for _ in range(data.draw(st.integers(0, 3), label="deaths")):
            world.kill = (data.draw(st.integers(0, 12)), data.draw(st.sampled_from(["before", "after"])))
            with contextlib.suppress(Killed, BaseExceptionGroup):
                enact(Path(folder) / "torn", sealed, world, line=data.draw(st.integers(0, 30)))
        world.kill = (0, "")
        ended = enact(Path(folder) / "torn", sealed, world)
    # A refusal after an interruption may follow an attempt that landed: it is undone then, and was left alone before.
    same = ended.status is expected.status
    assert same or failing, (ended.status, expected.status)
    # Beside a step that fails, whether the other had begun is chance.
    chance = {f"{sealed.plan.run}/{step}" for step in BESIDE} if failing in BESIDE else set()
    assert set(whole.effects) - chance <= set(world.effects)
    assert len(world.effects) == len(set(world.effects))
    assert set(world.handed) <= {1}
    assert ended.closed is not None
    if not failing:
        assert sorted(world.effects) == sorted(whole.effects)
        assert ended.status is RunStatus.COMPLETED


def test_branches_go_side_by_side(tmp_path: Path) -> None:
    """Steps that do not wait for one another are under way at one time."""
    world = World()
    record = enact(tmp_path / "j", PLANS["side-by-side"], world)
    assert record.status is RunStatus.COMPLETED
    assert frozenset({"verify", "verify-too"}) in world.together


def test_a_fault_of_the_program_ends_the_step_and_not_the_run(tmp_path: Path) -> None:
    """What nobody expected is told as a failure, and what was done is put back."""

    class Broken(World):
        async def take(self, task: StepTask, beat: Callable[..., None], *, undoing: bool) -> StepResult:
            if isinstance(task.work, Verify):
                raise ZeroDivisionError("division by zero")
            return await super().take(task, beat, undoing=undoing)

    world = Broken()
    sealed = PLANS["switchover"]
    record = enact(tmp_path / "j", sealed, world)
    assert record.status is RunStatus.UNDONE
    assert "a fault of this program: ZeroDivisionError" in str(record.first(Mark.STEP_FAILED))
    assert world.replicas == 1


def test_a_closed_run_is_not_begun_again(tmp_path: Path) -> None:
    """Going on with a run that is over asks the world nothing."""
    world = World()
    enact(tmp_path / "j", PLANS["switchover"], world)
    asked = dict(world.asked)
    assert enact(tmp_path / "j", PLANS["switchover"], world).status is RunStatus.COMPLETED
    assert world.asked == asked
