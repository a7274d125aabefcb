"""The simulation: hundreds of histories hold every invariant, a seed is one history, and breaks are found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from simulate.breaks import BREAKS, Break

from runbooks.simulate.__main__ import main
from runbooks.simulate.crowd import Tally, crowd, told
from runbooks.simulate.history import Violation
from runbooks.simulate.invariants import INVARIANTS
from runbooks.simulate.telling import play

ENOUGH = 3000
"""Histories within which every break is found."""
MUST_HAPPEN = (
    "automation: go",
    "automation: ask",
    "person: go",
    "run begun: failover",
    "run begun: switchover",
    "run begun: failback",
    "run completed",
    "run undone",
    "run aborted",
    "run halted",
    "run stale",
    "run held",
    "run terminated",
    "undo of steer",
    "undo of promote",
    "undo failed",
    "write landed",
    "hand edit",
    "rival wrote",
    "adopted",
    "reply lost",
    "report lost",
    "report twice",
    "report late",
    "report too old",
    "clock stepped",
    "executor alive beside another",
    "executor alive after its run",
    "executor killed in steer",
    "executor frozen in steer",
    "target fell during the run",
    "last word of another run",
    "request answered before",
    "rule one-run-at-a-time",
    "rule changed-outside",
)


@pytest.fixture(scope="module")
def tally() -> Tally:
    """Some hundreds of histories."""
    return crowd(0, 300)


def test_every_invariant_holds(tally: Tally) -> None:
    """Nothing that may happen makes the world worse: no seed breaks an invariant."""
    assert not tally.violations, "\n".join(line for each in tally.violations for line in told(each))


def test_what_is_meant_to_happen_happens(tally: Tally) -> None:
    """A simulation in which nothing goes wrong shows nothing: each kind of trouble and of ending comes up."""
    assert [what for what in MUST_HAPPEN if not tally.counts[what]] == []


def test_the_tally_says_how_much_was_tried(tally: Tally) -> None:
    """How many histories and events, how long, and how often each thing happened."""
    *counts, last = tally.text()
    assert last.startswith(f"300 histories, {tally.events} events, ")
    assert last.endswith(": 0 broke an invariant")
    assert any(line.endswith("  run completed") for line in counts)


def test_a_seed_is_one_history(tmp_path: Path) -> None:
    """The same seed tells the same story, word by word, in another process that hashes otherwise."""
    stories = {_told_by_process(hashing, tmp_path) for hashing in ("1", "2")}
    assert stories == {"".join(f"{line}\n" for line in (*play(11, whole=True).story, "no invariant is broken"))}


def _told_by_process(hashing: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hashing, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "runbooks.simulate", "--seed", "11"]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_seeds_differ() -> None:
    """No two seeds tell the same story."""
    assert len({play(seed, whole=True).story for seed in range(30)}) == 30


def test_every_invariant_has_a_break() -> None:
    """Each invariant is shown to find something: for each, a rule is broken on purpose below."""
    assert {each.invariant for each in BREAKS} == {each.name for each in INVARIANTS}


@pytest.mark.parametrize("broken", BREAKS, ids=[each.id for each in BREAKS])
def test_a_rule_broken_on_purpose_is_found(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed is found soon, its last events are told, and it leads to the same place again."""
    broken.make(monkeypatch)
    found = next(_found(broken.invariant, broken.weather), None)
    assert found is not None
    assert 1 <= len({line.split()[0] for line in found.story}) <= 30
    assert play(found.seed, dict(found.weather)).violation == found


def _found(invariant: str, weather: Mapping[str, float]) -> Iterator[Violation]:
    for seed in range(ENOUGH):
        violation = play(seed, weather).violation
        if violation is not None and violation.invariant == invariant:
            yield violation


def test_the_command_tells_a_broken_seed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1, the invariant, how it is broken, and the command that shows it again."""
    next(each for each in BREAKS if each.invariant == "one-run").make(monkeypatch)
    assert main(["--histories", "50"]) == 1
    said = capsys.readouterr().out
    assert "one-run: runs chat-1 and chat-2 are under way at once" in said
    assert "see it again: python -m runbooks.simulate --seed " in said


def test_an_unknown_fault_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    """A fault that does not exist is answered with those that do."""
    with pytest.raises(SystemExit):
        main(["--fault", "frieze=1"])
    assert "no fault is called frieze; there are: kill, freeze" in capsys.readouterr().err


def test_the_invariants_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with its sentence."""
    assert main(["--invariants"]) == 0
    assert "At most one run per service is under way." in capsys.readouterr().out
