"""Parameters of runbooks: what they may hold, how values are given, and how mistakes in them are answered."""

from __future__ import annotations

import re

import pytest

from orchestrator.config.mistakes import Mistakes
from orchestrator.core.errors import BadInput
from runbooks.books import Shelf, book, template_of
from runbooks.model import ParameterType, SteerTask, Value, VerifyTask, WaitTask
from runbooks.parse import bind, read
from runbooks.values import fitting, said_as, sample

HEAD = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: mine}\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(Mistakes) as caught:
        read(HEAD + text, "mine.yaml")
    return str(caught.value).splitlines()


def refused(text: str, **values: Value) -> str:
    with pytest.raises(BadInput) as caught:
        bind(read(HEAD + text, "mine.yaml"), values)
    return str(caught.value)


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("kind", "typed", "held"),
    [
        ("duration", "1m30s", "1m30s"),
        ("integer", "4", 4),
        ("integer", -2, -2),
        ("number", "1.5", 1.5),
        ("number", 3, 3),
        ("percents", "5, 25,100", (5, 25, 100)),
        ("percents", (10, 100), (10, 100)),
        ("percents", "50", (50,)),
        ("text", "any words", "any words"),
        ("boolean", "true", True),
        ("boolean", False, False),
    ],
)
def test_a_value_is_read_as_a_person_types_it(kind: str, typed: Value, held: Value) -> None:
    """``--set`` gives text and a file gives numbers and lists: both are held alike, and said the same way again."""
    value = fitting(typed, ParameterType(kind))
    assert (value, type(value)) == (held, type(held))
    assert fitting(said_as(value), ParameterType(kind)) == held


@pytest.mark.parametrize(
    ("kind", "typed", "said"),
    [
        ("duration", "30", "'30' is not a duration; write one such as 30s"),
        ("duration", 30, "30 is not a duration"),
        ("integer", "4.0", "'4.0' is not a whole number; write one such as 3"),
        ("integer", True, "true is not a whole number"),
        ("integer", "٣", "is not a whole number"),
        ("number", "nan", "'nan' is not a number"),
        ("number", "1e999", "'1e999' is not a number"),
        ("percents", "50,25", "'50,25' is no list of rising percents; write one such as 5,25,50,100"),
        ("percents", "0,100", "no list of rising percents"),
        ("percents", "5,101", "no list of rising percents"),
        ("percents", "", "no list of rising percents"),
        ("percents", (), "a list is no list of rising percents"),
        ("text", 5, "5 is not text"),
        ("boolean", "yes", "'yes' is neither true nor false"),
    ],
)
def test_a_value_that_does_not_fit_is_answered_with_one_that_would(kind: str, typed: Value, said: str) -> None:
    """Each type says what is wrong with a value and how one is written."""
    with pytest.raises(ValueError, match=re.escape(said)):
        fitting(typed, ParameterType(kind))


def test_there_is_an_example_of_every_type() -> None:
    """Messages can show how a value of any type is written."""
    assert all(fitting(sample(kind), kind) == sample(kind) for kind in ParameterType)


# ------------------------------------------------------------------ files

STAGED = """parameters:
  stages: {type: percents, default: [5, 100], description: of the move}
  hold: {type: duration, default: 2m}
  passes: {type: integer, description: how sure to be}
steps:
  - {id: verify, type: verify, passes: {param: passes}}
  - {id: steer, type: steer, stages: {param: stages}, hold: {param: hold}}
"""


def test_values_stand_in_for_the_defaults() -> None:
    """What is given wins over the default; what has none must be given; the book keeps what was chosen."""
    runbook = bind(read(HEAD + STAGED, "mine.yaml"), {"passes": "4", "stages": "10,50"})
    verify, steer = runbook.steps
    assert verify.task == VerifyTask(4)
    assert steer.task == SteerTask((10, 50), 120.0)
    assert runbook.values == (("hold", "2m"), ("passes", 4), ("stages", (10, 50)))


def test_a_value_that_is_missing_is_asked_for_by_name() -> None:
    """The answer says what the parameter is for, and how it is given."""
    assert refused(STAGED) == (
        "runbook 'mine' needs a value for its parameter 'passes' (how sure to be); give one with: --set passes=1"
    )


def test_a_value_that_no_parameter_takes_is_refused() -> None:
    """A misspelt name is answered with the nearest."""
    assert refused(STAGED, pases=3) == (
        "runbook 'mine' has no parameter 'pases' (did you mean 'passes'?); choose one that it has"
    )


