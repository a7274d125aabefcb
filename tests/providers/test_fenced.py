"""FencedDial under every interleaving: writers that race, die, lose replies and are tried again, and people between.

Each call of document and dial stops before it has its effect and after it, and a schedule says who goes on next and
what becomes of the call: hypothesis looks for the schedule that breaks a promise.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.core.steering import Routing, shares_of
from providers.base import ChangedOutside, StaleGeneration
from real.interleaving import TARGETS, Actor, Fate, Land, adopted, change_from, go_on, play, run_alone, writer

MOVES = st.sampled_from(
    [{"eu": 100}, {"us": 100}, {"ap": 100}, {"eu": 95, "us": 5}, {"eu": 40, "us": 60}, {"us": 50, "ap": 50}]
)
FAILING = (Fate.FINE, Fate.REFUSED, Fate.LOST)
DYING = tuple(Fate)


def schedules(fates: tuple[Fate, ...]) -> st.SearchStrategy[list[tuple[int, Fate]]]:
    """Bursts: one writer goes on for some calls, which are fine, and one more, which may not be.

    Most of what can go wrong is one writer that sleeps while another one does all of his work.
    """
    burst = st.tuples(st.integers(0, 2), st.integers(0, 12), st.sampled_from(fates))
    return st.lists(burst, max_size=9).map(
        lambda bursts: [(who, each) for who, fine, last in bursts for each in (*[Fate.FINE] * fine, last)]
    )


def told(land: Land, actors: list[Actor]) -> None:
    """What holds however it went: one winner for each generation, and every outcome is true."""
    generations = [generation for generation, _ in land.wrote]
    assert generations == list(range(1, len(generations) + 1))
    for actor in actors:
        assert actor.change is not None or actor.dead
        match actor.outcome:
            case Routing(fence=fence):
                assert fence is not None
                assert fence.run == actor.run
                assert (fence.generation, fence.token) in land.wrote
            case StaleGeneration() as refused:
                assert actor.change is not None
                landed = (actor.change.fence.generation, actor.change.fence.token) in land.wrote
                assert ("after this write had landed" in str(refused)) == landed


OVERTAKEN_LATE = [*[(0, Fate.FINE)] * 6, *[(1, Fate.FINE)] * 30]
"""The first has written the document and not turned the dial; the second has done all of his."""
SAME_WORD = [(0, Fate.FINE), *[(1, Fate.FINE)] * 6, *[(2, Fate.FINE)] * 11, (1, Fate.FINE)]
"""The last wants what the dial said before the one in the middle turned it, and writes the document after that turn."""


@given(st.lists(MOVES, min_size=2, max_size=3), schedules(FAILING))
@example([{"us": 100}, {"ap": 100}], [*OVERTAKEN_LATE, (0, Fate.FINE)])
@example([{"us": 100}, {"ap": 100}], [*OVERTAKEN_LATE, (0, Fate.LOST)])
@example([{"eu": 100}, {"us": 100}, {"eu": 100}], SAME_WORD)
@settings(max_examples=250, deadline=None)
def test_once_all_writers_are_done_the_dial_is_as_the_newest_document_says(
    moves: list[dict[str, int]], schedule: list[tuple[int, Fate]]
) -> None:
    """Whoever won, whatever was lost on the way: the dial is left on the winner's word, and never on nothing."""
    land = Land()
    adopted(land)
    actors = [Actor(land, f"run-{index}", to) for index, to in enumerate(moves)]
    play(actors, schedule)
    told(land, actors)
    assert land.answer == land.says[1]
    assert not land.empty


TWO_LATE = [
    *[*[(0, Fate.FINE)] * 6, (0, Fate.LOST)],
    *[(1, Fate.FINE)] * 7,
    *[*[(2, Fate.FINE)] * 12, (2, Fate.LOST)],
    (1, Fate.FINE),
    *[*[(1, Fate.FINE)] * 3, (1, Fate.LOST)],
]
"""Two are overtaken half way through their turns, and each finds the other's traces on the dial."""


@given(st.lists(MOVES, min_size=2, max_size=3), schedules(FAILING))
@example([{"us": 100}, {"eu": 100}, {"ap": 100}], TWO_LATE)
@settings(max_examples=250, deadline=None)
def test_a_dial_of_many_calls_is_left_on_the_newest_word_too(
    moves: list[dict[str, int]], schedule: list[tuple[int, Fate]]
) -> None:
    """Turned target by target, two writers may meet half way; who is done last has seen that it is whole."""
    land = Land(steps=3)
    adopted(land)
    actors = [Actor(land, f"run-{index}", to) for index, to in enumerate(moves)]
    play(actors, schedule)
    told(land, actors)
    assert land.answer == land.says[1]


