"""The world's control API: capacity, draining and faults over HTTP, as a cloud would offer them.

Every change carries a key and is done once per key: a retry answers what stands now.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.local.faults import Fault, FaultBoard, Kind
from orchestrator.local.journal import Journal
from orchestrator.local.layout import Layout
from orchestrator.local.servers import ModelProcess

LIMIT = 4
"""Replicas that fit into one region."""
_KEYS = 10_000


class Controlled(Protocol):
    """A world as its control API needs it."""

    layout: Layout
    journal: Journal
    board: FaultBoard
    servers: dict[str, ModelProcess]

    async def inject(self, kind: Kind, target: str, *, key: str, deadline: datetime) -> Fault: ...

    async def clear(self, key: str) -> Fault | None: ...


class _NotFound(FailoverError):
    pass


class _NoRoom(FailoverError):
    pass


def fault_json(fault: Fault) -> dict[str, Any]:
    """*fault* as the API shows it."""
    return asdict(fault) | {"deadline": fault.deadline.isoformat()}


class _Api:
    def __init__(self, world: Controlled) -> None:
        self._world = world
        self._done: dict[tuple[str, str], None] = {}

    # ------------------------------------------------------------ reading

    async def world(self, request: Request) -> JSONResponse:
        return JSONResponse(asdict(self._world.layout))

    async def events(self, request: Request) -> JSONResponse:
        text = request.query_params.get("since", "0")
        return JSONResponse({"events": self._world.journal.since(int(text) if text.isdecimal() else 0)})

    async def endpoints(self, request: Request) -> JSONResponse:
        return JSONResponse({"endpoints": [await server.look() for server in self._world.servers.values()]})

    async def endpoint(self, request: Request) -> JSONResponse:
        return await self._look(self._server(request))

    async def _look(self, server: ModelProcess) -> JSONResponse:
        return JSONResponse(await server.look() | {"limit": LIMIT})

    def _server(self, request: Request) -> ModelProcess:
        name = request.path_params["endpoint"]
        try:
            return self._world.servers[name]
        except KeyError:
            known = ", ".join(self._world.servers)
            raise _NotFound(f"the local world has no endpoint called '{name}'; there are: {known}") from None

    # ------------------------------------------------------------ capacity

    def _first_time(self, endpoint: str, key: str) -> bool:
        """Whether *key* has not been carried out at *endpoint* yet; remembers it."""
        if (endpoint, key) in self._done:
            return False
        if len(self._done) >= _KEYS:
            self._done.pop(next(iter(self._done)))
        self._done[endpoint, key] = None
        return True

    async def scale(self, request: Request) -> JSONResponse:
        server, body = self._server(request), await _body(request)
        replicas = _whole(body, "replicas")
        if replicas > LIMIT:
            raise _NoRoom(f"{server.place.region} has room for {LIMIT} replicas, not for {replicas}; ask for fewer")
        if self._first_time(server.place.id, _text(body, "key")):
            await server.scale(replicas)
        return await self._look(server)

    async def drain(self, request: Request) -> JSONResponse:
        server, body = self._server(request), await _body(request)
        if self._first_time(server.place.id, _text(body, "key")):
            await server.drain(bool(body.get("on", True)))
        return await self._look(server)

    async def pace(self, request: Request) -> JSONResponse:
        server, body = self._server(request), await _body(request)
        try:
            settings = replace(server.settings, **body)
        except TypeError as error:
            raise BadInput(f"no such pace setting: {error}") from error
        await server.pace(settings)
        return await self._look(server)

    async def restart(self, request: Request) -> JSONResponse:
        server = self._server(request)
        await server.restart()
        return await self._look(server)

    # ------------------------------------------------------------ faults

    async def faults(self, request: Request) -> JSONResponse:
        return JSONResponse({"faults": [fault_json(fault) for fault in self._world.board.all()]})

    async def fault(self, request: Request) -> JSONResponse:
        return self._shown(self._world.board.state(request.path_params["key"]), request)

    async def inject(self, request: Request) -> JSONResponse:
        body = await _body(request)
        try:
            kind = Kind(_text(body, "kind"))
            deadline = datetime.fromisoformat(_text(body, "deadline"))
        except ValueError as error:
            raise BadInput(f"{error}; kinds are {', '.join(Kind)}, deadlines are RFC 3339") from error
        if deadline.tzinfo is None:
            raise BadInput("the deadline has no time zone; write it in UTC, with Z or +00:00")
        key = request.path_params["key"]
        fault = await self._world.inject(kind, _text(body, "target"), key=key, deadline=deadline)
        return JSONResponse(fault_json(fault))

    async def clear(self, request: Request) -> JSONResponse:
        return self._shown(await self._world.clear(request.path_params["key"]), request)

    def _shown(self, fault: Fault | None, request: Request) -> JSONResponse:
        if fault is None:
            raise _NotFound(f"no fault has the key '{request.path_params['key']}'")
        return JSONResponse(fault_json(fault))


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise BadInput("the request's body is not JSON") from error
    if not isinstance(body, dict):
        raise BadInput("the request's body is not a JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BadInput(f"'{name}' is missing from the request's body; it is text")
    return value


def _whole(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadInput(f"'{name}' must be a whole number of 0 or more in the request's body")
    return value


def _answering(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=status)

    return answer


def application(world: Controlled) -> Starlette:
    """The control API of *world*."""
    api = _Api(world)
    return Starlette(
        routes=[
            Route("/world", api.world),
            Route("/events", api.events),
            Route("/endpoints", api.endpoints),
            Route("/endpoints/{endpoint}", api.endpoint),
            Route("/endpoints/{endpoint}/replicas", api.scale, methods=["PUT"]),
            Route("/endpoints/{endpoint}/drain", api.drain, methods=["PUT"]),
            Route("/endpoints/{endpoint}/pace", api.pace, methods=["PUT"]),
            Route("/endpoints/{endpoint}/restart", api.restart, methods=["POST"]),
            Route("/faults", api.faults),
            Route("/faults/{key:path}", api.fault, methods=["GET"]),
            Route("/faults/{key:path}", api.inject, methods=["PUT"]),
            Route("/faults/{key:path}", api.clear, methods=["DELETE"]),
        ],
        exception_handlers={BadInput: _answering(422), _NotFound: _answering(404), _NoRoom: _answering(409)},
    )
