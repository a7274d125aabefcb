"""Planning and starting runs."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.move import MoveKind, Objection
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import RunStatus


def test_a_plan_is_shown_and_nothing_is_started(failover: Any, plane: Any) -> None:
    """'plan' prints the planner's text, and no run exists afterwards."""
    ended = failover("plan", "chat", "--to", "us")
    assert ended.status == 0
    assert "switchover of chat" in ended.out
    assert "send all traffic to us" in ended.out
    assert plane.entities["chat"].records == []


def test_a_plan_is_one_document_for_programs(failover: Any) -> None:
    """'plan --json' and 'plan --as json' print the plan as one JSON document."""
    for words in (("--json",), ("--as", "json")):
        plan = failover("plan", "chat", "--to", "us", *words).document
        assert (plan["service"], plan["target"], plan["generation"]) == ("chat", "us", 41)
        assert plan["steps"][0]["work"]["kind"] == "steer"


@pytest.mark.parametrize(("rule", "status"), [("bad-runbook", 2), ("no-last-good", 3)])
def test_what_is_mistyped_is_told_from_what_is_refused(failover: Any, plane: Any, rule: str, status: int) -> None:
    """A runbook that there is not ends with 2; one that is right and has nothing to go back to is refused with 3."""
    plane.entities["chat"].refuses = (Objection(rule, "nothing comes of it"),)
    for words in (("plan", "chat"), ("run", "chat", "--reason", "x", "--yes")):
        ended = failover(*words, "--runbook", "restore-last-good")
        assert (ended.status, ended.out) == (status, "")
        assert "nothing comes of it" in ended.err


def test_a_plan_is_a_script_for_nsupdate(failover: Any) -> None:
    """'plan --as nsupdate' prints the change of DNS for a person to make by hand."""
    script = failover("plan", "chat", "--to", "us", "--as", "nsupdate").out
    assert "10.0.0.2" in script
    assert "update" in script


def test_moving_away_from_a_dead_endpoint_is_a_failover(failover: Any, plane: Any) -> None:
    """A move is unplanned when an endpoint that carries traffic is down, and planned otherwise."""
    assert failover("plan", "chat", "--json").document["kind"] == "switchover"
    plane.entities["chat"].verdicts["eu"] = Verdict.DOWN
    assert failover("plan", "chat", "--json").document["kind"] == "failover"


def test_a_run_is_carried_out_and_followed(failover: Any, plane: Any) -> None:
    """'run --yes' shows the plan, follows every step in plain lines, and ends with 0 once traffic has moved."""
    ended = failover("run", "chat", "--to", "us", "--reason", "eu loses packets", "--yes")
    assert ended.status == 0
    for words in (
        "switchover of chat",
        "steer running",
        "steer done in 0.10 s",
        "converge done",
        "completed",
        "Traffic had moved",
    ):
        assert words in ended.out
    assert plane.entities["chat"].active == "us"
    request = plane.requests[0].request
    assert (request.kind, request.target) == (MoveKind.SWITCHOVER, "us")
    assert (request.trigger.by, request.trigger.reason) == ("ada", "eu loses packets")


def test_a_run_that_nobody_confirmed_is_not_started(failover: Any, asked: Any, plane: Any) -> None:
    """Without --yes a person is asked, 'no' starts nothing, and where nobody can be asked it is a usage error."""
    ended = failover("run", "chat", "--reason", "x")
    assert ended.status == 2
    assert "--yes" in ended.err
    ended = asked("run", "chat", "--to", "us", "--reason", "x", typed="n\n")
    assert ended.status == 130
    assert "Nothing was started" in ended.err
    assert plane.requests == []
    ended = asked("run", "chat", "--to", "us", "--reason", "x", typed="y\n")
    assert ended.status == 0
    assert "Carry this out?" in ended.err


def test_a_run_needs_a_reason(failover: Any, asked: Any, plane: Any) -> None:
    """A reason is asked for at a terminal and required elsewhere."""
    ended = failover("run", "chat", "--yes")
    assert ended.status == 2
    assert "--reason" in ended.err
    assert asked("run", "chat", "--to", "us", typed="eu is slow\ny\n").status == 0
    assert plane.requests[0].request.trigger.reason == "eu is slow"


def test_a_refusal_names_every_rule_and_how_to_override_it(failover: Any, plane: Any) -> None:
    """All objections are shown at once with the command that overrides them, and the exit status is 3."""
    entity = plane.entities["chat"]
    entity.verdicts["ap"] = Verdict.DEGRADED
    entity.short = {"ap"}
    ended = failover("run", "chat", "--to", "ap", "--reason", "x y", "--yes")
    assert ended.status == 3
    for words in ("target-degraded", "ap is degraded", "capacity-short", "ap carries less"):
        assert words in ended.err
    again = "failover run chat --to ap --reason 'x y' --override capacity-short --override target-degraded"
    assert again in ended.err
    assert plane.requests == []


