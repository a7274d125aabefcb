"""Calls to AWS with the options that every provider here takes: region, profile, role, endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # the SDK ships no types

from orchestrator.core.errors import BadInput
from providers.aws import errors
from providers.aws.session import Client, client
from providers.base import ProviderError
from providers.calls import Line, line

Reply = dict[str, Any]
"""What the SDK makes of an answer of AWS."""
Told = Callable[[str, str], ProviderError | None]
"""AWS's code and sentence, as an error that this one call knows better than the table of all; None: it does not."""


def _nothing(_code: str, _says: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Way:
    """The way to one service in one region, with one right."""

    service: str
    region: str
    profile: str = ""
    role: str = ""
    endpoint: str = ""

    @classmethod
    def of(cls, service: str, options: Mapping[str, str], who: str, *, region: str = "") -> Self:
        """The way that *options* name, to *region* where they name none. Raises BadInput where nothing names one."""
        where = options.get("region", "") or region
        if not where:
            raise BadInput(f"{who} does not say its region; write options: {{region: eu-west-1}}")
        rest = {name: options.get(name, "") for name in ("profile", "role", "endpoint")}
        return cls(service, where, **rest)

    def to(self, service: str) -> Way:
        """The same way to another service."""
        return replace(self, service=service)

    async def read(self, what: str, operation: str, *, told: Told = _nothing, **arguments: Any) -> Reply:
        """What *operation* answers. Raises what ``errors.translate`` makes of failures, unless *told* knows better."""
        return await self._line.read(what, lambda: self._ask(operation, told, arguments))

    async def read_all(self, what: str, operation: str, *, told: Told = _nothing, **arguments: Any) -> Reply:
        """All pages of what *operation* answers, as one."""
        return await self._line.read(what, lambda: self._pages(operation, told, arguments))

    async def write(self, what: str, operation: str, *, told: Told = _nothing, **arguments: Any) -> Reply:
        """As ``read``, tried once."""
        return await self._line.write(what, lambda: self._ask(operation, told, arguments))

    def _ask(self, operation: str, told: Told, arguments: Mapping[str, Any]) -> Reply:
        return _told(told, lambda: getattr(self._client(), operation)(**arguments))

    def _pages(self, operation: str, told: Told, arguments: Mapping[str, Any]) -> Reply:
        return _told(told, lambda: self._client().get_paginator(operation).paginate(**arguments).build_full_result())

    def _client(self) -> Client:
        return client(self.service, region=self.region, profile=self.profile, role=self.role, endpoint=self.endpoint)

    @property
    def _line(self) -> Line:
        name = f"AWS {self.service} in {self.region}"
        return line(f"{name} at {self.endpoint}" if self.endpoint else name, errors.translate)


def _told(told: Told, do: Callable[[], Reply]) -> Reply:
    try:
        return do()
    except ClientError as error:
        better = told(errors.code(error), errors.says(error))
        if better is not None:
            raise better from error
        raise


def answered_at(reply: Reply) -> datetime:
    """When AWS gave this answer, by its own clock: what it says of its events is counted by the same."""
    said = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return parsedate_to_datetime(said).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)


def parts(target: str, like: str, who: str) -> tuple[str, str]:
    """Both parts of a target such as ``cluster/service``. Raises BadInput for another text."""
    first, slash, second = target.partition("/")
    if not (first and slash and second) or "/" in second:
        raise BadInput(f"the {who} workload '{target}' must be named {like}; mend its target")
    return first, second


def region_of(arn: str, service: str, who: str) -> str:
    """The region that an ARN names. Raises BadInput for a text that is no ARN of *service*."""
    fields = arn.split(":", 5)
    if len(fields) != 6 or fields[0] != "arn" or fields[2] != service:
        raise BadInput(f"{who}: '{arn}' is no ARN of {service}; it begins with arn:aws:{service}:")
    return fields[3]
