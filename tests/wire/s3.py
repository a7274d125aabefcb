"""Buckets of S3 in memory: objects with ETags, conditional puts, lists. Addressed by path."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from real.saboteur import Reply
from wire.http import Request, Wire

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


class S3(Wire):
    """The service."""

    def __init__(self, *buckets: str) -> None:
        super().__init__()
        self.buckets: dict[str, dict[str, bytes]] = {name: {} for name in buckets}

    def answer(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        bucket, _, key = unquote(parts.path).removeprefix("/").partition("/")
        objects = self.buckets.get(bucket)
        if objects is None:
            return error(404, "NoSuchBucket", "The specified bucket does not exist")
        headers = {name.lower(): value for name, value in request.headers.items()}
        match request.method:
            case "GET" if not key:
                return _listed(bucket, objects, parse_qs(parts.query, keep_blank_values=True))
            case "GET":
                return _got(objects, key)
            case "PUT":
                return self._put(objects, key, request.body, headers)
            case _:
                self.effects += key in objects
                objects.pop(key, None)
                return Reply(204)

    def _put(self, objects: dict[str, bytes], key: str, body: bytes, headers: dict[str, str]) -> Reply:
        now = etag(objects[key]) if key in objects else None
        if headers.get("if-none-match") == "*" and now is not None:
            return error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        if "if-match" in headers and now is None:
            return error(404, "NoSuchKey", "The specified key does not exist.")
        if "if-match" in headers and headers["if-match"] != now:
            return error(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        assert headers.get("content-encoding") != "aws-chunked", "this server reads whole bodies only"
        self.effects += objects.get(key) != body
        objects[key] = body
        return Reply(200, b"", (("etag", etag(body)),))


def _got(objects: dict[str, bytes], key: str) -> Reply:
    if key not in objects:
        return error(404, "NoSuchKey", "The specified key does not exist.")
    return Reply(200, objects[key], (("etag", etag(objects[key])),))


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def error(status: int, code: str, message: str) -> Reply:
    """A refusal in S3's XML."""
    body = f"{_HEAD}<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Reply(status, body.encode(), (("content-type", "application/xml"),))


def _listed(bucket: str, objects: dict[str, bytes], query: dict[str, list[str]]) -> Reply:
    prefix, most = query.get("prefix", [""])[0], int(query.get("max-keys", ["1000"])[0])
    keys = sorted(key for key in objects if key.startswith(prefix))
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><ETag>{escape(etag(objects[key]))}</ETag><Size>{len(objects[key])}</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys[:most]
    )
    body = (
        f'{_HEAD}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(keys[:most])}</KeyCount>"
        f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(len(keys) > most).lower()}</IsTruncated>{contents}"
        "</ListBucketResult>"
    )
    return Reply(200, body.encode(), (("content-type", "application/xml"),))
