"""The journal: what was written is there, what was torn is left out, what was altered is seen."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.names import RunId
from orchestrator.core.record import Entry, Mark, RunStatus
from orchestrator.runtime.breakglass.account import account, record
from orchestrator.runtime.breakglass.journal import BadJournal, Journal, Noted, Opened, read
from orchestrator.runtime.breakglass.sealed import Sealed
from real.glass import a_plan, a_sealed
from real.scenery import at_home
from runbooks.progress import Event, StepState

AT = datetime(2026, 3, 1, 2, 15, tzinfo=UTC)


def opened(sealed: Sealed | None = None) -> Opened:
    return Opened(AT, "ada", "laptop", sealed or a_sealed())


def lines() -> tuple[Noted, ...]:
    entry = Entry(AT, Mark.STEP_DONE, "ohio: 2 replicas ready; \u00e9\n", "promote", 1.5)
    return (
        Noted(AT, Event.START, "promote"),
        Noted(AT, step="promote", replicas=1),
        Noted(AT + timedelta(seconds=1), Event.SUCCEED, "promote", "ready", (entry,)),
        Noted(AT + timedelta(seconds=2), Event.START, "verify", routing=at_home()),
    )


def fill(path: Path) -> bytes:
    path.unlink(missing_ok=True)
    with Journal.open(path) as journal:
        journal.begin(opened())
        for line in lines():
            journal.note(line)
    return path.read_bytes()


def test_a_journal_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Plan, events, replicas and routing are the same values again, and say how far the run has come."""
    fill(tmp_path / "j")
    first, rest = read(tmp_path / "j")
    assert (first, rest) == (opened(), lines())
    told = account(first, rest)
    assert told.progress.state("promote") is StepState.DONE
    assert told.progress.state("verify") is StepState.RUNNING
    assert (dict(told.replicas), told.routing, told.status) == ({"promote": 1}, at_home(), None)
    assert record(told).status is RunStatus.RUNNING


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_a_torn_end_is_left_out_and_written_over(tmp_path: Path, data: st.DataObject) -> None:
    """Wherever a power cut tears the last line, all before it stands and the journal goes on."""
    path = tmp_path / "j"
    whole = fill(path)
    starts = [0, *(n + 1 for n, byte in enumerate(whole) if byte == 10)]
    cut = data.draw(st.integers(starts[1], len(whole)), label="cut")
    path.write_bytes(whole[:cut] + data.draw(st.sampled_from([b"", b"\x00" * 40, b"\x00" * 40 + b"\n"])))
    kept = sum(start <= cut for start in starts[1:]) - 1
    with Journal.open(path) as journal:
        assert journal.lines == lines()[:kept]
        for line in lines()[kept:]:
            journal.note(line)
    assert path.read_bytes() == whole


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_an_altered_line_is_seen(tmp_path: Path, data: st.DataObject) -> None:
    """One byte changed before the last line, or a line taken out before it, and the journal is not gone on with."""
    path = tmp_path / "j"
    whole = fill(path)
    last = whole.rstrip(b"\n").rfind(b"\n")
    if data.draw(st.booleans(), label="take a line out"):
        parts = whole.splitlines(keepends=True)
        del parts[data.draw(st.integers(0, len(parts) - 3))]
        path.write_bytes(b"".join(parts))
    else:
        at = data.draw(st.integers(0, last - 1))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    torn = path.read_bytes()
    told = r"line \d+: it was altered or damaged|is no journal of break-glass run"
    with pytest.raises(BadJournal, match=told), Journal.open(path):
        pass
    assert path.read_bytes() == torn


def test_two_cannot_carry_out_one_journal(tmp_path: Path) -> None:
    """The second is told that another process is at work; when that one ends, the journal is free."""
    path = tmp_path / "j"
    with Journal.open(path) as journal:
        journal.begin(opened())
        with pytest.raises(BadJournal, match=r"another process carries out"), Journal.open(path):
            pass
    with Journal.open(path) as again:
        assert again.opened == opened()


def test_another_plan_is_refused(tmp_path: Path) -> None:
    """A journal belongs to one plan, to the letter."""
    with Journal.open(tmp_path / "j") as journal:
        journal.begin(opened())
        journal.belongs_to(a_sealed())
        with pytest.raises(BadJournal, match=r"journal of another plan \(run chat-20260301-021500-1a2b"):
            journal.belongs_to(Sealed(a_plan(run=RunId("chat-2")), a_sealed().service, AT, "ada"))


def test_a_journal_that_was_never_begun_leaves_no_file(tmp_path: Path) -> None:
    """A person who says no leaves nothing behind; a file that is not there is told."""
    with Journal.open(tmp_path / "j"):
        pass
    assert not (tmp_path / "j").exists()
    with pytest.raises(BadJournal, match=r"there is no journal"):
        read(tmp_path / "j")


def test_a_full_disk_stops_the_run(tmp_path: Path) -> None:
    """What cannot be written down is not done."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Journal.open(tmp_path / "j") as journal:
        journal.begin(opened())
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, journal._descriptor)
        os.close(full)
        for line in lines()[:2]:
            with pytest.raises(BadJournal, match=r"cannot be written \(No space left on device\)"):
                journal.note(line)


@pytest.mark.parametrize("text", ["", "one line\n", "no end", "apiVersion: failover/v1\nkind: Topology\n", "\n\n"])
def test_a_file_that_is_no_journal_stays_as_it_is(tmp_path: Path, text: str) -> None:
    """A wrong name on the command line costs nobody a file."""
    path = tmp_path / "failover.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadJournal, match=r"failover\.yaml is (no journal|empty)"):
        read(path)
    assert path.read_text(encoding="utf-8") == text
    if text:
        with pytest.raises(BadJournal, match=r"is no journal"), Journal.open(path):
            pass
        assert path.read_text(encoding="utf-8") == text


def test_reading_a_torn_journal_changes_nothing(tmp_path: Path) -> None:
    """Taking a journal in reads it: what was torn at its end stays where it is."""
    whole = fill(tmp_path / "j")
    (tmp_path / "j").write_bytes(whole[:-7])
    assert read(tmp_path / "j") == (opened(), lines()[:-1])
    assert (tmp_path / "j").read_bytes() == whole[:-7]
