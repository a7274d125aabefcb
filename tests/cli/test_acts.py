"""What people do to a run under way: the commands, what they say, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.record import Mark, RunStatus
from runbooks.plan import Approve, Asked

ASKED = Approve((Asked("sre", ("bo", "cy", "ada")),), 2, 600.0, "abort")
WHY = ("--reason", "it is time")


@pytest.fixture
def run(failover: Any, plane: Any) -> str:
    """A run under way that waits for two of the role sre; ada has started it."""
    plane.approval = ASKED
    assert failover("run", "chat", "--to", "us", *WHY, "--yes", "--no-wait").status == 0
    return "run1"


def test_two_people_say_yes(failover: Any, plane: Any, run: str) -> None:
    """Each yes is answered in a sentence and kept in the record with who and why."""
    for person in ("bo", "cy"):
        ended = failover("approve", run, *WHY, "--by-whom", person)
        assert (ended.status, ended.out) == (0, "")
        assert ended.err == f"Run run1: yes approved by {person}: it is time.\n"
    said = [entry.text for entry in plane.entities["chat"].records[0].entries if entry.mark is Mark.ACT]
    assert said == ["yes approved by bo: it is time", "yes approved by cy: it is time"]


def test_programs_read_what_a_run_waits_for(failover: Any, run: str) -> None:
    """'show --json' and 'status --json' list what the run waits for, with the commands that answer it."""
    failover("hold", run, *WHY)
    wanted = [
        {"text": "paused by ada: it is time", "commands": ["failover release run1"]},
        {
            "text": "step yes needs 2 yes of role sre, 0 given",
            "commands": ["failover approve run1 --step yes", "failover deny run1 --step yes"],
        },
    ]
    wanted = [{"service": "chat", "run": "run1", **each} for each in wanted]
    assert failover("show", run, "--json").document["asks"] == wanted
    assert failover("status", "--json").document["asks"] == wanted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("approve", "run1", "--by-whom", "zoe"), "'zoe' is in none of the roles that are asked"),
        (("approve", "run1"), "'ada' started the run, and 2 others must say yes"),
        (("approve", "run1", "--step", "steer"), "step 'steer' asks for no approval now; these do: yes"),
        (("skip", "run1", "--step", "stear"), "run run1 has no step 'stear'; did you mean 'steer'?"),
        (("skip", "run1", "--step", "steer"), "moves the traffic"),
        (("release", "run1"), "run run1 is not paused"),
        (("switch", "run1", "--planned"), "run run1 is planned already"),
        (("retry", "run1", "--step", "steer"), "step 'steer' is pending"),
        (("extend", "run1", "--step", "yes", "--by", "200h"), "at most 7 days"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_refusal_is_one_sentence(failover: Any, run: str, words: tuple[str, ...], said: str) -> None:
    """What a run refuses ends with 3 and the run's own sentence, and nothing on standard output."""
    ended = failover(*words, *WHY)
    assert (ended.status, ended.out) == (3, "")
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("deny", "run1", "--by-whom", "ada"), "yes denied by ada: it is time"),
        (("abort", "run1"), "aborted by ada: it is time"),
        (("hold", "run1"), "paused by ada: it is time"),
        (("switch", "run1", "--unplanned"), "switched to unplanned by ada: it is time"),
        (("skip", "run1", "--step", "yes"), "yes skipped by ada: it is time"),
        (("retry", "run1", "--step", "yes"), "yes to be tried again by ada: it is time"),
        (("extend", "run1", "--by", "5m"), "yes given 300 s more by ada: it is time"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_act_is_answered_and_recorded(
    failover: Any, plane: Any, run: str, words: tuple[str, ...], said: str
) -> None:
    """Every act is answered by what it did, in the words that the record keeps."""
    ended = failover(*words, *WHY)
    assert (ended.status, ended.err) == (0, f"Run run1: {said}.\n")
    assert plane.entities["chat"].records[0].entries[-1].text == said


def test_a_run_that_is_held_is_released(failover: Any, plane: Any, run: str) -> None:
    """hold lets no further step begin, and release lets the run go on."""
    assert failover("hold", run, *WHY).status == 0
    assert failover("hold", run, *WHY).status == 3
    assert failover("release", run, *WHY).status == 0
    assert plane.lives[run].progress.paused == ""


def test_a_run_that_is_unknown_or_closed_says_so(failover: Any, plane: Any, run: str) -> None:
    """A run that nobody knows ends with 4; one that is closed is refused and says how it ended."""
    ended = failover("abort", "run9", *WHY)
    assert ended.status == 4
    assert "run9" in ended.err
    record = plane.entities["chat"].records[0]
    plane.entities["chat"].records[0] = replace(record, status=RunStatus.COMPLETED)
    ended = failover("abort", run, *WHY)
    assert ended.status == 3
    assert "run run1 is completed" in ended.err


def test_an_act_needs_a_reason(failover: Any, asked: Any, run: str) -> None:
    """Without a reason a person is asked for one, and where nobody is there it is a usage error."""
    ended = failover("abort", run)
    assert ended.status == 2
    assert "--reason" in ended.err
    ended = asked("abort", run, typed="eu is well\n")
    assert ended.status == 0
    assert "aborted by ada: eu is well" in ended.err


def test_runs_under_way_are_completed(plane: Any, run: str) -> None:
    """A shell is offered the runs that are under way."""
    import typer

    from orchestrator.cli.app import assemble
    from orchestrator.cli.desk import Desk
    from orchestrator.cli.options import complete_runs

    ctx = typer.Context(typer.main.get_command(assemble()), obj=Desk(connect=plane.reach))
    assert complete_runs(ctx, "r") == ["run1"]
    assert complete_runs(ctx, "x") == []
