"""A plan as people read it: the text that an approver sees, the lines that displays follow, and an nsupdate script.

The same plan is always the same text: golden tests compare it to the letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType

from orchestrator.config.fields import spoken
from orchestrator.core.errors import BadInput
from orchestrator.core.move import MoveKind
from orchestrator.core.record import Entry, Record, RunStatus, StepBrief
from orchestrator.core.steering import Fence, SteeringChange, encode, serving
from orchestrator.core.topology import Answer, Weights
from runbooks.plan import Approve, Asked, OnFailure, Plan, Steer, Step

RULES: Mapping[OnFailure, str] = MappingProxyType(
    {
        "rollback": "put back what was done",
        "halt": "stop and call a person; nothing goes back",
        "continue": "note it and go on",
        "ask": "wait for a person: retry, skip or abort",
    }
)


def spread(weights: Weights | None) -> str:
    """Who gets traffic, in a phrase: ``us``, ``eu 50 and us 50``, ``nobody``."""
    if not weights:
        return "nobody known"
    inside = serving(weights)
    if not inside:
        return "nobody"
    if len(inside) == 1:
        return inside[0]
    return " and ".join(f"{endpoint} {weight}" for endpoint, weight in weights if weight)


def steers_of(plan: Plan) -> tuple[tuple[Step, Steer], ...]:
    """The steps that move the traffic, as the move is now; none in a preparation."""
    return tuple((step, step.work) for step in plan.taken(planned=plan.planned) if isinstance(step.work, Steer))


def brief(plan: Plan, *, planned: bool | None = None) -> tuple[StepBrief, ...]:
    """The plan's steps as lines for progress displays, as far as a (un)*planned* move takes them."""
    taken = plan.taken(planned=plan.planned if planned is None else planned)
    return tuple(StepBrief(step.id, step.work.kind, step.text, step.timeout_s, step.expected_s) for step in taken)


def record_of(plan: Plan, started: datetime, entries: tuple[Entry, ...]) -> Record:
    """The record that a run of *plan* begins with."""
    return Record(
        run=plan.run,
        service=plan.service,
        kind=plan.kind,
        trigger=plan.trigger,
        status=RunStatus.RUNNING,
        started=started,
        objective_s=plan.objective_s,
        source=plan.source,
        target=plan.target,
        before=plan.before,
        after=plan.after,
        revision=plan.revision,
        generation=plan.generation,
        runbook=plan.runbook,
        steps=brief(plan),
        objections=plan.objections,
        entries=entries,
    )


def people(work: Approve) -> str:
    """Who is waited for, how long, and what silence means."""
    first, *others = work.roles
    patience, one = spoken(work.patience_s), work.people == 1
    who = ("somebody" if one else f"{work.people} people") + (f" of {_asked(first)}" if first.role else "")
    more = "".join(f"; then {_asked(each)} may as well, for {patience}" for each in others)
    return f"wait until {who} say{'s' if one else ''} yes, for {patience}{more}; else {work.on_timeout}"


def _asked(role: Asked) -> str:
    names = f" ({', '.join(role.people)})" if role.people else ""
    return f"role {role.role}{names}"


def text(plan: Plan) -> str:
    """The whole plan as text, ending in a newline."""
    return "\n".join((*_header(plan), "", *_steps(plan), *_objections(plan))) + "\n"


def _header(plan: Plan) -> Iterator[str]:
    steers = steers_of(plan)
    was = steers[0][1].was if steers else None
    origin = spread(plan.before) if plan.before else f"an answer of no known endpoint ({_said(was)})"
    if plan.kind is MoveKind.PREPARATION:
        yield f"{plan.kind} of {plan.service} at {plan.target}; no traffic moves"
    else:
        yield f"{plan.kind} of {plan.service} from {origin} to {spread(plan.after)}"
    yield f"  run         {plan.run}"
    yield f"  runbook     {plan.runbook} ({'planned' if plan.planned else 'unplanned'})"
    if plan.values:
        yield f"  with        {'; '.join(f'{name}={_line(value)}' for name, value in plan.values)}"
    yield f"  by          {_line(plan.trigger.by)}"
    yield f"  because     {_line(plan.trigger.reason)}"
    for rule in plan.trigger.overrides:
        yield f"  sets aside  {rule}"
    yield f"  objective   {spoken(plan.objective_s)}"
    if steers:
        yield f"  predicted   {_predicted(plan)}"
        yield f"  weights     {_weights(plan.before)} -> {_weights(plan.after)}"
        yield f"  generation  {plan.generation} -> {plan.generation + len(steers)}"
    yield f"  topology    revision {plan.revision}"
    for remark in plan.remarks:
        yield f"  note        {_line(remark)}"
    if plan.failing:
        yield f"  avoids      workers in {', '.join(plan.failing)}"


