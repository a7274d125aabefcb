"""A document and a dial in memory whose every call stops: a schedule says who goes on, and what becomes of the call."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Fence, Routing, SteeringChange, next_lineage, shares_of
from orchestrator.core.topology import Answer, Shares, SteeringSpec
from providers.base import Refused, Steering, Transient
from providers.fenced import FencedDial, Overtaken, Sheet, Targets
from providers.fencing import page_in

SPEC = SteeringSpec("memory", "chat.example.", "", 0, "", shares=Shares.WEIGHTED)
TARGETS = ("eu", "us", "ap")


class Fate(StrEnum):
    """What becomes of a call."""

    FINE = "fine"
    REFUSED = "refused"
    """It fails and has no effect."""
    LOST = "lost"
    """It has its effect, and its reply is lost."""
    DEAD_BEFORE = "dead-before"
    """The writer dies before the call has its effect."""
    DEAD_AFTER = "dead-after"
    """The writer dies once it had."""


class Stop:
    """Awaited, it gives the word to the schedule, which answers with a fate."""

    def __await__(self) -> Generator[Stop, Fate, Fate]:
        return (yield self)


class Dead(BaseException):
    """What a writer that dies is thrown."""


@dataclass
class Land:
    """A document and a dial, and who did what to them."""

    text: str | None = None
    version: int = 0
    weights: dict[str, int] = field(default_factory=lambda: {"eu": 100, "us": 0, "ap": 0})
    steps: int = 1
    """In how many calls the dial is turned."""
    wrote: list[tuple[int, str]] = field(default_factory=list)
    """Generation and token of each write of the document that had its effect."""
    turns: int = 0
    empty: bool = False
    """Whether all was at 0 at any moment."""

    async def met(self, effect: Callable[[], Any]) -> Any:
        fate = await Stop()
        if fate is Fate.DEAD_BEFORE:
            raise Dead
        if fate is Fate.REFUSED:
            raise Transient("no answer")
        found = effect()
        if fate is Fate.LOST:
            raise Transient("no answer")
        if fate is Fate.DEAD_AFTER:
            raise Dead
        return found

    def turn(self, weights: dict[str, int]) -> None:
        if weights != self.weights:
            self.turns += 1
        self.weights = weights
        self.empty = self.empty or not any(weights.values())

    def turn_one(self, name: str, weight: int) -> None:
        self.turn(self.weights | {name: weight})

    @property
    def says(self) -> tuple[Fence, Answer]:
        assert self.text is not None
        return page_in(self.text, "memory")

    @property
    def answer(self) -> Answer:
        return shares_of(tuple(sorted(self.weights.items())))


class LandDocument:
    at = "a document in memory"

    def __init__(self, land: Land) -> None:
        self._land = land

    async def read(self) -> Sheet:
        land = self._land
        sheet: Sheet = await land.met(lambda: Sheet(land.text, str(land.version) if land.text is not None else None))
        return sheet

    async def put(self, text: str, *, tag: str | None) -> None:
        await self._land.met(lambda: self._put(text, tag))

    def _put(self, text: str, tag: str | None) -> None:
        land = self._land
        if tag != (str(land.version) if land.text is not None else None):
            raise Overtaken
        land.text, land.version = text, land.version + 1
        fence, _ = page_in(text, "memory")
        land.wrote.append((fence.generation, fence.token))


class LandDial:
    at = "a dial in memory"

    def __init__(self, land: Land) -> None:
        self._land = land

    async def read(self) -> Targets:
        targets: Targets = await self._land.met(lambda: tuple(sorted(self._land.weights.items())))
        return targets

    async def turn(self, targets: Targets) -> None:
        land, wanted = self._land, dict(targets)
        if land.steps == 1:
            await land.met(lambda: land.turn({each: wanted.get(each, 0) for each in land.weights}))
            return
        # Who gains goes first.
        for name in sorted(land.weights, key=lambda each: land.weights[each] - wanted.get(each, 0)):
            await land.met(partial(land.turn_one, name, wanted.get(name, 0)))


class Patient(FencedDial):
    """It looks again as the product does, and does not wait between."""

    settle_s = (0.0, 0.0)


def writer(land: Land, *, clock: Callable[[], float] = lambda: 0.0) -> FencedDial:
    return Patient(SPEC, LandDial(land), LandDocument(land), clock=clock)


def change_from(routing: Routing, to: dict[str, int], run: str) -> SteeringChange:
    weights = tuple(sorted((EndpointId(name), to.get(name, 0)) for name in TARGETS))
    answer = shares_of(tuple(sorted(to.items())))
    return SteeringChange(
        routing.generation, routing.answer, weights, answer, run, "steer", next_lineage(routing.fence)
    )


def run_alone(act: Coroutine[Any, Any, Any]) -> Any:
    """Carry *act* out with nothing between and every call fine."""
    reply: Fate | None = None
    while True:
        try:
            stopped = act.send(reply)
        except StopIteration as done:
            return done.value
        reply = Fate.FINE if isinstance(stopped, Stop) else None


def adopted(land: Land) -> Routing:
    steering = writer(land)
    routing: Routing = run_alone(steering.read())
    written: Routing = run_alone(steering.write(change_from(routing, land.weights, "adopt")))
    return written


@dataclass
class Actor:
    """A step that is carried out: planned from what is read, then tried until it is done or refused."""

    land: Land
    run: str
    to: dict[str, int]
    change: SteeringChange | None = None
    outcome: Routing | Refused | None = None
    steering: Callable[[Land], Steering] = writer
    dead: bool = False
    going: Coroutine[Any, Any, None] | None = None
    stopped: Stop | None = None
    begun: bool = False

    @property
    def over(self) -> bool:
        return self.dead or self.outcome is not None

    async def act(self) -> None:
        while self.change is None:
            try:
                self.change = change_from(await self.steering(self.land).read(), self.to, self.run)
            except Transient:
                continue
        while self.outcome is None:
            try:
                # Each try is another worker's.
                self.outcome = await self.steering(self.land).write(self.change)
            except Transient:
                continue
            except Refused as refused:
                self.outcome = refused

    def go_on(self, fate: Fate) -> None:
        """To the next call, this one's fate being *fate*."""
        if self.going is None:
            self.going = self.act()
        try:
            stopped = self.going.send((fate if self.stopped is not None else None) if self.begun else None)
            self.begun = True
            self.stopped = stopped if isinstance(stopped, Stop) else None
        except StopIteration:
            pass
        except Dead:
            self.dead = True


def go_on(actors: list[Actor], schedule: list[tuple[int, Fate]]) -> None:
    """Let *actors* go on as *schedule* says."""
    for index, fate in schedule:
        actor = actors[index % len(actors)]
        if not actor.over:
            actor.go_on(fate)


def play(actors: list[Actor], schedule: list[tuple[int, Fate]]) -> None:
    """Let *actors* go on as *schedule* says, then one call each in turn, until all are done or dead."""
    go_on(actors, schedule)
    for _ in range(5000):
        living = [actor for actor in actors if not actor.over]
        if not living:
            return
        for actor in living:
            actor.go_on(Fate.FINE)
    raise AssertionError("they never finish")


class Sleepless(Land):
    """A land whose calls do not stop, so that it serves a real event loop."""

    async def met(self, effect: Callable[[], Any]) -> Any:
        return effect()


async def moved(land: Land, to: dict[str, int], run: str) -> SteeringChange:
    change = change_from(await writer(land).read(), to, run)
    await writer(land).write(change)
    return change
