"""HTTP to the store of a document: one request, its status as one of our errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from orchestrator.core.errors import BadInput
from providers.base import Forbidden, NotFound, ProviderError, Refused, Throttled, Transient, Unauthenticated
from providers.calls import CALL_S, CONNECT_S, Line, line, unknown

LARGEST = 65_536
"""Bytes of a document that are read; a routing document has hundreds."""
NO_CACHE = "no-cache"
"""What a store tells caches on the way to clients: ask every time whether it is still so."""


class Web:
    """The way to one store, and how its refusals are mended."""

    def __init__(
        self,
        at: str,
        base: str,
        *,
        login: Callable[[], str | None],
        forbidden: str,
        unauthenticated: str,
        largest: int = LARGEST,
    ) -> None:
        """*at* is the document for people, *base* the store's address, *login* the ``Authorization`` to send."""
        self.at = at
        self._host = urlsplit(base).netloc
        self._login = login
        self._forbidden = forbidden
        self._unauthenticated = unauthenticated
        self._largest = largest

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Status 200 or 404. Raises Transient, Throttled, Unauthenticated, Forbidden, Refused."""

        def do() -> httpx.Response:
            return self._ask("read", _client().build_request("GET", url, headers=headers), {200, 404})

        return await self._line.read(f"read {self.at}", do)

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> httpx.Response:
        """Status 2xx, 404, 409 or 412. Raises as ``get``; a time-out may have had its effect."""
        fine = {200, 201, 204, 404, 409, 412}

        def do() -> httpx.Response:
            request = _client().build_request(method, url, headers=headers, content=body)
            return self._ask("write", request, fine)

        return await self._line.write(f"write {self.at}", do)

    @property
    def _line(self) -> Line:
        return line(f"the server at {self._host}", translate)

    def _ask(self, what: str, request: httpx.Request, fine: set[int]) -> httpx.Response:
        login = self._login()
        if login:
            request.headers["Authorization"] = login
        response = _client().send(request, stream=True)
        try:
            if response.status_code not in fine:
                raise self._error(what, response)
            found = b""
            for piece in response.iter_bytes():
                found += piece
                if len(found) > self._largest:
                    raise Refused(
                        f"{self.at} has more than {self._largest} bytes, which nothing has that belongs there"
                    )
        finally:
            response.close()
        return httpx.Response(response.status_code, headers=_plain(response.headers), content=found)

    def _error(self, what: str, response: httpx.Response) -> ProviderError:
        match response.status_code:
            case 401:
                error: ProviderError = Unauthenticated(
                    f"our credentials are not accepted at {self.at}: {self._unauthenticated}"
                )
            case 403:
                error = Forbidden(f"our credentials may not {what} {self.at}: {self._forbidden}")
            case 404 | 410:
                error = NotFound(f"there is nothing at {self.at}; mend the place, or make what holds it")
            case 429 as status:
                error = Throttled(f"{self.at} asks for patience ({status})")
            case 503 if "retry-after" in response.headers:
                error = Throttled(f"{self.at} asks for patience (503)")
            case status if status >= 500 or status == 408:
                error = Transient(f"{self.at} failed ({status})")
            case status if 300 <= status < 400:
                error = Refused(f"{self.at} leads elsewhere ({status}), where no write is sent: name the last address")
            case status:
                error = Refused(f"{self.at} would not let us {what} it ({status}); see the log of its server")
        return error


def translate(error: Exception, what: str) -> ProviderError:
    """What httpx raises, without its text, which may repeat a header; and a login that is not where it should be."""
    match error:
        case BadInput():
            told: ProviderError = Unauthenticated(f"cannot {what}: {error}")
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            told = Transient(f"cannot {what}: no connection within {CONNECT_S:g} s")
        case httpx.TimeoutException():
            told = Transient(f"cannot {what}: no answer within {CALL_S:g} s")
        case httpx.ConnectError():
            told = Transient(f"cannot {what}: nobody listens there, or the name does not resolve")
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol() | httpx.InvalidURL():
            told = Refused(f"cannot {what}: the address or the login cannot be sent; mend them")
        case httpx.HTTPError():
            told = Transient(f"cannot {what}: the connection was lost before the answer")
        case _:
            told = unknown(error, what)
    return told


def safe(base: str) -> bool:
    """Whether a login may be sent to *base*: encrypted, or within this host."""
    parts = urlsplit(base)
    if parts.scheme == "https":
        return True
    host = parts.hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def quoted(text: str | None) -> bool:
    """Whether *text* is a strong entity tag, the only kind that If-Match compares (RFC 9110, section 13.1.1)."""
    return bool(text) and not str(text).startswith("W/")


def text_of(response: httpx.Response) -> str:
    """The body as UTF-8, which JSON is (RFC 8259, section 8.1), whatever its header says."""
    return response.content.decode("utf-8", "replace")


def _plain(headers: httpx.Headers) -> httpx.Headers:
    # The body was decoded already.
    kept = [
        (name, value) for name, value in headers.multi_items() if name not in {"content-encoding", "content-length"}
    ]
    return httpx.Headers(kept)


@cache
def _client() -> httpx.Client:
    return httpx.Client(
        timeout=httpx.Timeout(CALL_S, connect=CONNECT_S, pool=CONNECT_S),
        follow_redirects=False,
        headers={"User-Agent": "failover-orchestrator"},
    )
