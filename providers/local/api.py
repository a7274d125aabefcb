"""Calls to a local world's control API, its refusals as provider errors. One short connection per call."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote, urlsplit

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Workload
from providers.base import NoCapacity, NotFound, ProviderError, Refused, Throttled, Transient

CALL_S = 5.0
"""The longest wait for one answer, seconds."""
_LARGEST = 1 << 20


class WorldApi:
    """The control API of the world that a workload handle names in ``options.world``."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle without the world's URL."""
        url = dict(handle.options).get("world", "")
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise BadInput(
                f"the local workload '{handle.target}' does not say where its world is; "
                "write options: {world: http://127.0.0.1:PORT}, the address that world.json calls control"
            )
        self._host, self._port, self._url = parts.hostname, parts.port or 80, url

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON document that the world answers. Raises Transient, NotFound, NoCapacity, Refused."""
        try:
            async with asyncio.timeout(CALL_S):
                status, document = await self._exchange(method, path, body)
        except TimeoutError:
            raise Transient(f"the local world at {self._url} gave no answer within {CALL_S:.0f} s") from None
        except (OSError, ValueError, EOFError, TypeError) as error:
            raise Transient(f"the local world at {self._url} cannot be reached; is it running? ({error})") from error
        if status >= 400:
            raise _error(status, str(document.get("error", f"the local world answered {status} to {method} {path}")))
        return document

    async def _exchange(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\nconnection: close\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(head.encode("ascii") + content)
            answer = await reader.readuntil(b"\r\n\r\n")
            rest = await reader.read(_LARGEST)
            while chunk := await reader.read(_LARGEST):
                rest += chunk
        finally:
            writer.close()
        document = json.loads(rest)
        if not isinstance(document, dict):
            raise TypeError("the world's answer is not a JSON object")
        return int(answer.split(b" ", 2)[1]), document


def _error(status: int, text: str) -> ProviderError:
    match status:
        case 404:
            return NotFound(text)
        case 409:
            return NoCapacity(text)
        case 429:
            return Throttled(text)
        case _ if status >= 500:
            return Transient(text)
        case _:
            return Refused(text)


def part(name: str) -> str:
    """*name* as one part of a path: keys hold slashes."""
    return quote(name, safe="")
