"""Free ports on loopback."""

from __future__ import annotations

import contextlib
import socket


def free_port(address: str = "127.0.0.1", kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody listens on at *address* now, for TCP and UDP alike."""
    while True:
        with contextlib.closing(socket.socket(socket.AF_INET, kind)) as probe:
            probe.bind((address, 0))
            port = int(probe.getsockname()[1])
        other = socket.SOCK_DGRAM if kind == socket.SOCK_STREAM else socket.SOCK_STREAM
        with contextlib.closing(socket.socket(socket.AF_INET, other)) as twin:
            try:
                twin.bind((address, port))
            except OSError:
                continue
        return port
