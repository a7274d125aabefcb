"""What no schema says of a runbook: steps that make no sense where they stand. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from orchestrator.config.document import Document, Trail
from orchestrator.config.fields import looks_secret, quoted
from orchestrator.config.mistakes import Mistake, did_you_mean, shown
from orchestrator.core import safety
from runbooks.model import DEEPEST
from runbooks.plan import When
from runbooks.schemas import STEPS

_GONE = "may not come back, so"
_NEVER = MappingProxyType(
    {
        ("demote", "on_failure", "rollback"): f"capacity that is given back {_GONE} demote has no way back; "
        "choose halt, continue or ask",
        ("fence", "on_failure", "rollback"): f"an endpoint that was fenced {_GONE} fence has no way back; "
        "choose halt, continue or ask",
        ("steer", "on_failure", "continue"): "no later step makes sense when steer fails; choose rollback, halt or ask",
        ("drain", "when", "unplanned"): "an endpoint that is down has nothing that could finish; choose planned",
        ("demote", "when", "unplanned"): "capacity that is given back in an outage may not come back; choose planned",
    }
)
"""What a type of step cannot say in a field."""
HOLDERS = MappingProxyType({"parallel": "parallel", "runbook": "a runbook that is named here"})
"""Types that only hold other steps."""
OF_ITS_STEPS = frozenset({"timeout", "retry", "on_failure", "expected"})
_AFTER_STEER = frozenset({"converge", "drain", "demote", "fence"})
_BEFORE_STEER = frozenset({"promote"})
_Written = tuple[Trail, dict[str, Any]]
"""A step as it was written, and where."""
_Told = tuple[Trail, str]
"""What is wrong, and where."""


def senseless(document: Document) -> Iterator[tuple[Trail, Mistake]]:
    """Mistakes that each step alone does not show, and where. Works on what was written, however wrong the rest is."""
    for trail, text in _found(document):
        yield trail, document.mistake(trail, text)


def _found(document: Document) -> Iterator[_Told]:
    steps = document.data.get("steps")
    if not isinstance(steps, list):
        return
    if not steps:
        yield ("steps",), "no steps are given; add at least one"
    written = list(_written(steps, ("steps",)))
    yield from _twice(document, written)
    for trail, step in written:
        yield from _alone(trail, step)
    if any(str(step.get("type")) not in STEPS for _, step in written):
        return  # a type that is misspelt would look like a step that is missing
    yield from _in_turn(written)
    told: set[Trail] = set()
    for planned in (False, True):
        taken = list(_written(steps, ("steps",), planned=planned))
        for trail, text in _misplaced(taken, "planned" if planned else "unplanned"):
            if trail not in told:
                told.add(trail)
                yield trail, text


def _alone(trail: Trail, step: dict[str, Any]) -> Iterator[_Told]:
    """What is wrong with one step, wherever it stands."""
    kind = str(step.get("type"))
    for field in ("on_failure", "when"):
        text = _NEVER.get((kind, field, str(step.get(field))))
        if text:
            yield (*trail, field), text
    for field in sorted(OF_ITS_STEPS & set(step)) if kind in HOLDERS else ():
        yield (*trail, field), f"{HOLDERS[kind]} has no {field} of its own; give one to the steps in it"
    if kind == "parallel" and sum(isinstance(key, int) for key in trail) > 2 * DEEPEST:
        yield trail, f"branches stand in one another more than {DEEPEST} deep; flatten them"
    if kind in _LOOKED_INTO:
        yield from _LOOKED_INTO[kind](trail, step)


def _written(steps: list[Any], trail: Trail, *, planned: bool | None = None) -> Iterator[_Written]:
    """Every step, those of branches too; with *planned*, only those that such a move takes."""
    for index, step in enumerate(steps):
        if not isinstance(step, dict):
            continue
        if planned is not None and not _taken(step, planned=planned):
            continue
        here = (*trail, index)
        yield here, step
        branches = step.get("branches") if step.get("type") == "parallel" else None
        for number, branch in enumerate(branches if isinstance(branches, list) else ()):
            if isinstance(branch, list):
                yield from _written(branch, (*here, "branches", number), planned=planned)


def _taken(step: dict[str, Any], *, planned: bool) -> bool:
    whens = {str(when) for when in When if when.holds(planned=planned)}
    return step.get("enabled", True) is not False and str(step.get("when", "always")) in whens


def _twice(document: Document, written: list[_Written]) -> Iterator[_Told]:
    first: dict[str, Trail] = {}
    for trail, step in written:
        name = step.get("id")
        if not isinstance(name, str):
            continue
        if name in first:
            line, _ = document.place((*first[name], "id"))
            yield (*trail, "id"), f"'{shown(name)}' is the id of the step in line {line} too; rename one"
        first.setdefault(name, trail)


def _rules(trail: Trail, step: dict[str, Any]) -> Iterator[_Told]:
    rules = step.get("rules")
    for index, name in enumerate(rules if isinstance(rules, list) else ()):
        if name not in safety.NAMES:
            close = did_you_mean(str(name), safety.NAMES)
            yield (*trail, "rules", index), f"no safety rule is called {quoted(name)}{close}; name one that exists"


def _secrets(trail: Trail, step: dict[str, Any]) -> Iterator[_Told]:
    """Secrets that would travel with every plan: a hook's headers point to them, and its data cannot."""
    for hook in ("hook", "back"):
        said = step.get(hook)
        fields = {part: said.get(part) if isinstance(said, dict) else None for part in ("headers", "data")}
        for part, cure in (("headers", "write {env: NAME} or {file: PATH}"), ("data", "send it in a header")):
            found = fields[part]
            for name, value in found.items() if isinstance(found, dict) else ():
                if looks_secret(str(name)) and not (part == "headers" and isinstance(value, dict)):
                    text = f"usually holds a secret, which must not stand in this file; {cure}"
                    yield (*trail, hook, part, name), text


