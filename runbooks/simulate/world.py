"""The world of a history: endpoints as they really are, their capacity, and the record that says where traffic goes.

The record obeys the compare-and-set of docs/adr/0002: a write names the fence and the answer that it replaces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.core.names import EndpointId
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.steering import (
    Routing,
    SteeringChange,
    answer_for,
    decode,
    encode,
    full,
    next_lineage,
    serving,
    weights_in,
)
from orchestrator.core.topology import Answer, Endpoint
from runbooks.simulate.facts import Took, Wrote
from runbooks.simulate.setting import Setting
from runbooks.simulate.stage import Stage

FOREIGN = Answer("addresses", ("198.51.100.66",))


class Truth(StrEnum):
    """How an endpoint really is, whatever anybody thinks."""

    UP = "up"
    SLOW = "slow"
    DOWN = "down"
    HOLLOW = "hollow"
    """It answers, and what it says is wrong."""


_OUTCOMES = {
    Truth.UP: Outcome(OutcomeKind.PASSED, 0.1, "", completed=True),
    Truth.SLOW: Outcome(OutcomeKind.SLOW, 2.0, "slow", completed=True),
    Truth.HOLLOW: Outcome(OutcomeKind.FAILED, 0.1, "wrong answer"),
}
_DOWN = (
    Outcome(OutcomeKind.REFUSED, 0.0, "connect refused"),
    Outcome(OutcomeKind.TIMED_OUT, 1.0, "timed out"),
    Outcome(OutcomeKind.UNREACHABLE, 1.0, "no connection"),
)


@dataclass(slots=True)
class Site:
    """One endpoint, as it really is."""

    endpoint: Endpoint
    truth: Truth
    desired: int
    ready_at: float = 0.0
    kept_off: str = ""
    """The run whose fence step keeps it from serving."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the record, by whomever."""

    before: Routing
    after: Routing
    by: str
    """A run, ``rival`` or ``hand``."""
    at: float


