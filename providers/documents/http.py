"""A document at an address of HTTP: read with its ETag, replaced under If-Match."""

from __future__ import annotations

from urllib.parse import urlsplit

from orchestrator.core.errors import BadInput
from providers import secrets
from providers.base import NotFound, Refused
from providers.documents.settings import Settings
from providers.documents.web import NO_CACHE, Web, quoted, safe, text_of
from providers.fenced import Overtaken, Sheet


class HttpDocument:
    """Any server that answers GET with a strong ETag and compares it in PUT (RFC 9110, section 13.1).

    A server that takes PUT and does not look at If-Match keeps no fence, and nobody can tell that from outside.
    """

    def __init__(self, place: str, settings: Settings, where: str) -> None:
        """Raises BadInput for an address without a host, or a login that would be sent in clear text."""
        parts = urlsplit(place)
        if not parts.hostname:
            raise BadInput(f"{where} names no host; write https://host/path")
        if settings.login and not safe(place):
            raise BadInput(f"{where} would send its login in clear text; write https, or leave the login out")
        self._url = place
        self._secret = settings.login
        self.at = f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._web = Web(
            self.at,
            place,
            login=self._login,
            forbidden="let them GET and PUT this path",
            unauthenticated="renew what fence_login points at",
        )

    async def read(self) -> Sheet:
        """Raises Transient, Unauthenticated, Forbidden, Refused."""
        found = await self._web.get(self._url, {"Cache-Control": NO_CACHE})
        if found.status_code == 404:
            return Sheet(None, None)
        tag = found.headers.get("etag")
        if not quoted(tag):
            raise Refused(
                f"{self.at} has no strong ETag, so that nothing can be compared and set there; keep it elsewhere"
            )
        return Sheet(text_of(found), tag)

    async def put(self, text: str, *, tag: str | None) -> None:
        """Raises Overtaken, NotFound, and as ``read``."""
        condition = {"If-Match": tag} if tag else {"If-None-Match": "*"}
        headers = {"Content-Type": "application/json", **condition}
        sent = await self._web.send("PUT", self._url, headers, text.encode())
        if sent.status_code == 404 and tag is None:
            raise NotFound(f"{self.at} cannot be made: what should hold it is not there")
        if sent.status_code in {404, 409, 412}:
            raise Overtaken

    def _login(self) -> str | None:
        return secrets.resolve(self._secret) if self._secret else None
