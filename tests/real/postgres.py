"""A real PostgreSQL in a temporary directory, on a free loopback port with a password; ended by process id.

with Postgres() as server:
    Store.open(server.url)
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psycopg

from real.ports import free_port

ADDRESS = "127.0.0.1"
ACCOUNT = "postgres"
"""PostgreSQL refuses to run as root: then it, and its directory, belong to this account of Debian's package."""
PROGRAMS = ("initdb", "postgres", "pg_isready")
_SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=20", "shared_buffers=16MB")


def installed() -> Path | None:
    """The directory of the newest PostgreSQL's programs; None where it is not installed."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    found = shutil.which("initdb")
    places += [Path(found).resolve().parent] if found else []
    return next((place for place in places if all((place / program).exists() for program in PROGRAMS)), None)


@dataclass
class Postgres:
    """``postgres`` as a process. It keeps its data across ``stop``, ``kill`` and the next ``start``."""

    port: int = 0
    user: str = "failover"
    password: str = field(default_factory=lambda: secrets.token_hex(8))
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="postgres-")))
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port = self.port or free_port(ADDRESS)

    @property
    def url(self) -> str:
        """The maintenance database, always there."""
        return self._url("postgres")

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        name = f"db_{secrets.token_hex(6)}"
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self._url(name)

    def __enter__(self) -> Self:
        try:
            self._initialize()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, within_s: float = 45.0) -> None:
        """Start, and wait until it takes connections. Raises RuntimeError with the log's end when it does not."""
        command = [
            *self._as_account(str(self._programs() / "postgres")),
            *("-D", str(self.directory / "data"), "-p", str(self.port)),
            *("-h", ADDRESS, "-k", str(self.directory)),
        ]
        for setting in _SETTINGS:
            command += ["-c", setting]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        ready = [str(self._programs() / "pg_isready"), "-q", "-h", ADDRESS, "-p", str(self.port)]
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and self.process.poll() is None:
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"postgres did not start: {self.log()[-2000:]}")

    def stop(self) -> None:
        """End it at once but in order (SIGINT: a fast shutdown), and wait."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGQUIT, PostgreSQL's immediate shutdown: its children go too, as they would not with SIGKILL."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        """What the server has said so far."""
        path = self.directory / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://{self.user}:{self.password}@{ADDRESS}:{self.port}/{database}"

    def _initialize(self) -> None:
        words = self.directory / "password"
        words.write_text(self.password, encoding="utf-8")
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            for path in (self.directory, words):
                os.chown(path, account.pw_uid, account.pw_gid)
        command = [
            *self._as_account(str(self._programs() / "initdb")),
            *("-D", str(self.directory / "data"), "-U", self.user, "--pwfile", str(words)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync"),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stderr[-2000:]}")

    def _programs(self) -> Path:
        place = installed()
        if place is None:
            raise RuntimeError("PostgreSQL is not installed")
        return place

    def _as_account(self, program: str) -> list[str]:
        if os.geteuid() != 0:
            return [program]
        account = pwd.getpwnam(ACCOUNT)
        # setpriv replaces itself by the program, so that the process id is the server's own.
        groups = ("--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups")
        return ["setpriv", *groups, program]

    def _end(self, how: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        os.kill(self.process.pid, how)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
