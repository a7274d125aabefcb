"""Tables of the history, the triggers that keep its events append-only, and the steps from version to version."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    select,
    update,
)

from orchestrator.core.errors import FailoverError

METADATA = MetaData()
_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only what is called INTEGER PRIMARY KEY

EVENTS = Table(
    "failover_events",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("service", String(255), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("kind", "service", "subject", "digest", name="failover_events_once"),
    sqlite_autoincrement=True,
)
"""What was published, in the order it was taken in. Never updated, never deleted from."""

RUNS = Table(
    "failover_runs",
    METADATA,
    Column("service", String(255), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("started", String(32), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("status", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Index("failover_runs_newest", "started"),
)
"""Projection: the furthest state of every run."""

DRILLS = Table(
    "failover_drills",
    METADATA,
    Column("service", String(255), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("started", String(32), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("status", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Index("failover_drills_newest", "started"),
)
"""Projection: the furthest report of every drill; *kind* is its fault, *status* its verdict."""

VERSION = Table(
    "failover_schema",
    METADATA,
    Column("only", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
)

_SQLITE_GUARDS = tuple(
    f"CREATE TRIGGER failover_events_no_{verb.lower()} BEFORE {verb} ON failover_events "
    "BEGIN SELECT RAISE(ABORT, 'failover_events is append-only'); END"
    for verb in ("UPDATE", "DELETE")
)
_POSTGRES_GUARDS = (
    (
        "CREATE FUNCTION failover_events_guard() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'failover_events is append-only'; END $$"
    ),
    (
        "CREATE TRIGGER failover_events_no_change BEFORE UPDATE OR DELETE ON failover_events "
        "FOR EACH ROW EXECUTE FUNCTION failover_events_guard()"
    ),
    (
        "CREATE TRIGGER failover_events_no_truncate BEFORE TRUNCATE ON failover_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION failover_events_guard()"
    ),
)


class SchemaTooNew(FailoverError):
    """The database was written by a newer program."""


def _first(connection: Connection) -> None:
    METADATA.create_all(connection, tables=[EVENTS, RUNS, DRILLS])
    guards = _SQLITE_GUARDS if connection.dialect.name == "sqlite" else _POSTGRES_GUARDS
    for statement in guards:
        connection.exec_driver_sql(statement)


STEPS: tuple[Callable[[Connection], None], ...] = (_first,)
"""Step *n* takes the schema from version *n* to *n + 1*. A released step is never edited."""


def bring_up(connection: Connection) -> int:
    """Create the schema, or take it to this program's version; returns that version.

    The caller holds the write lock, so that two programs that open one database at once do not both create it.
    Raises SchemaTooNew.
    """
    VERSION.create(connection, checkfirst=True)
    found = connection.execute(select(VERSION.c.version)).scalar_one_or_none()
    version = found or 0
    if version > len(STEPS):
        raise SchemaTooNew(f"its schema is version {version} and this program knows {len(STEPS)}: upgrade the program")
    for step in STEPS[version:]:
        step(connection)
    if found is None:
        connection.execute(insert(VERSION).values(only=1, version=len(STEPS)))
    elif version < len(STEPS):
        connection.execute(update(VERSION).values(version=len(STEPS)))
    return len(STEPS)
