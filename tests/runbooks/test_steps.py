"""Each type of step as it is written, and how mistakes in it are answered."""

from __future__ import annotations

import pytest

from orchestrator.config.mistakes import Mistakes
from orchestrator.core.topology import Header, Secret, SecretSource
from runbooks.model import (
    ApproveTask,
    BookStep,
    CallTask,
    CheckTask,
    FenceTask,
    NotifyTask,
    ParallelTask,
    RunbookTask,
    SteerTask,
    VerifyTask,
    WaitTask,
)
from runbooks.parse import parse
from runbooks.plan import Analysis, Hook

HEAD = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: mine}\nsteps:\n"


def read(steps: str) -> tuple[BookStep, ...]:
    return parse(HEAD + steps, "mine.yaml").steps


def mistakes(steps: str) -> list[str]:
    with pytest.raises(Mistakes) as caught:
        read(steps)
    return [line.removeprefix("mine.yaml:") for line in str(caught.value).splitlines()]


def test_every_type_of_step_can_be_written_in_full() -> None:
    """What is written is what the step holds."""
    steps = read("""
  - {id: look, type: verify, passes: 3, vantages: 2, expected: 5s}
  - {id: ask, type: approve, role: oncall, people: 2, escalate: [leads], on_timeout: proceed, timeout: 5m}
  - {id: rules, type: check, rules: [target-not-proven], on_failure: ask}
  - id: ticket
    type: call
    hook:
      url: https://hooks.example.com/open
      method: PUT
      headers: {X-Team: models, Authorization: {env: HOOK_TOKEN}}
      data: {severity: 2, page: true}
      status: [204, 2xx]
    back: {url: https://hooks.example.com/close}
  - {id: tell, type: notify, text: we move}
  - id: move
    type: steer
    stages: [10, 50]
    hold: 90s
    analysis: {samples: 5, max_errors: 2.5, slower: 3, first_token: 800ms}
    undo: false
  - id: beside
    type: parallel
    branches:
      - [{id: hold, type: wait, for: 1m}]
      - - {id: off, type: fence}
        - {id: own, type: runbook, runbook: other, with: {stages: [5, 100], much: 1.5, sure: true, who: us}}
""")
    hook = Hook(
        "https://hooks.example.com/open",
        "PUT",
        (Header("Authorization", Secret(SecretSource.ENV, "HOOK_TOKEN")), Header("X-Team", "models")),
        (("page", "true"), ("severity", "2")),
        ("204", "2xx"),
    )
    assert [step.task for step in steps[:6]] == [
        VerifyTask(3, 2),
        ApproveTask("oncall", 2, ("leads",), "proceed"),
        CheckTask(("target-not-proven",)),
        CallTask(hook, Hook("https://hooks.example.com/close")),
        NotifyTask("we move"),
        SteerTask((10, 50), 90.0, Analysis(5, 2.5, 3.0, 0.8)),
    ]
    assert (steps[0].expected_s, steps[5].undo, steps[2].on_failure) == (5.0, False, "ask")
    beside = steps[6].task
    assert isinstance(beside, ParallelTask)
    values = (("much", 1.5), ("stages", (5, 100)), ("sure", True), ("who", "us"))
    assert [[step.task for step in branch] for branch in beside.branches] == [
        [WaitTask(60.0)],
        [FenceTask(), RunbookTask("other", values)],
    ]


