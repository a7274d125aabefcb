"""Stores of documents on loopback: plain HTTP, Google Cloud Storage's JSON API, Azure Blob Storage's REST API.

Each keeps text and tag of what is written, and compares before it replaces, as the vendor's page says it does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import HTTP
from urllib.parse import parse_qs, unquote, urlsplit

from real.saboteur import Reply
from wire.http import Request, Wire


@dataclass
class Kept:
    """One document."""

    text: bytes
    version: int

    @property
    def etag(self) -> str:
        return f'"v{self.version}"'


class Store(Wire):
    """Documents by path. Versions are never used twice, as ETags and generations are not."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Kept] = {}
        self._versions = 1000

    def keep(self, path: str, text: bytes) -> Kept:
        """Put it there, by hand."""
        self._versions += 1
        self.kept[path] = Kept(text, self._versions)
        return self.kept[path]

    def write(self, path: str, text: bytes) -> Kept:
        self.effects += 1
        return self.keep(path, text)


def header(request: Request, name: str) -> str | None:
    return next((value for each, value in request.headers.items() if each.lower() == name), None)


def unmatched(request: Request, kept: Kept | None) -> bool:
    """Whether a write's condition does not hold (RFC 9110, section 13.2.2)."""
    match, none_match = header(request, "if-match"), header(request, "if-none-match")
    if match is not None and (kept is None or match not in {"*", kept.etag}):
        return True
    return none_match == "*" and kept is not None


class HttpStore(Store):
    """GET and PUT with ETags. Only what lies under ``/routes/`` can be written."""

    def answer(self, request: Request) -> Reply:
        kept = self.kept.get(request.path)
        if request.method == "GET":
            if kept is None:
                return Reply(404)
            if header(request, "if-none-match") == kept.etag:
                return Reply(304, headers=(("ETag", kept.etag),))
            return Reply(200, kept.text, (("ETag", kept.etag), ("Content-Type", "application/json")))
        if not request.path.startswith("/routes/"):
            return Reply(404)
        if unmatched(request, kept):
            return Reply(412)
        written = self.write(request.path, request.body)
        return Reply(204 if kept else 201, headers=(("ETag", written.etag),))


class GcsStore(Store):
    """Objects of one bucket: ``alt=media`` and multipart uploads (https://cloud.google.com/storage/docs/json_api)."""

    bucket = "routes"

    def answer(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        upload = parts.path.startswith("/upload")
        _, _, rest = parts.path.partition("/storage/v1/b/")
        bucket, _, name = rest.partition("/o")
        if unquote(bucket) != self.bucket:
            return self._error(404, "The specified bucket does not exist.")
        if not upload and request.method == "GET" and query.get("alt") == "media":
            kept = self.kept.get(unquote(name.removeprefix("/")))
            if kept is None:
                return Reply(404, f"No such object: {self.bucket}/{unquote(name.removeprefix('/'))}".encode())
            headers = (("X-Goog-Generation", str(kept.version)), ("ETag", f'"g{kept.version}"'))
            return Reply(200, kept.text, headers)
        if upload and request.method == "POST" and query.get("uploadType") == "multipart":
            about, text = self._parts(request)
            kept = self.kept.get(about["name"])
            if int(query["ifGenerationMatch"]) != (kept.version if kept else 0):
                return self._error(412, "At least one of the pre-conditions you specified did not hold.")
            assert about["cacheControl"] == "no-cache"
            written = self.write(about["name"], text)
            return Reply(200, json.dumps({"name": about["name"], "generation": str(written.version)}).encode())
        return self._error(400, "not served here")

    def _parts(self, request: Request) -> tuple[dict[str, str], bytes]:
        head = f"Content-Type: {header(request, 'content-type')}\r\n\r\n".encode()
        message = message_from_bytes(head + request.body, policy=HTTP)
        about, text = (part.get_payload(decode=True) for part in message.iter_parts())
        return json.loads(about), text

    def _error(self, status: int, message: str) -> Reply:
        return Reply(status, json.dumps({"error": {"code": status, "message": message}}).encode())


class BlobStore(Store):
    """Block blobs of one container (https://learn.microsoft.com/rest/api/storageservices/put-blob)."""

    container = "routes"

    def answer(self, request: Request) -> Reply:
        path = unquote(urlsplit(request.path).path)
        if header(request, "x-ms-version") is None:
            return self._error(400, "InvalidHeaderValue")
        if path.removeprefix("/").partition("/")[0] != self.container:
            return self._error(404, "ContainerNotFound")
        kept = self.kept.get(path)
        if request.method == "GET":
            return Reply(200, kept.text, (("ETag", kept.etag),)) if kept else self._error(404, "BlobNotFound")
        if header(request, "x-ms-blob-type") != "BlockBlob":
            return self._error(400, "InvalidHeaderValue")
        if unmatched(request, kept):
            taken = header(request, "if-none-match") is not None
            return self._error(409, "BlobAlreadyExists") if taken else self._error(412, "ConditionNotMet")
        return Reply(201, headers=(("ETag", self.write(path, request.body).etag),))

    def _error(self, status: int, code: str) -> Reply:
        return Reply(status, headers=(("x-ms-error-code", code),))
