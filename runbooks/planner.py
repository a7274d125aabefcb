"""The planner: a move and a runbook become a plan, with every choice made. Pure: same input, same plan.

Law 8 is worked in here: steps after a steer that has no way back never roll back, whatever the book says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import assert_never

from orchestrator.config.fields import spoken
from orchestrator.core.errors import BadFence, FailoverError, Unsteerable
from orchestrator.core.move import Move, Objection, Trigger
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.steering import (
    Routing,
    Shares,
    SteeringChange,
    answer_for,
    encode,
    next_lineage,
    serving,
    weights_in,
)
from orchestrator.core.topology import Answer, Endpoint, ProbeKind, Service, SteeringSpec, Weights, Workload
from runbooks.model import (
    BookStep,
    ConvergeTask,
    DemoteTask,
    DrainTask,
    PromoteTask,
    Runbook,
    SteerTask,
    VerifyTask,
)
from runbooks.plan import Converge, Demote, Drain, Place, Plan, Promote, Steer, Step, Verify, Work
from runbooks.printed import as_nsupdate, brief, spread, text

__all__ = ["SHARES", "Unplannable", "as_nsupdate", "brief", "plan", "text"]

SHARES: Mapping[str, Shares] = MappingProxyType({"rfc2136": Shares.EQUAL, "local": Shares.WEIGHTED})
"""What spread of traffic each steering provider can express, by its name in the registry."""


class Unplannable(FailoverError):
    """A move that cannot be planned. The sentence names what is missing."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What every step is planned from."""

    move: Move
    service: Service
    spec: SteeringSpec
    routing: Routing
    run: RunId
    answer: Answer
    before: Weights | None

    @property
    def target(self) -> Endpoint:
        return self.service.endpoint(self.move.target)

    @property
    def returns(self) -> bool:
        """Whether a steer has a way back: the source still serves, and the old answer can be said again."""
        return self.move.planned and self.before is not None


def plan(
    move: Move,
    *,
    service: Service,
    routing: Routing,
    run: RunId,
    trigger: Trigger,
    revision: int,
    book: Runbook,
    objections: tuple[Objection, ...] = (),
) -> Plan:
    """*book* resolved for *move* against *service* and the *routing* as it was read. Raises Unplannable."""
    case = _case(move, service, routing, run)
    steps: list[Step] = []
    for said in book.chosen(planned=move.planned):
        moved = any(isinstance(step.work, Steer) for step in steps)
        for step in _steps(said, case):
            settled = moved and not case.returns and step.on_failure == "rollback"
            steps.append(replace(step, on_failure="halt") if settled else step)
    if sum(isinstance(step.work, Steer) for step in steps) != 1:
        kind = "planned" if move.planned else "unplanned"
        raise Unplannable(
            f"runbook '{book.name}' does not have exactly one step that steers in {kind} moves; "
            f"name another runbook in the policy of service '{service.id}'"
        )
    return Plan(
        run=run,
        service=service.id,
        kind=move.kind,
        trigger=trigger,
        runbook=book.name,
        source=move.source,
        target=move.target,
        before=case.before or (),
        after=move.after,
        revision=revision,
        generation=routing.generation,
        objective_s=service.policy.rto_s,
        steps=tuple(steps),
        failing=move.failing,
        objections=objections,
    )


# ------------------------------------------------------------------ what must be there


def _case(move: Move, service: Service, routing: Routing, run: RunId) -> _Case:
    spec = service.steering
    if spec is None:
        raise Unplannable(f"service '{service.id}' has no steering, so its traffic cannot be moved; give it one")
    known = tuple(sorted(endpoint.id for endpoint in service.endpoints))
    for name in (move.target, *move.source):
        if name not in known:
            raise Unplannable(f"service '{service.id}' has no endpoint '{name}'; there are: {', '.join(known)}")
    if tuple(name for name, _ in move.after) != known:
        raise Unplannable(
            f"the weights {_listed(move.after)} do not name each endpoint of service '{service.id}' once, in order; "
            f"give one weight each to {', '.join(known)}"
        )
    if move.target not in serving(move.after):
        raise Unplannable(f"the move to '{move.target}' would give it no traffic; give it a weight above 0")
    answer = _answer(service, spec, move.after)
    before = _before(service, routing)
    if before == move.after and answer == routing.answer:
        raise Unplannable(
            f"traffic of service '{service.id}' goes to {spread(before)} already; there is nothing to move"
        )
    return _Case(move, service, spec, routing, run, answer, before)


def _answer(service: Service, spec: SteeringSpec, after: Weights) -> Answer:
    shares = SHARES.get(spec.provider)
    if shares is None:
        raise Unplannable(
            f"nothing is known of what steering provider '{spec.provider}' of service '{service.id}' can express; "
            f"choose one of {', '.join(sorted(SHARES))}"
        )
    try:
        answer = answer_for(service.endpoints, after)
    except Unsteerable as error:
        raise Unplannable(f"service '{service.id}' cannot be steered to {spread(after)}: {error}") from error
    given = [weight for _, weight in after if weight]
    if shares is Shares.ONE and len(given) > 1:
        raise Unplannable(
            f"steering of service '{service.id}' by {spec.provider} sends traffic to one endpoint at a time and cannot "
            f"express {spread(after)}; send all of it to one"
        )
    # A third is 34, 33 and 33: weights that differ by rounding are equal.
    if shares is Shares.EQUAL and max(given) - min(given) > 1:
        raise Unplannable(
            f"steering of service '{service.id}' by {spec.provider} spreads traffic evenly and cannot express "
            f"{spread(after)}; ask for equal weights, or send all of it to one"
        )
    return answer


