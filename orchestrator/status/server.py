"""Serving the page: one address, one sentence when it is taken, and an end that waits for no viewer."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import structlog
import uvicorn
from starlette.applications import Starlette

from orchestrator.core.errors import BadInput

log = structlog.get_logger()


class CannotListen(BadInput):
    """The address cannot be listened at. Exit status 2."""


class _Server(uvicorn.Server):
    """Ends the event streams first: uvicorn waits for open answers, and those never end by themselves."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        if isinstance(app, Starlette):
            app.state.pane.close()
        await super().shutdown(sockets)


async def serve(app: Starlette, host: str, port: int) -> None:
    """Serve *app* at ``host:port`` until cancelled or signalled. Raises CannotListen before anything is served."""
    listener = _listen(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=2, lifespan="on"
    )
    server = _Server(config)
    address = listener.getsockname()
    log.info("status.serving", host=address[0], port=address[1])
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise CannotListen(f"{port} is no port: choose one from 1 to 65535 with --port")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise CannotListen(f"the page cannot be served at {host}:{port}: {_why(error)}") from error
    listener.setblocking(False)
    return listener


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the host has no address; choose another with --host"
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use; choose another with --port"
        case errno.EACCES | errno.EPERM:
            return "the port needs more rights; choose one above 1023 with --port"
        case errno.EADDRNOTAVAIL:
            return "that is no address of this machine; choose another with --host"
        case _:
            return error.strerror or str(error)
