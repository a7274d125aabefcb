"""Planning on the spot: from the topology file, the live record and this machine's own probes. Temporal is not needed.

There is no quorum here. What one machine sees decides nothing by itself: a person reads the plan and says yes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

from orchestrator.core.decision import Go, Request, Situation, consider
from orchestrator.core.errors import FailoverError
from orchestrator.core.move import Move, Objection
from orchestrator.core.names import RunId, ServiceId, nearest
from orchestrator.core.orders import Orders
from orchestrator.core.probe import SOFT, OutcomeKind
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.safety import NAMES
from orchestrator.core.steering import Fence, Routing
from orchestrator.core.topology import Endpoint, Mode, ProbeKind, ProbeSpec, Service, Topology
from orchestrator.core.underway import UnderWay, still_against
from orchestrator.runtime.breakglass.sealed import Sealed
from orchestrator.runtime.connection import NoSuch
from providers import registry
from providers.base import ProbeClient, StaleGeneration, Transient
from providers.base import Refused as NoAnswer
from runbooks.books import packed
from runbooks.plan import Check, Plan, Steer
from runbooks.planner import Unplannable
from workflows import planning, situation
from workflows.wire import ServiceState, ServiceStatus, Slice, StatusQuestion, StepTask

TRIES = 2
"""Questions to an endpoint before it counts as down from here."""
READ_S = 10.0

UNASKED: Mapping[str, str] = MappingProxyType(
    {
        "one-run-at-a-time": "whether a run holds the service",
        "paused": "whether somebody has paused it",
        "held": "whether its automation is held",
        "cool-down": "when its last run was",
        "not-acknowledged": "whether somebody has looked at what automation did",
        "confirm": "since when an endpoint has been failing",
        "change-guard": "how much else moves now",
        "too-many-at-once": "how many runs there are",
        "setback": "whether the region bore the return of other services",
        "pool-full": "what other services count on in a pool",
    }
)
"""Rules that only the control plane can answer, each with what nobody knows here."""
ONE_EYE = "only this machine was asked: no vantage and no quorum has confirmed what it sees"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one machine sees of a service now."""

    assessments: tuple[Assessment, ...]
    routing: Routing | None
    routing_error: str = ""


NOTHING = Seen((), None)
"""Before anybody was asked."""


@dataclass(frozen=True, slots=True)
class Unplanned:
    """Why no plan came of a request. Every reason at once."""

    reasons: tuple[Objection, ...]
    seen: Seen


def unasked() -> tuple[str, ...]:
    """What could not be asked, in sentences: for the plan and the record."""
    known = [(rule, what) for rule, what in UNASKED.items() if rule in NAMES]
    said = "; ".join(f"{what} ({rule})" for rule, what in known)
    return (f"not asked, for want of the control plane: {said}", ONE_EYE)


def service_of(topology: Topology, service: ServiceId) -> Service:
    """The service of that id. Raises NoSuch with the nearest name."""
    try:
        return topology.service(service)
    except KeyError:
        names = [each.id for each in topology.services]
        close = nearest(service, names)
        hint = f"did you mean '{close}'?" if close else f"it has: {', '.join(names) or 'none'}"
        raise NoSuch(f"the topology has no service '{service}'; {hint}") from None


def status(topology: Topology, service: ServiceId, seen: Seen, now: datetime) -> ServiceStatus:
    """The status of *service* as one machine sees it."""
    state = ServiceState(_slice(topology, service), mode=Mode.MANUAL, routing=seen.routing)
    return replace(situation.status(state, StatusQuestion(now)), assessments=seen.assessments)


async def look(service: Service, probes: ProbeClient) -> Seen:
    """Ask every endpoint from here, and read the routing at the primary. Never raises for what does not answer."""
    reading = asyncio.create_task(_routing(service))
    found = await asyncio.gather(*(_assess(service, endpoint, probes) for endpoint in service.endpoints))
    routing, error = await reading
    return Seen(tuple(found), routing, error)


def plan_here(
    topology: Topology, service: ServiceId, request: Request, seen: Seen, *, now: datetime
) -> Plan | Unplanned:
    """The plan that *request* becomes, as the control plane would make it from what is *seen*. Raises BadInput."""
    piece = _slice(topology, service)
    state = ServiceState(piece, mode=Mode.MANUAL, routing=seen.routing, routing_error=seen.routing_error)
    request = planning.meant(state, request)
    decision = consider(_situation(piece.service, piece.orders, seen, now), request)
    if not isinstance(decision, Go):
        return Unplanned(decision.reasons, seen)
    run = run_id(service, now)
    try:
        return planning.make_plan(
            state,
            decision.move,
            run=run,
            trigger=request.trigger,
            objections=decision.overridden,
            asked=request,
            now=now,
        )
    except Unplannable as error:
        return Unplanned((Objection("unplannable", str(error)),), seen)


async def weigh(sealed: Sealed, probes: ProbeClient, task: StepTask) -> tuple[Objection, ...]:
    """What stands against the run's move now, as far as this machine can tell. Raises Transient, Refused."""
    if task.target is None:
        raise NoAnswer(f"run {task.run} names no target, so no safety rule can be asked about it")
    seen = await look(sealed.service, probes)
    if seen.routing is None:
        raise Transient(seen.routing_error)
    rules = task.work.rules if isinstance(task.work, Check) else ()
    move = Move(task.service, task.kind, task.source, task.target, task.after)
    way = UnderWay(task.run, move, rules, task.overrides)
    facts = _situation(sealed.service, sealed.orders, seen, datetime.now(UTC))
    return still_against(facts, way, by=sealed.plan.trigger.by)


