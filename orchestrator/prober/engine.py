"""The probe engine: starts probes in ticks, folds what comes back, and asks again at once where that settles it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import monotonic

import structlog

from orchestrator.core.errors import BadInput
from orchestrator.core.health import Health
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.probe import HARD, PASSING, Outcome, OutcomeKind
from orchestrator.core.quorum import Report, Seed
from orchestrator.core.topology import Endpoint, ProbeKind, ProbeSpec, Service, Vantage
from orchestrator.prober.budget import Budget
from orchestrator.prober.schedule import Lateness, LatenessMeter, Slots, Wheel
from orchestrator.prober.telling import Speaker, Teller
from orchestrator.prober.watched import WatchedEndpoint, WatchedService, Watching, carried, seeded
from providers.probes import Probes

log = structlog.get_logger()

SERVING = frozenset({Health.HEALTHY, Health.DEGRADED})
PROOF_CHECK_S = 5.0
"""How often the age of completed inferences is looked at: a proof ends by time, not by an outcome."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How an engine runs."""

    tick_s: float = 0.05
    """Starts are grouped into ticks of this length."""
    concurrency: int = 512
    """Exchanges on new connections that begin at one time: more handshakes at once would make each other late. Those on
    kept-alive connections are not counted, they open nothing; nor are those that only wait for the network."""
    opening_s: float = 0.25
    """An exchange that has had this long, while ticks came on time, waits for the network."""
    beat_s: float = 0.25
    """How often ``on_tick`` is called."""


DEFAULT_PACE = Pace()