class World:
    """What really is. Only ``landed`` and ``scale`` are ways for the orchestrator to change it."""

    def __init__(self, stage: Stage, setting: Setting) -> None:
        self._stage = stage
        self._service = setting.service
        rng = stage.rng
        self.sites: dict[EndpointId, Site] = {}
        for endpoint in setting.service.endpoints:
            work = endpoint.workload
            active = endpoint.role == "active"
            desired = 1 if work is None else work.serving if active else work.standby
            truth = rng.choice((Truth.UP,) * 14 + (Truth.DOWN, Truth.SLOW))
            self.sites[endpoint.id] = Site(endpoint, truth, desired)
        homes = tuple(e.id for e in setting.service.endpoints if e.role == "active")
        weights = full(setting.service.endpoints, homes[0])
        answer = answer_for(setting.service.endpoints, weights)
        first = SteeringChange(0, None, weights, answer, "adopted", "adopt")
        fence = None if rng.random() < 0.03 else decode(encode(first.fence))
        self.record = Routing(answer, setting.service.steering.ttl_s if setting.service.steering else 10, fence)
        self.changes: list[Change] = []
        self.landed: dict[str, int] = {}
        """Effect tokens that have written, and how often."""
        self.done: set[str] = set()
        """Effect tokens that have scaled or called."""
        self.carrying_since: dict[EndpointId, float] = {}
        self._settle()

    # ------------------------------------------------------------------ endpoints

    def outcome(self, name: EndpointId) -> Outcome:
        """What somebody who reaches *name* gets for an answer."""
        site = self.sites[name]
        if not self.ready(name) or site.truth is Truth.DOWN:
            return self._stage.pick(_DOWN)
        return _OUTCOMES[site.truth]

    def ready(self, name: EndpointId) -> int:
        """Its replicas that are ready."""
        site = self.sites[name]
        return site.desired if self._stage.now >= site.ready_at else 0

    def scale(self, name: EndpointId, replicas: int, *, key: str, run: str, off: bool = False) -> None:
        """Ask for *replicas*; once for each *key*, as ``providers.base`` has it."""
        if key in self.done:
            self._stage.count("scale asked for twice")
            return
        self.done.add(key)
        site = self.sites[name]
        self._stage.say("world: {} scaled from {} to {} by {}", name, site.desired, replicas, key)
        if replicas < site.desired:
            site.desired = replicas
            self._stage.tell(Took(name, run, key, replicas))
        elif replicas > site.desired:
            if not self.ready(name):
                site.ready_at = self._stage.now + self._stage.between(0.5, 6.0)
            site.desired = replicas
        if off:
            site.kept_off = run
        elif replicas:
            site.kept_off = ""

    def turn(self) -> None:
        """An endpoint changes."""
        names = tuple(self.carrying_since) if self._stage.rng.random() < 0.4 else tuple(self.sites)
        site = self.sites[self._stage.pick(names or tuple(self.sites))]
        site.truth = self._stage.pick((Truth.UP, Truth.UP, Truth.DOWN, Truth.DOWN, Truth.SLOW, Truth.HOLLOW))
        self._stage.say("world: {} is {}", site.endpoint.id, site.truth)
        self._stage.count(f"endpoint {site.truth}")

    # ------------------------------------------------------------------ the record

    def replaced(self, change: SteeringChange, *, step: str, back: bool) -> bool:
        """One UPDATE at the primary: whether its prerequisites held and it was taken."""
        if not holds(change, self.record):
            return False
        # Through its text, as everybody reads it.
        after = Routing(change.answer, self.record.ttl_s, decode(encode(change.fence)))
        token = change.fence.token
        self.landed[token] = self.landed.get(token, 0) + 1
        self._stage.say("world: the record is {} by {}", _Said(after), token)
        self._stage.count("write landed")
        before = self._put(after, change.run)
        self._stage.tell(Wrote(change, before, after, step, back))
        return True

    def rival(self) -> None:
        """Another rightful writer (break-glass, a second control plane) moves the traffic under the fence."""
        names = tuple(self.sites)
        weights = full(self._service.endpoints, self._stage.pick(names))
        change = SteeringChange(
            self.record.generation,
            self.record.answer,
            weights,
            answer_for(self._service.endpoints, weights),
            f"rival-{len(self.changes)}",
            "steer",
            next_lineage(self.record.fence),
        )
        after = Routing(change.answer, self.record.ttl_s, decode(encode(change.fence)))
        self._stage.say("world: a rival makes the record {}", _Said(after))
        self._stage.count("rival wrote")
        self._put(after, "rival")

    def hand(self) -> None:
        """Somebody edits the record by hand: its answer, rarely its fence."""
        stage, now = self._stage, self.record
        answers = [e.answer for e in self._service.endpoints]
        which = stage.rng.random()
        if which < 0.12:
            after = replace(now, fence=None)
        elif which < 0.2:
            after = replace(now, answer=None)
        elif which < 0.35:
            after = replace(now, answer=FOREIGN)
        elif which < 0.6 and self.changes and self.changes[-1].by == "hand":
            after = self.changes[-1].before
        else:
            after = replace(now, answer=stage.pick(answers))
        if after == now:
            return
        stage.say("world: somebody edits the record by hand: {}", _Said(after))
        stage.count("hand edit")
        self._put(after, "hand")

    def adopt(self) -> Routing | None:
        """Take the record under the fence with its answer unchanged, as ``failover adopt`` does; None: not possible."""
        weights = weights_in(self.record.answer, self._service.endpoints)
        if self.record.answer is None or weights is None:
            return None
        number = len(self.changes)
        change = SteeringChange(
            self.record.generation,
            self.record.answer,
            weights,
            self.record.answer,
            f"adopt-{number}",
            "adopt",
            next_lineage(self.record.fence),
        )
        self._put(Routing(change.answer, self.record.ttl_s, decode(encode(change.fence))), "adopt")
        self._stage.say("world: adopted as {}", _Said(self.record))
        self._stage.count("adopted")
        return self.record

    def _put(self, after: Routing, by: str) -> Routing:
        before, self.record = self.record, after
        self.changes.append(Change(before, after, by, self._stage.now))
        self._settle()
        return before

    def _settle(self) -> None:
        """Since when each endpoint carries traffic by what clients see."""
        weights = self.weights
        now = serving(weights) if weights else ()
        self.carrying_since = {name: self.carrying_since.get(name, self._stage.now) for name in now}

    @property
    def weights(self) -> tuple[tuple[EndpointId, int], ...] | None:
        """How clients are spread by the record's answer; None where it is foreign or empty."""
        answer = self.record.answer
        if answer is None:
            return None
        said = set(answer.values)
        inside = [e.id for e in self._service.endpoints if e.answer and said & set(e.answer.values)]
        return tuple((name, 1) for name in inside) or None


def holds(change: SteeringChange, now: Routing) -> bool:
    """Whether what *change* names is what stands: the fence by generation and writer, and the answer as it was read."""
    fence = now.fence
    if fence is not None and change.lineage and change.lineage[0] != (fence.generation, fence.token):
        return False
    return now.generation == change.expects and now.answer == change.was


@dataclass(frozen=True, slots=True)
class _Said:
    """A routing in the story."""

    routing: Routing

    def __str__(self) -> str:
        fence, answer = self.routing.fence, self.routing.answer
        values = ", ".join(answer.values) if answer else "nothing"
        if fence is None:
            return f"{values}, without a fence"
        spread = " ".join(f"{name}:{weight}" for name, weight in fence.weights if weight)
        return f"{values} (generation {fence.generation}, {spread})"
