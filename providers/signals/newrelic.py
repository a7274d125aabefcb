"""Signals from New Relic: a query in NRQL, asked by NerdGraph.

https://docs.newrelic.com/docs/apis/nerdgraph/examples/nerdgraph-nrql-tutorial/
The key is a *user* key, sent as ``API-Key``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
from providers.base import Inconclusive, ProviderError, Refused, Sign, Transient
from providers.signals.asking import Api, Json

_ASKS = """query($account: Int!, $nrql: Nrql!) {
  actor { account(id: $account) { nrql(query: $nrql, timeout: 5) { results } } }
}"""
"""Within 5 s, New Relic's own default (https://docs.newrelic.com/docs/nrql/using-nrql/rate-limits-nrql-queries)."""
_RIGHT = "reading of the account"
_NO_VALUES = frozenset({"beginTimeSeconds", "endTimeSeconds", "timestamp", "inspectedCount"})
"""Numbers beside the query's own."""


class NewRelicQuery:
    """Active while the first number of the query's first row is above 0: write a count of what is wrong."""

    def __init__(self, spec: SignalSpec) -> None:
        """Raises BadInput without an https URL, an account or a secret."""
        account = dict(spec.options).get("account", "")
        if not (account.isascii() and account.isdigit()):
            raise BadInput(
                f"signal '{spec.id}' does not say its New Relic account; write options: {{account: 1234567}}"
            )
        self._api = Api(spec, "New Relic", "API-Key", example="https://api.eu.newrelic.com")
        self._account = int(account)
        self._query = spec.target
        self._signal = spec.id

    async def read(self) -> Sign:
        """Raises Inconclusive where the query gives no number; Refused for one that is not understood, and as
        ``Api.ask``."""
        said = await self._api.ask(
            "POST",
            "/graphql",
            missing="no NerdGraph there; correct the url",
            right=_RIGHT,
            body={"query": _ASKS, "variables": {"account": self._account, "nrql": self._query}},
        )
        if said.get("errors"):
            raise self._refusal(said["errors"])
        rows = self._rows(said)
        if not rows:
            return Sign(False, "no rows")
        number = next(_numbers(rows[0]), None)
        if number is None:
            raise Inconclusive(
                f"the query of signal '{self._signal}' gives no number at {self._api.at}; count what is wrong"
            )
        return Sign(number > 0, f"{number:g}")

    def _rows(self, said: Json) -> list[Any]:
        try:
            account = said["data"]["actor"]["account"]
            if account is None:
                raise self._api.lacks(_RIGHT)
            rows = account["nrql"]["results"]
        except (KeyError, TypeError):
            raise self._api.odd() from None
        if not isinstance(rows, list):
            raise self._api.odd()
        return rows

    def _refusal(self, errors: Any) -> ProviderError:
        """GraphQL tells its errors with status 200, by a class."""
        first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
        extensions = first.get("extensions")
        told = extensions if isinstance(extensions, dict) else {}
        kind = str(told.get("errorClass") or told.get("error_code") or "").upper()[:40]
        if kind in {"BAD_API_KEY", "UNAUTHENTICATED", "UNAUTHORIZED"}:
            return self._api.unknown_key()
        if kind in {"ACCESS_DENIED", "FORBIDDEN"}:
            return self._api.lacks(_RIGHT)
        if kind in {"TOO_MANY_REQUESTS", "RATE_LIMITED"}:
            return self._api.patience()
        if kind in {"TIMEOUT", "SERVER_ERROR", "INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE"}:
            return Transient(f"{self._api.at} failed ({kind})")
        return Refused(
            f"{self._api.at} does not understand the query of signal '{self._signal}' ({kind or 'it says no class'}); "
            "try it there, and correct it"
        )


def _numbers(value: Any, name: str = "") -> Iterator[float]:
    """The numbers of a row in their order, those of percentiles one level deeper."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from _numbers(inner, key)
        case bool():
            return
        case int() | float() if name not in _NO_VALUES and not math.isnan(value):
            yield float(value)
