"""A plan as people read it: the text that an approver sees, the lines that displays follow, and an nsupdate script.

The same plan is always the same text: golden tests compare it to the letter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from orchestrator.config.fields import spoken
from orchestrator.core.errors import BadInput
from orchestrator.core.record import StepBrief
from orchestrator.core.steering import Fence, SteeringChange, encode, serving
from orchestrator.core.topology import Answer, Weights
from runbooks.plan import OnFailure, Plan, Steer, Step

RULES: Mapping[OnFailure, str] = MappingProxyType(
    {
        "rollback": "put back what was done",
        "halt": "stop and call a person; nothing goes back",
        "continue": "note it and go on",
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


def steer_of(plan: Plan) -> tuple[Step, Steer] | None:
    """The step that moves the traffic; None where a plan has none."""
    return next(((step, step.work) for step in plan.steps if isinstance(step.work, Steer)), None)


def brief(plan: Plan) -> tuple[StepBrief, ...]:
    """The plan's steps as lines for progress displays."""
    return tuple(StepBrief(step.id, step.work.kind, step.text, step.timeout_s) for step in plan.steps)


def text(plan: Plan) -> str:
    """The whole plan as text, ending in a newline."""
    return "\n".join((*_header(plan), "", *_steps(plan), *_objections(plan))) + "\n"


def _header(plan: Plan) -> Iterator[str]:
    found = steer_of(plan)
    was = found[1].was if found else None
    origin = spread(plan.before) if plan.before else f"an answer of no known endpoint ({_said(was)})"
    yield f"{plan.kind} of {plan.service} from {origin} to {spread(plan.after)}"
    yield f"  run         {plan.run}"
    yield f"  runbook     {plan.runbook} ({'planned' if plan.planned else 'unplanned'})"
    yield f"  by          {_line(plan.trigger.by)}"
    yield f"  because     {_line(plan.trigger.reason)}"
    for rule in plan.trigger.overrides:
        yield f"  sets aside  {rule}"
    yield f"  objective   {spoken(plan.objective_s)}"
    yield f"  weights     {_weights(plan.before)} -> {_weights(plan.after)}"
    yield f"  generation  {plan.generation} -> {plan.generation + 1}"
    yield f"  topology    revision {plan.revision}"
    if plan.failing:
        yield f"  avoids      workers in {', '.join(plan.failing)}"


def _steps(plan: Plan) -> Iterator[str]:
    count = len(plan.steps)
    bound = spoken(sum(step.timeout_s for step in plan.steps))
    yield f"{count} step{'s' if count != 1 else ''}, {bound} at the very most:"
    for number, step in enumerate(plan.steps, 1):
        tries = f"{step.attempts} attempt{'s' if step.attempts != 1 else ''}"
        yield f"  {number}. {step.id}: {step.text}"
        yield f"     within {spoken(step.timeout_s)}, {tries}; {_rule(step)}"
        yield f"     undo: {step.undo or 'none'}"


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
    found = steer_of(plan)
    if found is None:
        raise BadInput(f"the plan of run {plan.run} steers nothing, so there is no change to make by hand")
    step, steer = found
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
