"""Signals by queries of Prometheus, or of what speaks its API (Thanos, Mimir, VictoriaMetrics).

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
from providers import secrets
from providers.base import Forbidden, NotFound, ProviderError, Refused, Sign, Throttled, Transient, Unauthenticated
from providers.calls import CALL_S

QUOTED = 80
"""Characters of a query or of an answer that a sentence repeats."""


class PrometheusSignal:
    """Active while the query gives any sample that is not 0: write it as an alerting rule's ``expr``."""

    def __init__(self, spec: SignalSpec) -> None:
        """Raises BadInput for a handle without the server's URL."""
        url = dict(spec.options).get("url", "")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BadInput(
                f"signal '{spec.id}' does not say where its Prometheus is; write options: {{url: https://...}}"
            )
        if spec.secret is not None and parts.scheme != "https":
            raise BadInput(f"signal '{spec.id}' would send its token in the open; give its Prometheus an https URL")
        self._spec = spec
        self._at = parts.netloc.rpartition("@")[2]
        self._url = f"{url.rstrip('/')}/api/v1/query"

    async def read(self) -> Sign:
        """Ask once. Raises as ``samples``."""
        high = tuple(each for each in await self.samples() if each != 0.0)
        return Sign(bool(high), _said(high) if high else "nothing")

    async def samples(self) -> tuple[float, ...]:
        """The values that the query gives now. Raises Transient, Throttled, Unauthenticated, Forbidden, NotFound, and
        Refused for a query that is not understood."""
        headers = {}
        if self._spec.secret is not None:
            headers["Authorization"] = f"Bearer {secrets.resolve(self._spec.secret)}"
        try:
            async with httpx.AsyncClient(timeout=CALL_S, follow_redirects=False) as client:
                answer = await client.post(self._url, data={"query": self._spec.target}, headers=headers)
        except httpx.HTTPError as error:
            raise Transient(f"Prometheus at {self._at} cannot be reached ({type(error).__name__})") from None
        if answer.status_code != httpx.codes.OK:
            raise self._refusal(answer)
        try:
            return tuple(_samples(answer.json()["data"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self._at} does not answer as Prometheus does; correct the url of its signal") from error

    def _refusal(self, answer: httpx.Response) -> ProviderError:
        where, status, signal = f"Prometheus at {self._at}", answer.status_code, f"signal '{self._spec.id}'"
        told: dict[int, ProviderError] = {
            401: Unauthenticated(f"{where} does not take the token of {signal}; give it a good one"),
            403: Forbidden(f"{where} does not let the token of {signal} query; grant it reading"),
            404: NotFound(f"{where} has no query API there; correct the url of {signal}"),
            429: Throttled(f"{where} asks for patience"),
            **dict.fromkeys(
                (400, 422),
                Refused(f"{where} does not understand '{self._spec.target[:QUOTED]}'; correct the query of {signal}"),
            ),
        }
        if status >= 500:
            return Transient(f"{where} answered {status}")
        return told.get(status) or Refused(f"{where} answered {status}; correct the url of {signal}")


def _samples(data: dict[str, Any]) -> Iterator[float]:
    """The values of an instant query: of a vector, or of a scalar. What is no number is no signal."""
    result = data["result"]
    values = [result[1]] if data["resultType"] == "scalar" else [each["value"][1] for each in result]
    for value in values:
        number = float(value)
        if not math.isnan(number):
            yield number


def _said(high: tuple[float, ...]) -> str:
    most = max(high, key=abs)
    return f"{most:g}" if len(high) == 1 else f"{len(high)} series, the most {most:g}"