def _predicted(plan: Plan) -> str:
    """When clients will be served by the new answer, against the objective; in a planned move they are anyway."""
    if plan.planned:
        return f"{spoken(round(plan.predicted_s, 1))} until traffic has moved"
    whole = round(plan.detection_s + plan.predicted_s, 1)
    left = round(plan.objective_s - whole, 1)
    margin = f"{spoken(left)} inside the objective" if left >= 0 else f"{spoken(-left)} beyond the objective"
    since = f" ({spoken(round(plan.detection_s, 1))} of it gone by already)" if plan.detection_s >= 0.1 else ""
    return f"{spoken(whole)} until served{since}, {margin}"


def _steps(plan: Plan) -> Iterator[str]:
    taken = plan.taken(planned=plan.planned)
    count = len(taken)
    bound = spoken(plan.longest_s)
    yield f"{count} step{'s' if count != 1 else ''}, {bound} at the very most:"
    behind = _behind(plan, {step.id: number for number, step in enumerate(taken, 1)})
    for number, step in enumerate(taken, 1):
        tries = f"{step.attempts} attempt{'s' if step.attempts != 1 else ''}"
        after = behind[step.id]
        beside = f" [after {', '.join(str(each) for each in after) or 'nothing'}]"
        aside = beside if number > 1 and after != (number - 1,) and _branches(plan) else ""
        yield f"  {number}. {step.id}: {step.text}{aside}"
        yield f"     within {spoken(step.timeout_s)}, {tries}; {_rule(step)}"
        yield f"     undo: {step.undo or 'none'}"
    left = [step.id for step in plan.steps if step not in taken]
    if left:
        other = "unplanned" if plan.planned else "planned"
        yield f"  only if the run is switched to {other}: {', '.join(left)}"


def _behind(plan: Plan, taken: Mapping[str, int]) -> Mapping[str, tuple[int, ...]]:
    """The numbers of the *taken* steps that each step waits for: through those that are no part of the move."""
    found: dict[str, frozenset[str]] = {}
    for step in plan.steps:
        nearest = (frozenset({name}) if name in taken else found[name] for name in step.after)
        found[step.id] = frozenset[str]().union(*nearest)
    return {name: tuple(sorted(taken[each] for each in behind)) for name, behind in found.items()}


def _branches(plan: Plan) -> bool:
    return any(len(step.after) > 1 for step in plan.steps) or len({step.after for step in plan.steps}) < len(plan.steps)


def _rule(step: Step) -> str:
    """What a failure of *step* means; a steer without a way back goes back only where it surely did nothing."""
    if isinstance(step.work, Steer) and step.undo is None and step.on_failure == "rollback":
        return f"if it is refused: {RULES['rollback']}; if it may have landed: {RULES['halt']}"
    return f"if it fails: {RULES[step.on_failure]}"


def _objections(plan: Plan) -> Iterator[str]:
    if not plan.objections:
        return
    yield ""
    yield "what speaks against it:"
    for objection in plan.objections:
        yield f"  {objection.rule}: {_line(objection.text)}"


def _line(said: str) -> str:
    """What a person wrote, on one line: it must not look like a line of the plan."""
    return " ".join(said.split())


def _weights(weights: Weights) -> str:
    return " ".join(f"{endpoint}:{weight}" for endpoint, weight in weights) or "unknown"


def _said(answer: Answer | None) -> str:
    return ", ".join(answer.values) if answer and answer.values else "none"


# ------------------------------------------------------------------ by hand

