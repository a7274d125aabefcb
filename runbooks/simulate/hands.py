"""What the executor of a step does, point by point: the rules of ``workflows.activities.steps`` in small, pure form.

Each verb is a generator. Where it yields seconds, that much time passes, and its executor may die or freeze there;
what it does between two yields is done at once. It raises StepFailed with the class of the provider's error.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from orchestrator.core.names import EndpointId
from orchestrator.core.probe import PASSING
from orchestrator.core.steering import Landing, Routing, SteeringChange, landing, next_lineage
from orchestrator.core.topology import Answer, Weights
from runbooks.plan import Analyse, Call, Check, Converge, Demote, Drain, FenceOff, Promote, Steer, Verify, Work
from runbooks.simulate.stage import Stage
from runbooks.simulate.world import World, holds

OURSELVES = "a step of this run wrote only now"
SILENT_S = 2.0
"""Whoever stood still for longer does not act upon what they read before, as ``workflows.activities.pulse``."""


@dataclass(frozen=True, slots=True)
class StepFailed(Exception):
    """A step, or one attempt at it, was given up."""

    kind: str
    """The class of the provider's error, as in ``providers.base``."""
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a step's executor answers."""

    routing: Routing | None = None
    replicas_before: int | None = None
    text: str = ""


@dataclass(slots=True)
class Task:
    """One attempt at one step."""

    run: str
    step: str
    """As in the effect token: the undo of a step has a token of its own."""
    plan_step: str
    work: Work
    generation: int
    base: int
    """The generation that the run was planned from."""
    own: Answer | None = None
    sources: tuple[EndpointId, ...] = ()
    replicas_before: int | None = None
    back: bool = False
    beat: int | None = None
    """What its last heartbeat carried: the replicas there were."""
    stopped: Callable[[], bool] = field(default=lambda: False)
    """Whether it has been told to end."""

    @property
    def key(self) -> str:
        """The effect token: the same for every attempt."""
        return f"{self.run}/{self.step}"


Course = Generator[float, None, Result]


