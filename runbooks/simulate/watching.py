"""The vantages of a history, and the network between them and the service: lost, doubled, late and out of order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from orchestrator.core.health import EndpointState, Health, ProbeHealth, observe, summarize
from orchestrator.core.names import EndpointId, region_of
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.quorum import Report
from orchestrator.core.topology import Service, Vantage
from runbooks.simulate.stage import Stage
from runbooks.simulate.world import World

ROUND_S = 1.5
NO_WAY = Outcome(OutcomeKind.UNREACHABLE, 1.0, "no connection")

Deliver = Callable[[Report], None]


class Post:
    """One vantage: it asks every endpoint each round, folds the answers and reports what has changed."""

    def __init__(
        self, stage: Stage, world: World, service: Service, vantage: Vantage, faults: Mapping[str, float]
    ) -> None:
        self._stage = stage
        self._world = world
        self._service = service
        self._faults = faults
        self.vantage = vantage
        self.deliver: Deliver = lambda report: None
        self.heard: datetime | None = None
        """The last heartbeat, as the server stamped it."""
        self.said_down: dict[EndpointId, float] = {}
        """When it last told that an endpoint is down, by true time."""
        self.frozen_until = 0.0
        self.cut_until = 0.0
        """It reaches no endpoint until then."""
        self.mute_until = 0.0
        """Nothing it says reaches the service until then."""
        self._clock_s = stage.between(0.0, 1e6)
        self._epoch, self._seq = 1, 0
        self._health: dict[EndpointId, ProbeHealth] = {e.id: ProbeHealth() for e in service.endpoints}
        self._told: tuple[object, ...] = ()
        stage.after(stage.between(0.0, ROUND_S), self.round)

    @property
    def clock(self) -> float:
        """Its own monotonic clock."""
        return self._stage.now + self._clock_s

    def round(self) -> None:
        """Ask every endpoint once, and say what has changed."""
        stage = self._stage
        if stage.calm:
            return
        stage.after(ROUND_S * stage.between(0.9, 1.1), self.round)
        self._trouble()
        if stage.now < self.frozen_until:
            return
        for endpoint in self._service.endpoints:
            spec = endpoint.probes[0]
            cut = stage.now < self.cut_until and region_of(endpoint.region) != region_of(self.vantage.region)
            outcome = NO_WAY if cut else self._world.outcome(endpoint.id)
            self._health[endpoint.id] = observe(
                self._health[endpoint.id], outcome, now=self.clock, rise=spec.rise, fall=spec.fall
            )
        if stage.now >= self.mute_until:
            self.heard = stage.wall()
        self._report()

    def _trouble(self) -> None:
        stage = self._stage
        if not stage.chance(self._faults["vantage"]):
            return
        until = stage.now + stage.between(1.0, 15.0)
        match stage.pick(("frozen", "cut off", "mute", "restarted", "clock")):
            case "frozen" as what:
                self.frozen_until = until
            case "cut off" as what:
                self.cut_until = until
            case "mute" as what:
                self.mute_until = until
            case "restarted" as what:
                self.restart()
            case what:
                self._clock_s += stage.between(-20.0, 20.0)
        stage.say("{}: {}", self.vantage.id, what)
        stage.count(f"vantage {what}")

    def restart(self) -> None:
        """A new epoch: what was down is known from the last heartbeat, all else is not."""
        self._epoch, self._seq, self._told = self._epoch + 1, 0, ()
        self._clock_s = self._stage.between(0.0, 1e6)
        seeds = {name for name, health in self._health.items() if health.opinion is Health.DOWN}
        self._health = {
            name: ProbeHealth(health=Health.DOWN, first_bad_at=self.clock) if name in seeds else ProbeHealth()
            for name in self._health
        }

    @property
    def isolated(self) -> bool:
        """It suspects itself: more than half of at least two regions look wholly down, as in ``prober.isolation``."""
        up: dict[str, bool] = {}
        for endpoint in self._service.endpoints:
            opinion = self._health[endpoint.id].opinion
            off = endpoint.role == "standby" and endpoint.workload is not None and endpoint.workload.standby == 0
            if opinion is Health.UNKNOWN or (off and opinion is Health.DOWN):
                continue
            region = region_of(endpoint.region)
            up[region] = up.get(region, False) or opinion is not Health.DOWN
        return len(up) >= 2 and sum(not each for each in up.values()) * 2 > len(up)

    def _report(self) -> None:
        """Send the present level where anything in it has changed."""
        told = tuple([(health.opinion, health.completed_at is not None) for health in self._health.values()])
        if told == self._told and self._stage.rng.random() > 0.05:
            return
        self._told, self._seq, isolated = told, self._seq + 1, self.isolated
        states = tuple(self._state(endpoint_id) for endpoint_id in sorted(self._health))
        for state in states:
            if state.health is Health.DOWN and not isolated:
                self.said_down[state.endpoint] = self._stage.now
        vantage = self.vantage.id
        self._send(Report(self._service.id, vantage, 0, f"host-{vantage}", self._epoch, self._seq, 1, isolated, states))

    def _state(self, name: EndpointId) -> EndpointState:
        spec = next(e.probes[0] for e in self._service.endpoints if e.id == name)
        return summarize(name, ((spec, self._health[name]),), now=self.clock)

    def _send(self, report: Report) -> None:
        stage, faults = self._stage, self._faults
        if stage.now < self.mute_until:
            self._told = ()  # it is owed: said again in the next round
            return
        if stage.chance(faults["loss"]):
            stage.count("report lost")
            self._told = () if stage.rng.random() < 0.5 else self._told
            return
        copies = 2 if stage.chance(faults["twice"]) else 1
        for _ in range(copies):
            late = stage.chance(faults["late"])
            if late:
                stage.count("report late")
            stage.after(stage.between(0.5, 8.0) if late else stage.between(0.005, 0.05), self.deliver, report)
        if copies == 2:
            stage.count("report twice")


def in_short(report: Report) -> str:
    """A report in the story."""
    said = " ".join(f"{state.endpoint}={state.health}{'*' if state.proven else ''}" for state in report.states)
    return f"{report.epoch}.{report.seq} {said}{' (isolated)' if report.isolated else ''}"
