"""Health: what one vantage thinks of an endpoint, folded from answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core.building import EU, outcome, probe
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.health import NEXT, OPINION, Health, ProbeHealth, Signal, observe, summarize
from orchestrator.core.probe import HARD, PASSING, SOFT, OutcomeKind
from orchestrator.core.topology import ProbeKind

kinds = st.sampled_from(OutcomeKind)
GOOD, SLOW, BAD = OutcomeKind.PASSED, OutcomeKind.SLOW, OutcomeKind.REFUSED


def fold(*answers: OutcomeKind, rise: int = 2, fall: int = 3, start: ProbeHealth | None = None) -> ProbeHealth:
    """The state after *answers*, one a second."""
    health = start or ProbeHealth()
    for second, kind in enumerate(answers, start=1):
        health = observe(health, outcome(kind), now=float(second), rise=rise, fall=fall)
    return health


@pytest.mark.parametrize("health", Health)
@pytest.mark.parametrize("signal", Signal)
def test_every_state_has_an_answer_to_every_signal(health: Health, signal: Signal) -> None:
    """No outcome can surprise the state machine."""
    assert NEXT[health, signal] in Health
    assert OPINION[OPINION[health]] is OPINION[health]


@pytest.mark.parametrize("health", Health)
def test_enough_decides_and_a_single_answer_does_not(health: Health) -> None:
    """Rise and fall lead to one opinion from wherever; before them only the first good answer ever is an opinion."""
    assert NEXT[health, Signal.PASSED_ENOUGH] is Health.HEALTHY
    assert NEXT[health, Signal.SOFT_ENOUGH] is Health.DEGRADED
    assert NEXT[health, Signal.FAILED_ENOUGH] is Health.DOWN
    for signal in (Signal.PASSED, Signal.SOFT, Signal.FAILED):
        if (health, signal) != (Health.UNKNOWN, Signal.PASSED):
            assert OPINION[NEXT[health, signal]] is OPINION[health]
    assert NEXT[Health.UNKNOWN, Signal.PASSED] is Health.HEALTHY


def test_states_between_tell_which_way_it_goes() -> None:
    """A failure makes the healthy suspect and ends a recovery; what answers at all is recovering."""
    assert fold(GOOD, BAD).health is Health.SUSPECT
    assert fold(GOOD, BAD, SLOW).health is Health.SUSPECT
    assert fold(GOOD, BAD, GOOD).health is Health.HEALTHY
    down = fold(BAD, BAD, BAD)
    assert fold(SLOW, start=down).health is Health.RECOVERING
    assert fold(SLOW, SLOW, start=down).health is Health.RECOVERING
    assert fold(SLOW, BAD, start=down).health is Health.DOWN


def test_an_endpoint_is_degraded_after_fall_soft_answers() -> None:
    """As many as it takes failures to be down; failures between them do not start the count anew, a pass does."""
    assert fold(GOOD, SLOW, SLOW).opinion is Health.HEALTHY
    assert fold(GOOD, SLOW, SLOW, SLOW).opinion is Health.DEGRADED
    assert fold(GOOD, SLOW, BAD, SLOW, BAD, SLOW).opinion is Health.DEGRADED
    assert fold(GOOD, SLOW, SLOW, GOOD, SLOW).opinion is Health.HEALTHY
    assert fold(SLOW, SLOW, SLOW, GOOD).opinion is Health.DEGRADED
    assert fold(SLOW, SLOW, SLOW, GOOD, GOOD).opinion is Health.HEALTHY


def test_kinds_of_outcome_are_told_apart() -> None:
    """No outcome is soft and passing, or soft and hard, at once."""
    assert not PASSING & SOFT
    assert not HARD & (SOFT | PASSING)


def test_an_endpoint_is_down_after_fall_failures_in_a_row() -> None:
    """Down takes as many failures as the topology says, not one less."""
    assert fold(GOOD, BAD, BAD).opinion is Health.HEALTHY
    assert fold(GOOD, BAD, BAD, BAD).opinion is Health.DOWN


def test_an_endpoint_is_back_after_rise_passes_in_a_row() -> None:
    """One good answer after an outage is not a recovery."""
    down = fold(BAD, BAD, BAD)
    assert fold(GOOD, start=down).health is Health.RECOVERING
    assert fold(GOOD, start=down).opinion is Health.DOWN
    assert fold(GOOD, BAD, GOOD, start=down).opinion is Health.DOWN
    assert fold(GOOD, GOOD, start=down).opinion is Health.HEALTHY


def test_an_endpoint_that_never_answered_is_unknown_until_it_is_known() -> None:
    """The first failures after a start are not an outage yet, and the first pass is health."""
    assert fold(BAD, BAD).opinion is Health.UNKNOWN
    assert fold(BAD, BAD, BAD).opinion is Health.DOWN
    assert fold(GOOD).opinion is Health.HEALTHY


@given(rise=st.integers(1, 4), fall=st.integers(2, 5), data=st.data())
def test_flapping_within_the_damping_window_is_never_down(rise: int, fall: int, data: st.DataObject) -> None:
    """An endpoint that never fails *fall* times in a row is never called down."""
    runs = data.draw(st.lists(st.tuples(st.integers(1, fall - 1), st.integers(1, 3)), max_size=8))
    health = fold(GOOD)
    for bad, good in runs:
        for kind in [BAD] * bad + [GOOD] * good:
            health = observe(health, outcome(kind), now=1.0, rise=rise, fall=fall)
            assert health.opinion is not Health.DOWN


@given(answers=st.lists(kinds, max_size=30), rise=st.integers(1, 4), fall=st.integers(1, 5))
def test_a_soft_answer_never_brings_an_endpoint_down(answers: list[OutcomeKind], rise: int, fall: int) -> None:
    """Throttling and slowness are overload, not death."""
    health = ProbeHealth()
    for now, kind in enumerate(answers):
        before = health.opinion
        health = observe(health, outcome(kind), now=float(now), rise=rise, fall=fall)
        if kind in SOFT and before is not Health.DOWN:
            assert health.opinion is not Health.DOWN


@given(answers=st.lists(kinds, max_size=30), rise=st.integers(1, 4), fall=st.integers(1, 5))
def test_down_always_rests_on_enough_failures(answers: list[OutcomeKind], rise: int, fall: int) -> None:
    """Whatever the answers were, an opinion of down came from *fall* failures with no good or soft answer between."""
    health, streak, longest = ProbeHealth(), 0, 0
    for now, kind in enumerate(answers):
        health = observe(health, outcome(kind), now=float(now), rise=rise, fall=fall)
        streak = 0 if kind in PASSING | SOFT else streak + 1
        longest = max(longest, streak)
        if health.opinion is Health.DOWN:
            assert longest >= fall
            assert health.first_bad_at is not None
        if kind in PASSING and health.opinion is Health.HEALTHY:
            assert health.first_bad_at is None


def test_slowness_before_an_outage_does_not_use_up_the_confirm_time() -> None:
    """The first failure counts from when answers stopped, not from when they became slow."""
    health = fold(GOOD, SLOW, SLOW, SLOW, SLOW, BAD, BAD, BAD)
    assert health.opinion is Health.DOWN
    assert health.first_bad_at == 6.0
    assert health.last_good_at == 1.0


def test_one_good_answer_in_an_outage_does_not_make_it_young_again() -> None:
    """While an endpoint is down, the moment it fell stays known."""
    health = fold(GOOD, BAD, BAD, BAD, GOOD, BAD)
    assert health.opinion is Health.DOWN
    assert health.first_bad_at == 2.0


def test_a_count_under_way_is_not_settled() -> None:
    """Fast confirm goes on until the opinion cannot change by the next answer."""
    assert not fold(GOOD, BAD).settled
    assert not fold(BAD).settled
    assert not fold(BAD, BAD, BAD, GOOD).settled
    assert not fold(SLOW, SLOW, SLOW, BAD).settled
    assert fold(SLOW, SLOW, SLOW).settled
    assert fold(GOOD, BAD, BAD, BAD).settled


# ------------------------------------------------------------------ summaries


def test_an_endpoint_is_as_good_as_its_worst_probe() -> None:
    """/health that says yes does not outvote completions that fail."""
    http, chat = probe(), probe("chat", ProbeKind.CHAT, 60.0)
    failing = replace(fold(GOOD, BAD, BAD, BAD), detail="no content")
    said = summarize(EU, ((http, fold(GOOD, GOOD)), (chat, failing)), now=10.0)
    assert said.health is Health.DOWN
    assert said.detail == "chat: no content"
    assert said.last_good_age_s == 9.0
    assert said.first_bad_age_s == 8.0
    assert not said.proven


def test_ages_belong_to_the_probes_that_tell_the_opinion() -> None:
    """A healthy probe beside a dead one does not make the outage look younger, a slow one not older."""
    base = ProbeHealth(health=Health.DOWN)
    http = replace(base, last_good_at=99.0, first_bad_at=100.0)
    chat = replace(base, last_good_at=50.0, first_bad_at=110.0)
    fine = ProbeHealth(health=Health.HEALTHY, last_good_at=119.0)
    probes = ((probe(), http), (probe("chat", ProbeKind.CHAT, 60), chat), (probe("tcp", ProbeKind.TCP), fine))
    said = summarize(EU, probes, now=120.0)
    assert (said.last_good_age_s, said.first_bad_age_s) == (21.0, 20.0)


def test_a_model_is_proven_by_completions_that_are_young() -> None:
    """A completed inference counts for three of its probe's intervals; without a chat probe, passing is proof."""
    http, chat = probe(), probe("chat", ProbeKind.CHAT, 10.0)
    done = observe(ProbeHealth(), outcome(GOOD, completed=True), now=100.0, rise=1, fall=3)
    well = fold(GOOD)
    assert summarize(EU, ((http, well),), now=100.0).proven
    assert summarize(EU, ((http, well), (chat, done)), now=130.0).proven
    assert not summarize(EU, ((http, well), (chat, done)), now=131.0).proven
    assert not summarize(EU, ((http, well), (chat, fold(GOOD))), now=10.0).proven
    assert not summarize(EU, ((http, well), (chat, ProbeHealth())), now=10.0).proven


