"""One region's model server as a process: OpenAI-compatible completions, models, health and metrics.

``python -m orchestrator.local.model_server --listen 127.0.0.1:8000`` runs one by hand. The world starts it with
a listening socket and a channel (JSON lines over a socket pair) through which it is scaled, drained and made faulty.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from orchestrator.local.engine import Engine, NotServing, QueueFull
from orchestrator.local.http_server import Connection, Request
from orchestrator.local.layout import ModelSettings
from orchestrator.local.processes import die_with

ERRORS = "errors-5xx"
SLOW = "slow-first-token"
HOLLOW = "health-lies"
_SLOW_S = 8.0


def _problem(message: str, code: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": code, "code": code}}


@dataclass
class ModelServer:
    """Answers requests with the engine's tokens, as its faults allow."""

    engine: Engine
    region: str
    faults: frozenset[str] = frozenset()
    requests: dict[str, int] = field(default_factory=dict)

    async def handle(self, request: Request, connection: Connection) -> None:
        """Answer one request."""
        if ERRORS in self.faults:
            connection.answer_json(HTTPStatus.INTERNAL_SERVER_ERROR, _problem("internal error", "server_error"))
            return
        match request.method, request.path:
            case "GET", "/health":
                self._health(connection)
            case "GET", "/metrics":
                connection.answer(HTTPStatus.OK, self.engine.metrics().encode(), "text/plain; version=0.0.4")
            case "GET", "/v1/models":
                card = {"id": self.engine.settings.model, "object": "model", "created": 0, "owned_by": self.region}
                connection.answer_json(HTTPStatus.OK, {"object": "list", "data": [card]})
            case "POST", "/v1/chat/completions":
                await self._chat(request, connection)
            case _, ("/health" | "/metrics" | "/v1/models" | "/v1/chat/completions"):
                connection.answer_json(HTTPStatus.METHOD_NOT_ALLOWED, _problem("method not allowed", "invalid_request"))
            case _:
                connection.answer_json(HTTPStatus.NOT_FOUND, _problem("no such path", "invalid_request"))

    def _health(self, connection: Connection) -> None:
        engine = self.engine
        serving = engine.ready > 0 or HOLLOW in self.faults
        word = "loading" if not serving else "draining" if engine.draining else "ok"
        document = {"status": word, "region": self.region, "replicas": engine.ready, "in_flight": engine.in_flight}
        connection.answer_json(HTTPStatus.OK if serving else HTTPStatus.SERVICE_UNAVAILABLE, document)

    async def _chat(self, request: Request, connection: Connection) -> None:
        engine = self.engine
        try:
            asked = json.loads(request.body)
            model, limit = asked.get("model", engine.settings.model), asked.get("max_completion_tokens")
            limit = limit or asked.get("max_tokens")
            if not isinstance(asked["messages"], list) or not isinstance(limit, int | None):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError):
            connection.answer_json(HTTPStatus.BAD_REQUEST, _problem("messages are missing", "invalid_request_error"))
            return
        if model != engine.settings.model:
            text = f"no model is called '{model}'; there is: {engine.settings.model}"
            connection.answer_json(HTTPStatus.NOT_FOUND, _problem(text, "model_not_found"))
            return
        if HOLLOW in self.faults:
            connection.answer_json(HTTPStatus.INTERNAL_SERVER_ERROR, _problem("the engine is dead", "server_error"))
            return
        try:
            await engine.enter()
        except QueueFull:
            document = _problem("the queue is full", "rate_limit_exceeded")
            connection.answer_json(HTTPStatus.TOO_MANY_REQUESTS, document, headers={"retry-after": "1"})
            return
        except NotServing:
            connection.answer_json(HTTPStatus.SERVICE_UNAVAILABLE, _problem("no replica is ready", "not_ready"))
            return
        try:
            if asked.get("stream"):
                await self._stream(connection, limit, asked.get("stream_options") or {})
            else:
                await self._whole(connection, limit)
            engine.served += 1
        finally:
            engine.leave()

    def _base(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": self.engine.settings.model,
            "system_fingerprint": self.region,
        }

    def _finish(self, limit: int | None) -> str:
        return "length" if limit is not None and limit < self.engine.settings.tokens else "stop"

    async def _stream(self, connection: Connection, limit: int | None, options: dict[str, Any]) -> None:
        base = self._base("chat.completion.chunk")
        count = 0
        async for token in self.engine.tokens(limit):
            delta = {"content": token}
            if not count:
                # The head goes out with the first token: until then a client sees nothing, as with real servers.
                connection.begin_stream({"x-region": self.region})
                delta = {"role": "assistant", "content": token}
            count += 1
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            connection.send_event(json.dumps(base | {"choices": [choice]}))
        last = {"index": 0, "delta": {}, "finish_reason": self._finish(limit)}
        connection.send_event(json.dumps(base | {"choices": [last]}))
        if options.get("include_usage"):
            usage = {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1}
            connection.send_event(json.dumps(base | {"choices": [], "usage": usage}))
        connection.send_event("[DONE]")
        connection.end_stream()

    async def _whole(self, connection: Connection, limit: int | None) -> None:
        words = [token async for token in self.engine.tokens(limit)]
        message = {"role": "assistant", "content": "".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": self._finish(limit)}
        usage = {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": len(words) + 1}
        document = self._base("chat.completion") | {"choices": [choice], "usage": usage}
        connection.answer_json(HTTPStatus.OK, document, headers={"x-region": self.region})

    # ------------------------------------------------------------ the channel

    def state(self) -> dict[str, Any]:
        """What the supervisor may know."""
        engine = self.engine
        return {
            "desired": engine.desired,
            "ready": engine.ready,
            "in_flight": engine.in_flight,
            "queued": engine.queued,
            "served": engine.served,
            "draining": engine.draining,
        }

    def order(self, wanted: dict[str, Any]) -> None:
        """Do what the supervisor says: ``replicas``, ``draining``, ``faults``, ``slow_s``, and paces."""
        engine = self.engine
        if "replicas" in wanted:
            engine.scale(int(wanted["replicas"]))
        if "draining" in wanted:
            engine.draining = bool(wanted["draining"])
        if "faults" in wanted:
            self.faults = frozenset(wanted["faults"])
            engine.slow_first_s = float(wanted.get("slow_s", _SLOW_S)) if SLOW in self.faults else 0.0
        if "model" in wanted:
            engine.settings = ModelSettings(**wanted["model"])


async def _obey(server: ModelServer, channel: socket.socket) -> None:
    """Follow the supervisor's orders until it goes away."""
    reader, writer = await asyncio.open_unix_connection(sock=channel)

    def say(document: dict[str, Any]) -> None:
        writer.write(json.dumps(document).encode() + b"\n")

    server.engine.on_change = lambda: say({"state": server.state()})
    say({"state": server.state()})
    while line := await reader.readline():
        message = json.loads(line)
        server.order(message.get("set", {}))
        say({"id": message["id"], "state": server.state()})


async def _finish_streams(server: ModelServer, seconds: float) -> None:
    if not server.engine.in_flight:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await server.engine.idle.wait()


async def serve(server: ModelServer, listener: socket.socket, channel: socket.socket | None) -> None:
    """Serve until told to end (SIGTERM finishes streams first) or until the supervisor is gone."""
    loop = asyncio.get_running_loop()
    terminated = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, terminated.set)
    loop.add_signal_handler(signal.SIGINT, terminated.set)
    listening = await loop.create_server(
        lambda: Connection(server.handle, lambda: server.engine.draining or terminated.is_set()), sock=listener
    )
    waits: list[asyncio.Task[Any]] = [loop.create_task(terminated.wait())]
    if channel is not None:
        waits.append(loop.create_task(_obey(server, channel)))
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    listening.close()
    if terminated.is_set():
        await _finish_streams(server, 10.0)


def _listener(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host or "127.0.0.1", int(port)))
    return listener


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(prog="model_server", description="An OpenAI-compatible model server.")
    parser.add_argument("--listen", default="127.0.0.1:8000", metavar="ADDRESS:PORT")
    parser.add_argument("--region", default="alpha/paris")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--cold", action="store_true", help="the first replicas take their load time too")
    parser.add_argument("--settings", default="{}", help="JSON of ModelSettings")
    parser.add_argument("--listener-fd", type=int)
    parser.add_argument("--channel-fd", type=int)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with(options.parent)
    try:
        listener = (
            _listener(options.listen) if options.listener_fd is None else socket.socket(fileno=options.listener_fd)
        )
    except OSError as error:
        sys.exit(f"{options.listen}: {error.strerror}; choose another address with --listen")
    channel = None if options.channel_fd is None else socket.socket(fileno=options.channel_fd)
    server = ModelServer(Engine(ModelSettings(**json.loads(options.settings))), options.region)

    async def run() -> None:
        server.engine.scale(options.replicas, load_s=None if options.cold else 0)
        await serve(server, listener, channel)

    asyncio.run(run())


if __name__ == "__main__":
    main()
