"""moto's server, which keeps the state of many AWS services in memory: one for each process that tests.

Its state is one for all who ask it: give whatever you create there a fresh name (``fresh("zone")``). What it does not
do as AWS does, and who does it in its stead, stands in the places that use it.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import itertools
import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from real.ports import free_port

ADDRESS = "127.0.0.1"
_COUNTER = itertools.count(1)

# The server ends when its input does, which is when the process that tests ends, however that is. (A signal at the
# parent's death would come when the *thread* ends that has started it.)
_LAUNCH = """
import select, subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
while server.poll() is None and not select.select([sys.stdin], [], [], 0.5)[0]:
    pass
server.kill()
server.wait()
"""


def fresh(word: str) -> str:
    """A name that nobody has used at this server: ``zone-4711-3``."""
    return f"{word}-{os.getpid()}-{next(_COUNTER)}"


@cache
def moto() -> str:
    """``host:port`` of the server, which is started when it is first asked for."""
    port = free_port(ADDRESS)
    log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
    program = str(Path(sys.executable).with_name("moto_server"))
    process = subprocess.Popen(
        (sys.executable, "-c", _LAUNCH, program, "-H", ADDRESS, "-p", str(port)),
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env={**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
    )
    atexit.register(_end, process)
    until = time.monotonic() + 45
    while not _serves(port):
        if process.poll() is not None or time.monotonic() > until:
            log.seek(0)
            raise RuntimeError(f"moto_server does not start: {log.read()[-800:].decode(errors='replace')}")
        time.sleep(0.05)
    return f"{ADDRESS}:{port}"


def moto_url() -> str:
    """Its URL, for a client's ``endpoint``."""
    return f"http://{moto()}"


def _serves(port: int) -> bool:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
    with contextlib.suppress(OSError):
        connection.request("GET", "/moto-api/")
        return connection.getresponse().status == 200
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait(10)
