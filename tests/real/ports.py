"""Free ports on loopback."""

from __future__ import annotations

import contextlib
import os
import random
import socket

LOWEST, EACH = 12_000, 2_500
"""Below the ports that the kernel gives to outgoing connections, which would come between choosing and listening; so
many for each of the processes that test side by side, so that none chooses what another is about to take."""
_GIVEN: set[int] = set()
"""Given by this process before: who asked for one may not listen there yet."""


def free_port(address: str = "127.0.0.1", kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody listens on at *address* now, for TCP and UDP alike."""
    lowest = LOWEST + EACH * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8)
    other = socket.SOCK_DGRAM if kind == socket.SOCK_STREAM else socket.SOCK_STREAM
    while True:
        if len(_GIVEN) > EACH // 2:
            _GIVEN.clear()
        port = random.SystemRandom().randrange(lowest, lowest + EACH)
        if port in _GIVEN:
            continue
        with contextlib.suppress(OSError), contextlib.ExitStack() as bound:
            for each in (kind, other):
                bound.enter_context(socket.socket(socket.AF_INET, each)).bind((address, port))
            _GIVEN.add(port)
            return port
