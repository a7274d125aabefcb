"""Judging a stage: what is a pass, what backs out, and what only a person can decide."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.analysis import Fail, Inconclusive, Judgement, Pass, Sample, certain, judge, worst

COUNT = 10


def answers(
    count: int = COUNT, *, failed: int = 0, first_s: float = 0.2, text: str = "status 500"
) -> tuple[Sample, ...]:
    """*count* answers, the last *failed* of which failed."""
    good = (Sample(good=True, first_s=first_s),) * (count - failed)
    return good + (Sample(good=False, text=text),) * failed


def judged(target: tuple[Sample, ...], source: tuple[Sample, ...] | None, **limits: float | None) -> Judgement:
    given: dict[str, float | None] = {"max_errors": 0.0, "slower": 2.0, "first_token_s": None, **limits}
    return judge(target, source, samples=COUNT, **given)  # type: ignore[arg-type]  # a test names limits freely


def test_a_target_as_good_as_the_source_passes() -> None:
    """Ten good answers each, equally fast: the next stage may come, and the record says what was seen."""
    found = judged(answers(), answers(first_s=0.21))
    assert found == Pass("10 of 10 answers good, the first token after 0.20 s, the source's after 0.21 s")


def test_a_target_that_fails_more_than_it_may_backs_out() -> None:
    """Two of ten completions failed and none may: a fail that names the count and the cause."""
    found = judged(answers(failed=2), answers())
    assert found == Fail(("2 of 10 answers of the target failed (status 500), and 0 % may",))


def test_errors_within_the_limit_pass() -> None:
    """One of ten may fail where 10 % are allowed."""
    assert isinstance(judged(answers(failed=1), answers(), max_errors=10.0), Pass)


def test_a_source_that_fails_alike_leaves_it_to_a_person() -> None:
    """Both lose answers in the same way: backing out would not help, so a person is asked."""
    found = judged(answers(failed=3), answers(failed=2, text="reset"))
    assert isinstance(found, Inconclusive)
    assert "the source fails alike: 2 of 10 (reset)" in found.reasons[0]


def test_a_target_far_worse_than_a_failing_source_backs_out() -> None:
    """The source loses one answer in ten and the target all of them: that is the target's own trouble."""
    assert isinstance(judged(answers(failed=10), answers(failed=1)), Fail)


def test_a_failing_source_is_nothing_to_compare_with() -> None:
    """The target answers well, and the source does not: nobody can say that the target is as good as usual."""
    found = judged(answers(), answers(failed=10))
    assert isinstance(found, Inconclusive)
    assert "nothing to compare with" in found.reasons[0]


def test_a_first_token_much_later_than_the_sources_backs_out() -> None:
    """Twice the source's time and 100 ms are allowed, and not more."""
    assert isinstance(judged(answers(first_s=0.49), answers(first_s=0.2)), Pass)
    found = judged(answers(first_s=0.51), answers(first_s=0.2))
    assert isinstance(found, Fail)
    assert "the target's first token takes 0.51 s and the source's 0.20 s; up to 0.50 s" in found.reasons[0]


