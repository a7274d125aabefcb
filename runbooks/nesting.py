"""Runbooks in runbooks: what is nested is put in its place, under ids of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from orchestrator.core.errors import BadInput
from runbooks.books import Shelf
from runbooks.model import (
    DEEPEST,
    BookStep,
    ConvergeTask,
    DemoteTask,
    DrainTask,
    FenceTask,
    ParallelTask,
    PromoteTask,
    Runbook,
    RunbookTask,
    SteerTask,
    every,
)
from runbooks.plan import When

JOINT = "."
"""Between the id of the step that stands for a runbook and the ids of the steps in it."""
_AFTER_STEER = (ConvergeTask, DrainTask, DemoteTask, FenceTask)


def unnested(book: Runbook, shelf: Shelf) -> Runbook:
    """*book* with the steps of every runbook that it names. Raises BadInput for what is missing or goes in circles."""
    return replace(book, steps=tuple(_steps(book.steps, shelf, (book.name,))))


def _steps(steps: tuple[BookStep, ...], shelf: Shelf, path: tuple[str, ...]) -> Iterator[BookStep]:
    for step in steps:
        if not step.enabled:
            continue
        match step.task:
            case RunbookTask(name, values):
                if name in path:
                    circle = " -> ".join((*path, name))
                    raise BadInput(f"runbook '{name}' contains itself, by {circle}; break the circle")
                if len(path) > DEEPEST:
                    raise BadInput(f"runbooks stand in one another more than {DEEPEST} deep: {' -> '.join(path)}")
                inner = shelf.book(name, dict(values))
                for each in _steps(inner.steps, shelf, (*path, name)):
                    yield from _within(step, each)
            case ParallelTask(branches):
                inside = tuple(tuple(_steps(branch, shelf, path)) for branch in branches)
                yield replace(step, task=ParallelTask(inside))
            case _:
                yield step


def _within(outer: BookStep, step: BookStep) -> Iterator[BookStep]:
    """*step* of a nested runbook as a part of the outer one; nothing where the two are never part of one move."""
    when = step.when if outer.when is When.ALWAYS else outer.when
    if When.ALWAYS not in {outer.when, step.when} and outer.when is not step.when:
        return
    task = step.task
    if isinstance(task, ParallelTask):
        task = ParallelTask(tuple(tuple(e for s in branch for e in _within(outer, s)) for branch in task.branches))
    yield replace(step, id=f"{outer.id}{JOINT}{step.id}", when=when, task=task, undo=step.undo and outer.undo)


def misplaced(book: Runbook) -> Iterator[tuple[str, str]]:
    """Steps of an unnested *book* that make no sense where they stand: the id of its own step, and why.

    Told only where a nested runbook has part in it: the rest is seen in its own file.
    """
    told: set[str] = set()
    for planned in (False, True):
        taken = [each for each in every(book.steps) if each.when.holds(planned=planned)]
        steers = [number for number, each in enumerate(taken) if isinstance(each.task, SteerTask)]
        for number, each in enumerate(taken) if steers else ():
            first = taken[steers[0]]
            own, _, inner = each.id.partition(JOINT)
            if own in told or not (inner or JOINT in first.id):
                continue
            moves = "planned" if planned else "unplanned"
            text = ""
            if number in steers[1:]:
                text = f"a second steer in {moves} moves, '{each.id}' after '{first.id}'; one step moves the traffic"
            elif isinstance(each.task, _AFTER_STEER) and number < steers[0]:
                text = f"'{each.id}' stands before '{first.id}', when traffic has not moved; put it after"
            elif isinstance(each.task, PromoteTask) and number > steers[0]:
                text = f"'{each.id}' stands after '{first.id}', when traffic has arrived already; put it before"
            if text:
                told.add(own)
                yield own, text
