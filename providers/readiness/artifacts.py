"""Model artifacts: there, and the same as those that serve."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import httpx

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import ReadinessSpec
from providers import secrets
from providers.base import Forbidden, NotReady, Severity, Throttled, Transient, Unauthenticated
from providers.calls import CALL_S

DIGESTS = ("x-amz-checksum-sha256", "x-goog-hash", "x-ms-blob-content-md5", "content-md5", "digest", "repr-digest")
"""Headers in which stores say what an object holds, whoever put it there and whenever (Amazon S3, Google Cloud Storage,
Azure Blob Storage; RFC 9530). An ETag is compared where both stores are of one kind only: it may be of the upload."""


class Artifacts:
    """Ready when both addresses answer, and say the same digest and length."""

    def __init__(self, spec: ReadinessSpec) -> None:
        """Raises BadInput for addresses that are none, and for a token that would travel in the open."""
        self._here, self._there = spec.target, dict(spec.options).get("same_as", "")
        for url in (self._here, self._there):
            if urlsplit(url).scheme not in {"http", "https"}:
                raise BadInput(f"readiness '{spec.id}' compares two addresses, of which '{url}' is none; correct it")
            if spec.secret is not None and urlsplit(url).scheme != "https":
                raise BadInput(f"readiness '{spec.id}' would send its token in the open; give {_place(url)} by https")
        self._secret = spec.secret

    async def examine(self) -> tuple[NotReady, ...]:
        """Ask both once. Raises Transient, Throttled, Unauthenticated, Forbidden."""
        async with httpx.AsyncClient(timeout=CALL_S, follow_redirects=True) as client:
            here, there = await asyncio.gather(self._head(client, self._here), self._head(client, self._there))
        if here is None:
            return (self._missing(self._here, "copy the artifact there"),)
        if there is None:
            return (self._missing(self._there, "correct same_as"),)
        same = _same(here, there)
        if same is None:
            reason = f"{_place(self._here)} and {_place(self._there)} say nothing by which they could be compared"
            return (NotReady(Severity.WARNING, reason, "store the artifact with a checksum"),)
        if not same:
            reason = f"the artifact at {_place(self._here)} is another than the one at {_place(self._there)}"
            return (NotReady(Severity.ERROR, reason, "copy it anew"),)
        return ()

    async def _head(self, client: httpx.AsyncClient, url: str) -> dict[str, str] | None:
        """What a store says of the artifact, by header; None: it is not there."""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        if self._secret is not None:
            headers["Authorization"] = f"Bearer {secrets.resolve(self._secret)}"
        try:
            answer = await client.head(url, headers=headers)
        except httpx.HTTPError as error:
            raise Transient(f"{_place(url)} cannot be reached ({type(error).__name__})") from None
        match answer.status_code:
            case 404 | 410:
                return None
            case 401:
                raise Unauthenticated(f"{_place(url)} does not take the token; give it a good one")
            case 403:
                raise Forbidden(f"{_place(url)} may not be read; grant it, or correct the address")
            case 429:
                raise Throttled(f"{_place(url)} asks for patience")
            case status if status >= 300:
                raise Transient(f"{_place(url)} answered {status}")
        return {name.lower(): value for name, value in answer.headers.items()}

    @staticmethod
    def _missing(url: str, cure: str) -> NotReady:
        return NotReady(Severity.ERROR, f"there is no artifact at {_place(url)}", cure)


def _same(here: dict[str, str], there: dict[str, str]) -> bool | None:
    """Whether two answers are of the same artifact; None: that cannot be told."""
    for header in DIGESTS:
        if header in here and header in there:
            return here[header] == there[header]
    if here.get("content-length") != there.get("content-length"):
        return False
    tags = (here.get("etag"), there.get("etag"))
    if None not in tags and here.get("server") == there.get("server") and tags[0] == tags[1]:
        return True
    return None


def _place(url: str) -> str:
    """*url* without what may be secret in it: user and query."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname}{port}{parts.path}"