async def must_still_stand(sealed: Sealed) -> None:
    """Raise StaleGeneration where the record is not as the plan found it, before anything is begun.

    A record that this very run has written is its own. Raises what ``Steering.read`` does.
    """
    steers = [step.work for step in sealed.plan.steps if isinstance(step.work, Steer)]
    if not steers:
        return
    first = steers[0]
    try:
        async with asyncio.timeout(READ_S):
            now = await registry.steering(first.steering).read()
    except TimeoutError:
        raise Transient(f"{first.steering.at} did not answer within {READ_S:g} s") from None
    if now.fence is not None and now.fence.run == sealed.plan.run:
        return
    plan = sealed.plan
    cure = f"plan again: failover break-glass plan failover.yaml {plan.service} --to {plan.target}"
    if now.generation != first.expects:
        raise StaleGeneration(f"{first.steering.name} has changed since this plan was made: {ahead(now.fence)}; {cure}")
    if now.answer != first.was:
        said = ", ".join(now.answer.values) if now.answer else "nothing"
        raise StaleGeneration(f"{first.steering.name} answers {said} now, which the plan does not know of; {cure}")


def ahead(fence: Fence | None) -> str:
    """Who wrote the record last, in a phrase."""
    if fence is None:
        return "it has no fence"
    return f"it is at generation {fence.generation}, by run {fence.run}, step {fence.step}"


def run_id(service: ServiceId, now: datetime) -> RunId:
    """A new run's id, of the same form as the control plane's."""
    return RunId(f"{service}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")


def as_run(plan: Plan, run: RunId) -> Plan:
    """*plan* under the id *run*: what later stages expect of earlier ones names the run too."""
    old = f"{plan.run}/"

    def own(token: str) -> str:
        return f"{run}/{token.removeprefix(old)}" if token.startswith(old) else token

    def renamed(work: Steer) -> Steer:
        lineage = tuple((generation, own(token)) for generation, token in work.lineage)
        stands = work.stands
        if stands is not None:
            writer = str(run) if stands.run == plan.run else stands.run
            stands = replace(stands, run=writer, lineage=tuple((g, own(token)) for g, token in stands.lineage))
        return replace(work, lineage=lineage, stands=stands)

    steps = tuple(
        replace(step, work=renamed(step.work)) if isinstance(step.work, Steer) else step for step in plan.steps
    )
    return replace(plan, run=run, steps=steps)


# ------------------------------------------------------------------ asking


async def _routing(service: Service) -> tuple[Routing | None, str]:
    if service.steering is None:
        return None, f"service '{service.id}' has no steering"
    try:
        async with asyncio.timeout(READ_S):
            return await registry.steering(service.steering).read(), ""
    except TimeoutError:
        return None, f"{service.steering.at} did not answer within {READ_S:g} s"
    except FailoverError as error:
        return None, str(error)


async def _assess(service: Service, endpoint: Endpoint, probes: ProbeClient) -> Assessment:
    """The verdict of this machine alone."""
    if not endpoint.probes:
        return Assessment(endpoint.id, Verdict.UNKNOWN, "has no probe, so nobody can ask it", None, None, proven=False)
    asked: list[_Answer] = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_ask(service, endpoint, spec, probes)) for spec in endpoint.probes]
        for next_one in asyncio.as_completed(tasks):
            asked.append(await next_one)
            if asked[-1].verdict is Verdict.DOWN:
                # A model's completion may take long to time out, and can add nothing.
                for task in tasks:
                    task.cancel()
                break
    return _verdict(endpoint, asked)


def _verdict(endpoint: Endpoint, asked: list[_Answer]) -> Assessment:
    """The worst of what was *asked* decides; who cannot be asked from here is neither well nor down."""
    now = datetime.now(UTC)
    for verdict in (Verdict.DOWN, Verdict.UNKNOWN, Verdict.DEGRADED):
        if worst := next((each for each in asked if each.verdict is verdict), None):
            word = "cannot be asked" if verdict is Verdict.UNKNOWN else f"is {verdict} as seen"
            good, bad = now if verdict is Verdict.DEGRADED else None, now if verdict is Verdict.DOWN else None
            text = f"{word} from here: {worst.detail}"
            return Assessment(endpoint.id, verdict, text, good, bad, proven=False, votes=1)
    proven = all(each.completed for each in asked if each.probe.kind is ProbeKind.CHAT)
    return Assessment(endpoint.id, Verdict.HEALTHY, "answers as seen from here", now, None, proven=proven, votes=1)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of asking one question as often as it takes."""

    probe: ProbeSpec
    verdict: Verdict
    detail: str = ""
    completed: bool = False


async def _ask(service: Service, endpoint: Endpoint, spec: ProbeSpec, probes: ProbeClient) -> _Answer:
    """How one question ends; one that fails is asked again."""
    for _ in range(TRIES):
        try:
            outcome = await probes.ask(spec, endpoint.url, name=service.name, fresh=True)
        except FailoverError as error:
            # The key that a probe needs may be on the workers alone.
            return _Answer(spec, Verdict.UNKNOWN, str(error))
        if outcome.kind is OutcomeKind.PASSED:
            return _Answer(spec, Verdict.HEALTHY, completed=outcome.completed)
    verdict = Verdict.DEGRADED if outcome.kind in SOFT else Verdict.DOWN
    return _Answer(spec, verdict, f"{spec.id}: {outcome.detail or outcome.kind}")


def _slice(topology: Topology, service: ServiceId) -> Slice:
    found = service_of(topology, service)
    books = tuple((name, packed(text, name)) for name, text in topology.books)
    return Slice(
        0, found, topology.vantages, topology.notify, roles=topology.roles, books=books, orders=topology.orders
    )


def _situation(service: Service, orders: Orders, seen: Seen, now: datetime) -> Situation:
    return Situation(service, seen.assessments, seen.routing, Mode.MANUAL, now, orders=orders)
