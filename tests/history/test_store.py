"""The history on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from orchestrator.core.errors import FailoverError
from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Entry, Mark, Record, RunStatus
from orchestrator.history import HistoryAway, Store, Tally
from workflows.wire import DrillReport

Records = Callable[..., Record]
Reports = Callable[..., DrillReport]


def test_a_run_is_read_back_as_it_was_published(store: Store, record: Records) -> None:
    """A run that was published is found by its id, equal to the last moment and the last weight."""
    assert store.publish_record(record(9))
    assert store.run(RunId("r1")) == record(9)
    assert store.run(RunId("nobody")) is None


def test_a_drill_is_read_back_as_it_was_published(store: Store, report: Reports) -> None:
    """A drill's report is found by its id, with its phases and its figures."""
    assert store.publish_drill(report(3))
    assert store.drill("d1") == report(3)
    assert store.drill("nobody") is None


def test_late_and_repeated_news_change_nothing(store: Store, record: Records, report: Reports) -> None:
    """A state that arrives twice, or after a later one, adds no event and takes nothing back."""
    assert store.publish_record(record(9))
    assert store.publish_drill(report(3))
    before = store.events()
    for entries in (9, 4, 1, 9):
        assert not store.publish_record(record(entries))
    for phases in (3, 1, 2):
        assert not store.publish_drill(report(phases))
    assert store.events() == before
    assert store.run(RunId("r1")) == record(9)
    assert store.drill("d1") == report(3)


def test_a_run_that_was_ended_from_outside_keeps_its_story(store: Store, record: Records) -> None:
    """A closed state that knows fewer moments closes the run and loses none of them."""
    known = record(6)
    ended = replace(record(3), status=RunStatus.ABORTED, closed=known.started + timedelta(minutes=1))
    ended = replace(ended, entries=(*ended.entries, Entry(ended.started, Mark.CLOSED, "ended from outside")))
    store.publish_record(known)
    store.publish_record(ended)
    store.publish_record(known)
    kept = store.run(RunId("r1"))
    assert kept is not None
    assert kept.status is RunStatus.ABORTED
    assert kept.entries == (*known.entries, ended.entries[-1])


def test_the_newest_come_first_and_services_stay_apart(store: Store, record: Records, report: Reports) -> None:
    """Lists start with the newest, keep to the limit, and to the service when one is named."""
    for minute in range(5):
        store.publish_record(record(9, run=f"r{minute}", minute=minute, service="chat" if minute % 2 else "embed"))
        store.publish_drill(report(3, drill=f"d{minute}", minute=minute))
    assert [run.run for run in store.runs(limit=3)] == ["r4", "r3", "r2"]
    assert [run.run for run in store.runs(ServiceId("chat"))] == ["r3", "r1"]
    assert [drill.id for drill in store.drills(limit=2)] == ["d4", "d3"]
    assert store.drills(ServiceId("embed")) == ()
    assert store.run_tallies() == (
        Tally("chat", "failover", "completed", 2),
        Tally("embed", "failover", "completed", 3),
    )
    assert store.drill_tallies() == (Tally("chat", "region-blackhole", "passed", 5),)


def test_a_drill_name_used_by_two_services_is_two_drills(store: Store, report: Reports) -> None:
    """Two services may each have a drill of one name; neither is shown as the other's."""
    store.publish_drill(report(3, service="chat"))
    store.publish_drill(report(1, service="embed", minute=1))
    assert store.drill("d1", ServiceId("chat")) == report(3, service="chat")
    assert store.drill("d1", ServiceId("embed")) == report(1, service="embed", minute=1)


def test_events_are_followed_from_the_last_one_seen(store: Store, record: Records, report: Reports) -> None:
    """A reader that passes on the last id it saw gets each event once, in order."""
    for entries in range(1, 6):
        store.publish_record(record(entries))
    store.publish_drill(report(1))
    first = store.events(limit=4)
    rest = store.events(after=first[-1].id)
    assert [event.body for event in first + rest] == [*(record(n) for n in range(1, 6)), report(1)]
    assert store.events(after=rest[-1].id) == ()


def test_projections_come_back_from_events_alone(store: Store, where: str, record: Records, report: Reports) -> None:
    """Runs and drills that were lost from their tables are the same again after a rebuild."""
    for entries in (1, 5, 3, 9):
        store.publish_record(record(entries))
    store.publish_drill(report(2))
    before = (store.runs(), store.drills())
    engine = create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM failover_runs"))
        connection.execute(text("DELETE FROM failover_drills"))
    engine.dispose()
    assert store.runs() == ()
    assert store.rebuild() == 4
    assert (store.runs(), store.drills()) == before


@pytest.mark.parametrize("statement", ["UPDATE failover_events SET body = 'x'", "DELETE FROM failover_events"])
def test_events_cannot_be_changed(store: Store, where: str, record: Records, statement: str) -> None:
    """The database itself refuses to change or remove an event, whoever asks."""
    store.publish_record(record(2))
    engine = create_engine(where if "://" in where else f"sqlite:///{where}")
    with pytest.raises(Exception, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    assert len(store.events()) == 1


def test_many_publishers_lose_nothing(store: Store, where: str, record: Records) -> None:
    """Eight publishers with two programs' worth of connections tell of one run at once; its record is whole."""
    other = Store.open(where)
    failures: list[Exception] = []

    def tell(stores: tuple[Store, ...], order: tuple[int, ...]) -> None:
        try:
            for turn, entries in enumerate(order):
                stores[turn % 2].publish_record(record(entries))
        except FailoverError as error:
            failures.append(error)

    orders = [tuple((start + step) % 9 + 1 for step in range(9)) for start in range(8)]
    threads = [threading.Thread(target=tell, args=((store, other), order)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert failures == []
    assert store.run(RunId("r1")) == record(9)
    lengths = [len(event.body.entries) for event in store.events() if isinstance(event.body, Record)]
    assert lengths == sorted(set(lengths))


def test_two_programs_may_open_an_empty_database_at_once(where: str) -> None:
    """Programs that start together create the schema once, and none of them fails."""
    failures: list[Exception] = []

    def begin() -> None:
        try:
            Store.open(where).close()
        except FailoverError as error:
            failures.append(error)

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_newer_schema_is_not_touched(store: Store, where: str) -> None:
    """A database that a newer program wrote is refused with the advice to upgrade."""
    engine = create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE failover_schema SET version = 99"))
    engine.dispose()
    with pytest.raises(HistoryAway, match=r"schema is version 99 .* upgrade the program"):
        Store.open(where)


def test_a_record_of_another_time_is_one_sentence(store: Store, where: str, record: Records) -> None:
    """A body that this program cannot read is told in one sentence, not by a traceback."""
    store.publish_record(record(2))
    engine = create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE failover_runs SET body = '{}'"))
    engine.dispose()
    with pytest.raises(HistoryAway, match="cannot read"):
        store.runs()
