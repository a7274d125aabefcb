"""What has happened: history and show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.core.move import MoveKind
from orchestrator.core.record import Entry, Mark, RunStatus
from orchestrator.history import Store


def test_history_lists_the_newest_first(failover: Any, plane: Any, fake: Any) -> None:
    """Runs of all services are listed newest first, or those of one service."""
    plane.entities["chat"].records.append(fake.make_record("r1"))
    plane.entities["embed"].records.append(fake.make_record("r2", "embed", started=fake.at(100)))
    out = failover("history").out
    assert out.index("r2") < out.index("r1")
    assert "12.0 s" in out
    assert "r2" not in failover("history", "--service", "chat").out
    assert [run["run"] for run in failover("history", "--json", "--limit", "1").document["runs"]] == ["r2"]


def test_history_can_be_read_from_the_store(failover: Any, plane: Any, fake: Any, tmp_path: Path) -> None:
    """With --history the store is read, and the control plane may be away."""
    where = tmp_path / "history.db"
    store = Store.open(where)
    store.publish_record(fake.make_record("old"))
    store.close()
    plane.away = True
    assert "old" in failover("history", "--history", str(where)).out
    assert failover("show", "old", "--history", str(where), "--json").document["run"] == "old"
    assert failover("show", "new", "--history", str(where)).status == 4
    missing = failover("history", "--history", str(tmp_path / "nothing.db"))
    assert missing.status == 2
    assert not (tmp_path / "nothing.db").exists()


def test_a_run_is_a_timeline(failover: Any, plane: Any, fake: Any) -> None:
    """'show' prints offsets from the last good probe, spans of steps, and the objective."""
    plane.entities["chat"].records.append(fake.make_record("r1"))
    out = failover("show", "r1").out
    assert "Failover of chat: eu -> us" in out
    assert "Recovered 12.0 s after the last good probe; the objective of 60.0 s is met; detected after 1.40 s" in out
    lines = out.splitlines()
    steer = next(line for line in lines if "steer done" in line)
    assert "+1.60 s" in steer
    assert "0.10 s" in steer
    converge = next(line for line in lines if "converge done" in line)
    assert converge.count("━") > 15
    assert sum("converge" in line.split("  ")[1] for line in lines if line.startswith("+")) <= 2


def test_a_missed_objective_is_said(failover: Any, plane: Any, fake: Any) -> None:
    """A recovery slower than the objective is called missed."""
    plane.entities["chat"].records.append(fake.make_record("r1", objective_s=5.0))
    assert "the objective of 5.00 s is missed" in failover("show", "r1").out


def test_a_planned_move_misses_no_objective(failover: Any, plane: Any, fake: Any) -> None:
    """Nobody waits for a move away from what works: it may take its time, unless people have said that it died."""
    made = fake.make_record("r1", objective_s=5.0)
    kept = tuple(entry for entry in made.entries if entry.mark not in {Mark.LAST_GOOD, Mark.DETECTED})
    calm = replace(made, kind=MoveKind.SWITCHOVER, entries=kept)
    plane.entities["chat"].records.append(calm)
    out = failover("show", "r1").out
    assert "after the decision; the source worked, so there was nothing to recover from." in out
    assert "missed" not in out
    act = Entry(calm.started, Mark.ACT, "switched to unplanned by ann: eu died")
    plane.entities["chat"].records[:] = [replace(calm, entries=(*kept, act))]
    assert "the objective of 5.00 s is missed" in failover("show", "r1").out


def test_a_step_that_never_ended_was_cut_short(failover: Any, plane: Any, fake: Any) -> None:
    """Nothing runs in a run that is over."""
    made = fake.make_record("r1")
    kept = tuple(entry for entry in made.entries if not (entry.mark is Mark.STEP_DONE and entry.step == "converge"))
    plane.entities["chat"].records.append(replace(made, entries=kept))
    out = failover("show", "r1").out
    assert "converge cut short" in out
    assert "running" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_a_record_is_one_document_with_its_measures(failover: Any, plane: Any, fake: Any) -> None:
    """'show --json' prints the record, its times in UTC and its measures in seconds."""
    plane.entities["chat"].records.append(fake.make_record("r1"))
    record = failover("show", "r1", "--json").document
    assert (record["status"], record["ttd_s"], record["ttr_s"]) == ("completed", 1.4, 12.0)
    assert record["asks"] == []
    assert record["started"] == "2026-03-01T12:00:01.500000Z"
    assert record["after"] == [["ap", 0], ["eu", 0], ["us", 100]]


def test_an_observed_run_says_that_nothing_was_written(failover: Any, plane: Any, fake: Any) -> None:
    """The record of mode observe is told as what would have been done."""
    record = fake.make_record("r1", status=RunStatus.OBSERVED, entries=())
    plane.entities["chat"].records.append(record)
    assert "nothing was written" in failover("show", "r1").out


def test_a_running_run_can_be_watched(failover: Any, plane: Any, fake: Any) -> None:
    """'show --watch' follows a run to its end; so it is found again after Ctrl-C."""
    failover("run", "chat", "--reason", "x", "--yes", "--no-wait")
    ended = failover("show", "run1", "--watch")
    assert ended.status == 0
    assert "completed" in ended.out
    assert plane.entities["chat"].active == "us"


def test_a_run_that_is_not_there(failover: Any) -> None:
    """An unknown run ends with 4 and says where runs are listed."""
    ended = failover("show", "nope")
    assert ended.status == 4
    assert "failover history" in ended.err