def _before(service: Service, routing: Routing) -> Weights | None:
    """The weights that stand: the fence's where they explain the answer, else what the answer alone says."""
    if routing.answer is None:
        return None
    if routing.fence is not None:
        weights = routing.fence.weights
        try:
            if answer_for(service.endpoints, weights) == routing.answer:
                given = dict(weights)
                return tuple(sorted((endpoint.id, given.get(endpoint.id, 0)) for endpoint in service.endpoints))
        except Unsteerable:
            pass  # the topology has changed since that write; the answer itself may still be explained
    return weights_in(routing.answer, service.endpoints)


def _listed(weights: Weights) -> str:
    return " ".join(f"{endpoint}:{weight}" for endpoint, weight in weights) or "(none)"


# ------------------------------------------------------------------ the steps


def _steps(said: BookStep, case: _Case) -> Iterator[Step]:
    """The steps that one step of the book becomes: none, one, or one for each source endpoint."""
    match said.task:
        case PromoteTask():
            yield from _promote(said, said.task, case)
        case VerifyTask():
            yield _verify(said, said.task, case)
        case SteerTask():
            yield _steer(said, case)
        case ConvergeTask():
            yield _converge(said, case)
        case DrainTask():
            yield from _drain(said, case)
        case DemoteTask():
            yield from _demote(said, said.task, case)
        case _:
            assert_never(said.task)


def _step(said: BookStep, work: Work, line: str, undo: str | None = None, *, more_s: float = 0.0) -> Step:
    return Step(
        id=said.id,
        work=work,
        timeout_s=said.timeout_s + more_s,
        attempts=said.attempts,
        on_failure=said.on_failure,
        text=line,
        undo=undo,
    )


def _promote(said: BookStep, task: PromoteTask, case: _Case) -> Iterator[Step]:
    target = case.target
    if target.workload is None:
        return
    replicas = task.replicas if task.replicas is not None else target.workload.serving
    yield _step(
        said,
        Promote(target.id, target.workload, replicas),
        f"scale {target.id} to {_replicas(replicas)} before it gets traffic, and wait until ready",
        f"return {target.id} to the replicas it had",
    )


def _verify(said: BookStep, task: VerifyTask, case: _Case) -> Step:
    target = case.target
    if not target.probes:
        raise Unplannable(
            f"endpoint '{target.id}' of service '{case.service.id}' has no probe, so nothing can prove that it serves; "
            "give it one"
        )
    chats = tuple(probe for probe in target.probes if probe.kind is ProbeKind.CHAT)
    probes = chats or target.probes
    names = ", ".join(probe.id for probe in probes)
    how = "completed inferences" if chats else "good answers"
    return _step(
        said,
        Verify(Place(target.id, target.url, case.service.name, target.region, probes), task.passes),
        f"ask {target.id} until it gives {task.passes} {how} in a row ({names})",
    )


def _steer(said: BookStep, case: _Case) -> Step:
    routing, spec, after = case.routing, case.spec, case.move.after
    work = Steer(
        steering=spec,
        expects=routing.generation,
        was=routing.answer,
        weights=after,
        answer=case.answer,
        lineage=next_lineage(routing.fence),
        before=case.before,
        stands=routing.fence,
    )
    change = SteeringChange(work.expects, work.was, work.weights, work.answer, case.run, said.id, work.lineage)
    try:
        encode(change.fence)
    except BadFence as error:
        raise Unplannable(f"run '{case.run}' cannot be fenced: {error}") from error
    origin = spread(case.before) if case.before else "an unknown answer"
    numbers = f"generation {routing.generation} -> {change.fence.generation}"
    undo = (
        f"steer {spec.name} back to {spread(case.before)}, at a new generation, if healthy then"
        if case.returns
        else None
    )
    return _step(said, work, f"steer {spec.name} from {origin} to {spread(after)}, {numbers}", undo)


def _converge(said: BookStep, case: _Case) -> Step:
    # Caches hold the answer that was there for the time to live that it had, not for the one now written.
    hold_s = float(case.routing.ttl_s or case.spec.ttl_s)
    count = len(case.spec.servers) or 1
    servers = f"each of {count} name servers gives" if count > 1 else "the name server gives"
    return _step(
        said,
        Converge(case.spec, case.answer, hold_s),
        f"wait until {servers} {', '.join(case.answer.values)}, then {spoken(hold_s)} for the caches",
        more_s=hold_s,
    )


def _leaving(case: _Case) -> Iterator[tuple[EndpointId, Workload]]:
    """The source endpoints that will have no traffic, and a workload to act on; none where the move is unplanned."""
    kept = serving(case.move.after)
    for name in case.move.source if case.move.planned else ():
        workload = case.service.endpoint(name).workload
        if workload is not None and name not in kept:
            yield name, workload


def _drain(said: BookStep, case: _Case) -> Iterator[Step]:
    for name, workload in _leaving(case):
        line = f"let requests in flight at {name} finish, for {spoken(said.timeout_s)} at most"
        yield _numbered(_step(said, Drain(name, workload), line, f"let {name} take new requests again"), name, case)


def _demote(said: BookStep, task: DemoteTask, case: _Case) -> Iterator[Step]:
    for name, workload in _leaving(case):
        replicas = workload.standby
        work = Demote(name, workload, replicas, case.spec, task.bake_s)
        line = (
            f"after a bake of {spoken(task.bake_s)} return {name} to {_replicas(replicas)}, if it still has no traffic"
        )
        yield _numbered(_step(said, work, line, more_s=task.bake_s), name, case)


def _numbered(step: Step, name: EndpointId, case: _Case) -> Step:
    """*step* under an id of its own where several endpoints leave."""
    return replace(step, id=f"{step.id}-{name}") if len(tuple(_leaving(case))) > 1 else step


def _replicas(count: int) -> str:
    return f"{count} replica{'s' if count != 1 else ''}"
