"""Loopback addresses of a world's regions, and the trick that makes a listening socket drop what comes to it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket

from orchestrator.local.layout import WorldFailed

BACKLOG = 128
_FULL_AFTER_S = 0.05
"""A connection on loopback takes well under a millisecond, unless the kernel dropped it."""


def listen(address: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError when the place is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Without this a restarted model server would wait for its old connections to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def claim(regions: int) -> tuple[str, int, list[socket.socket]]:
    """A loopback prefix ``127.A`` and one port that is free at ``127.A.1.1`` ... ``127.A.<regions>.1``, held open.

    Random, so that several worlds run side by side. The port lies below the range that the kernel gives to
    clients. Raises WorldFailed.
    """
    for _ in range(200):
        prefix, port = f"127.{random.randint(2, 254)}", random.randint(20000, 32000)  # noqa: S311  # a place, no secret
        held: list[socket.socket] = []
        try:
            for number in range(1, regions + 1):
                held.append(listen(f"{prefix}.{number}.1", port))  # noqa: PERF401  # what was opened must be closed
        except OSError:
            for listener in held:
                listener.close()
            continue
        return prefix, port, held
    raise WorldFailed("no free addresses in 127.0.0.0/8; is loopback up, and may this user bind to it?")


class DeafSocket:
    """A listening socket that answers nothing: no SYN is acknowledged, none is reset.

    Its queue of established connections is cut to the shortest and filled by our own, and Linux drops a SYN
    that finds the queue full. A client retransmits after 1, 3, 7 s: one that began to connect while the socket
    was deaf gets through up to that much after ``hear``, as in a network that heals; new ones at once.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._fillers: list[socket.socket] = []

    async def deafen(self) -> None:
        """Returns when the next connection would time out. Whoever accepts must be stopped before."""
        loop = asyncio.get_running_loop()
        self._listener.listen(0)
        address = self._listener.getsockname()
        while True:
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            self._fillers.append(filler)
            try:
                await asyncio.wait_for(loop.sock_connect(filler, address), _FULL_AFTER_S)
            except TimeoutError:
                filler.close()
                return

    def hear(self) -> None:
        """Take connections again. Whoever accepts meets our fillers first, already closed."""
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        with contextlib.suppress(OSError):
            self._listener.listen(BACKLOG)
