"""The history is away: what a caller sees, and that it comes back by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.names import RunId
from orchestrator.core.record import Record
from orchestrator.history import HistoryAway, Store
from real.ports import free_port
from real.postgres import Postgres

Records = Callable[..., Record]


def test_a_server_that_is_away_is_one_sentence_without_the_password() -> None:
    """Nobody listening is told in one sentence that names the place and keeps the password."""
    url = f"postgresql://failover:hunter2@127.0.0.1:{free_port()}/history"
    with pytest.raises(HistoryAway) as caught:
        Store.open(url)
    said = str(caught.value)
    assert "postgresql://127.0.0.1:" in said
    assert "hunter2" not in said
    assert "\n" not in said


def test_a_wrong_password_is_one_sentence_that_does_not_repeat_it(postgres: Postgres) -> None:
    """A refused log-in says so and does not repeat what was tried."""
    with pytest.raises(HistoryAway, match="password authentication failed") as caught:
        Store.open(postgres.url.replace(postgres.password, "hunter2"))
    assert "hunter2" not in str(caught.value)


def test_a_program_starts_while_the_history_is_away_and_finds_it_later(tmp_path: Path, record: Records) -> None:
    """A store that is only named does not fail at start; it works from the moment its place exists."""
    blocked = tmp_path / "state"
    blocked.write_text("a file stands where the directory should be")
    store = Store.at(blocked / "history.db")
    with pytest.raises(HistoryAway):
        store.runs()
    blocked.unlink()
    assert store.publish_record(record(2))
    assert store.run(RunId("r1")) == record(2)
    store.close()


def test_a_database_server_that_restarts_is_found_again(record: Records) -> None:
    """While the server is down calls fail with one sentence; after its restart nothing is lost."""
    with Postgres() as server:
        store = Store.open(server.fresh())
        store.publish_record(record(2))
        server.stop()
        with pytest.raises(HistoryAway):
            store.runs()
        server.start()
        assert store.publish_record(record(4))
        assert store.run(RunId("r1")) == record(4)
        store.close()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("mysql://root:hunter2@127.0.0.1/history", "cannot live in 'mysql'"),
        ("sqlite://", "needs a file"),
        ("postgresql://failover:hunter2@127.0.0.1:not-a-port/x", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_one_is_bad_input(where: str, said: str) -> None:
    """A URL that no history can live at is refused before anything is tried, with the cure."""
    with pytest.raises(BadInput, match=said) as caught:
        Store.at(where)
    assert "hunter2" not in str(caught.value)
