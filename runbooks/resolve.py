"""Each step of a book, resolved: what exactly is done, to whom, within what time, and what its undo does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from orchestrator.config.fields import spoken
from orchestrator.core.errors import BadFence
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Routing, SteeringChange, encode, next_lineage, serving
from orchestrator.core.topology import ProbeKind, Weights, Workload
from runbooks.ground import Case, Unplannable, Unweighable, expressed
from runbooks.model import (
    DEFAULTS,
    ApproveTask,
    BookStep,
    CallTask,
    CheckTask,
    ConvergeTask,
    DemoteTask,
    DrainTask,
    FenceTask,
    NotifyTask,
    ParallelTask,
    PromoteTask,
    RunbookTask,
    SteerTask,
    VerifyTask,
    WaitTask,
)
from runbooks.plan import (
    Analyse,
    Analysis,
    Approve,
    Asked,
    Call,
    Check,
    Converge,
    Demote,
    Drain,
    FenceOff,
    Hook,
    Place,
    Promote,
    Steer,
    Step,
    Tell,
    Verify,
    Wait,
    When,
    Work,
)
from runbooks.printed import people, spread

MARGIN_S = 30.0
"""What an analysis may take beyond its hold: the answers it has asked for last."""


def resolved(said: BookStep, case: Case) -> Iterator[Step]:  # noqa: PLR0912  one case for each type of step
    """The steps that one step of the book becomes: none, one, or one for each source endpoint. Raises Unplannable."""
    match said.task:
        case PromoteTask():
            yield from _promote(said, said.task, case)
        case VerifyTask():
            yield _verify(said, said.task, case)
        case ConvergeTask():
            yield _converge(said, case)
        case DrainTask():
            yield from _drain(said, case)
        case FenceTask():
            yield from _fence(said, case)
        case DemoteTask():
            yield from _demote(said, said.task, case)
        case ApproveTask():
            yield _approve(said, said.task, case)
        case CheckTask(rules):
            which = f"the safety rules {', '.join(rules)}" if rules else "all safety rules"
            yield _step(said, Check(rules), f"ask {which} again", case)
        case CallTask(hook, back):
            undo = _hook(back) if back else None
            yield _step(said, Call(hook, back), f"{_hook(hook)} and expect {', '.join(hook.status)}", case, undo)
        case NotifyTask(line):
            yield _step(said, Tell(line), f"tell people: {' '.join(line.split())}", case)
        case WaitTask(seconds):
            yield _step(said, Wait(seconds), f"hold for {spoken(seconds)}", case, more_s=seconds)
        case SteerTask() | ParallelTask() | RunbookTask():
            raise AssertionError(f"step '{said.id}' is resolved by whoever walks the book")
        case _:
            assert_never(said.task)


def _step(said: BookStep, work: Work, line: str, case: Case, undo: str | None = None, *, more_s: float = 0.0) -> Step:
    usual = dict(case.ground.usual).get(said.id)
    expected = said.expected_s if said.expected_s is not None else usual
    return Step(
        id=said.id,
        work=work,
        timeout_s=said.timeout_s + more_s,
        attempts=said.attempts,
        on_failure=said.on_failure,
        text=line,
        undo=undo if said.undo else None,
        when=said.when,
        expected_s=DEFAULTS[said.task.type].expected_s + more_s if expected is None else expected,
    )


# ------------------------------------------------------------------ before traffic moves


def _promote(said: BookStep, task: PromoteTask, case: Case) -> Iterator[Step]:
    target = case.target
    if target.workload is None:
        return
    replicas = task.replicas if task.replicas is not None else target.workload.serving
    yield _step(
        said,
        Promote(target.id, target.workload, replicas),
        f"scale {target.id} to {_replicas(replicas)} before it gets traffic, and wait until ready",
        case,
        f"return {target.id} to the replicas it had",
    )


def _place(name: EndpointId, case: Case) -> tuple[Place, bool]:
    """*name* as a verification asks it, and whether that is by completed inferences."""
    endpoint = case.service.endpoint(name)
    if not endpoint.probes:
        raise Unplannable(
            f"endpoint '{name}' of service '{case.service.id}' has no probe, so nothing can prove that it serves; "
            "give it one"
        )
    chats = tuple(probe for probe in endpoint.probes if probe.kind is ProbeKind.CHAT)
    return Place(name, endpoint.url, case.service.name, endpoint.region, chats or endpoint.probes), bool(chats)


def _verify(said: BookStep, task: VerifyTask, case: Case) -> Step:
    place, by_chat = _place(case.target.id, case)
    names = ", ".join(probe.id for probe in place.probes)
    how = "completed inference" if by_chat else "good answer"
    row = f"{task.passes} {how}s in a row" if task.passes > 1 else f"one {how}"
    places = f", from {task.vantages} places" if task.vantages > 1 else ""
    line = f"ask {place.endpoint} until it gives {row} ({names}){places}"
    return _step(said, Verify(place, task.passes, task.vantages), line, case)


def _approve(said: BookStep, task: ApproveTask, case: Case) -> Step:
    known = dict(case.ground.roles)
    asked: list[Asked] = []
    able: set[str] = set()
    for role in (task.role, *task.escalate):
        who = known.get(role, ()) if role is not None else ()
        if role is not None and not who:
            raise Unplannable(
                f"step '{said.id}' asks role '{role}', in which there is nobody; name its people under roles"
            )
        able |= set(who) - ({case.trigger.by} if task.people > 1 else set())
        if who and len(able) < task.people:
            raise Unplannable(
                f"step '{said.id}' needs a yes from {task.people} people of role '{role}', and only {len(able)} may "
                "give it; add people to the role"
            )
        asked.append(Asked(role, tuple(sorted(who))))
    work = Approve(tuple(asked), task.people, said.timeout_s, task.on_timeout)
    return _step(replace(said, timeout_s=said.timeout_s * len(asked)), work, people(work), case)


# ------------------------------------------------------------------ the traffic


def staged(said: BookStep, task: SteerTask, case: Case) -> Iterator[Step]:
    """One write where the traffic moves at once; else a write for each stage, with what holds between them."""
    if not task.stages:
        yield _steer(said, case, case.move.after, case.routing)[0]
        return
    try:
        steps = tuple(_by_stages(said, task, case))
    except Unweighable:
        if task.unweighable == "refuse":
            raise
        step, _ = _steer(said, case, case.move.after, case.routing)
        why = f"{case.spec.provider} cannot weigh" if case.before else "where traffic goes now is no known share"
        steps = (replace(step, text=f"{step.text}, at once and not by stages: {why}"),)
    yield from steps


def _by_stages(said: BookStep, task: SteerTask, case: Case) -> Iterator[Step]:
    """The writes of the stages, and what holds between them. Raises Unweighable where they cannot be expressed."""
    after = case.move.after
    if case.before is None:
        raise Unweighable(
            f"service '{case.service.id}' answers no known set of endpoints, so its traffic cannot move by stages"
        )
    standing, stood = case.routing, case.before
    for percent in dict.fromkeys((*task.stages, 100)):
        weights = partway(case.before, after, percent)
        if percent < 100 and weights == stood:
            continue  # too few shares for so small a stage: a write would change nothing
        stood = weights
        try:
            step, standing = _steer(replace(said, id=f"{said.id}.{percent}"), case, weights, standing)
        except Unweighable as error:
            raise Unweighable(f"step '{said.id}' cannot move by stages: {error}") from error
        yield step
        if percent < 100:
            yield _analyse(said, task, case, percent, weights)


def partway(before: Weights, after: Weights, percent: int) -> Weights:
    """The weights when *percent* of the move is made: each moves one way only, and the sum is that of *after*.

    Whoever gains has at least 1 in the first stage already, as far as there are shares to give.
    """
    if percent >= 100:
        return after
    total = sum(weight for _, weight in after)
    old = dict(_scaled(before, total))
    new = dict(after)
    gains = {name: new[name] - old.get(name, 0) for name in new if new[name] > old.get(name, 0)}
    losses = {name: old[name] - new.get(name, 0) for name in old if old[name] > new.get(name, 0)}
    moved = max(len(gains), (sum(gains.values()) * percent + 50) // 100)
    # Whoever has come least far is next: so nobody goes back from one stage to the next.
    given, taken = _in_turn(gains, moved, 0.0), _in_turn(losses, moved, 0.5)
    return tuple((name, old.get(name, 0) + given.get(name, 0) - taken.get(name, 0)) for name, _ in after)


def _in_turn(whole: Mapping[EndpointId, int], count: int, ahead: float) -> dict[EndpointId, int]:
    """*count* shares of *whole* one by one, each to whom it brings least far beyond what is due (a divisor method)."""
    parts = dict.fromkeys(whole, 0)
    for _ in range(min(count, sum(whole.values()))):
        able = [name for name in sorted(whole) if parts[name] < whole[name]]
        parts[min(able, key=lambda name: (parts[name] + ahead) / whole[name])] += 1
    return parts


def _scaled(weights: Weights, total: int) -> Weights:
    """*weights* as shares of *total*."""
    given = {name: weight for name, weight in weights if weight}
    if sum(given.values()) in {0, total}:
        return weights
    whole = sum(given.values())
    shares = {name: weight * total // whole for name, weight in given.items()}
    rest = sorted(given, key=lambda name: (-(given[name] * total % whole), name))[: total - sum(shares.values())]
    return tuple((name, shares.get(name, 0) + (name in rest)) for name, _ in weights)


def _steer(said: BookStep, case: Case, weights: Weights, standing: Routing) -> tuple[Step, Routing]:
    """The write that moves traffic from *standing* to *weights*, and the routing that it leaves."""
    spec = case.spec
    work = Steer(
        steering=spec,
        expects=standing.generation,
        was=standing.answer,
        weights=weights,
        answer=expressed(case.service, spec, weights),
        lineage=next_lineage(standing.fence),
        before=case.before,
        origin=case.routing.answer,
        stands=standing.fence,
    )
    change = SteeringChange(work.expects, work.was, work.weights, work.answer, case.run, said.id, work.lineage)
    try:
        encode(change.fence)
    except BadFence as error:
        raise Unplannable(f"run '{case.run}' cannot be fenced: {error}") from error
    stood = standing.fence.weights if standing is not case.routing and standing.fence else case.before
    origin = spread(stood) if stood else "an unknown answer"
    line = f"steer {spec.name} from {origin} to {spread(weights)}, generation {work.expects} -> {work.expects + 1}"
    back = f"steer {spec.name} back to {spread(case.before)}, at a new generation, if healthy then"
    step = _step(said, work, line, case, back if case.returns else None)
    return step, Routing(work.answer, spec.ttl_s, change.fence)


def _analyse(said: BookStep, task: SteerTask, case: Case, percent: int, weights: Weights) -> Step:
    given = serving(weights)
    # An endpoint that is down is no measure of another.
    serves = case.move.planned or said.when is When.PLANNED
    source = next((name for name in case.move.source if name in given and serves), None)
    target, _ = _place(case.target.id, case)
    beside = _place(source, case)[0] if source is not None else None
    work = Analyse(target, beside if task.analysis else None, task.hold_s, task.analysis)
    line = f"hold {percent} % for {spoken(task.hold_s)}" + (_analysis(task.analysis, target, beside) or "")
    usual = replace(
        said,
        id=f"{said.id}.{percent}.hold",
        timeout_s=MARGIN_S,
        expected_s=task.hold_s,
        on_failure="rollback" if said.on_failure == "continue" else said.on_failure,
    )
    return _step(usual, work, line, case, more_s=task.hold_s)


def _analysis(analysis: Analysis | None, target: Place, beside: Place | None) -> str | None:
    if analysis is None:
        return None
    first = f", first token within {spoken(analysis.first_token_s)}" if analysis.first_token_s is not None else ""
    than = f", at most {analysis.slower:g} times as slow as {beside.endpoint}" if beside else ""
    return (
        f", and go on only if {target.endpoint} fails at most {analysis.max_errors:g} % of {analysis.samples} "
        f"answers{than}{first}"
    )


def _converge(said: BookStep, case: Case) -> Step:
    # Caches hold the answer that was there for the time to live that it had, not for the one now written.
    spec = case.spec
    answer = expressed(case.service, spec, case.move.after)
    hold_s = float(case.routing.ttl_s or spec.ttl_s)
    count = len(spec.servers) or 1
    servers = f"each of {count} name servers gives" if count > 1 else "the name server gives"
    return _step(
        said,
        Converge(spec, answer, hold_s),
        f"wait until {servers} {', '.join(answer.values)}, then {spoken(hold_s)} for the caches",
        case,
        more_s=hold_s,
    )


# ------------------------------------------------------------------ after traffic has moved


def _leaving(case: Case) -> Iterator[tuple[EndpointId, Workload]]:
    """The source endpoints that will have no traffic, and a workload to act on."""
    kept = serving(case.move.after)
    for name in case.move.source:
        workload = case.service.endpoint(name).workload
        if workload is not None and name not in kept:
            yield name, workload


def _drain(said: BookStep, case: Case) -> Iterator[Step]:
    for name, workload in _leaving(case) if said.when is not When.UNPLANNED else ():
        line = f"let requests in flight at {name} finish, for {spoken(said.timeout_s)} at most"
        # An endpoint that is down has nothing that could finish.
        here = _numbered(replace(said, when=When.PLANNED), name, case)
        yield _step(here, Drain(name, workload), line, case, f"let {name} take new requests again")


def _fence(said: BookStep, case: Case) -> Iterator[Step]:
    for name, workload in _leaving(case):
        line = f"keep {name} from serving: scale it to nothing, if it has no traffic"
        yield _step(_numbered(said, name, case), FenceOff(name, workload), line, case)


def _demote(said: BookStep, task: DemoteTask, case: Case) -> Iterator[Step]:
    for name, workload in _leaving(case) if said.when is not When.UNPLANNED else ():
        replicas = workload.standby
        work = Demote(name, workload, replicas, case.spec, task.bake_s)
        line = (
            f"after a bake of {spoken(task.bake_s)} return {name} to {_replicas(replicas)}, if it still has no traffic"
        )
        # GPUs that are given back in an outage may not come back.
        here = _numbered(replace(said, when=When.PLANNED), name, case)
        yield _step(here, work, line, case, more_s=task.bake_s)


def _numbered(said: BookStep, name: EndpointId, case: Case) -> BookStep:
    """*said* under an id of its own where several endpoints leave."""
    return replace(said, id=f"{said.id}-{name}") if len(tuple(_leaving(case))) > 1 else said


def _replicas(count: int) -> str:
    return f"{count} replica{'s' if count != 1 else ''}"


def _hook(hook: Hook) -> str:
    return f"{hook.method} {hook.url}"
