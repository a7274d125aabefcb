"""The way back of a move by stages, however far it came, whoever wakes late, and however often it is tried."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.steering import Fence, Landing, Routing, SteeringChange, landing, next_lineage
from orchestrator.core.topology import Answer, ProbeSpec, Shares, SteeringSpec, Weights
from providers import registry
from providers.base import ChangedOutside, ServerAnswer, StaleGeneration, Transient
from runbooks.plan import Steer
from workflows.activities.verbs import Verbs
from workflows.wire import StepTask

EU, US = EndpointId("eu"), EndpointId("us")
SPEC = SteeringSpec("local", "chat.example.", "example.", 1, "192.0.2.53:53", shares=Shares.WEIGHTED)
HOME, BOTH, AWAY = (
    Answer("addresses", values) for values in (("192.0.2.1",), ("192.0.2.1", "192.0.2.2"), ("192.0.2.2",))
)
RUN = RunId("chat-1")


@dataclass
class Record:
    """A record under a fence, as a name server keeps it: compare-and-set, idempotent by token."""

    now: Routing
    writes: list[str] = field(default_factory=list)
    shares: Shares = Shares.WEIGHTED

    async def read(self) -> Routing:
        return self.now

    async def write(self, change: SteeringChange) -> Routing:
        match landing(change, self.now):
            case Landing.NOT_YET:
                self.writes.append(change.fence.token)
                self.now = Routing(change.answer, SPEC.ttl_s, change.fence)
            case Landing.CHANGED_OUTSIDE:
                raise ChangedOutside("somebody edited it")
            case Landing.STALE | Landing.SUPERSEDED:
                raise StaleGeneration(f"generation {self.now.generation} stands")
            case Landing.OURS:
                pass
        return self.now

    async def answers(self) -> tuple[ServerAnswer, ...]:
        return ()


class Well:
    """Every endpoint answers well."""

    async def ask(self, spec: ProbeSpec, url: str, *, name: str, fresh: bool = False) -> Outcome:
        return Outcome(OutcomeKind.PASSED, 0.0, completed=True)


def stages(count: int, start: Routing) -> list[Steer]:
    """The writes of a move by *count* stages, each upon the one before."""
    assert start.fence is not None
    made: list[Steer] = []
    standing = start
    for number in range(1, count + 1):
        share = 100 * number // count
        weights: Weights = ((EU, 100 - share), (US, share))
        answer = AWAY if share == 100 else BOTH
        lineage = next_lineage(standing.fence)
        work = Steer(SPEC, standing.generation, standing.answer, weights, answer, lineage)
        made.append(replace(work, before=start.fence.weights, origin=start.answer))
        fence = SteeringChange(work.expects, work.was, weights, answer, RUN, f"shift.{number}", lineage).fence
        standing = Routing(answer, SPEC.ttl_s, fence)
    return made


def task(work: Steer, name: str) -> StepTask:
    return StepTask(ServiceId("chat"), "chat.example", RUN, name, work, 5.0, base=7, steering=SPEC, source=(EU,))


def waking(verbs: Verbs, record: Record, late: StepTask) -> None:
    """Let *late* be done right behind the next reading of the record."""
    read = record.read

    async def interrupted() -> Routing:
        seen = await read()
        record.read = read  # type: ignore[method-assign]  # only once
        with contextlib.suppress(StaleGeneration):
            await verbs.do(late)
        return seen

    record.read = interrupted  # type: ignore[method-assign]  # between a reading and the write that follows from it


async def undone(verbs: Verbs, work: Steer, name: str) -> None:
    """Undo one stage, as the driver does: again after passing trouble."""
    for _ in range(3):
        with contextlib.suppress(Transient):
            await verbs.undo(task(work, f"{name}-undo"))
            return
    raise AssertionError("it never came back")


@given(
    count=st.integers(1, 4),
    done=st.integers(0, 4),
    tried=st.booleans(),
    wakes=st.sampled_from(["never", "during", "between", "after"]),
    twice=st.booleans(),
)
def test_a_move_by_stages_always_comes_home(count: int, done: int, tried: bool, wakes: str, twice: bool) -> None:
    """Traffic is home in the end, by one write, and a stage that wakes late moves nothing any more."""
    done = min(done, count)
    start = Routing(HOME, SPEC.ttl_s, Fence(7, "adopt", "adopt", ((EU, 100), (US, 0))))
    record = Record(start)

    async def story() -> None:
        verbs = Verbs(Well(), lambda *_: None)
        works = stages(count, start)
        names = [f"shift.{number}" for number in range(1, count + 1)]
        for work, name in list(zip(works, names, strict=True))[:done]:
            await verbs.do(task(work, name))
        # The next stage was begun, and nobody heard of it again.
        begun = done + 1 if tried and done < count else done
        frozen = works[begun - 1] if begun > done else None
        for number in reversed(range(begun)):
            if frozen is not None and wakes == "during" and number == begun - 1:
                waking(verbs, record, task(frozen, names[number]))
            for _ in range(2 if twice else 1):
                await undone(verbs, works[number], names[number])
            if frozen is not None and wakes == "between":
                with contextlib.suppress(StaleGeneration):
                    await verbs.do(task(frozen, names[begun - 1]))
        if begun == 0:
            return
        now = record.now
        assert (now.answer, now.fence and now.fence.weights) == (HOME, ((EU, 100), (US, 0)))
        backward = [token for token in record.writes if token.endswith("-undo")]
        assert len(backward) == 1
        if frozen is not None and wakes == "after":
            with pytest.raises(StaleGeneration):
                await verbs.do(task(frozen, names[begun - 1]))
            assert record.now == now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "steering", lambda _: record)
        asyncio.run(story())
