"""What may be wished for with plan and run, plans that are saved and carried out later, and what runs wait for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.move import MoveKind
from runbooks.plan import Approve, Asked

GO = ("--reason", "x", "--yes")


def test_a_wish_names_runbook_values_and_what_to_leave(failover: Any, plane: Any) -> None:
    """--runbook, --set, --from and --expires reach the service as they were meant."""
    words = (
        "--from",
        "eu",
        "--runbook",
        "canary-shift",
        "--set",
        "hold=30s",
        "--set",
        "stages=5,100",
        "--expires",
        "2h",
    )
    assert failover("run", "chat", "--to", "us", *words, *GO).status == 0
    request = plane.requests[0].request
    assert (request.runbook, request.leaving, request.target) == ("canary-shift", ("eu",), "us")
    assert request.values == (("hold", "30s"), ("stages", "5,100"))
    left = request.expires - datetime.now(UTC)
    assert timedelta(hours=1, minutes=58) < left <= timedelta(hours=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "chat", "--set", "hold", *GO), "--set: 'hold' gives no value; write it as NAME=VALUE"),
        (("plan", "chat", "--set", "a=1", "--set", "a=2"), "--set: 'a' is given twice; give it once"),
        (("run", "chat", "--from", "euu", *GO), "did you mean 'eu'?"),
        (("run", "chat", "--expires", "soon", *GO), "'soon' is no duration"),
        (("run", *GO), "name a SERVICE, or a saved plan with --plan FILE"),
        (("run", "--plan", "no.json", *GO), "no.json: there is no such file"),
        (("plan", "chat", "--save", "/dev/null/x"), "/dev/null/x"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, tuple) else "",
)
def test_a_wish_that_cannot_be_is_one_sentence(failover: Any, words: tuple[str, ...], said: str) -> None:
    """What cannot be meant ends with 2 and one sentence."""
    ended = failover(*words)
    assert (ended.status, ended.out) == (2, "")
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_a_refusal_repeats_the_whole_wish(failover: Any, plane: Any) -> None:
    """The command to repeat with overrides is the one that was given, options included."""
    plane.entities["chat"].short = {"us"}
    ended = failover("run", "chat", "--to", "us", "--from", "eu", "--runbook", "switchover", "--expires", "90m", *GO)
    assert ended.status == 3
    wish = "--to us --from eu --runbook switchover --expires 1h30m"
    assert f"failover run chat {wish} --reason x --override capacity-short" in ended.err


# ------------------------------------------------------------------ saved plans


@pytest.fixture
def saved(failover: Any, tmp_path: Path) -> Path:
    """A plan that was saved: chat to us."""
    file = tmp_path / "plan.json"
    ended = failover("plan", "chat", "--to", "us", "--save", str(file))
    assert ended.status == 0
    assert f"failover run --plan {file}" in ended.err
    assert [each.name for each in tmp_path.iterdir()] == ["plan.json"]
    return file


def test_a_saved_plan_is_carried_out(failover: Any, plane: Any, saved: Path) -> None:
    """The plan is shown, the service is asked for exactly it, and the run is followed."""
    ended = failover("run", "--plan", str(saved), "--reason", "now", "--yes")
    assert ended.status == 0
    assert "send all traffic to us" in ended.out
    (asked,) = plane.requests
    assert (asked.request.target, asked.request.trigger.by, asked.request.trigger.reason) == ("us", "ada", "now")
    assert asked.saved is not None
    assert (asked.saved.kind, asked.saved.generation) == (MoveKind.SWITCHOVER, 41)
    assert [step.text for step in asked.saved.steps] == ["send all traffic to us"]


def test_a_saved_plan_is_refused_when_the_world_has_moved(failover: Any, plane: Any, saved: Path) -> None:
    """Everything that has changed is named, nothing is asked, and the exit status is 3."""
    plane.entities["chat"].generation = 43
    plane.revision += 1
    ended = failover("run", "--plan", str(saved), *GO)
    assert ended.status == 3
    assert "it replaces generation 41, and 43 stands now: somebody has steered since" in ended.err
    assert "it was made from topology revision 1, and 2 is in force" in ended.err
    assert plane.requests == []


def test_a_saved_plan_is_its_own_wish(failover: Any, saved: Path) -> None:
    """Other options beside a saved plan, and another service, are mistakes; a file that is no plan is named."""
    ended = failover("run", "--plan", str(saved), "--to", "ap", *GO)
    assert ended.status == 2
    assert "leave the other options out" in ended.err
    ended = failover("run", "embed", "--plan", str(saved), *GO)
    assert ended.status == 2
    assert "is a plan for service 'chat', not for 'embed'" in ended.err
    document = json.loads(saved.read_text(encoding="utf-8"))
    del document["plan"]["steps"]
    saved.write_text(json.dumps(document), encoding="utf-8")
    ended = failover("run", "--plan", str(saved), *GO)
    assert ended.status == 2
    assert "is no saved plan (plan.steps: field required)" in ended.err


# ------------------------------------------------------------------ what runs wait for


@pytest.fixture
def waiting(failover: Any, plane: Any) -> str:
    """A run that waits for two of the role sre; bo has said yes."""
    plane.approval = Approve((Asked("sre", ("bo", "cy")),), 2, 600.0, "abort")
    assert failover("run", "chat", "--to", "us", *GO, "--no-wait").status == 0
    assert failover("approve", "run1", "--reason", "looks right", "--by-whom", "bo").status == 0
    return "run1"


@pytest.mark.parametrize("words", [("status",), ("status", "chat"), ("show", "run1")], ids=" ".join)
def test_what_a_run_waits_for_is_said_with_the_command_that_answers(
    failover: Any, waiting: str, words: tuple[str, ...]
) -> None:
    """Wherever a run is shown stands what it waits for, who has said yes, and what a person may type."""
    out = failover(*words).out
    assert "run1 waits: step yes needs 2 yes of role sre, 1 given (bo)" in out
    assert "failover approve run1 --step yes" in out
    assert "failover deny run1 --step yes" in out


def test_what_people_did_stands_in_the_timeline(failover: Any, waiting: str) -> None:
    """'show' tells every act with who and why."""
    assert "yes approved by bo: looks right" in failover("show", waiting).out


def test_a_run_that_is_held_says_how_it_is_released(failover: Any, waiting: str) -> None:
    """A run on hold is named with who holds it, why, and the command that releases it."""
    assert failover("hold", waiting, "--reason", "looking").status == 0
    out = failover("status").out
    assert "run1 waits: paused by ada: looking" in out
    assert "failover release run1" in out


def test_programs_read_what_runs_wait_for(failover: Any, waiting: str) -> None:
    """'status --json' has what each run waits for, by run."""
    document = failover("status", "--json").document
    (asked,) = document["waiting"][waiting]["waiting"]
    assert (asked["step"], asked["roles"], asked["approved"], asked["needed"]) == ("yes", ["sre"], ["bo"], 2)
    assert failover("approve", waiting, "--reason", "x", "--by-whom", "cy").status == 0
    assert failover("status", "--json").document["waiting"] == {}
