"""Growing: the order and number of publications never matter."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.record import Entry, Mark, Record, RunStatus
from orchestrator.history import Store
from orchestrator.history.merge import grown, is_closed

T0 = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
ENDS = [status for status in RunStatus if status is not RunStatus.RUNNING]


A_STATE = Record(
    run=RunId("r1"),
    service=ServiceId("chat"),
    kind=MoveKind.FAILOVER,
    trigger=Trigger("automatic", "us is down"),
    status=RunStatus.RUNNING,
    started=T0,
    objective_s=30.0,
    source=(EndpointId("us"),),
    target=EndpointId("eu"),
    before=(),
    after=(),
    revision=1,
    generation=1,
    runbook="region-failover",
    steps=(),
)


@st.composite
def states(draw: st.DrawFn) -> Record:
    """Any state of one run: a stretch of a story that may fork, closed or not."""
    count = draw(st.integers(0, 5))
    fork = draw(st.integers(0, 1))
    story = tuple(
        Entry(T0 + timedelta(seconds=n), Mark.NOTE, f"moment {n}" if n < 3 else f"moment {n}/{fork}")
        for n in range(count)
    )
    state = replace(A_STATE, entries=story)
    if draw(st.booleans()):
        return replace(state, status=draw(st.sampled_from(ENDS)), closed=T0 + timedelta(seconds=10))
    return state


@given(states(), states())
def test_growing_does_not_depend_on_the_order(a: Record, b: Record) -> None:
    """Two states together are the same whichever came first, and either again adds nothing."""
    both = grown(a, b)
    assert grown(b, a) == both
    assert grown(both, a) == both
    assert grown(both, b) == both


@given(states(), states())
def test_growing_loses_nothing(a: Record, b: Record) -> None:
    """No moment is ever lost, and what was closed stays closed."""
    both = grown(a, b)
    assert set(both.entries) == set(a.entries) | set(b.entries)
    assert is_closed(both) == (is_closed(a) or is_closed(b))


FORKED = [replace(A_STATE, entries=(Entry(T0, Mark.NOTE, f"moment/{fork}"),)) for fork in (1, 0)]


@settings(max_examples=25, deadline=None)
@example(FORKED)
@given(st.lists(states(), min_size=1, max_size=6))
def test_the_store_and_its_rebuild_agree(published: list[Record]) -> None:
    """Whatever was published in whatever order, projections made again from the events are the same."""
    with TemporaryDirectory() as directory:
        store = Store.open(Path(directory) / "history.db")
        for state in published:
            store.publish_record(state)
            kept = store.run(RunId("r1"))
            assert kept is not None
            assert set(state.entries) <= set(kept.entries)
        assert {store.publish_record(state) for state in published} == {False}
        before = store.runs()
        store.rebuild()
        assert store.runs() == before
        store.close()