def test_a_value_of_the_wrong_type_names_its_parameter() -> None:
    """One sentence with the parameter, the runbook and how a value is written."""
    assert refused(STAGED, passes="many") == (
        "parameter 'passes' of runbook 'mine': 'many' is not a whole number; write one such as 3"
    )


def test_a_value_that_a_step_cannot_use_is_told_at_the_step() -> None:
    """It fits its type and not the field: the place is where it is used, and the sentence names the parameter."""
    assert refused(STAGED, passes=0) == (
        "mine.yaml:9:40: steps[verify].passes: 0 is too small; write 1 or more (it is the value of parameter 'passes')"
    )


def test_a_parameter_without_default_is_no_mistake_of_the_file() -> None:
    """What the value will be is not known when the file is checked: an example that does not fit proves nothing."""
    text = (
        "parameters: {hook: {type: text}}\n"
        "steps: [{id: tell, type: call, hook: {url: {param: hook}}}, {id: wait, type: wait, for: 1s}]\n"
    )
    template = read(HEAD + text, "mine.yaml")
    assert bind(template, {"hook": "https://hooks.example.com/x"}).steps[1].task == WaitTask(1.0)
    assert "'nowhere' is no URL" in refused(text, hook="nowhere")


def test_every_mistake_in_parameters_is_told_at_once() -> None:
    """Types, defaults, names, parameters that nothing uses and references to none: each with its place."""
    text = """parameters:
  Passes: {type: integer}
  often: {type: integer, default: soon}
  long: {type: durashun}
  idle: {type: text, default: x}
  odd: {type: boolean, defalt: true}
steps:
  - {id: verify, type: verify, passes: {param: offen}}
  - {id: steer, type: steer, enabled: {param: odd}}
  - {id: wait, type: wait, for: {param: long}}
  - {id: again, type: verify, passes: {param: often}}
  - {id: most, type: verify, passes: {param: [1]}}
"""
    assert mistakes(text) == [
        (
            "mine.yaml:5:3: parameters.Passes: 'Passes' cannot be a name; use lower-case letters, digits and -, "
            "a letter first"
        ),
        "mine.yaml:5:3: parameters.Passes: no step uses 'Passes'; remove it",
        "mine.yaml:6:35: parameters.often.default: 'soon' is not a whole number; write one such as 3",
        (
            "mine.yaml:7:16: parameters.long.type: 'durashun' is not known (did you mean 'duration'?); "
            "choose duration | integer | number | percents | text | boolean"
        ),
        "mine.yaml:8:3: parameters.idle: no step uses 'idle'; remove it",
        "mine.yaml:9:24: parameters.odd.defalt: unknown field 'defalt' (did you mean 'default'?)",
        (
            "mine.yaml:11:40: steps[verify].passes: no parameter is called 'offen' (did you mean 'often'?); "
            "add it under parameters"
        ),
        (
            "mine.yaml:15:38: steps[most].passes: no parameter is called a list (there are: Passes, idle, long, odd, "
            "often); add it under parameters"
        ),
    ]


@pytest.mark.parametrize(
    ("default", "said"),
    [("{a: 1}", "a mapping is no value of a parameter"), ("[a]", "a list is not text"), ("5", "5 is not text")],
)
def test_a_default_that_is_no_value_is_a_mistake(default: str, said: str) -> None:
    """Nothing is turned into text behind the author's back."""
    steps = "steps: [{id: tell, type: notify, text: {param: a}}]\n"
    (told,) = mistakes(f"parameters: {{a: {{type: text, default: {default}}}}}\n{steps}")
    assert told.startswith("mine.yaml:4:")
    assert said in told


@pytest.mark.parametrize("written", ["5", "[a]", "null", "{a: 1}", "{a: {}}"])
def test_parameters_in_a_wrong_shape_are_mistakes(written: str) -> None:
    """Whatever stands under parameters, the answer is a sentence with a place."""
    text = f"parameters: {written}\nsteps: [{{id: verify, type: verify, passes: {{param: a}}}}]\n"
    assert all(line.startswith("mine.yaml:") for line in mistakes(text))


def test_a_shelf_takes_values_for_its_books() -> None:
    """Values of a topology and of ``--set`` reach the steps; one is not mistaken for true, nor 2.0 for 2."""
    assert book("switchover", {"passes": "7"}).steps[1].task == VerifyTask(7)
    shelf = Shelf([template_of(read(HEAD + STAGED, "mine.yaml").data, "mine.yaml")])
    assert shelf.book("mine", {"passes": 1}).steps[0].task == VerifyTask(1)
    for wrong in (True, 1.0, "1.0"):
        with pytest.raises(BadInput, match="not a whole number"):
            shelf.book("mine", {"passes": wrong})
