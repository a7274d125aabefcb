"""A saved plan and the world of now: what has moved since it was made. Pure.

A plan stands on the generation and the answer it replaces, on the topology, on the runbook's text and on the capacity
that its steps ask for. It is carried out later only where a plan made now, for the same wish, would be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from orchestrator.core.errors import FailoverError
from orchestrator.core.topology import Answer
from runbooks.plan import Demote, Plan, Promote, Steer, Step
from runbooks.printed import spread


class WorldMoved(FailoverError):
    """A saved plan does not fit the world any more."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        super().__init__("; ".join(texts))
        self.texts = texts


def as_saved(saved: Plan, now: Plan) -> Plan:
    """*now*, which is *saved* in the name of another run. Raises WorldMoved with everything that has changed.

    What a plan only tells (how long steps usually take, what was set aside) is that of now, and so are the fences
    that its stages leave for one another: they carry the run's name.
    """
    texts = tuple(moved(saved, now))
    if texts:
        raise WorldMoved(texts)
    return now


def moved(saved: Plan, now: Plan) -> Iterator[str]:
    """Everything that has changed between two plans for the same wish, each in a sentence; nothing: they are one."""
    if saved.service != now.service:
        yield f"the plan was saved for service '{saved.service}', not for '{now.service}'; name its own"
        return
    if saved.kind is not now.kind:
        yield f"it was saved as a {saved.kind}, and would be a {now.kind} now"
    if saved.target != now.target:
        yield f"its target was '{saved.target}', and would be '{now.target}' now"
    if saved.source != now.source:
        yield f"it takes the traffic from {_listed(saved.source)}, which {_listed(now.source)} would lose now"
    if saved.before != now.before:
        yield f"traffic went to {spread(saved.before)} when it was saved, and goes to {spread(now.before)} now"
    if saved.after != now.after:
        yield f"it sends traffic to {spread(saved.after)}, and would send it to {spread(now.after)} now"
    if saved.generation != now.generation:
        yield f"it replaces generation {saved.generation}, and {now.generation} stands now: somebody has steered since"
    if _answer(saved) != _answer(now):
        yield f"the answer was {_said(_answer(saved))} when it was saved, and is {_said(_answer(now))} now"
    if saved.revision != now.revision:
        yield f"it was made from topology revision {saved.revision}, and {now.revision} is in force"
    yield from _books(saved, now)
    yield from _steps(saved, now)


def _books(saved: Plan, now: Plan) -> Iterator[str]:
    if saved.runbook != now.runbook:
        yield f"its runbook was '{saved.runbook}', and would be '{now.runbook}' now"
        return
    if saved.values != now.values:
        yield f"runbook '{now.runbook}' had {_values(saved)}, and has {_values(now)} now"
    if saved.book != now.book:
        yield f"the text of runbook '{now.runbook}' has changed since it was saved"


def _steps(saved: Plan, now: Plan) -> Iterator[str]:
    """Steps that differ, each with how; how long they usually take is no difference."""
    # What the steps say of a fence is different with every generation, and that was told once for the whole plan.
    fenced = saved.generation == now.generation
    before = {step.id: _bare(step, saved, fenced=fenced) for step in saved.steps}
    after = {step.id: _bare(step, now, fenced=fenced) for step in now.steps}
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    if gone:
        yield f"it has steps that the plan would not have now: {_listed(gone)}"
    if new:
        yield f"it lacks steps that the plan would have now: {_listed(new)}"
    for name, step in before.items():
        if name in after and step != after[name]:
            yield _difference(step, after[name])
    if not gone and not new and list(before) != list(after):
        yield "its steps stand in another order"


def _bare(step: Step, plan: Plan, *, fenced: bool) -> Step:
    """What of a step of *plan* must be the same; not *fenced*: but for its fence."""
    work = step.work
    if fenced:
        return replace(step, expected_s=0.0, work=_nameless(work, plan.run) if isinstance(work, Steer) else work)
    if isinstance(work, Steer):
        work = replace(work, expects=0, was=None, lineage=(), stands=None, origin=None)
    return replace(step, expected_s=0.0, generation=0, text="" if isinstance(work, Steer) else step.text, work=work)


def _nameless(work: Steer, run: str) -> Steer:
    """*work* without the name of the *run*: a stage stands on the fence that the stage before it left in that name."""

    def past(lineage: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
        return tuple(
            (gen, f"/{token[len(run) + 1 :]}" if token.startswith(f"{run}/") else token) for gen, token in lineage
        )

    stands = work.stands
    if stands is not None:
        stands = replace(stands, run="" if stands.run == run else stands.run, lineage=past(stands.lineage))
    return replace(work, lineage=past(work.lineage), stands=stands)


def _difference(old: Step, new: Step) -> str:
    """How two steps of one name differ, for a person."""
    was, will = old.work, new.work
    if isinstance(was, Promote | Demote) and isinstance(will, Promote | Demote) and was.replicas != will.replicas:
        return f"step {old.id} would scale {will.endpoint} to {will.replicas}, and was saved with {was.replicas}"
    if old.text != new.text:
        return f"step {old.id} was to '{old.text}', and would '{new.text}' now"
    if was != will:
        return f"step {old.id} ({old.text}) has other values now"
    names = [name for name in Step.__dataclass_fields__ if getattr(old, name) != getattr(new, name)]
    return f"step {old.id} has another {' and another '.join(names)} now"


def _answer(plan: Plan) -> Answer | None:
    """The answer that the plan's first steer replaces."""
    return next((step.work.was for step in plan.steps if isinstance(step.work, Steer)), None)


def _said(answer: Answer | None) -> str:
    return ", ".join(answer.values) if answer and answer.values else "nothing"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return " and ".join(names) or "nobody"


def _values(plan: Plan) -> str:
    return ", ".join(f"{name} {value}" for name, value in plan.values) or "no values"