def test_mistakes_in_every_type_are_told_at_once() -> None:
    """Line, column, the field, what is wrong and the nearest name; in branches and hooks as well."""
    assert mistakes("""\
  - {id: look, type: verify, vantages: 0, timeout: 0s}
  - {id: ask, type: approve, people: 9, rolle: oncall, on_timeout: procede, escalate: leads}
  - {id: rules, type: check, rules: [target-not-provn]}
  - id: ticket
    type: call
    hook: {url: hooks.example.com, methd: PUT, headers: {X Team: a}, status: [6xx]}
    back: {method: GET}
  - {id: tell, type: notify, text: ""}
  - {id: hold, type: wait, for: 9d}
  - {id: move, type: steer, stages: [50, 25], hold: 5, analysis: {sampels: 3, max_errors: many, slower: 0.5}}
  - id: beside
    type: parallel
    timeout: 5m
    on_failure: halt
    branches:
      - [{id: off, type: fence, on_failure: rollback}, {id: deep, type: verify, pases: 1}]
      - {id: no, type: wait}
  - {id: own, type: runbook, runbook: other, with: {stages: [a], deep: {a: 1}}, retry: 2}
  - {id: gone, type: demote, when: unplanned}
  - {id: soft, type: drain, when: unplanned}
""") == [
        "5:40: steps[look].vantages: 0 is too small; write 1 or more",
        "5:52: steps[look].timeout: 0s leaves no time to do anything; write how long it may take, such as 30s",
        "6:38: steps[ask].people: 9 is too large; write 5 or less",
        "6:41: steps[ask].rolle: unknown field 'rolle' (did you mean 'role'?)",
        "6:68: steps[ask].on_timeout: 'procede' is not known (did you mean 'proceed'?); choose abort | proceed",
        "6:87: steps[ask].escalate: 'leads' is not a list; write one like [a, b]",
        (
            "7:38: steps[rules].rules[0]: no safety rule is called 'target-not-provn' "
            "(did you mean 'target-not-proven'?); name one that exists"
        ),
        "10:17: steps[ticket].hook.url: 'hooks.example.com' is no URL; write it like https://hooks.example.com/failover",
        "10:36: steps[ticket].hook.methd: unknown field 'methd' (did you mean 'method'?)",
        "10:58: steps[ticket].hook.headers.X Team: 'X Team' is no header name; use letters, digits and hyphens",
        "10:79: steps[ticket].hook.status[0]: '6xx' is no status; write a code like 204 or a class like 2xx",
        "11:11: steps[ticket].back: 'url' is missing; add it",
        "11:20: steps[ticket].back.method: 'GET' is not known; choose POST | PUT | PATCH | DELETE",
        "12:36: steps[tell].text: is empty; write some text in quotes",
        "13:33: steps[hold].for: 9d is longer than the 7d that a step may take; shorten it",
        (
            "14:37: steps[move].stages: the stages are percents of the move, from 1 to 100 and rising; "
            "write them like [5, 25, 50, 100]"
        ),
        "14:53: steps[move].hold: 5 has no unit; write 5s if seconds are meant",
        "14:67: steps[move].analysis.sampels: unknown field 'sampels' (did you mean 'samples'?)",
        "14:91: steps[move].analysis.max_errors: 'many' is not a number; write one such as 1.5",
        "14:105: steps[move].analysis.slower: 0.5 is too small; write 1.0 or more",
        "17:14: steps[beside].timeout: parallel has no timeout of its own; give one to the steps in it",
        "18:17: steps[beside].on_failure: parallel has no on_failure of its own; give one to the steps in it",
        (
            "20:45: steps[beside].branches[0][off].on_failure: an endpoint that was fenced may not come back, so "
            "fence has no way back; choose halt, continue or ask"
        ),
        "20:81: steps[beside].branches[0][deep].pases: unknown field 'pases' (did you mean 'passes'?)",
        (
            "21:9: steps[beside].branches[no]: a mapping is not a list of steps, as each branch is; "
            "begin each step with '- '"
        ),
        (
            "22:61: steps[own].with.stages: a list is no value of a parameter; write text, a number, true, false or "
            "whole percents"
        ),
        (
            "22:72: steps[own].with.deep: a mapping is no value of a parameter; write text, a number, true, false or "
            "whole percents"
        ),
        ("22:88: steps[own].retry: a runbook that is named here has no retry of its own; give one to the steps in it"),
        "23:36: steps[gone].when: capacity that is given back in an outage may not come back; choose planned",
        "24:35: steps[soft].when: an endpoint that is down has nothing that could finish; choose planned",
    ]


STEER = "  - {id: steer, type: steer}\n"
BESIDE = "  - {id: beside, type: parallel, branches: [[{id: a, type: steer}], [{id: b, type: wait, for: 1s}]]}\n"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (BESIDE, "steer stands in a branch of parallel steps; traffic moves by itself, put it outside"),
        (BESIDE.replace("type: steer", "type: drain") + STEER, "drain stands before steer"),
        (STEER + BESIDE.replace("type: steer", "type: promote"), "promote stands after steer"),
        (BESIDE.replace("id: b", "id: a").replace("steer", "verify"), "'a' is the id of the step in line 5 too"),
        ("  - {id: p, type: parallel, branches: []}\n", "at least 1 belongs here"),
        (
            "  - {id: now, type: steer, when: unplanned}\n  - {id: slow, type: steer, when: planned}\n",
            "could not be taken over from when a run is switched; put this one after that",
        ),
    ],
)
def test_an_order_without_sense_is_refused(steps: str, said: str) -> None:
    """Branches count where they stand; a person who switches a run finds a step that takes over."""
    (told,) = mistakes(steps)
    assert said in told


def test_branches_stand_in_one_another_only_so_deep() -> None:
    """Six parallels in one another are a mistake, at the sixth."""
    step = "{id: w, type: wait, for: 1s}"
    for number in range(6):
        step = f"{{id: p{number}, type: parallel, branches: [[{step}]]}}"
    (told,) = mistakes(f"  - {step}\n")
    assert "branches stand in one another more than 5 deep" in told


def test_a_steer_for_each_kind_of_move_may_stand_in_one_book() -> None:
    """Gently while the source serves, at once while it is down: two steers, of which each move takes one."""
    steps = read(
        "  - {id: slow, type: steer, when: planned, stages: [50]}\n  - {id: now, type: steer, when: unplanned}\n"
    )
    assert [step.id for step in steps] == ["slow", "now"]