class Hands:
    """Carries tasks out in the world."""

    def __init__(self, stage: Stage, world: World, faults: Mapping[str, float], check: Callable[[], str]) -> None:
        self._stage = stage
        self._world = world
        self._faults = faults
        self._check = check
        self._barred: set[str] = set()
        """Runs whose writes the primary does not take."""

    def do(self, task: Task) -> Course:  # noqa: PLR0911  one case for each type of step
        """Do the step."""
        match task.work:
            case Promote():
                return self._promote(task.work, task)
            case Verify():
                return self._verify(task.work.place.endpoint, task.work.passes)
            case Steer():
                return self._steer(task.work, task)
            case Converge():
                return self._converge(task.work)
            case Analyse():
                return self._analyse(task.work)
            case Drain():
                return self._drain(task.work, task)
            case FenceOff():
                return self._take(task.work.endpoint, 0, task, off=True)
            case Demote():
                return self._demote(task.work, task)
            case Call():
                return self._call(task)
            case Check():
                return self._ask_rules()
            case _:
                raise AssertionError(f"{type(task.work).__name__} is not done by an executor")

    def undo(self, task: Task) -> Course:
        """Put the step back."""
        match task.work:
            case Promote():
                return self._give_back(task.work, task)
            case Steer():
                return self._steer_back(task.work, task)
            case Call():
                return self._call(task)
            case _:
                return self._nothing()

    # ------------------------------------------------------------------ trouble

    def _way(self) -> float:
        """How long a request is on its way."""
        return 0.01 + 0.05 * self._stage.rng.random()

    def _trouble(self) -> None:
        """The provider has trouble of its own."""
        if self._stage.chance(self._faults["transient"]):
            raise StepFailed("Transient", "the provider did not answer")
        if self._stage.chance(self._faults["refuse"]):
            raise StepFailed("Refused", "the provider said no")

    def _weighed(self, task: Task) -> None:
        """The primary weighs a write. A key that may not write now may not write later either."""
        try:
            self._trouble()
        except StepFailed as error:
            self._barred |= {task.run} if error.kind == "Refused" else set()
            raise
        if task.run in self._barred:
            raise StepFailed("Refused", "the primary said no")

    # ------------------------------------------------------------------ the verbs

    def _promote(self, work: Promote, task: Task) -> Course:
        world, name = self._world, work.endpoint
        yield self._way()
        self._trouble()
        before = world.sites[name].desired
        task.beat = before
        yield self._way()
        if before < work.replicas:
            self._stop(task)
            world.scale(name, work.replicas, key=task.key, run=task.run)
        for _ in range(12):
            yield 0.8
            self._stop(task)
            if world.ready(name) >= work.replicas:
                return Result(replicas_before=before, text=f"{name} is ready")
        raise StepFailed("Transient", f"{name} did not get ready")

    def _stop(self, task: Task) -> None:
        if task.stopped():
            raise StepFailed("Transient", "it was stopped")

    def _verify(self, name: EndpointId, passes: int) -> Course:
        row = 0
        for _ in range(passes + 4):
            yield 0.3
            outcome = self._world.outcome(name)
            row = row + 1 if outcome.kind in PASSING else 0
            if row >= passes:
                return Result(text=f"{name}: {row} good answers")
        raise StepFailed("Refused", f"{name} did not give {passes} good answers in a row")

    def _analyse(self, work: Analyse) -> Course:
        yield self._stage.between(0.5, 2.0)
        if work.analysis is not None and self._stage.chance(0.1):
            raise StepFailed("Inconclusive", "too few answers")
        gainers = [(each.place.endpoint, each.room) for each in work.gainers]
        for name, _ in gainers:
            if work.analysis is not None and self._world.outcome(name).kind not in PASSING:
                raise StepFailed("Refused", f"{name} answers badly")
        for name, room in gainers:
            if room is not None and self._world.ready(name) < room.ready:
                raise StepFailed("Inconclusive", f"too few replicas of {name} are ready")
        return Result(text="held" if work.analysis is None else "passed")

    def _steer(self, work: Steer, task: Task) -> Course:
        change = SteeringChange(work.expects, work.was, work.weights, work.answer, task.run, task.step, work.lineage)
        routing = yield from self._write(change, task)
        return Result(routing, text=f"generation {routing.generation}")

    def _write(self, change: SteeringChange, task: Task) -> Generator[float, None, Routing]:
        """Compare-and-set as ``providers.dns.rfc2136`` does it: write, read back, judge by what stands."""
        for _ in range(3):
            yield self._way()
            # A server says no to a write that it weighs at all, never to one that has landed already.
            if holds(change, self._world.record):
                self._weighed(task)
            if not self._stage.chance(self._faults["silence"]):
                self._world.replaced(change, step=task.plan_step, back=task.back)
            yield self._way()
            if self._stage.chance(self._faults["silence"]):
                continue  # the reply is lost: the loop sends it again, under the same token
            now = self._world.record
            match landing(change, now):
                case Landing.OURS:
                    return now
                case Landing.NOT_YET:
                    continue
                case Landing.CHANGED_OUTSIDE:
                    raise StepFailed("ChangedOutside", "the answer was changed outside")
                case Landing.SUPERSEDED | Landing.STALE as how:
                    raise StepFailed("StaleGeneration", f"generation {now.generation} stands ({how})")
        raise StepFailed("Transient", "the primary does not answer")

    def _converge(self, work: Converge) -> Course:
        for _ in range(4):
            yield 0.5
            if self._stage.chance(self._faults["transient"]):
                continue
            if self._world.record.answer == work.answer:
                return Result(text="every server gives the new answer")
        raise StepFailed("Transient", "not every server gives the new answer")

    def _drain(self, work: Drain, task: Task) -> Course:
        yield from self._must_be_idle(work.endpoint, task)
        yield self._stage.between(0.2, 3.0)
        if self._stage.chance(0.15):
            raise StepFailed("Refused", f"{work.endpoint} still has requests in flight")
        return Result(text="nothing in flight")

    def _demote(self, work: Demote, task: Task) -> Course:
        yield min(work.bake_s, 3.0)
        return (yield from self._take(work.endpoint, work.replicas, task))

    def _take(self, name: EndpointId, replicas: int, task: Task, *, off: bool = False) -> Course:
        """Take capacity away, from an endpoint that carries no traffic."""
        yield from self._must_be_idle(name, task)
        self._world.scale(name, replicas, key=task.key, run=task.run, off=off)
        yield self._way()
        return Result(text=f"{name} has {replicas} replicas")

    def _must_be_idle(self, name: EndpointId, task: Task) -> Generator[float, None, None]:
        """Refuse unless the routing is as this run left or found it, and sends *name* nothing.

        Whoever was frozen since it was read does not act upon it (``Pulse.fresh``); what follows is done at once.
        """
        yield self._way()
        self._trouble()
        now, fence = self._world.record, self._world.record.fence
        read = self._stage.now
        yield self._way()
        if self._stage.now - read > SILENT_S:
            raise StepFailed("Transient", "reading took too long to act upon what it said")
        wrote = fence is not None and fence.run == task.run
        if task.back:
            ours = wrote or now.generation == task.base
        else:
            ours = now.generation == task.generation and (wrote or task.generation == task.base)
        if fence is None and task.base == 0:
            raise StepFailed("Refused", "without a fence nobody knows whether it carries traffic")
        if fence is None or not ours:
            raise StepFailed("StaleGeneration", f"generation {now.generation} is not as this run left it")
        if dict(fence.weights).get(name, 0) > 0:
            raise StepFailed("Refused", f"{name} carries traffic")
        said = set(now.answer.values) if now.answer is not None else set()
        if task.own is not None and said & set(task.own.values):
            raise StepFailed("ChangedOutside", f"{name} is in the answer although the fence says otherwise")

    def _call(self, task: Task) -> Course:
        yield self._way()
        self._trouble()
        self._world.done.add(task.key)
        yield self._way()
        return Result(text="taken")

    def _ask_rules(self) -> Course:
        yield self._way()
        self._trouble()
        against = self._check()
        if against:
            raise StepFailed("Refused", against)
        return Result(text="no rule speaks against it")

    # ------------------------------------------------------------------ the undos

    def _nothing(self) -> Course:
        yield self._way()
        return Result(text="nothing to undo")

    def _give_back(self, work: Promote, task: Task) -> Course:
        before = task.replicas_before
        if before is None or before >= work.replicas:
            yield self._way()
            return Result(text=f"{work.endpoint} keeps its replicas")
        return (yield from self._take(work.endpoint, before, task))

    def _steer_back(self, work: Steer, task: Task) -> Course:
        """All the way back in one write, and only towards endpoints that answer now."""
        origin = work.origin if work.origin is not None else work.was
        if work.before is None or origin is None:
            raise StepFailed("UndoFailed", "nobody knows what it answered before")
        yield self._way()
        self._trouble()
        now = self._world.record
        fence = now.fence
        if fence is not None and fence.token == task.key:
            return Result(now, text="it is back")
        ours = fence is not None and fence.run == task.run
        if ours and fence is not None and (fence.weights, now.answer) == (work.before, origin):
            return Result(now, text="it is back already")
        never_landed = now.generation == work.expects and now.answer == work.was
        if never_landed and not ours:
            return (yield from self._sealed(task, now))
        if not never_landed and not ours and fence is not None and now.generation > work.expects:
            raise StepFailed("StaleGeneration", f"generation {now.generation} by run {fence.run}")
        if not never_landed and (not ours or now.generation != work.expects + 1):
            raise StepFailed("UndoFailed", f"generation {now.generation} by another hand")
        if not never_landed and now.answer != work.answer:
            raise StepFailed("ChangedOutside", "it was edited by hand")
        for name in task.sources:
            try:
                yield from self._verify(name, 1)
            except StepFailed as error:
                kind = "UndoFailed" if never_landed else "NoWayBack"
                raise StepFailed(kind, f"will not go back to {name}: {error.text}") from error
        routing = yield from self._back_to(now, work.before, origin, task)
        return Result(routing, text=f"back at generation {routing.generation}")

    def _sealed(self, task: Task, now: Routing) -> Course:
        """Nothing had landed: a new generation with the same answer keeps it so."""
        if now.answer is None or now.fence is None:
            return Result(now, text="it had not changed")
        try:
            routing = yield from self._back_to(now, now.fence.weights, now.answer, task)
        except StepFailed as error:
            if error.kind not in {"Refused", "ChangedOutside"}:
                raise
            return Result(now, text="it had not changed, and takes no write now")
        self._stage.count("steer sealed")
        return Result(routing, text=f"it had not changed; generation {routing.generation} keeps it so")

    def _back_to(self, now: Routing, weights: Weights, answer: Answer, task: Task) -> Generator[float, None, Routing]:
        change = SteeringChange(
            now.generation, now.answer, weights, answer, task.run, task.step, next_lineage(now.fence)
        )
        try:
            return (yield from self._write(change, task))
        except StepFailed as error:
            if error.kind != "StaleGeneration":
                raise
            yield self._way()
            fence = self._world.record.fence
            if fence is None or fence.run != task.run:
                raise
            self._stage.count("undo met the run's own late write")
            raise StepFailed("Transient", OURSELVES) from error
