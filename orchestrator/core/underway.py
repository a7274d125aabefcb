"""A run under way that asks the safety rules again: what stands against its move in the light of now. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.core import safety
from orchestrator.core.load import while_shifting
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import RunId, region_of
from orchestrator.core.situation import Situation

OF_THE_RUN_ITSELF = frozenset({"one-run-at-a-time", "change-guard", "too-many-at-once"})
"""Rules that the run would break by being under way: it is counted itself."""
OF_THE_MOVE_MADE = frozenset({"already-there", "source-healthy", "no-target"})
"""Rules about a move that is yet to be made: once the run's own last write stands, they say nothing."""
OF_TRAFFIC = frozenset({"no-steering", "routing-unknown", "not-adopted", "unsteerable", "already-there"})
"""Rules that say nothing of a preparation, which moves no traffic."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A run that is being carried out, as its safety is weighed again."""

    run: RunId
    move: Move
    rules: tuple[str, ...] = ()
    """Those that are asked; empty: all."""
    overrides: tuple[str, ...] = ()
    """Rules that it sets aside by name."""


def still_against(now: Situation, way: UnderWay, *, by: str) -> tuple[Objection, ...]:
    """Every objection to the run's move that stands *now*. A rule that does not exist stands against everything.

    A person's own request sets the same rules aside as when it was made, but not one that the runbook asks by name.
    *by* started the run.
    """
    move = _now(way.move, now)
    moot = OF_THE_RUN_ITSELF | (OF_TRAFFIC if move.kind is MoveKind.PREPARATION else frozenset())
    fence = now.routing.fence if now.routing is not None else None
    if fence is not None and fence.run == way.run:
        now = replace(now, observed=while_shifting(now.observed))
    if fence is not None and fence.run == way.run and fence.weights == move.after:
        moot |= OF_THE_MOVE_MADE
    found = tuple(each for each in safety.objections(move, now) if each.rule not in moot)
    unknown = tuple(
        Objection(name, f"no safety rule is called '{name}', so it cannot be asked; correct the runbook's check")
        for name in way.rules
        if safety.rule(name) is None
    )
    if way.rules:
        return (*unknown, *(each for each in found if each.rule in way.rules and each.rule not in way.overrides))
    if by == "automatic":
        return tuple(each for each in found if each.rule not in way.overrides)
    return safety.before_person(found, move, way.overrides)[0]


def _now(move: Move, now: Situation) -> Move:
    """*move* with the failure domains that its sources stand in, where it flees from them."""
    if move.planned or move.failing:
        return move
    regions = {region_of(endpoint.region) for endpoint in now.service.endpoints if endpoint.id in move.source}
    return Move(move.service, move.kind, move.source, move.target, move.after, tuple(sorted(regions)))
