"""Runbook files: what they may say, and how their mistakes are answered."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.mistakes import Mistake, Mistakes
from orchestrator.core.errors import BadInput
from runbooks.books import LIBRARY, book
from runbooks.model import (
    DEFAULTS,
    ApproveTask,
    BookStep,
    CheckTask,
    ConvergeTask,
    DemoteTask,
    DrainTask,
    FenceTask,
    PromoteTask,
    Runbook,
    SteerTask,
    StepType,
    VerifyTask,
    When,
    every,
)
from runbooks.parse import bind, parse, read
from runbooks.reference import schema
from runbooks.values import sample

HEAD = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: mine}\nsteps:\n"
WHENS = "planned | unplanned | always"
NO_WAY_BACK = "capacity that is given back may not come back, so demote has no way back; choose halt, continue or ask"
STEER = "  - {id: steer, type: steer}\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(Mistakes) as caught:
        parse(text, "mine.yaml")
    return str(caught.value).splitlines()


def test_a_short_book_gets_the_defaults() -> None:
    """Id and type are enough for a step."""
    tasks = (
        PromoteTask(),
        VerifyTask(),
        ApproveTask(),
        CheckTask(),
        SteerTask(),
        ConvergeTask(),
        DrainTask(),
        FenceTask(),
        DemoteTask(),
    )
    steps = "".join(f"  - {{id: {task.type}, type: {task.type}}}\n" for task in tasks)
    usual = [(task, DEFAULTS[task.type]) for task in tasks]
    assert parse(HEAD + steps, "mine.yaml") == Runbook(
        "mine",
        "",
        tuple(BookStep(str(t.type), t, d.timeout_s, d.attempts, d.on_failure, When.ALWAYS, True) for t, d in usual),
    )


def test_some_types_cannot_do_without_more() -> None:
    """What a call asks, a note says, a wait lasts, a branch and a nested runbook is cannot be guessed."""
    kinds = ("call", "notify", "wait", "parallel", "runbook")
    assert set(StepType) == {*kinds, *(str(t) for t in StepType if t not in kinds)}
    told = mistakes(HEAD + "".join(f"  - {{id: {kind}, type: {kind}}}\n" for kind in kinds))
    assert told == [
        "mine.yaml:5:5: steps[call]: 'hook' is missing; add it",
        "mine.yaml:6:5: steps[notify]: 'text' is missing; add it",
        "mine.yaml:7:5: steps[wait]: 'for' is missing; add it",
        "mine.yaml:8:5: steps[parallel]: 'branches' is missing; add it",
        "mine.yaml:9:5: steps[runbook]: 'runbook' is missing; add it",
    ]


def test_every_field_can_be_said() -> None:
    """What the author says wins over the defaults; durations are text such as 1m30s."""
    text = HEAD + (
        "  - {id: up, type: promote, timeout: 1m30s, retry: 8, on_failure: halt, replicas: 4, when: planned}\n"
        "  - {id: ask, type: verify, timeout: 500ms, passes: 7, when: unplanned}\n"
        "  - {id: move, type: steer, enabled: true}\n"
        "  - {id: back, type: demote, bake: 2h, enabled: false, on_failure: continue}\n"
    )
    up, ask, _, back = parse(text, "mine.yaml").steps
    assert up == BookStep("up", PromoteTask(4), 90.0, 9, "halt", When.PLANNED)
    assert (ask.task, ask.timeout_s, ask.when) == (VerifyTask(7), 0.5, When.UNPLANNED)
    assert (back.task, back.enabled, back.on_failure) == (DemoteTask(7200.0), False, "continue")
    assert [step.id for step in parse(text, "mine.yaml").chosen(planned=True)] == ["up", "move"]
    assert [step.id for step in parse(text, "mine.yaml").chosen(planned=False)] == ["ask", "move"]


def test_all_mistakes_are_told_at_once_with_their_places() -> None:
    """Each mistake has file, line, column, path, what is wrong and the nearest valid name; none hides another."""
    text = (
        "apiVersion: failover/v2\n"
        "kind: Runbok\n"
        "metadata: {nam: x}\n"
        "extra: 1\n"
        "steps:\n"
        "  - id: a\n"
        "    type: stear\n"
        "  - id: a\n"
        "    type: verify\n"
        '    passes: "3"\n'
        "    retry: -1\n"
        "    tiemout: 3s\n"
        "    timeout: 30\n"
        "    when: plannd\n"
        "    on_failure: undo\n"
        "    enabled: maybe\n"
        "  - type: demote\n"
        "    on_failure: rollback\n"
        "    bake: soon{x}\n"
        "  - 7\n"
        "  - id: B!\n"
        "    type: drain\n"
    )
    assert mistakes(text) == [
        "mine.yaml:1:13: apiVersion: 'failover/v2' is not what this program reads; write failover/v1",
        "mine.yaml:2:7: kind: 'Runbok' is not what this program reads; write Runbook",
        "mine.yaml:3:11: metadata: 'name' is missing; add it",
        "mine.yaml:3:12: metadata.nam: unknown field 'nam' (did you mean 'name'?)",
        (
            "mine.yaml:4:1: extra: unknown field 'extra' (there are: apiVersion, description, kind, metadata, "
            "parameters, steps)"
        ),
        "mine.yaml:7:11: steps[0].type: no step is of type 'stear' (did you mean 'steer'?)",
        "mine.yaml:8:9: steps[1].id: 'a' is the id of the step in line 6 too; rename one",
        "mine.yaml:10:13: steps[1].passes: '3' is not a whole number; write one without quotes",
        "mine.yaml:11:12: steps[1].retry: -1 is too small; write 0 or more",
        "mine.yaml:12:5: steps[1].tiemout: unknown field 'tiemout' (did you mean 'timeout'?)",
        "mine.yaml:13:14: steps[1].timeout: 30 has no unit; write 30s if seconds are meant",
        "mine.yaml:14:11: steps[1].when: 'plannd' is not known (did you mean 'planned'?); choose " + WHENS,
        "mine.yaml:15:17: steps[1].on_failure: 'undo' is not known; choose rollback | halt | continue | ask",
        "mine.yaml:16:14: steps[1].enabled: 'maybe' is neither true nor false; write one of them",
        "mine.yaml:17:5: steps[2]: 'id' is missing; add it",
        "mine.yaml:18:17: steps[2].on_failure: " + NO_WAY_BACK,
        "mine.yaml:19:11: steps[2].bake: 'soon{x}' is not a duration; write one such as 30s, 1m30s or 500ms",
        "mine.yaml:20:5: steps[3]: 7 stands where fields are expected; write 'name: value' lines",
        "mine.yaml:21:9: steps[B!].id: 'B!' cannot be a name; use lower-case letters, digits and -, a letter first",
    ]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("  []\n", "no steps are given"),
        ("  {}\n", "a mapping is not a list"),
        (STEER + "  - {id: again, type: steer}\n", "a second steer in unplanned moves"),
        ("  - {id: drain, type: drain}\n" + STEER, "drain stands before steer"),
        ("  - {id: converge, type: converge}\n" + STEER, "converge stands before steer"),
        ("  - {id: demote, type: demote}\n" + STEER, "demote stands before steer"),
        (STEER + "  - {id: promote, type: promote}\n", "promote stands after steer"),
        ("  - {id: steer, type: steer, on_failure: continue}\n", "no later step makes sense"),
        ("  - {id: steer, type: steer, unweighable: at-once}\n", "this step has none; give it stages, or remove it"),
        ("  - {id: s, type: steer, stages: [5], unweighable: no}\n", "is not known; choose refuse | at-once"),
        (STEER + "  - {id: d, type: drain, timeout: 8d}\n", "longer than the 7d"),
        (STEER + "  - {id: d, type: drain, timeout: [1]}\n", "a list is not a duration"),
        (STEER + "  - {id: d, type: [drain]}\n", "no step is of type '['drain']'"),
        (STEER + "  - {id: d}\n", "'type' is missing; add one of: promote"),
        (STEER + "  - {id: d, type: drain, passes: 2}\n", "unknown field 'passes'"),
        (STEER + "  - {id: 8, type: drain}\n", "8 is not text"),
    ],
)
def test_a_book_that_makes_no_sense_is_refused(steps: str, said: str) -> None:
    """Order, number and kind of steps are checked, with one sentence each."""
    told = mistakes(HEAD + steps)
    assert len(told) == 1
    assert said in told[0]
    assert re.match(r"mine\.yaml:\d+:\d+: steps", told[0])


@pytest.mark.parametrize(
    "steps",
    [
        "  - {id: verify, type: verify}\n",
        "  - {id: steer, type: steer, enabled: false}\n  - {id: v, type: verify}\n",
        "  - {id: steer, type: steer, when: planned}\n  - {id: v, type: verify}\n",
        "  - {id: converge, type: converge}\n  - {id: drain, type: drain}\n",
    ],
)
def test_a_book_need_not_move_traffic(steps: str) -> None:
    """A runbook may prepare a standby, or be a part of another: the planner says where it is of no use."""
    assert parse(HEAD + steps, "mine.yaml").steps


def test_a_book_may_be_for_planned_moves_only() -> None:
    """A book whose every step is for planned moves is whole."""
    only = parse(HEAD + "  - {id: steer, type: steer, when: planned}\n", "mine.yaml")
    assert only.chosen(planned=False) == ()


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "a: [", "apiVersion: *x\n", "a: 1\na: 2\n", HEAD.replace("steps:", "x:")]
)
def test_what_is_no_runbook_is_refused_in_words(text: str) -> None:
    """Empty files, lists, broken YAML and duplicate keys are mistakes with a place, not tracebacks."""
    assert all(line.startswith("mine.yaml:") for line in mistakes(text))


_yaml_like = st.recursive(
    st.sampled_from(["1", "1s", "true", "''", "x", "steer", "planned", "null", "verify", "-1", "1.5"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(
            st.sampled_from(["id", "type", "when", "timeout", "steps", "metadata", "name", "passes", "kind"]),
            inner,
            max_size=4,
        ).map(lambda fields: f"{{{', '.join(f'{key}: {value}' for key, value in fields.items())}}}"),
    ),
    max_leaves=12,
)


@given(_yaml_like, _yaml_like)
def test_any_yaml_is_a_runbook_or_a_list_of_mistakes(steps: str, metadata: str) -> None:
    """Whatever is written, the answer is a runbook or sentences with places; nothing else is raised."""
    found: tuple[Mistake, ...] = ()
    try:
        parse(f"apiVersion: failover/v1\nkind: Runbook\nmetadata: {metadata}\nsteps: {steps}\n", "any.yaml")
    except Mistakes as error:
        found = error.mistakes
    assert all(mistake.line and mistake.text for mistake in found)


# ------------------------------------------------------------------ the library


def test_the_library_has_its_books() -> None:
    """The books that policies name by default are there, and those that people ask for by name."""
    assert set(LIBRARY) == {
        "region-failover",
        "switchover",
        "failback",
        "canary-shift",
        "promote-standby",
        "drain-endpoint",
        "scale-ahead",
        "restore-last-good",
    }
    assert all(found.description for found in LIBRARY.values())
    assert all(each.description for found in LIBRARY.values() for each in found.parameters)


def test_region_failover_gives_nothing_back() -> None:
    """No demote, and nothing is undone after the steer."""
    steps = book("region-failover").steps
    assert [step.id for step in steps] == ["promote", "verify", "steer", "converge"]
    assert steps[-1].on_failure == "halt"


def test_demote_is_in_no_move_until_a_person_switches_it_on() -> None:
    """The library's demote is off; a bake stands beside it."""
    for found in LIBRARY.values():
        needed = {each.name: sample(each.type) for each in found.parameters if each.default is None}
        assert not any(isinstance(step.task, DemoteTask) for step in every(bind(found, needed).steps))
    assert any(isinstance(step.task, DemoteTask) and not step.enabled for step in book("switchover").steps)


