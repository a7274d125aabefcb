"""A real HAProxy before servers of a test, its runtime API on a socket, and a way to that socket that loses things.

with Haproxy({"eu": "127.0.0.1:8001 weight 100", "us": "127.0.0.1:8002 weight 0"}) as proxy:
    assert proxy.weights() == {"eu": 100, "us": 0}
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from real.ports import free_port

BACKEND = "chat"


@dataclass
class Haproxy:
    """HAProxy as a process with a directory of its own."""

    servers: Mapping[str, str]
    """What stands after the name on each ``server`` line."""
    balance: str = "roundrobin"
    port: int = field(default_factory=free_port)
    remote: int = field(default_factory=free_port)
    """The runtime API's port, for who comes by TCP."""
    keeps: bool = False
    """It reads the file of states at its start, as an operator would have it."""
    directory: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="haproxy-"))

    @property
    def socket(self) -> Path:
        """The runtime API, for who may change."""
        return self.directory / "admin.sock"

    @property
    def looking(self) -> Path:
        """The runtime API, for who may look only."""
        return self.directory / "user.sock"

    @property
    def at(self) -> str:
        """The runtime API, as a topology writes it."""
        return f"unix:{self.socket}"

    @property
    def url(self) -> str:
        """Where clients are served."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, within_s: float = 20.0) -> None:
        """Start, and wait until the runtime API answers. Raises RuntimeError with the log's end when it does not."""
        config, log = self.directory / "haproxy.cfg", self.directory / "log"
        config.write_text(self._config(), encoding="utf-8")
        command = ("setpriv", "--pdeathsig", "KILL", "haproxy", "-db", "-f", str(config))
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        until = time.monotonic() + within_s
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.say("show servers state"):
                    return
            time.sleep(0.005)
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        self.close()
        raise RuntimeError(f"HAProxy did not start: {said}")

    def _config(self) -> str:
        state = self.directory / "state"
        keeps = f"  server-state-file {state}\n" if self.keeps else ""
        loads = "  load-server-state-from-file global\n" if self.keeps else ""
        return (
            "global\n"
            f"  stats socket {self.socket} level admin mode 600\n"
            f"  stats socket {self.looking} level user mode 600\n"
            f"  stats socket ipv4@127.0.0.1:{self.remote} level admin\n"
            f"  maxconn 2000\n{keeps}"
            f"defaults\n  mode http\n{loads}"
            "  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n"
            f"frontend clients\n  bind 127.0.0.1:{self.port}\n  default_backend {BACKEND}\n"
            f"backend {BACKEND}\n  balance {self.balance}\n"
            + "".join(f"  server {name} {words}\n" for name, words in self.servers.items())
        )

    def say(self, command: str) -> str:
        """What the runtime API answers, as to a person with socat."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5.0)
            connection.connect(str(self.socket))
            connection.sendall(command.encode() + b"\n")
            found = b""
            while chunk := connection.recv(65_536):
                found += chunk
        return found.decode()

    def columns(self, *names: str) -> dict[str, tuple[str, ...]]:
        """Columns of ``show servers state`` by server."""
        _, header, *rows = [line.split() for line in self.say(f"show servers state {BACKEND}").splitlines() if line]
        places = [header.index(name) - 1 for name in names]
        return {row[3]: tuple(row[place] for place in places) for row in rows}

    def weights(self) -> dict[str, int]:
        """The weight of each server, 0 for one that is drained or in maintenance."""
        found = self.columns("srv_uweight", "srv_admin_state")
        return {name: int(weight) if admin == "0" else 0 for name, (weight, admin) in found.items()}

    def save(self) -> None:
        """Write the file of states, as the operator's timer does."""
        (self.directory / "state").write_text(self.say("show servers state"), encoding="utf-8")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: the sockets stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)


@dataclass
class Relay:
    """A socket before HAProxy's runtime API: it counts what is set there, and loses what it is told to lose."""

    proxy: Haproxy
    unheard: int = 0
    """So many commands that set something are not passed on."""
    unanswered: int = 0
    """So many are passed on, and their answers are not."""
    passed: int = 0
    """Commands that set something, passed on."""
    _server: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def path(self) -> Path:
        return self.proxy.directory / "relay.sock"

    @property
    def at(self) -> str:
        """As a topology writes it."""
        return f"unix:{self.path}"

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            command = b""
            while not command.endswith(b"\n"):
                command += client.recv(65_536)
            sets = b"set server" in command
            if sets and self.unheard:
                self.unheard -= 1
                return
            answer = self.proxy.say(command.decode().strip())
            self.passed += command.count(b"set server")
            if sets and self.unanswered:
                self.unanswered -= 1
                return
            client.sendall(answer.encode())

    def close(self) -> None:
        """Nobody listens any more."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
