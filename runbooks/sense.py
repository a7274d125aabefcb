"""What no schema says of a runbook: steps that make no sense where they stand. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from orchestrator.config.document import Document, Trail
from orchestrator.config.mistakes import Mistake, did_you_mean
from orchestrator.core import safety
from runbooks.model import DEEPEST
from runbooks.plan import When
from runbooks.schemas import STEPS

_NEVER = MappingProxyType(
    {
        ("demote", "rollback"): "capacity that is given back may not come back, so demote has no way back; "
        "choose halt, continue or ask",
        ("fence", "rollback"): "an endpoint that was fenced may not come back, so fence has no way back; "
        "choose halt, continue or ask",
        ("steer", "continue"): "when steer fails, no later step makes sense; choose rollback, halt or ask",
    }
)
"""Rules for failures that a type of step cannot have."""
_AFTER_STEER = frozenset({"converge", "drain", "demote", "fence"})
_BEFORE_STEER = frozenset({"promote"})
_Written = tuple[Trail, dict[str, Any]]
"""A step as it was written, and where."""


def senseless(document: Document) -> Iterator[Mistake]:
    """Mistakes that each step alone does not show. Works on what was written, however wrong the rest is."""
    steps = document.data.get("steps")
    if not isinstance(steps, list):
        return
    if not steps:
        yield document.mistake(("steps",), "no steps are given; add at least one")
    written = list(_written(steps, ("steps",)))
    yield from _twice(document, written)
    for trail, step in written:
        text = _NEVER.get((str(step.get("type")), str(step.get("on_failure"))))
        if text:
            yield document.mistake((*trail, "on_failure"), text)
        if step.get("type") == "parallel" and sum(isinstance(key, int) for key in trail) > 2 * DEEPEST:
            yield document.mistake(trail, f"branches stand in one another more than {DEEPEST} deep; flatten them")
        if step.get("type") == "check":
            yield from _rules(document, trail, step)
    if any(str(step.get("type")) not in STEPS for _, step in written):
        return  # a type that is misspelt would look like a step that is missing
    told: set[Trail] = set()
    for planned in (False, True):
        taken = list(_written(steps, ("steps",), planned=planned))
        for trail, text in _misplaced(taken, "planned" if planned else "unplanned"):
            if trail not in told:
                told.add(trail)
                yield document.mistake(trail, text)


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


def _twice(document: Document, written: list[_Written]) -> Iterator[Mistake]:
    first: dict[str, Trail] = {}
    for trail, step in written:
        name = step.get("id")
        if not isinstance(name, str):
            continue
        if name in first:
            line, _ = document.place((*first[name], "id"))
            yield document.mistake((*trail, "id"), f"'{name}' is the id of the step in line {line} too; rename one")
        first.setdefault(name, trail)


def _rules(document: Document, trail: Trail, step: dict[str, Any]) -> Iterator[Mistake]:
    rules = step.get("rules")
    for index, name in enumerate(rules if isinstance(rules, list) else ()):
        if name not in safety.NAMES:
            text = f"no safety rule is called '{name}'{did_you_mean(str(name), safety.NAMES)}; name one that exists"
            yield document.mistake((*trail, "rules", index), text)


def _misplaced(taken: list[_Written], moves: str) -> Iterator[tuple[Trail, str]]:
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