def test_a_rule_that_nobody_can_override_says_so(failover: Any, plane: Any) -> None:
    """A refusal by a rule that yields to nobody offers no override."""
    plane.entities["chat"].verdicts["ap"] = Verdict.DOWN
    ended = failover("run", "chat", "--to", "ap", "--reason", "x", "--yes")
    assert ended.status == 3
    assert "mend it first" in ended.err
    assert "--override" not in ended.err


def test_an_override_names_its_rules(failover: Any, plane: Any) -> None:
    """--override sets rules aside by name and is kept in the request."""
    plane.entities["chat"].verdicts["ap"] = Verdict.DEGRADED
    ended = failover("run", "chat", "--to", "ap", "--reason", "x", "--yes", "--override", "target-degraded")
    assert ended.status == 0
    assert plane.requests[0].request.trigger.overrides == ("target-degraded",)


def test_a_service_that_a_run_holds_says_which(failover: Any, plane: Any) -> None:
    """While a run holds the service, another is refused and the first is named."""
    plane.entities["chat"].run = "run7"
    ended = failover("run", "chat", "--reason", "x", "--yes")
    assert ended.status == 3
    assert "failover show run7" in ended.err


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        (RunStatus.COMPLETED, 0),
        (RunStatus.UNDONE, 1),
        (RunStatus.HALTED, 1),
        (RunStatus.ABORTED, 1),
        (RunStatus.STALE, 3),
    ],
)
def test_the_exit_status_is_how_the_run_ended(failover: Any, plane: Any, ending: RunStatus, status: int) -> None:
    """Completed is 0; undone, halted and aborted are 1; stopped by the fence is 3."""
    plane.ending = ending
    ended = failover("run", "chat", "--reason", "x", "--yes")
    assert ended.status == status
    assert bool(ended.err) == bool(status)


def test_waiting_ends_and_the_run_goes_on(failover: Any, plane: Any) -> None:
    """A run that takes longer than --timeout ends the command with 6 and says how to look at it."""
    plane.pace_s = 30.0
    ended = failover("run", "chat", "--reason", "x", "--yes", "--timeout", "50ms")
    assert ended.status == 6
    assert "failover show run1 --watch" in ended.err
    assert plane.entities["chat"].run == "run1"


def test_a_run_can_be_started_without_waiting(failover: Any, plane: Any) -> None:
    """--no-wait starts the run, names it and returns."""
    ended = failover("run", "chat", "--reason", "x", "--yes", "--no-wait")
    assert ended.status == 0
    assert "Run run1 started" in ended.out
    assert plane.entities["chat"].run == "run1"


def test_failback_brings_the_traffic_home(failover: Any, plane: Any) -> None:
    """'failback' asks for the way home, and is refused where traffic is at home already."""
    assert failover("failback", "chat", "--reason", "x", "--yes").status == 3
    plane.entities["chat"].active = "us"
    assert failover("failback", "chat", "--reason", "eu is mended", "--yes").status == 0
    assert plane.entities["chat"].active == "eu"
    assert plane.requests[0].request.kind is MoveKind.FAILBACK


def test_a_failback_takes_values_for_its_runbook(failover: Any, plane: Any) -> None:
    """Stages and holds are a person's to choose when they ask; what is no value is said before anything is asked."""
    plane.entities["chat"].active = "us"
    ended = failover("failback", "chat", "--reason", "x", "--set", "stages", "--yes")
    assert (ended.status, plane.requests) == (2, [])
    assert "'stages' gives no value; write it as NAME=VALUE" in ended.err
    assert failover("failback", "chat", "--reason", "x", "--set", "stages=100", "--set", "hold=5s", "--yes").status == 0
    assert plane.requests[0].request.values == (("hold", "5s"), ("stages", "100"))


def test_an_unknown_name_gets_the_nearest(failover: Any) -> None:
    """A service that does not exist ends with 4, an endpoint with 2, and both name what was probably meant."""
    ended = failover("run", "chta", "--reason", "x", "--yes")
    assert ended.status == 4
    assert "did you mean 'chat'?" in ended.err
    ended = failover("run", "chat", "--to", "uss", "--reason", "x", "--yes")
    assert ended.status == 2
    assert "did you mean 'us'?" in ended.err


def test_explain_says_why(failover: Any, plane: Any) -> None:
    """'explain' tells hold or go with every reason, and the plan where there is one."""
    ended = failover("explain", "chat")
    assert ended.status == 0
    assert "would do nothing now" in ended.out
    assert "eu is healthy" in ended.out
    plane.entities["chat"].verdicts["eu"] = Verdict.DOWN
    ended = failover("explain", "chat")
    assert "would act now" in ended.out
    assert "send all traffic to us" in ended.out
    assert failover("explain", "chat", "--json").document["decision"] == "go"


def test_text_from_the_world_cannot_steer_the_terminal(failover: Any, plane: Any) -> None:
    """Control characters in what an endpoint or a person said never reach the terminal."""
    plane.entities["chat"].held = (Objection("changed-outside", "answer is \x1b]0;owned\x07 [bold]now[/]"),)
    ended = failover("status")
    assert "\x1b" not in ended.out
    assert "[bold]now[/]" in ended.out