def test_every_step_of_the_library_is_explained() -> None:
    """An operator who reads a book finds a comment above each step."""
    for name in LIBRARY:
        lines = files("runbooks").joinpath("library", f"{name}.yaml").read_text(encoding="utf-8").splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("  - id:")]
        assert starts
        assert all(lines[number - 1].startswith("  # ") for number in starts)


def test_an_unknown_book_is_answered_with_the_nearest() -> None:
    """A misspelt runbook name is one sentence with the name that was meant."""
    with pytest.raises(BadInput, match=r"no runbook is called 'switchovr' \(did you mean 'switchover'\?\)"):
        book("switchovr")


def test_the_schema_names_every_type_of_step() -> None:
    """Editors get a JSON Schema that knows the steps."""
    said = str(schema())
    assert all(f"'{kind}'" in said for kind in StepType)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{id: a, type: verify, passes: {param: n, default: 3}}", "write {param: n}, and nothing beside it"),
        ("{id: a, type: verify, passes: 99999999999999999999}", "no number here needs more than 18"),
        (f"{{id: {'a' * 41}, type: verify}}", "is longer than 40 characters; shorten it"),
    ],
)
def test_one_slip_is_one_mistake_with_its_own_cure(step: str, told: str) -> None:
    """What is wrong once is told once, in words that help."""
    head = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: mine}\n"
    takes = "parameters:\n  n: {type: integer, default: 3}\n" if "param" in step else ""
    with pytest.raises(Mistakes) as caught:
        read(f"{head}{takes}steps:\n  - {step}\n", "mine.yaml")
    (mistake,) = caught.value.mistakes
    assert mistake.text.endswith(told)


def test_an_empty_file_is_begun_with_a_runbook() -> None:
    """The cure is one for runbooks: 'failover init' writes a topology."""
    with pytest.raises(Mistakes, match="the file is empty; begin with one that 'failover runbook show NAME' prints"):
        read("# nothing yet\n", "mine.yaml")
