"""A document in S3: conditional writes by ETag.

S3 reads are strongly consistent, and compares in PutObject are atomic
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from orchestrator.core.errors import BadInput
from providers.base import NotFound, ProviderError, Refused, Throttled
from providers.calls import Line, line
from providers.documents.settings import Settings
from providers.documents.web import LARGEST, NO_CACHE
from providers.fenced import Overtaken, Sheet

_OVERTAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})
"""The tag is another; somebody writes in this moment; what had the tag is gone."""


class S3Document:
    """It may: ``s3:GetObject``, ``s3:PutObject`` on the key, and ``s3:ListBucket`` on the bucket, without which S3 says
    403 where there is no object yet."""

    def __init__(self, place: str, settings: Settings, where: str) -> None:
        """Raises BadInput for a place without bucket or key, or where the region is not said."""
        parts = urlsplit(place)
        self._bucket, self._key = parts.netloc, unquote(parts.path.removeprefix("/"))
        self.at = f"s3://{self._bucket}/{self._key}"
        if not self._bucket or not self._key:
            raise BadInput(f"{where} must be s3://bucket/key")
        if not settings.region:
            raise BadInput(f"{where} is in S3: say in which region the bucket lives (fence_region or region)")
        self._settings = settings

    async def read(self) -> Sheet:
        """Raises Transient, Unauthenticated, Forbidden, NotFound (the bucket)."""
        return await self._line.read(f"read {self.at}", self._look)

    async def put(self, text: str, *, tag: str | None) -> None:
        """Raises Overtaken, and as ``read``."""
        if not await self._line.write(f"write {self.at}", lambda: self._replace(text, tag)):
            raise Overtaken

    def _look(self) -> Sheet:
        try:
            found = self._client().get_object(Bucket=self._bucket, Key=self._key)
        except Exception as error:
            if _code(error) == "NoSuchKey":
                return Sheet(None, None)
            raise self._own(error) from error
        text = found["Body"].read(LARGEST + 1)
        if len(text) > LARGEST:
            raise Refused(f"{self.at} has more than {LARGEST} bytes, which no routing document has; name another key")
        return Sheet(text.decode("utf-8", "replace"), found["ETag"])

    def _replace(self, text: str, tag: str | None) -> bool:
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        try:
            self._client().put_object(
                Bucket=self._bucket,
                Key=self._key,
                Body=text.encode(),
                ContentType="application/json",
                CacheControl=NO_CACHE,
                **condition,
            )
        except Exception as error:
            if _code(error) in _OVERTAKEN:
                return False
            raise self._own(error) from error
        return True

    def _own(self, error: Exception) -> Exception:
        match _code(error):
            case "NoSuchBucket":
                return NotFound(
                    f"there is no bucket {self._bucket} in {self._settings.region}; make it, or mend the place"
                )
            case "SlowDown":
                return Throttled(f"S3 asks for patience at {self.at}")
            case "PermanentRedirect" | "AuthorizationHeaderMalformed":
                return Refused(
                    f"bucket {self._bucket} does not live in {self._settings.region}; name its region in fence_region"
                )
            case _:
                return error

    def _client(self) -> Any:
        from providers.aws.session import client  # noqa: PLC0415 - the SDK is loaded where it is used

        each = self._settings
        return client("s3", region=each.region, profile=each.profile, role=each.role, endpoint=each.endpoint)

    @property
    def _line(self) -> Line:
        name = f"s3 in {self._settings.region}"
        return line(f"{name} at {self._settings.endpoint}" if self._settings.endpoint else name, _translate)


def _translate(error: Exception, what: str) -> ProviderError:
    from providers.aws.errors import translate  # noqa: PLC0415 - the SDK is loaded where it is used

    return translate(error, what)


def _code(error: Exception) -> str:
    """The code of an error that S3 answered, such as ``NoSuchKey``; empty for others."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
