"""Each step of a book, resolved: what exactly is done, to whom, within what time, and what its undo does. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from orchestrator.config.fields import spoken
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import serving
from orchestrator.core.topology import ProbeKind, Workload
from runbooks.ground import Case, Unplannable, expressed
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
    Step,
    Tell,
    Verify,
    Wait,
    When,
    Work,
)
from runbooks.printed import people


def resolved(said: BookStep, case: Case) -> Iterator[Step]:  # noqa: PLR0912  one case for each type of step
    """The steps that one step of the book becomes: none, one, or one for each endpoint that it is about.

    Raises Unplannable.
    """
    match said.task:
        case PromoteTask():
            yield from _promote(said, said.task, case)
        case VerifyTask():
            yield from _verify(said, said.task, case)
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
            yield step_of(said, Check(rules), f"ask {which} again", case)
        case CallTask(hook, back):
            undo = _hook(back) if back else None
            yield step_of(said, Call(hook, back), f"{_hook(hook)} and expect {', '.join(hook.status)}", case, undo)
        case NotifyTask(line):
            yield step_of(said, Tell(line), f"tell people: {' '.join(line.split())}", case)
        case WaitTask(seconds):
            yield step_of(said, Wait(seconds), f"hold for {spoken(seconds)}", case, more_s=seconds)
        case SteerTask() | ParallelTask() | RunbookTask():
            raise AssertionError(f"step '{said.id}' is resolved by whoever walks the book")
        case _:
            assert_never(said.task)


def step_of(said: BookStep, work: Work, line: str, case: Case, undo: str | None = None, *, more_s: float = 0.0) -> Step:
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
    for name in case.gaining:
        workload = case.service.endpoint(name).workload
        if workload is None:
            continue
        # What a runbook says of replicas, it says of its target.
        own = task.replicas if name == case.target.id else None
        replicas = own if own is not None else workload.serving
        yield step_of(
            _named(said, name, case.gaining),
            Promote(name, workload, replicas),
            f"scale {name} to {_replicas(replicas)} before it gets traffic, and wait until ready",
            case,
            f"return {name} to the replicas it had",
        )


def place_of(name: EndpointId, case: Case) -> tuple[Place, bool]:
    """*name* as a verification asks it, and whether that is by completed inferences."""
    endpoint = case.service.endpoint(name)
    if not endpoint.probes:
        raise Unplannable(
            f"endpoint '{name}' of service '{case.service.id}' has no probe, so nothing can prove that it serves; "
            "give it one"
        )
    chats = tuple(probe for probe in endpoint.probes if probe.kind is ProbeKind.CHAT)
    return Place(name, endpoint.url, case.service.name, endpoint.region, chats or endpoint.probes), bool(chats)


def _verify(said: BookStep, task: VerifyTask, case: Case) -> Iterator[Step]:
    for name in case.gaining:
        place, by_chat = place_of(name, case)
        names = ", ".join(probe.id for probe in place.probes)
        how = "completed inference" if by_chat else "good answer"
        row = f"{task.passes} {how}s in a row" if task.passes > 1 else f"one {how}"
        places = f", from {task.vantages} places" if task.vantages > 1 else ""
        first = next(each.readiness for each in case.service.endpoints if each.id == name)
        examine = f"examine {', '.join(each.id for each in first)}, then " if first else ""
        line = f"{examine}ask {name} until it gives {row} ({names}){places}"
        work = Verify(place, task.passes, task.vantages, first)
        yield step_of(_named(said, name, case.gaining), work, line, case)


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
    return step_of(replace(said, timeout_s=said.timeout_s * len(asked)), work, people(work), case)


# ------------------------------------------------------------------ the traffic


def _converge(said: BookStep, case: Case) -> Step:
    # Caches hold the answer that was there for the time to live that it had, not for the one now written.
    spec = case.spec
    answer = expressed(case.service, spec, case.move.after)
    hold_s = float(case.routing.ttl_s or spec.ttl_s)
    count = len(spec.servers) or 1
    servers = f"each of {count} name servers gives" if count > 1 else "the name server gives"
    return step_of(
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
        yield step_of(here, Drain(name, workload), line, case, f"let {name} take new requests again")


def _fence(said: BookStep, case: Case) -> Iterator[Step]:
    for name, workload in _leaving(case):
        line = f"keep {name} from serving: scale it to nothing, if it has no traffic"
        yield step_of(_numbered(said, name, case), FenceOff(name, workload), line, case)


def _demote(said: BookStep, task: DemoteTask, case: Case) -> Iterator[Step]:
    for name, workload in _leaving(case) if said.when is not When.UNPLANNED else ():
        replicas = workload.standby
        work = Demote(name, workload, replicas, case.spec, task.bake_s)
        line = (
            f"after a bake of {spoken(task.bake_s)} return {name} to {_replicas(replicas)}, if it still has no traffic"
        )
        # GPUs that are given back in an outage may not come back.
        here = _numbered(replace(said, when=When.PLANNED), name, case)
        yield step_of(here, work, line, case, more_s=task.bake_s)


def _numbered(said: BookStep, name: EndpointId, case: Case) -> BookStep:
    """*said* under an id of its own where several endpoints leave."""
    return _named(said, name, tuple(each for each, _ in _leaving(case)))


def _named(said: BookStep, name: EndpointId, among: tuple[EndpointId, ...]) -> BookStep:
    """*said* under an id of its own where it is about several endpoints."""
    return replace(said, id=f"{said.id}-{name}") if len(among) > 1 else said


def _replicas(count: int) -> str:
    return f"{count} replica{'s' if count != 1 else ''}"


def _hook(hook: Hook) -> str:
    return f"{hook.method} {hook.url}"
