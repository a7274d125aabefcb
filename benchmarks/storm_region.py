"""One region of ``storm.py``, a process of its own: it answers the probes of everything that stands there.

python benchmarks/storm_region.py --port 8000 --addresses FILE
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import socket
from http import HTTPStatus
from pathlib import Path

import uvloop

from orchestrator.local.http_server import Connection, Request

MODEL = "storm-7b"
_HEALTH = b'{"status": "ok"}'


def _chunk(delta: dict[str, str], finish: str | None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice]})


_CHUNKS = (_chunk({"role": "assistant", "content": "ok"}, None), _chunk({}, "stop"), "[DONE]")


async def answer(request: Request, connection: Connection) -> None:
    """What a model server says to probes."""
    match request.method, request.path:
        case "GET", "/health":
            connection.answer(HTTPStatus.OK, _HEALTH, "application/json")
        case "POST", "/v1/chat/completions":
            connection.begin_stream({})
            for chunk in _CHUNKS:
                connection.send_event(chunk)
            connection.end_stream()
        case _:
            connection.answer(HTTPStatus.NOT_FOUND, b"no such path\n", "text/plain")


async def _serve(port: int, addresses: list[str]) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    for address in addresses:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        await loop.create_server(lambda: Connection(answer, lambda: False), sock=listener)
    await stop.wait()


def main() -> None:
    """Serve one region until told to end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--addresses", type=Path, required=True)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    addresses = given.addresses.read_text(encoding="utf-8").split()
    uvloop.run(_serve(given.port, addresses))


if __name__ == "__main__":
    main()
