"""A document in Google Cloud Storage: conditional writes by the object's generation.

https://cloud.google.com/storage/docs/request-preconditions. One object takes about one write a second
(https://cloud.google.com/storage/quotas): more are throttled, and tried again by their step.
"""

from __future__ import annotations

import json
from urllib.parse import quote, unquote, urlsplit

from orchestrator.core.errors import BadInput
from providers.base import NotFound, Refused
from providers.documents.settings import Settings
from providers.documents.tokens import google
from providers.documents.web import NO_CACHE, Web, text_of
from providers.fenced import Overtaken, Sheet

ENDPOINT = "https://storage.googleapis.com"
_BOUNDARY = "routing-document"


class GcsDocument:
    """It may: ``storage.objects.get``, ``storage.objects.create`` and ``storage.objects.delete`` (which replacing
    needs), as in the role Storage Object User."""

    def __init__(self, place: str, settings: Settings, where: str) -> None:
        """Raises BadInput for a place without bucket or object."""
        parts = urlsplit(place)
        self._bucket, self._object = parts.netloc, unquote(parts.path.removeprefix("/"))
        self.at = f"gs://{self._bucket}/{self._object}"
        if not self._bucket or not self._object:
            raise BadInput(f"{where} must be gs://bucket/object")
        base = settings.endpoint or ENDPOINT
        path = f"storage/v1/b/{quote(self._bucket, safe='')}/o"
        self._media = f"{base}/{path}/{quote(self._object, safe='')}?alt=media"
        self._upload = f"{base}/upload/{path}?uploadType=multipart&ifGenerationMatch="
        self._web = Web(
            self.at,
            base,
            login=lambda: google(settings) if base.startswith("https://") else None,
            forbidden="grant the role Storage Object User on the bucket",
            unauthenticated="log in again, or renew the worker's service account",
        )

    async def read(self) -> Sheet:
        """Raises Transient, Unauthenticated, Forbidden, NotFound (the bucket)."""
        found = await self._web.get(self._media, {"Cache-Control": NO_CACHE})
        if found.status_code == 404:
            if "No such object" in found.text:
                return Sheet(None, None)
            raise self._nowhere()
        tag = found.headers.get("x-goog-generation")
        if not tag:
            raise Refused(f"{self.at} came without its generation; is {self._media.partition('/storage/')[0]} GCS?")
        return Sheet(text_of(found), tag)

    async def put(self, text: str, *, tag: str | None) -> None:
        """Raises Overtaken, and as ``read``."""
        # In one part more than a plain upload, as only so the object can tell caches to leave it alone.
        about = {"name": self._object, "contentType": "application/json", "cacheControl": NO_CACHE}
        parts = (json.dumps(about), text)
        body = "".join(f"--{_BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{part}\r\n" for part in parts)
        headers = {"Content-Type": f"multipart/related; boundary={_BOUNDARY}"}
        whole = f"{body}--{_BOUNDARY}--\r\n".encode()
        sent = await self._web.send("POST", f"{self._upload}{tag or 0}", headers, whole)
        if sent.status_code == 404:
            raise self._nowhere()
        if sent.status_code in {409, 412}:
            raise Overtaken

    def _nowhere(self) -> NotFound:
        return NotFound(f"there is no bucket {self._bucket}; make it, or mend the place")