def test_nothing_asked_is_nothing_known() -> None:
    """An endpoint without probes is unknown, and its ages are unknown."""
    said = summarize(EU, (), now=10.0)
    assert (said.health, said.last_good_age_s, said.first_bad_age_s, said.proven) == (Health.UNKNOWN, None, None, False)


@given(folded=st.lists(st.lists(kinds, max_size=8), max_size=4))
def test_a_summary_is_an_opinion_with_ages_that_are_not_negative(folded: list[list[OutcomeKind]]) -> None:
    """Reports carry opinions and ages, never states in between or times to come."""
    said = summarize(EU, tuple((probe(f"p{i}"), fold(*each)) for i, each in enumerate(folded)), now=100.0)
    assert said.health in OPINION.values()
    assert all(age is None or age >= 0 for age in (said.last_good_age_s, said.first_bad_age_s))


def test_a_certificate_that_does_not_fit_is_an_opinion_at_once() -> None:
    """A certificate does not flap: one answer is enough to call the endpoint degraded, and never makes it down."""
    state = observe(ProbeHealth(), outcome(OutcomeKind.PASSED), now=0.0, rise=2, fall=3)
    state = observe(state, outcome(OutcomeKind.MISMATCH), now=1.0, rise=2, fall=3)
    assert state.opinion is Health.DEGRADED
