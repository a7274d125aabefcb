"""Connecting: from a path or a URL to an engine whose transactions are safe for many threads and processes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from orchestrator.core.errors import BadInput

BUSY_S = 5.0
"""How long a writer waits for another, a connection for its server, and a statement for its answer."""
WRITES = "failover_writes"
"""Execution option of a connection whose transaction takes the write lock when it begins."""
_LOCK = 0x6661696C
"""Advisory lock of PostgreSQL: one writer at a time, so that event ids appear in the order they commit."""
_POSTGRES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})


def locate(where: str | Path) -> URL:
    """The database that *where* names: a path (SQLite), ``sqlite:///path`` or ``postgresql+psycopg://...``.

    Raises BadInput, without repeating a password.
    """
    text = str(where)
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise BadInput(
            "the history's URL cannot be read: write a path or postgresql+psycopg://user@host/name"
        ) from None
    if url.drivername in _POSTGRES:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite":
        raise BadInput(f"the history cannot live in '{url.drivername}': use a path (SQLite) or postgresql+psycopg://")
    if not url.database or url.database == ":memory:":
        raise BadInput("the history needs a file: write sqlite:///path/to/history.db")
    return url


def shown(url: URL) -> str:
    """*url* for a person: where it is, with no password and no options."""
    if url.drivername == "sqlite":
        return str(url.database)
    place = url.host or url.query.get("host") or "localhost"
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{place}{port}/{url.database or ''}"


def connect(url: URL) -> Engine:
    """An engine for *url*. Opens no connection yet. Raises BadInput when the driver is not installed."""
    try:
        if url.drivername == "sqlite":
            engine = create_engine(url, connect_args={"timeout": BUSY_S}, pool_timeout=BUSY_S)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            engine = create_engine(
                url,
                pool_pre_ping=True,
                pool_timeout=BUSY_S,
                connect_args={
                    "connect_timeout": int(BUSY_S),
                    "options": f"-c statement_timeout={int(BUSY_S * 1000)}",
                    "application_name": "failover-history",
                },
            )
            event.listen(engine, "begin", _begin_postgres)
    except (ModuleNotFoundError, NoSuchModuleError):
        raise BadInput("PostgreSQL needs its driver: install failover-orchestrator[postgres]") from None
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes late and is never IMMEDIATE
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={int(BUSY_S * 1000)}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.execute("PRAGMA recursive_triggers=ON")  # else INSERT OR REPLACE deletes past the guard
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer in mid-transaction fails at once with SQLITE_BUSY, whatever the time-out.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgres(connection: Connection) -> None:
    if connection.get_execution_options().get(WRITES, False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