@given(MOVES, schedules(FAILING))
@settings(max_examples=200, deadline=None)
def test_one_writer_never_leaves_all_at_nothing(to: dict[str, int], schedule: list[tuple[int, Fate]]) -> None:
    """Turned target by target, lost replies and all: somebody has traffic at every moment."""
    land = Land(steps=3)
    adopted(land)
    actors = [Actor(land, "run-0", to)]
    play(actors, schedule)
    told(land, actors)
    assert isinstance(actors[0].outcome, Routing)
    assert land.answer == land.says[1]
    assert not land.empty


@given(st.lists(MOVES, min_size=2, max_size=3), schedules(DYING))
@settings(max_examples=250, deadline=None)
def test_a_death_is_mended_by_the_step_that_is_tried_again(
    moves: list[dict[str, int]], schedule: list[tuple[int, Fate]]
) -> None:
    """A writer dies anywhere; his step is carried on by another worker, and all ends as if nobody had died."""
    land = Land()
    adopted(land)
    actors = [Actor(land, f"run-{index}", to) for index, to in enumerate(moves)]
    play(actors, schedule)
    told(land, actors)
    heirs = [Actor(land, dead.run, dead.to, dead.change) for dead in actors if dead.dead]
    play(heirs, []) if heirs else None
    told(land, heirs)
    assert not any(isinstance(heir.outcome, ChangedOutside) and len(moves) == 1 for heir in heirs)
    assert land.answer == land.says[1] or any(isinstance(each.outcome, ChangedOutside) for each in heirs)
    assert not land.empty


BY_HAND = {"eu": 7, "us": 31, "ap": 62}
"""What nobody's plan wants."""


@given(st.lists(MOVES, min_size=2, max_size=2), st.lists(schedules(FAILING), min_size=2, max_size=3))
@settings(max_examples=150, deadline=None)
def test_an_edit_among_writers_stands_or_gives_way_to_the_newest_word(
    moves: list[dict[str, int]], schedules_between: list[list[tuple[int, Fate]]]
) -> None:
    """A person turns the dial while others race: no word that was overtaken comes back by it, and all told is true."""
    land = Land()
    adopted(land)
    actors = [Actor(land, f"run-{index}", to) for index, to in enumerate(moves)]
    for schedule in schedules_between:
        go_on(actors, schedule)
        land.weights = dict(BY_HAND)
    play(actors, [])
    told(land, actors)
    assert land.answer in {land.says[1], shares_of(tuple(sorted(BY_HAND.items())))}
    assert not land.empty


@given(MOVES, MOVES, schedules(FAILING))
@settings(max_examples=200, deadline=None)
def test_a_repeated_write_is_success_and_does_nothing(
    to: dict[str, int], hand: dict[str, int], schedule: list[tuple[int, Fate]]
) -> None:
    """Done once, it is done: again by anybody it touches nothing, and an edit since then is told, not overwritten."""
    land = Land()
    adopted(land)
    actor = Actor(land, "run-0", to)
    play([actor], schedule)
    assert actor.change is not None
    before = (land.version, land.turns)
    assert run_alone(writer(land).write(actor.change)) == actor.outcome
    assert (land.version, land.turns) == before
    edited = {each: hand.get(each, 0) for each in TARGETS}
    if shares_of(tuple(sorted(edited.items()))) in {actor.change.answer, actor.change.was}:
        return  # a person who puts it back in that moment is not told from a dial not yet turned
    land.weights = edited
    with pytest.raises(ChangedOutside):
        run_alone(writer(land).write(actor.change))
    assert land.weights == edited


@given(st.integers(0, 12), MOVES, MOVES)
@settings(max_examples=200, deadline=None)
@example(2, {"us": 100}, {"ap": 100})
def test_an_edit_by_hand_is_told_but_for_the_moment_of_the_write(
    calls: int, to: dict[str, int], hand: dict[str, int]
) -> None:
    """Edited before the write has looked, or after it has seen its work, the edit stands and is told."""
    land = Land()
    routing = adopted(land)
    change = change_from(routing, to, "run-0")
    edited = {each: hand.get(each, 0) for each in TARGETS}
    if shares_of(tuple(sorted(edited.items()))) in {change.answer, change.was}:
        return
    actor = Actor(land, "run-0", to, change)
    for _ in range(calls):
        if not actor.over:
            actor.go_on(Fate.FINE)
    looks = 3  # document, dial; and the one that begins it
    early, late = calls < looks, actor.over
    land.weights = edited
    play([actor], [])
    if early:
        assert isinstance(actor.outcome, ChangedOutside)
        assert (land.weights, land.says[0].generation) == (edited, 1)
    elif late:
        assert isinstance(actor.outcome, Routing)
        assert land.weights == edited
        assert run_alone(writer(land).read()).answer != change.answer
    else:
        assert isinstance(actor.outcome, Routing | ChangedOutside)
