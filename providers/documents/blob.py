"""A document in Azure Blob Storage: conditional writes by ETag.

https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations
"""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import httpx

from orchestrator.core.errors import BadInput
from providers.base import NotFound, Refused
from providers.documents.settings import Settings
from providers.documents.tokens import azure
from providers.documents.web import NO_CACHE, Web, quoted, text_of
from providers.fenced import Overtaken, Sheet

VERSION = "2021-12-02"
"""Of the REST API. Bearer tokens need 2017-11-09 or newer."""
_TAKEN = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet", ""})
"""What Azure says of a write whose condition is no longer so; empty in an answer without its header."""


class BlobDocument:
    """It needs the role Storage Blob Data Contributor on the container."""

    def __init__(self, place: str, settings: Settings, where: str) -> None:
        """Raises BadInput for a place without account, container or blob."""
        parts = urlsplit(place)
        account, path = parts.netloc, unquote(parts.path.removeprefix("/"))
        self._container, _, blob = path.partition("/")
        self.at = f"azblob://{account}/{path}"
        if not account or not self._container or not blob:
            raise BadInput(f"{where} must be azblob://account/container/blob")
        base = settings.endpoint or f"https://{account}.blob.core.windows.net"
        self._url = f"{base}/{quote(path)}"
        self._web = Web(
            self.at,
            base,
            login=lambda: azure(settings) if base.startswith("https://") else None,
            forbidden="grant the role Storage Blob Data Contributor on the container",
            unauthenticated="log in again (az login), or renew the worker's identity",
        )

    async def read(self) -> Sheet:
        """Raises Transient, Unauthenticated, Forbidden, NotFound (the container)."""
        found = await self._web.get(self._url, {"x-ms-version": VERSION})
        if found.status_code == 404:
            if _said(found) == "BlobNotFound":
                return Sheet(None, None)
            raise self._nowhere()
        tag = found.headers.get("etag")
        if not quoted(tag):
            raise Refused(f"{self.at} came without an ETag; is this address Azure's?")
        return Sheet(text_of(found), tag)

    async def put(self, text: str, *, tag: str | None) -> None:
        """Raises Overtaken, and as ``read``."""
        headers = {
            "x-ms-version": VERSION,
            "x-ms-blob-type": "BlockBlob",
            "x-ms-blob-content-type": "application/json",
            "x-ms-blob-cache-control": NO_CACHE,
            **({"If-Match": tag} if tag else {"If-None-Match": "*"}),
        }
        sent = await self._web.send("PUT", self._url, headers, text.encode())
        said = _said(sent)
        if sent.status_code == 404:
            if said == "BlobNotFound":
                raise Overtaken
            raise self._nowhere()
        if sent.status_code in {409, 412}:
            if said in _TAKEN:
                raise Overtaken
            raise Refused(f"Azure refuses to write {self.at} ({said}); end the lease or the policy that holds it")

    def _nowhere(self) -> NotFound:
        return NotFound(f"there is no container {self._container} at {self.at}; make it, or mend the place")


def _said(response: httpx.Response) -> str:
    return str(response.headers.get("x-ms-error-code", ""))
