"""The event store: what runs and drills published, and the projections that answer questions about them.

Synchronous, and safe for threads and processes. Bodies are JSON by pydantic from the frozen values themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import URL, Connection, Table, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from orchestrator.core.errors import FailoverError
from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record
from orchestrator.history.engine import WRITES, connect, locate, shown
from orchestrator.history.merge import further, grown
from orchestrator.history.schema import DRILLS, EVENTS, RUNS, SchemaTooNew, bring_up
from workflows.wire import DrillReport

_T = TypeVar("_T")

RUN = "run"
DRILL = "drill"

_RECORD: TypeAdapter[Record] = TypeAdapter(Record)
_REPORT: TypeAdapter[DrillReport] = TypeAdapter(DrillReport)


class HistoryAway(FailoverError):
    """The history cannot be reached, or not understood. Nothing on the failover path waits for it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One publication that taught the store something."""

    id: int
    """Counts up in the order of commits; there may be gaps."""
    at: datetime
    """UTC, when the store took it in."""
    body: Record | DrillReport


@dataclass(frozen=True, slots=True)
class Tally:
    """How many runs, or drills, of one service ended the same way."""

    service: ServiceId
    kind: str
    """Of a run its MoveKind, of a drill its fault."""
    status: str
    """Of a run its RunStatus, of a drill its verdict."""
    count: int


def _now() -> datetime:
    return datetime.now(UTC)


class Store:
    """The history in one database. Every method raises HistoryAway; nothing it raises carries a password."""

    def __init__(self, url: URL, clock: Callable[[], datetime] = _now) -> None:
        self._where = shown(url)
        self._url = url
        self._engine = connect(url)
        self._clock = clock
        self._ready = False

    @classmethod
    def at(cls, where: str | Path) -> Store:
        """The store at a path or URL, untouched: the first call that needs it connects and creates the schema.

        For programs that must start while the history is away. Raises BadInput for a URL that cannot be one.
        """
        return cls(locate(where))

    @classmethod
    def open(cls, where: str | Path) -> Store:
        """The store at a path or URL, reached now and with its schema brought up. Raises BadInput, HistoryAway."""
        store = cls.at(where)
        with store._transaction(writes=False):
            pass
        return store

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._engine.dispose()

    def publish_record(self, record: Record) -> bool:
        """Take a run's record in; whether it told anything new. The same or an older state changes nothing."""
        with self._transaction(writes=True) as connection:
            known = self._record(connection, record.run, record.service)
            merged = record if known is None else grown(known, record)
            if merged == known:
                return False
            self._append(connection, record)
            self._project_record(connection, merged)
            return True

    def publish_drill(self, report: DrillReport) -> bool:
        """Take a drill's report in; whether it told anything new. The same or an older state changes nothing."""
        with self._transaction(writes=True) as connection:
            known = self._report(connection, report.id, report.service)
            merged = report if known is None else further(known, report)
            if merged == known:
                return False
            self._append(connection, report)
            self._project_report(connection, merged)
            return True

    def runs(self, service: ServiceId | None = None, limit: int = 20) -> tuple[Record, ...]:
        """The newest *limit* runs, newest first."""
        with self._transaction(writes=False) as connection:
            return tuple(self._read(_RECORD, body) for body in _newest(connection, RUNS, service, limit))

    def run(self, run: RunId, service: ServiceId | None = None) -> Record | None:
        """The run of that id; None when the store never heard of it."""
        with self._transaction(writes=False) as connection:
            return self._record(connection, run, service)

    def drills(self, service: ServiceId | None = None, limit: int = 20) -> tuple[DrillReport, ...]:
        """The newest *limit* drills, newest first."""
        with self._transaction(writes=False) as connection:
            return tuple(self._read(_REPORT, body) for body in _newest(connection, DRILLS, service, limit))

    def drill(self, drill: str, service: ServiceId | None = None) -> DrillReport | None:
        """The drill of that id; None when the store never heard of it."""
        with self._transaction(writes=False) as connection:
            return self._report(connection, drill, service)

    def run_tallies(self) -> tuple[Tally, ...]:
        """How many runs there are by service, kind and status."""
        with self._transaction(writes=False) as connection:
            return _tallies(connection, RUNS)

    def drill_tallies(self) -> tuple[Tally, ...]:
        """How many drills there are by service, fault and verdict."""
        with self._transaction(writes=False) as connection:
            return _tallies(connection, DRILLS)

    def events(self, after: int = 0, limit: int = 100) -> tuple[Event, ...]:
        """The first *limit* events whose id is above *after*, oldest first: to follow, pass the last id seen."""
        query = select(EVENTS).where(EVENTS.c.id > after).order_by(EVENTS.c.id).limit(limit)
        with self._transaction(writes=False) as connection:
            return tuple(
                Event(row.id, datetime.fromisoformat(row.at), self._body(row.kind, row.body))
                for row in connection.execute(query)
            )

    def rebuild(self) -> int:
        """Make the projections again from the events alone, in one transaction; returns how many events it read."""
        with self._transaction(writes=True) as connection:
            connection.execute(delete(RUNS))
            connection.execute(delete(DRILLS))
            records: dict[tuple[str, str], Record] = {}
            reports: dict[tuple[str, str], DrillReport] = {}
            count = 0
            for row in connection.execute(select(EVENTS.c.kind, EVENTS.c.body).order_by(EVENTS.c.id)):
                count += 1
                match self._body(row.kind, row.body):
                    case Record() as record:
                        run = (str(record.service), str(record.run))
                        records[run] = grown(records[run], record) if run in records else record
                    case report:
                        drill = (str(report.service), report.id)
                        reports[drill] = further(reports[drill], report) if drill in reports else report
            for record in records.values():
                self._project_record(connection, record)
            for report in reports.values():
                self._project_report(connection, report)
            return count

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        try:
            if not self._ready:
                if self._url.drivername == "sqlite":
                    Path(str(self._url.database)).parent.mkdir(parents=True, exist_ok=True)
                with self._begin(writes=True) as connection:
                    bring_up(connection)
                self._ready = True
            with self._begin(writes=writes) as connection:
                yield connection
        except SchemaTooNew as error:
            raise HistoryAway(f"the history at {self._where} cannot be used: {error}") from error
        except (SQLAlchemyError, OSError) as error:
            self._ready = False  # a file that was removed comes back with its schema
            raise HistoryAway(f"the history at {self._where} is away ({_reason(error)}); check that it runs") from error

    @contextmanager
    def _begin(self, *, writes: bool) -> Iterator[Connection]:
        with self._engine.connect().execution_options(**{WRITES: writes}) as connection, connection.begin():
            yield connection

    def _append(self, connection: Connection, body: Record | DrillReport) -> None:
        match body:
            case Record():
                kind, subject, text = RUN, str(body.run), _RECORD.dump_json(body)
            case DrillReport():
                kind, subject, text = DRILL, body.id, _REPORT.dump_json(body)
        row = {
            "at": _stamp(self._clock()),
            "kind": kind,
            "service": body.service,
            "subject": subject,
            "digest": hashlib.sha256(text).hexdigest(),
            "body": text.decode(),
        }
        connection.execute(insert(EVENTS).values(row))

    def _project_record(self, connection: Connection, record: Record) -> None:
        columns = {
            "started": _stamp(record.started),
            "kind": record.kind.value,
            "status": record.status.value,
            "body": _RECORD.dump_json(record).decode(),
        }
        _put(connection, RUNS, record.service, record.run, columns)

    def _project_report(self, connection: Connection, report: DrillReport) -> None:
        columns = {
            "started": _stamp(report.started),
            "kind": report.fault,
            "status": report.verdict,
            "body": _REPORT.dump_json(report).decode(),
        }
        _put(connection, DRILLS, report.service, report.id, columns)

    def _record(self, connection: Connection, run: str, service: ServiceId | None) -> Record | None:
        body = _one(connection, RUNS, run, service)
        return None if body is None else self._read(_RECORD, body)

    def _report(self, connection: Connection, drill: str, service: ServiceId | None) -> DrillReport | None:
        body = _one(connection, DRILLS, drill, service)
        return None if body is None else self._read(_REPORT, body)

    def _body(self, kind: str, text: str) -> Record | DrillReport:
        return self._read(_RECORD, text) if kind == RUN else self._read(_REPORT, text)

    def _read(self, adapter: TypeAdapter[_T], text: str) -> _T:
        try:
            return adapter.validate_json(text)
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise HistoryAway(
                f"the history at {self._where} holds a record that this program cannot read (at {place}): upgrade it"
            ) from error


