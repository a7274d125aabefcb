"""Steering as values: fences that read back, answers that are never empty, writes that know how they ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core.building import AP, EU, US, endpoint, fenced, routings, service, services
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import BadFence, Unsteerable
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import (
    LINEAGE,
    Fence,
    Landing,
    Routing,
    SteeringChange,
    answer_for,
    decode,
    encode,
    evenly,
    full,
    landing,
    next_lineage,
    serving,
    shares_now,
    stands,
    weights_in,
)
from orchestrator.core.topology import Answer

tokens = st.text("abcXYZ019._-/", min_size=1, max_size=12)
weights_of = st.dictionaries(tokens, st.integers(0, 100), max_size=4).map(
    lambda given: tuple(sorted((EndpointId(name), weight) for name, weight in given.items()))
)
fences = st.builds(
    Fence,
    generation=st.integers(1, 10**9),
    run=tokens,
    step=tokens,
    weights=weights_of,
    lineage=st.lists(st.tuples(st.integers(1, 10**9), tokens), max_size=LINEAGE).map(tuple),
)


@given(fence=fences)
def test_a_fence_reads_back_as_it_was_written(fence: Fence) -> None:
    """What stands in the record is what was meant."""
    assert decode(encode(fence)) == fence


@given(text=st.text(max_size=60))
def test_a_text_is_a_fence_that_can_be_written_again_or_is_refused(text: str) -> None:
    """No foreign text slips through to make our own next write unreadable."""
    try:
        fence = decode(text)
    except BadFence:
        return
    encode(Fence(fence.generation + 1, "run", "step", fence.weights, next_lineage(fence)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v=spf1 -all",
        "v=2 gen=1 run=a step=b w=eu:100",
        "v=1 gen=0 run=a step=b w=eu:100",
        "v=1 gen=x run=a step=b w=eu:100",
        "v=1 gen=1 run=a,b step=c w=eu:100",
        "v=1 gen=1 run=a step=b w=eu:-1",
        "v=1 gen=1 run=a step=b w=eu:101",
        "v=1 gen=1 run=a step=b w=:100",
        "v=1 gen=1 run= step=b w=eu:100",
    ],
)
def test_a_record_of_somebody_else_is_not_a_fence(text: str) -> None:
    """What this program cannot have written is refused in a sentence."""
    with pytest.raises(BadFence, match="fence"):
        decode(text)


@pytest.mark.parametrize("part", ["a b", "a,b", "", "a=b", 'a"'])
def test_a_token_that_would_not_read_back_is_not_written(part: str) -> None:
    """A run, a step or an endpoint with a separator in its name never reaches the record."""
    sound = Fence(1, "run", "step", ((EU, 100),))
    for fence in (
        replace(sound, run=part),
        replace(sound, step=part),
        replace(sound, weights=((EndpointId(part), 1),)),
    ):
        with pytest.raises(BadFence):
            encode(fence)


def test_a_fence_remembers_the_last_writes_newest_first() -> None:
    """An overtaken writer finds its own token for four writes more."""
    fence: Fence | None = None
    for generation in range(1, 8):
        fence = Fence(generation, f"run-{generation}", "steer", ((EU, 100),), next_lineage(fence))
    assert fence is not None
    assert fence.lineage == tuple((g, f"run-{g}/steer") for g in (6, 5, 4, 3))


# ------------------------------------------------------------------ answers


@given(data=st.data())
def test_an_answer_is_never_empty(data: st.DataObject) -> None:
    """Whatever the weights, the name keeps an answer or the write is refused before it is tried."""
    chat = data.draw(services())
    names = [e.id for e in chat.endpoints] + [EndpointId("gone")]
    weights = tuple((name, data.draw(st.integers(0, 100))) for name in data.draw(st.lists(st.sampled_from(names))))
    try:
        answer = answer_for(chat.endpoints, weights)
    except Unsteerable:
        return
    assert answer.values
    assert answer.kind == "addresses" or len(answer.values) == 1


def test_weights_that_cannot_be_said_are_refused_with_the_reason() -> None:
    """Empty, unknown, without address, or a CNAME beside something: each is one sentence."""
    cname = endpoint("us", answer=Answer("cname", ("us.example.",)))
    bare = endpoint("ap", answer=None)
    endpoints = (bare, endpoint("eu"), cname)
    assert answer_for(endpoints, full(endpoints, US)) == cname.answer
    for weights, reason in (
        (((EU, 0),), "all weights are 0"),
        (((EndpointId("gone"), 100),), "gone"),
        (((AP, 100),), "has no answer"),
        (((EU, 50), (US, 50)), "CNAME allows one"),
    ):
        with pytest.raises(Unsteerable, match=reason):
            answer_for(endpoints, weights)


@given(chosen=st.sets(st.sampled_from([AP, EU, US]), min_size=1))
def test_an_answer_says_which_endpoints_serve(chosen: set[EndpointId]) -> None:
    """Reading an answer back gives the endpoints that were put into it, in shares that make 100."""
    chat = service()
    weights = evenly(chat.endpoints, tuple(chosen))
    assert weights_in(answer_for(chat.endpoints, weights), chat.endpoints) == weights
    assert set(serving(weights)) == chosen
    assert sum(weight for _, weight in weights) == 100


def test_an_answer_that_no_endpoint_explains_has_no_weights() -> None:
    """A hand edit to a foreign address is seen as such, and an endpoint without addresses explains nothing."""
    empty = endpoint("ap", answer=Answer("addresses", ()))
    chat = service(empty, endpoint("eu"), endpoint("us"))
    foreign = Answer(
        "addresses", tuple(sorted(("203.0.113.9", *(chat.endpoints[1].answer or foreign_answer()).values)))
    )
    assert weights_in(foreign, chat.endpoints) is None
    assert weights_in(Answer("addresses", ("203.0.113.9",)), chat.endpoints) is None
    assert weights_in(Answer("addresses", ()), chat.endpoints) is None
    assert weights_in(None, chat.endpoints) is None
    assert dict(weights_in(endpoint("eu").answer, chat.endpoints) or ()) == {"ap": 0, "eu": 100, "us": 0}


def foreign_answer() -> Answer:
    return Answer("addresses", ("203.0.113.9",))


def test_traffic_is_where_the_answer_sends_it() -> None:
    """The fence tells the shares while the answer agrees; after a hand edit, the answer does."""
    chat = service()
    routing = fenced(chat, EU)
    edited = replace(routing, answer=endpoint("us").answer)
    assert stands(routing, chat.endpoints)
    assert shares_now(routing, chat.endpoints) == full(chat.endpoints, EU)
    assert not stands(edited, chat.endpoints)
    assert shares_now(edited, chat.endpoints) == full(chat.endpoints, US)
    assert shares_now(replace(routing, answer=foreign_answer()), chat.endpoints) is None
    assert not stands(replace(routing, fence=None), chat.endpoints)


@given(data=st.data())
def test_reading_the_shares_never_fails(data: st.DataObject) -> None:
    """Any record whatever can be looked at."""
    chat = data.draw(services())
    routing = data.draw(routings(chat))
    if routing is not None:
        shares_now(routing, chat.endpoints)


# ------------------------------------------------------------------ landing

CHAT = service()
BEFORE = fenced(CHAT, EU)
TO_US = SteeringChange(
    expects=7,
    was=BEFORE.answer,
    weights=full(CHAT.endpoints, US),
    answer=answer_for(CHAT.endpoints, full(CHAT.endpoints, US)),
    run="run-2",
    step="steer",
    lineage=next_lineage(BEFORE.fence),
)
OURS = Routing(TO_US.answer, 10, TO_US.fence)
LATER = Fence(9, "run-3", "steer", full(CHAT.endpoints, AP), next_lineage(TO_US.fence))
RIVAL = Fence(8, "run-9", "steer", full(CHAT.endpoints, AP), next_lineage(BEFORE.fence))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (OURS, Landing.OURS),
        (replace(OURS, answer=endpoint("ap").answer), Landing.CHANGED_OUTSIDE),
        (Routing(endpoint("ap").answer, 10, LATER), Landing.SUPERSEDED),
        (Routing(endpoint("ap").answer, 10, RIVAL), Landing.STALE),
        (Routing(BEFORE.answer, 10, None), Landing.STALE),
        (Routing(BEFORE.answer, 10, Fence(6, "run-0", "steer", ())), Landing.STALE),
        (BEFORE, Landing.NOT_YET),
        (replace(BEFORE, answer=endpoint("ap").answer), Landing.CHANGED_OUTSIDE),
        (replace(BEFORE, answer=None), Landing.CHANGED_OUTSIDE),
    ],
)
def test_a_write_without_reply_is_judged_by_what_stands(now: Routing, expected: Landing) -> None:
    """Ours, overtaken, lost to a rival, edited by hand or not landed: each is told apart."""
    assert landing(TO_US, now) is expected


def test_a_first_write_that_did_not_land_may_be_sent_again() -> None:
    """Where no fence stood and none stands, nothing has happened yet."""
    first = replace(TO_US, expects=0, lineage=())
    assert landing(first, Routing(BEFORE.answer, 10, None)) is Landing.NOT_YET
    assert landing(first, Routing(first.answer, 10, first.fence)) is Landing.OURS
