"""Playing histories: one from its seed, or many; and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from runbooks.simulate.history import SHOWN, History, Outcome, Violation
from runbooks.simulate.invariants import broken


def play(seed: int, weather: Mapping[str, float] = MappingProxyType({}), *, whole: bool = False) -> Outcome:
    """The history of *seed*, to its end or to the first invariant that is broken. With *whole*, its story too.

    *weather* makes some faults as probable as it says (``setting.FAULTS``), in place of chance.
    """
    history = History(seed, weather, whole=whole)
    stage = history.stage
    found: Violation | None = None
    while found is None and not history.over and stage.next():
        found = _looked(history)
        stage.facts.clear()
    return Outcome(seed, stage.events, stage.counts, found, stage.story() if whole else ())


def _looked(history: History) -> Violation | None:
    stage = history.stage
    for invariant, text in broken(history):
        return Violation(stage.seed, invariant.name, text, stage.events, stage.story(SHOWN))
    return None