_KINDS = ("A", "AAAA", "CNAME")
_BESIDE = (
    "NS",
    "MX",
    "TXT",
    "HTTPS",
    "SVCB",
    "CAA",
    "SRV",
    "NAPTR",
    "SSHFP",
    "TLSA",
    "LOC",
    "URI",
    "HINFO",
    "PTR",
    "RP",
    "DNAME",
    "DS",
    "CERT",
    "OPENPGPKEY",
    "SMIMEA",
    "SPF",
    "APL",
)
"""Types that must not stand where a CNAME is put: servers drop the CNAME without an error (RFC 2136, 3.4.2.2)."""


def as_nsupdate(plan: Plan) -> str:
    """The plan's change as an ``nsupdate`` script, for a person to make by hand under the same fence.

    The prerequisites name fence and answer as they were read (RFC 2136, section 2.4.2), so that a script that
    has lain too long is refused (NXRRSET or YXRRSET) instead of overwriting. The key is not in it: pass it with
    ``nsupdate -k``. Raises BadInput for a plan that steers nothing.
    """
    steers = steers_of(plan)
    if not steers:
        raise BadInput(f"the plan of run {plan.run} steers nothing, so there is no change to make by hand")
    if len(steers) > 1:
        raise BadInput(
            f"the plan of run {plan.run} moves traffic in {len(steers)} stages; "
            "make a plan without stages to do it by hand"
        )
    step, steer = steers[0]
    if steer.answer.kind == "shares":
        raise BadInput(f"the plan of run {plan.run} steers by {steer.steering.provider}, which nsupdate cannot write")
    return "\n".join((*_preface(plan, step, steer), *_script(plan, step, steer))) + "\n"


def _preface(plan: Plan, step: Step, steer: Steer) -> Iterator[str]:
    key = steer.steering.key
    yield f"; {step.text}"
    yield f"; run {plan.run}, step {step.id}; refused (NXRRSET, YXRRSET) when the world has moved: then plan again"
    yield f"; nsupdate -k FILE-OF-KEY-{key.name} THIS-FILE" if key else "; nsupdate THIS-FILE"


def _script(plan: Plan, step: Step, steer: Steer) -> Iterator[str]:
    spec = steer.steering
    host, _, port = spec.primary.rpartition(":")
    name, fence = _absolute(spec.name), f"_failover.{_absolute(spec.name)}"
    change = SteeringChange(
        expects=steer.expects,
        was=steer.was,
        weights=steer.weights,
        answer=steer.answer,
        run=plan.run,
        step=step.id,
        lineage=steer.lineage,
    )
    yield f"server {host.strip('[]')} {port}"
    yield f"zone {_absolute(spec.zone)}"
    if steer.stands:
        yield f"prereq yxrrset {fence} IN TXT {_quoted(steer.stands)}"
    else:
        # Beside a CNAME there, the fence would be dropped without an error.
        yield from (f"prereq nxrrset {fence} IN {kind}" for kind in ("TXT", "CNAME"))
    for kind, values in _records(steer.was).items():
        yield from (f"prereq yxrrset {name} IN {kind} {value}" for value in values)
        if not values:
            yield f"prereq nxrrset {name} IN {kind}"
    if steer.answer.kind == "cname" and (steer.was is None or steer.was.kind != "cname"):
        yield from (f"prereq nxrrset {name} IN {kind}" for kind in _BESIDE)
    yield from (f"update delete {name} IN {kind}" for kind in _KINDS)
    for kind, values in _records(steer.answer).items():
        yield from (f"update add {name} {spec.ttl_s} IN {kind} {value}" for value in values)
    yield f"update delete {fence} IN TXT"
    yield f"update add {fence} {spec.ttl_s} IN TXT {_quoted(change.fence)}"
    yield "send"


def _records(answer: Answer | None) -> dict[str, tuple[str, ...]]:
    """The values of *answer* by record type, empty where it has none of a type."""
    out: dict[str, tuple[str, ...]] = dict.fromkeys(_KINDS, ())
    if answer is None:
        return out
    if answer.kind == "cname":
        return out | {"CNAME": tuple(_absolute(value) for value in answer.values)}
    six = tuple(value for value in answer.values if ":" in value)
    return out | {"A": tuple(value for value in answer.values if ":" not in value), "AAAA": six}


def _absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}."


def _quoted(fence: Fence) -> str:
    """The fence's TXT as character strings of at most 255 bytes, cut as the program itself cuts them."""
    said = encode(fence)
    return " ".join(f'"{said[start : start + 255]}"' for start in range(0, len(said), 255))