class Engine:
    """Probes everything of one shard from one vantage, for one epoch. Configure it, then run it.

    *emit* takes each report and must not block; reports are levels, sent when an opinion (health, proof or
    isolation) changes, and once per service when the epoch opens. *seed* is what the epoch before knew.
    """

    def __init__(
        self,
        *,
        vantage: Vantage,
        shard: int,
        epoch: int,
        host: str,
        clients: Probes,
        emit: Callable[[Report], None],
        seed: Seed | None = None,
    ) -> None:
        self._vantage = vantage
        self._clients = clients
        self._teller = Teller(Speaker(vantage.id, shard, epoch, host), emit)
        self._seed = {(known.service, known.state.endpoint): known.state for known in seed.states} if seed else {}
        self._services: dict[ServiceId, WatchedService] = {}
        self._pace = DEFAULT_PACE
        self._wheel: Wheel[Watching] | None = None
        self._lateness = LatenessMeter()
        self._next_beat = self._next_proof = 0.0
        self._connecting = 0
        self._waiting: deque[Watching] = deque()
        self._opening: deque[tuple[float, Watching]] = deque()
        """Counted exchanges, and when each began; the oldest first."""

    def configure(self, services: tuple[Service, ...], revision: int) -> None:
        """Watch *services* from now on. What did not change keeps its state; a changed question keeps its opinion.

        An endpoint with a new url begins unknown. A probe that cannot be asked at all is logged and left out.
        """
        now = monotonic()
        before = self._services
        self._services = {service.id: self._watch(service, before.get(service.id), now) for service in services}
        kept = {id(probe) for probe in _probes(self._services)}
        for probe in _probes(before):
            if id(probe) not in kept:
                self._drop(probe)
        self._seed = {}
        self._teller.configure(self._services, revision)
        log.info("prober.configured", vantage=self._vantage.id, services=len(services), revision=revision)

    async def run(self, *, on_tick: Callable[[], None] | None = None, pace: Pace = DEFAULT_PACE) -> None:
        """Probe until cancelled. *on_tick* is called from the engine's own tick, so it falls silent when that does."""
        self._pace = pace
        now = monotonic()
        wheel = self._wheel = Wheel(pace.tick_s, now=now)
        for probe in _probes(self._services):
            self._place(probe, wheel, now)
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tick(wheel, over, on_tick)
        try:
            await over
        finally:
            over.cancel()
            self._wheel = None
            for probe in _probes(self._services):
                self._drop(probe)

    def beat(self) -> Seed:
        """What the next epoch should begin with: endpoints that are down or degraded, at most 500."""
        return self._teller.beat(monotonic())

    def present(self, report: Report) -> Report | None:
        """*report* as it would be said now; None when its service is watched no more. For a late delivery."""
        return self._teller.present(report, monotonic())

    def serves(self, service: ServiceId, endpoint: EndpointId) -> bool:
        """Whether *endpoint* works for this vantage, if slowly, and no probe of it has just failed."""
        watched = self._services.get(service)
        known = watched.endpoints.get(endpoint) if watched is not None else None
        return known is not None and all(probe.health.health in SERVING for probe in known.probes)

    def lateness(self) -> Lateness:
        """How late probes started, since the last call."""
        meter, self._lateness = self._lateness, LatenessMeter()
        return meter.read()

    # What is watched

    def _watch(self, service: Service, before: WatchedService | None, now: float) -> WatchedService:
        watched = WatchedService({}, Budget(), now)
        if before is not None:
            watched.budget, watched.since = before.budget, before.since
            watched.opened, watched.told = before.opened, before.told
        for endpoint in service.endpoints:
            old = before.endpoints.get(endpoint.id) if before is not None else None
            if old is not None and old.endpoint.url != endpoint.url:
                old = None
            known = {probe.spec.id: probe for probe in old.probes} if old is not None else {}
            probes = [self._watching(service, endpoint, spec, known.get(spec.id)) for spec in endpoint.probes]
            watched.endpoints[endpoint.id] = self._seeded(
                service.id, WatchedEndpoint(endpoint, tuple(probe for probe in probes if probe is not None)), now
            )
        return watched

    def _watching(self, service: Service, endpoint: Endpoint, spec: ProbeSpec, old: Watching | None) -> Watching | None:
        if old is not None and old.spec == spec and old.question.name == service.name:
            return old
        try:
            question = self._clients.prepare(spec, endpoint.url, name=service.name)
        except BadInput as error:
            log.error("probe.unaskable", service=service.id, endpoint=endpoint.id, probe=spec.id, reason=str(error))
            return None
        probe = Watching(service.id, endpoint.id, spec, question)
        probe.on_answer = partial(self._answered, probe)
        question.on_lost = partial(self._lost, probe)
        if old is not None:
            probe.health = carried(old.current)
            probe.good_latency_s = old.good_latency_s
        if self._wheel is not None:
            self._place(probe, self._wheel, monotonic())
        return probe

    def _seeded(self, service: ServiceId, watched: WatchedEndpoint, now: float) -> WatchedEndpoint:
        known = self._seed.get((service, watched.endpoint.id))
        if known is not None:
            ids = {probe.spec.id for probe in watched.probes}
            for probe in watched.probes:
                probe.health = seeded(known, probe.spec, ids, now=now) or probe.health
        watched.opinion = watched.state(now).health
        return watched

    def _place(self, probe: Watching, wheel: Wheel[Watching], now: float) -> None:
        spec = probe.spec
        key = f"{self._vantage.id}|{probe.service}|{probe.endpoint}|{spec.id}"
        probe.slots = Slots(key, interval_s=spec.interval_s, jitter=spec.jitter, now=now)
        wheel.add(probe.slots.due, probe)

    def _drop(self, probe: Watching) -> None:
        probe.stop()
        self._clients.forget(probe.question)
        self._release(probe)

    # Asking

    def _tick(self, wheel: Wheel[Watching], over: asyncio.Future[None], on_tick: Callable[[], None] | None) -> None:
        """One tick, and the appointment for the next: a timer, since a task that sleeps costs as much as two probes."""
        if over.done():
            return
        now = monotonic()
        try:
            if now >= self._next_proof:
                self._next_proof = now + PROOF_CHECK_S
                self._teller.recheck(name for name, watched in self._services.items() if watched.has_chat)
            self._turn(wheel, now)
            if on_tick is not None and now >= self._next_beat:
                self._next_beat = now + self._pace.beat_s
                on_tick()
        except Exception as error:
            over.set_exception(error)
            return
        # uvloop rounds to milliseconds, and a timer that comes too early finds nothing to do.
        pause_s = max(0.0, wheel.next_at - monotonic()) + 0.0005
        asyncio.get_running_loop().call_later(pause_s, self._tick, wheel, over, on_tick)

    def _turn(self, wheel: Wheel[Watching], now: float) -> None:
        self._discount(now - self._pace.opening_s, calm=now - wheel.next_at < self._pace.tick_s)
        for probe in wheel.take(now):
            slots = probe.slots
            if probe.removed or slots is None:
                continue
            if probe.busy or probe.confirm is not None:
                self._lateness.missed += 1
                probe.owed = probe.busy
            else:
                probe.confirms = 0
                probe.due = slots.due
                self._start(probe, fresh=False)
            self._lateness.missed += slots.advance(now)
            wheel.add(slots.due, probe)
        self._teller.tell(monotonic())

    def _start(self, probe: Watching, *, fresh: bool) -> None:
        probe.busy = True
        probe.fresh = fresh
        if fresh or probe.question.idle is None:
            if self._connecting >= self._pace.concurrency:
                self._waiting.append(probe)
                return
            self._count(probe)
        self._ask(probe)

    def _ask(self, probe: Watching) -> None:
        probe.began = monotonic()
        if not probe.fresh:
            self._lateness.add(probe.began - probe.due)
        connect_s = probe.quick_connect_s if probe.fresh else None
        if probe.counted:
            self._opening.append((probe.began, probe))
        probe.asking = self._clients.begin(probe.question, probe.on_answer, fresh=probe.fresh, connect_s=connect_s)

    def _count(self, probe: Watching) -> None:
        probe.counted = True
        self._connecting += 1

    def _discount(self, before: float, *, calm: bool) -> None:
        """Count no more what began *before* and waits: a thousand endpoints that hang must not delay the others.

        While ticks are not *calm*, it may be this process that is waited for.
        """
        while self._opening:
            began, probe = self._opening[0]
            under_way = probe.counted and probe.began == began
            if under_way and not (calm and began <= before):
                return
            self._opening.popleft()
            if under_way:
                self._release(probe)

    def _release(self, probe: Watching) -> None:
        if not probe.counted:
            return
        probe.counted = False
        self._connecting -= 1
        while self._waiting and self._connecting < self._pace.concurrency:
            following = self._waiting.popleft()
            if not following.removed:
                self._count(following)
                self._ask(following)

    # Being answered

    def _answered(self, probe: Watching, outcome: Outcome) -> None:
        probe.busy = False
        self._release(probe)
        if probe.removed:
            return
        now = monotonic()
        turned = probe.fold(outcome, now=now)
        if not probe.answered:
            probe.answered = True
            self._teller.recheck((probe.service,))
        if turned:
            self._teller.turned(probe.service, probe.endpoint, now)
        elif outcome.completed:
            self._teller.recheck((probe.service,))
        if probe.steady:
            probe.owed = False
        else:
            self._follow_up(probe, outcome)

    def _follow_up(self, probe: Watching, outcome: Outcome) -> None:
        """Ask again soon on a new connection while that can settle the opinion: a refusal, or a return.

        Silence is not asked again sooner than by the schedule; but a slot that came while it was waited for is made up
        for now, or an endpoint that hangs for the whole of an interval would be asked at every second slot.
        """
        spec, state = probe.spec, probe.health.health
        owed, probe.owed = probe.owed, False
        if owed and outcome.kind is OutcomeKind.TIMED_OUT and state is not Health.DOWN:
            probe.due = monotonic()
            self._start(probe, fresh=False)
            return
        failing = outcome.kind in HARD and state is not Health.DOWN
        returning = outcome.kind in PASSING and state is Health.RECOVERING
        if spec.fast_confirm_s <= 0 or not (failing or returning):
            return
        if spec.kind is ProbeKind.CHAT and probe.confirms >= spec.fall:
            return  # completions cost money
        probe.confirms += 1
        # From start to start: a connection that was waited for in vain has had its pause already.
        pause_s = max(0.0, spec.fast_confirm_s - (monotonic() - probe.began))
        probe.confirm = asyncio.get_running_loop().call_later(pause_s, self._confirm, probe)

    def _confirm(self, probe: Watching) -> None:
        probe.confirm = None
        if not probe.removed and not probe.busy:
            self._start(probe, fresh=True)

    def _lost(self, probe: Watching) -> None:
        """The peer ended the idle connection. A fresh one is not kept: a server that always does so is not hunted."""
        if not (probe.removed or probe.busy or probe.confirm is not None or self._wheel is None):
            self._start(probe, fresh=True)


def _probes(services: dict[ServiceId, WatchedService]) -> Iterator[Watching]:
    for watched in services.values():
        for endpoint in watched.endpoints.values():
            yield from endpoint.probes