def test_a_first_token_later_than_the_limit_backs_out_whatever_the_source_is() -> None:
    """Both are slow, and the runbook names a longest time."""
    found = judged(answers(first_s=3.0), answers(first_s=3.0), first_token_s=1.0)
    assert found == Fail(("the target's first token takes 3.00 s, and 1 s are allowed",))


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Errors and a late first token are two reasons."""
    found = judged(answers(failed=2, first_s=9.0), answers())
    assert isinstance(found, Fail)
    assert len(found.reasons) == 2


@pytest.mark.parametrize("target", [(), answers(COUNT - 1)])
@pytest.mark.parametrize("source", [None, (), answers(COUNT - 1), answers()])
def test_no_data_is_never_a_pass(target: tuple[Sample, ...], source: tuple[Sample, ...] | None) -> None:
    """With fewer answers than asked for, however good, a person decides."""
    assert isinstance(judged(target, source), Inconclusive)


def test_a_source_that_gave_too_few_answers_is_no_pass() -> None:
    """The target is fine by itself, and was to be compared."""
    assert isinstance(judged(answers(), answers(COUNT - 1)), Inconclusive)


def early(target: tuple[Sample, ...], source: tuple[Sample, ...] | None, max_errors: float = 0.0) -> Fail | None:
    return certain(target, source, samples=COUNT, max_errors=max_errors)


def test_two_failures_beside_a_good_source_are_certain_at_once() -> None:
    """Nobody waits for the other seven answers while clients get errors."""
    assert early(answers(3, failed=2), answers(3)) == Fail(
        ("2 of 3 answers of the target failed (status 500), and 0 % may",)
    )


def test_one_failure_is_waited_out() -> None:
    """A single lost answer, or what the limit still allows, does not end the hold before its time."""
    assert early(answers(3, failed=1), answers(3)) is None
    assert early(answers(3, failed=2), answers(3), max_errors=20.0) is None
    assert early(answers(3, failed=3), answers(3), max_errors=20.0) is not None


def test_while_the_source_fails_or_lags_nothing_is_certain() -> None:
    """It may turn out that both fail alike."""
    assert early(answers(3, failed=3), answers(3, failed=1)) is None
    assert early(answers(3, failed=3), answers(2)) is None
    assert early(answers(3, failed=3), None) is not None


# ------------------------------------------------------------------ for all answers there can be

SAMPLES = st.builds(Sample, st.booleans(), st.floats(0.0, 30.0), st.just("bad"))
ANSWERS = st.lists(SAMPLES, min_size=COUNT, max_size=COUNT).map(tuple)
LIMITS = st.fixed_dictionaries(
    {
        "max_errors": st.floats(0.0, 100.0),
        "slower": st.floats(1.0, 10.0),
        "first_token_s": st.none() | st.floats(0.1, 20.0),
    }
)


@given(ANSWERS, st.none() | ANSWERS, LIMITS, st.integers(0, COUNT - 1), st.booleans())
def test_an_answer_that_failed_instead_never_makes_a_pass(
    target: tuple[Sample, ...],
    source: tuple[Sample, ...] | None,
    limits: dict[str, float | None],
    which: int,
    of_source: bool,
) -> None:
    """Whatever did not pass does not pass when one more answer, of either side, had failed."""
    if isinstance(judged(target, source, **limits), Pass):
        return

    def failed(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        return (*samples[:which], replace(samples[which], good=False, text="bad"), *samples[which + 1 :])

    if of_source and source is not None:
        source = failed(source)
    else:
        target = failed(target)
    assert not isinstance(judged(target, source, **limits), Pass)


@given(ANSWERS, st.none() | ANSWERS, LIMITS, st.integers(1, COUNT))
def test_answers_that_never_came_make_no_pass(
    target: tuple[Sample, ...], source: tuple[Sample, ...] | None, limits: dict[str, float | None], missing: int
) -> None:
    """With any answers of the target missing there is no pass, whatever the others say."""
    assert not isinstance(judged(target[missing:], source, **limits), Pass)


@given(ANSWERS, st.none() | ANSWERS, LIMITS)
def test_a_slower_target_is_never_judged_better(
    target: tuple[Sample, ...], source: tuple[Sample, ...] | None, limits: dict[str, float | None]
) -> None:
    """What did not pass does not pass when every answer took a second longer."""
    if isinstance(judged(target, source, **limits), Pass):
        return
    slower = tuple(replace(each, first_s=each.first_s + 1.0) for each in target)
    assert not isinstance(judged(slower, source, **limits), Pass)


@given(ANSWERS, st.booleans(), LIMITS, st.integers(0, COUNT))
def test_what_is_certain_early_is_a_fail_in_the_end(
    target: tuple[Sample, ...], beside: bool, limits: dict[str, float | None], seen: int
) -> None:
    """Whatever else comes from the target, while the source stays well."""
    source = answers() if beside else None
    most = limits["max_errors"]
    assert most is not None
    if early(target[:seen], source[:seen] if source else None, most) is not None:
        assert isinstance(judged(target, source, **limits), Fail)


# ------------------------------------------------------------------ several that gain

JUDGEMENTS = st.one_of(
    st.builds(Pass, st.text(max_size=5)),
    st.builds(Fail, st.tuples(st.text(max_size=5))),
    st.builds(Inconclusive, st.tuples(st.text(max_size=5))),
)


def test_the_worst_of_several_counts_and_is_named() -> None:
    """One that fails backs out, whatever the others do; one that nobody can judge asks; all must pass."""
    passed, failed, unclear = Pass("10 of 10 good"), Fail(("too slow",)), Inconclusive(("0 of 10 came",))
    assert worst((("us", passed), ("ap", failed), ("sa", unclear))) == Fail(("ap: too slow",))
    assert worst((("us", passed), ("sa", unclear))) == Inconclusive(("sa: 0 of 10 came",))
    assert worst((("us", passed), ("ap", passed))) == Pass("us: 10 of 10 good; ap: 10 of 10 good")


@given(st.lists(st.tuples(st.sampled_from(["us", "ap", "sa"]), JUDGEMENTS), max_size=4))
def test_several_pass_only_where_each_passes(found: list[tuple[str, Judgement]]) -> None:
    """No order and no number of endpoints turns a no, or no answer, into a pass; nobody at all is no pass."""
    kinds = {type(each) for _, each in found}
    expected = Fail if Fail in kinds else Pass if kinds == {Pass} else Inconclusive
    assert isinstance(worst(tuple(found)), expected)
    assert isinstance(worst(tuple(reversed(found))), expected)
