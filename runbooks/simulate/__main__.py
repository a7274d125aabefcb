"""``python -m runbooks.simulate``: one history told from its seed, or many counted. Exits 1 where one is broken."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from runbooks.simulate.crowd import crowd, told
from runbooks.simulate.invariants import INVARIANTS
from runbooks.simulate.setting import FAULTS
from runbooks.simulate.telling import play

EVERY = 10_000
"""After so many histories the command says how far it is."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m runbooks.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell the history of this seed, event by event")
    parser.add_argument("--histories", type=int, default=1000, metavar="N", help="how many (1000)")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="SEED", help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="on so many processors (1)")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=CHANCE",
        help=f"make a fault as probable in every history: {', '.join(FAULTS)}",
    )
    parser.add_argument("--invariants", action="store_true", help="list the invariants")
    said = parser.parse_args(arguments)
    if said.invariants:
        _write(f"{each.name:26s} {each.sentence}" for each in INVARIANTS)
        return 0
    weather = {name: float(chance) for name, _, chance in (each.partition("=") for each in said.fault)}
    if unknown := sorted(set(weather) - set(FAULTS)):
        parser.error(f"no fault is called {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
    if said.seed is not None:
        outcome = play(said.seed, weather, whole=True)
        _write(outcome.story)
        _write(told(outcome.violation) if outcome.violation else ("no invariant is broken",))
        return 1 if outcome.violation else 0
    tally = crowd(said.first, said.histories, weather, jobs=said.jobs, so_far=_so_far)
    _write(tally.text())
    return 1 if tally.violations else 0


def _so_far(played: int, broken: int) -> None:
    if played % EVERY == 0:
        sys.stderr.write(f"{played} histories so far: {broken} broke an invariant\n")


def _write(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
