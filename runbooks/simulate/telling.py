"""Playing histories: one from its seed, or many; and what is told of them."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from types import MappingProxyType

from runbooks.simulate.history import SHOWN, History, Outcome, Violation
from runbooks.simulate.invariants import NOTHING_RAISES, broken


def play(seed: int, weather: Mapping[str, float] = MappingProxyType({}), *, whole: bool = False) -> Outcome:
    """The history of *seed*, to its end or to the first invariant that is broken. With *whole*, its story too.

    *weather* makes some faults as probable as it says (``setting.FAULTS``), in place of chance.
    """
    history = History(seed, weather, whole=whole)
    stage = history.stage
    found: Violation | None = None
    while found is None and not history.over:
        try:
            if not stage.next():
                break
        except Exception as error:  # whatever it is, the seed that leads to it is worth more than a traceback
            found = _raised(history, error)
        else:
            found = _looked(history)
        stage.facts.clear()
    return Outcome(seed, stage.events, stage.counts, found, stage.story() if whole else ())


def _looked(history: History) -> Violation | None:
    return next((_violation(history, invariant.name, text) for invariant, text in broken(history)), None)


def _raised(history: History, error: Exception) -> Violation:
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {error} ({last.name}, line {last.lineno})"
    return _violation(history, NOTHING_RAISES.name, text)


def _violation(history: History, invariant: str, text: str) -> Violation:
    stage = history.stage
    return Violation(stage.seed, invariant, text, stage.events, stage.story(SHOWN), history.weather)
