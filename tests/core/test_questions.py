"""When people are told of a question again, and when silence is the answer."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.questions import REMINDERS, due_s, rounds, silent
from orchestrator.core.topology import Questions

POLICIES = st.builds(
    Questions,
    role=st.none() | st.just("sre"),
    escalate=st.lists(st.sampled_from(("leads", "boss")), unique=True, max_size=2).map(tuple),
    timeout_s=st.floats(10.0, 86400.0),
)


@given(POLICIES)
def test_it_is_told_ever_more_rarely_and_not_for_ever(policy: Questions) -> None:
    """Each telling comes after the one before, each reminder after twice the time, and there are few of them."""
    times = [0.0]
    while (due := due_s(policy, len(times))) is not None:
        times.append(due)
    asked = len(rounds(policy))
    assert len(times) == asked + 1 + REMINDERS
    assert times == sorted(set(times))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert all(abs(gap - policy.timeout_s) < 1e-6 for gap in gaps[:asked])
    assert times[-1] <= asked * policy.timeout_s * 2**REMINDERS


@given(POLICIES)
def test_silence_is_an_answer_only_once_everybody_has_had_their_time(policy: Questions) -> None:
    """Nobody is passed over: the policy decides after the last of those whom it names, and at the earliest twice."""
    everybody = [policy.role, *policy.escalate]
    asked = rounds(policy)
    assert list(asked[: len(everybody)]) == everybody
    assert len(asked) >= 2
    assert [silent(policy, told) for told in range(1, len(asked) + 3)] == [False] * len(asked) + [True, True]