def _stamp(at: datetime) -> str:
    """Text that sorts as time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _reason(error: Exception) -> str:
    """The driver's own first line: a database's URL, and so its password, is not in it."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0][:200]


def _put(connection: Connection, table: Table, service: str, subject: str, columns: dict[str, Any]) -> None:
    here = (table.c.service == service) & (table.c.id == subject)
    if connection.execute(update(table).where(here).values(columns)).rowcount == 0:
        connection.execute(insert(table).values(service=service, id=subject, **columns))


def _one(connection: Connection, table: Table, subject: str, service: ServiceId | None) -> str | None:
    query = select(table.c.body).where(table.c.id == subject).order_by(table.c.started.desc()).limit(1)
    if service is not None:
        query = query.where(table.c.service == service)
    return connection.execute(query).scalar_one_or_none()


def _newest(connection: Connection, table: Table, service: ServiceId | None, limit: int) -> list[str]:
    query = select(table.c.body).order_by(table.c.started.desc(), table.c.id.desc()).limit(max(limit, 0))
    if service is not None:
        query = query.where(table.c.service == service)
    return list(connection.execute(query).scalars())


def _tallies(connection: Connection, table: Table) -> tuple[Tally, ...]:
    by = (table.c.service, table.c.kind, table.c.status)
    query = select(*by, func.count()).group_by(*by).order_by(*by)
    return tuple(Tally(ServiceId(s), kind, status, count) for s, kind, status, count in connection.execute(query))
