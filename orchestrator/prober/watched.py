"""What an engine keeps in mind: services, their endpoints and the probes of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from orchestrator.core.health import EndpointState, Health, ProbeHealth, observe, summarize
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.topology import Endpoint, ProbeKind, ProbeSpec, Role
from orchestrator.prober.budget import Budget
from orchestrator.prober.schedule import Slots
from providers.probes import Asking, Done, Question

CONNECT_FLOOR_S = 0.25
CONNECT_CEILING_S = 1.0
"""TCP sends its first SYN again after a second (RFC 6298 section 2): waiting longer in a re-probe says nothing new."""


def _unheard(_outcome: Outcome) -> None:
    """Nobody listens to a probe that no engine has taken up."""


class Watching:
    """One probe of one endpoint, and where it stands."""

    __slots__ = (
        "answered",
        "asking",
        "began",
        "busy",
        "confirm",
        "confirms",
        "counted",
        "due",
        "endpoint",
        "fresh",
        "good_at",
        "good_latency_s",
        "health",
        "on_answer",
        "owed",
        "question",
        "removed",
        "service",
        "slots",
        "spec",
        "steady",
    )

    def __init__(self, service: ServiceId, endpoint: EndpointId, spec: ProbeSpec, question: Question) -> None:
        self.service = service
        self.endpoint = endpoint
        self.spec = spec
        self.question = question
        self.health = ProbeHealth()
        self.slots: Slots | None = None
        self.on_answer: Done = _unheard
        self.asking: Asking | None = None
        self.busy = self.counted = self.removed = self.answered = self.fresh = self.owed = False
        self.due = self.began = 0.0
        self.confirm: asyncio.TimerHandle | None = None
        self.confirms = 0
        self.good_latency_s = 0.0
        self.good_at: float | None = None
        self.steady = False
        """Healthy without a blemish: a further pass moves nothing but the time of the last good answer."""

    @property
    def current(self) -> ProbeHealth:
        """The health, with the passes of a steady time taken in."""
        return self.health if self.good_at is None else replace(self.health, last_good_at=self.good_at)

    def fold(self, outcome: Outcome, *, now: float) -> bool:
        """Take in *outcome*; whether that changed the opinion."""
        good = outcome.kind is OutcomeKind.PASSED
        if good:
            self.good_latency_s = outcome.latency_s
            if self.steady and not outcome.completed:
                self.good_at = now
                return False
        before = self.current
        after = self.health = observe(before, outcome, now=now, rise=self.spec.rise, fall=self.spec.fall)
        self.good_at = None
        self.steady = good and after.health is Health.HEALTHY and not after.detail
        return after.opinion is not before.opinion

    @property
    def quick_connect_s(self) -> float:
        """Time to connect in a re-probe: three times what a good answer took, 0.25 s to 1 s."""
        return min(self.spec.timeout_s, max(CONNECT_FLOOR_S, min(CONNECT_CEILING_S, round(3 * self.good_latency_s, 2))))

    def stop(self) -> None:
        """Ask no more."""
        self.removed = True
        if self.confirm is not None:
            self.confirm.cancel()
        if self.asking is not None:
            self.asking.cancel()


def meant_to_be_off(endpoint: Endpoint) -> bool:
    """Whether it is a standby scaled to nothing: its silence is no evidence."""
    return endpoint.role is Role.STANDBY and endpoint.workload is not None and endpoint.workload.standby == 0


@dataclass(slots=True)
class WatchedEndpoint:
    """An endpoint, its probes, and the opinion of it."""

    endpoint: Endpoint
    probes: tuple[Watching, ...]
    opinion: Health = Health.UNKNOWN

    @property
    def answered(self) -> bool:
        """Some probe of it has come back, or there is none to wait for."""
        return not self.probes or any(probe.answered for probe in self.probes)

    @property
    def meant_to_be_off(self) -> bool:
        return meant_to_be_off(self.endpoint)

    def state(self, now: float) -> EndpointState:
        """The opinion of it as a report tells it."""
        return summarize(self.endpoint.id, tuple((probe.spec, probe.current) for probe in self.probes), now=now)


@dataclass(slots=True)
class WatchedService:
    """A service's endpoints, and what was last said about them."""

    endpoints: dict[EndpointId, WatchedEndpoint]
    budget: Budget
    since: float
    """When its watching began."""
    opened: bool = False
    """Its first snapshot has been sent."""
    told: tuple[object, ...] = ()

    @property
    def ready(self) -> bool:
        """Every endpoint has answered once, or was waited for in vain."""
        return all(endpoint.answered for endpoint in self.endpoints.values())

    @property
    def has_chat(self) -> bool:
        return any(
            probe.spec.kind is ProbeKind.CHAT for endpoint in self.endpoints.values() for probe in endpoint.probes
        )


def seeded(state: EndpointState, spec: ProbeSpec, ids: set[str], *, now: float) -> ProbeHealth | None:
    """The health that a probe begins with when its endpoint was last known in *state*; None: it begins unknown.

    The state's detail names the probe that spoke; when it names none of *ids*, every probe holds.
    """
    if state.health not in {Health.DOWN, Health.DEGRADED}:
        return None
    speaker, _, said = state.detail.partition(": ")
    if speaker in ids and speaker != spec.id:
        return None
    return ProbeHealth(
        health=state.health,
        softs=spec.fall if state.health is Health.DEGRADED else 0,
        fails=spec.fall if state.health is Health.DOWN else 0,
        last_good_at=now - state.last_good_age_s if state.last_good_age_s is not None else None,
        first_bad_at=now - state.first_bad_age_s if state.first_bad_age_s is not None else None,
        detail=said if speaker in ids else state.detail,
    )


def carried(health: ProbeHealth) -> ProbeHealth:
    """The health of a probe whose question changed: the opinion holds until proved otherwise, counts begin anew."""
    return replace(health, passes=0, softs=0, fails=0, completed_at=None)