def _at_once(trail: Trail, step: dict[str, Any]) -> Iterator[_Told]:
    if "unweighable" in step and "stages" not in step:
        text = "unweighable says what becomes of stages, and this step has none; give it stages, or remove it"
        yield (*trail, "unweighable"), text


def _in_turn(written: list[_Written]) -> Iterator[_Told]:
    """A steer for unplanned moves before the one for planned moves: it could not take over when a run is switched."""
    steers = [(trail, str(step.get("when", "always"))) for trail, step in written if step.get("type") == "steer"]
    whens = [when for _, when in steers]
    if "unplanned" in whens and "planned" in whens[whens.index("unplanned") :]:
        text = "a steer for planned moves comes after it, and could not be taken over from when a run is switched"
        yield steers[whens.index("unplanned")][0], f"{text}; put this one after that"


def _misplaced(taken: list[_Written], moves: str) -> Iterator[_Told]:
    """Steps of one kind of move that stand in a place where they make no sense."""
    steers = [number for number, (_, step) in enumerate(taken) if step["type"] == "steer"]
    for number in steers[1:]:
        yield taken[number][0], f"a second steer in {moves} moves; one step moves the traffic, remove this one"
    for number, (trail, step) in enumerate(taken):
        kind = step["type"]
        if steers and kind in _AFTER_STEER and number < steers[0]:
            yield trail, f"{kind} stands before steer, when traffic has not moved; put it after"
        if steers and kind in _BEFORE_STEER and number > steers[0]:
            yield trail, f"{kind} stands after steer, when traffic has arrived already; put it before"
        if kind == "steer" and "branches" in trail:
            yield trail, "steer stands in a branch of parallel steps; traffic moves by itself, put it outside"


_LOOKED_INTO = MappingProxyType({"check": _rules, "call": _secrets, "steer": _at_once})
"""Types of step whose fields are looked into by themselves."""
