"""Signals from Datadog and New Relic over TLS, at servers that answer as their APIs are documented."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prober.servers import authority

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Secret, SecretSource, SignalSpec
from providers import registry
from providers.base import (
    Forbidden,
    Inconclusive,
    NotFound,
    ProviderError,
    Refused,
    Sign,
    Signal,
    Throttled,
    Transient,
    Unauthenticated,
)
from real.saboteur import Reply
from wire.http import Request, Wire

KEY = "ddsat_very-secret"
QUERY = "SELECT count(*) FROM SystemSample WHERE xid IS NOT NULL SINCE 5 minutes ago"
GRAPHQL = "query($account: Int!, $nrql: Nrql!)"


class Vendor(Wire):
    """Answers what was laid out, to who has the key."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.said: Any = {}
        self.header = "Authorization"
        self.key = f"Bearer {KEY}"

    def answer(self, request: Request) -> Reply:
        if request.headers.get(self.header) != self.key:
            return Reply(401, KEY.encode())
        return Reply(self.status, json.dumps(self.said).encode() if self.status == 200 else KEY.encode())


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    made = Vendor()
    trust = authority(tmp_path)
    made._server.socket = trust.context("localhost").wrap_socket(made._server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", trust.path)
    monkeypatch.setenv("WATCHER_KEY", f"{KEY}\n")
    yield made.start()
    made.close()


def of(vendor: Vendor) -> str:
    return vendor.url.replace("http://127.0.0.1", "https://localhost")


def datadog(vendor: Vendor, **options: str) -> Signal:
    given = (("url", of(vendor)), *options.items())
    return registry.signal(
        SignalSpec("xid", "datadog", "4711", options=given, secret=Secret(SecretSource.ENV, "WATCHER_KEY"))
    )


def newrelic(vendor: Vendor) -> Signal:
    vendor.header, vendor.key = "API-Key", KEY
    given = (("account", "1234567"), ("url", of(vendor)))
    return registry.signal(
        SignalSpec("xid", "newrelic", QUERY, options=given, secret=Secret(SecretSource.ENV, "WATCHER_KEY"))
    )


def rows(*found: Any) -> dict[str, Any]:
    return {"data": {"actor": {"account": {"nrql": {"results": list(found)}}}}}


async def test_a_monitor_is_active_in_alert(vendor: Vendor) -> None:
    """With its name, and the time since when; Warn and OK are not active."""
    vendor.said = {
        "name": "XID errors",
        "overall_state": "Alert",
        "overall_state_modified": "2026-03-01T02:10:00.5+00:00",
    }
    sign = await datadog(vendor).read()
    assert sign == Sign(True, "XID errors is in Alert", datetime(2026, 3, 1, 2, 10, 0, 500_000, UTC))
    assert [request.path for request in vendor.seen] == ["/api/v1/monitor/4711"]
    for state in ("OK", "Warn"):
        vendor.said = {"overall_state": state, "overall_state_modified": None}
        assert await datadog(vendor).read() == Sign(False, state)


@pytest.mark.parametrize("state", ["No Data", "Unknown", "Skipped", "Ignored"])
async def test_a_monitor_without_data_is_neither_yes_nor_no(vendor: Vendor, state: str) -> None:
    """No data is never a yes."""
    vendor.said = {"overall_state": state}
    with pytest.raises(Inconclusive, match=state):
        await datadog(vendor).read()


async def test_one_group_of_a_monitor_can_be_all_that_counts(vendor: Vendor) -> None:
    """One monitor for all regions is a signal for each."""
    vendor.said = {
        "name": "XID errors",
        "overall_state": "Alert",
        "state": {
            "groups": {
                "region:us": {"status": "Alert", "last_triggered_ts": 1772331000},
                "region:eu": {"status": "OK", "last_triggered_ts": 1772331000},
                "region:ap": {"status": "No Data"},
            }
        },
    }
    assert await datadog(vendor, group="region:us").read() == Sign(
        True, "XID errors is in Alert", datetime(2026, 3, 1, 2, 10, tzinfo=UTC)
    )
    assert vendor.seen[0].path == "/api/v1/monitor/4711?group_states=all"
    assert await datadog(vendor, group="region:eu").read() == Sign(False, "OK")
    with pytest.raises(Inconclusive, match="group region:ap"):
        await datadog(vendor, group="region:ap").read()
    with pytest.raises(NotFound, match="no group 'region:mars'"):
        await datadog(vendor, group="region:mars").read()


@pytest.mark.parametrize(
    ("found", "active", "text"),
    [
        ([{"count": 3}], True, "3"),
        ([{"count": 0}], False, "0"),
        ([{"beginTimeSeconds": 1772331000, "endTimeSeconds": 1772331300, "count": 0}], False, "0"),
        ([{"facet": "us", "count": 2}, {"facet": "eu", "count": 9}], True, "2"),
        ([{"percentile.duration": {"95": 0.25}}], True, "0.25"),
        ([{"average.duration": -1.5}], False, "-1.5"),
        ([], False, "no rows"),
    ],
)
async def test_a_query_is_active_while_its_first_number_is_above_0(
    vendor: Vendor, found: list[Any], active: bool, text: str
) -> None:
    """The numbers that New Relic puts beside it do not count."""
    source = newrelic(vendor)
    vendor.said = rows(*found)
    assert await source.read() == Sign(active, text)
    (request,) = vendor.seen
    body = json.loads(request.body)
    assert (request.method, request.path) == ("POST", "/graphql")
    assert body["query"].startswith(GRAPHQL)
    assert body["variables"] == {"account": 1234567, "nrql": QUERY}


@pytest.mark.parametrize("row", [{"average.duration": None}, {"facet": "us"}, {"ok": True}])
async def test_a_query_without_a_number_is_neither_yes_nor_no(vendor: Vendor, row: Any) -> None:
    """An average of nothing is null."""
    source = newrelic(vendor)
    vendor.said = rows(row)
    with pytest.raises(Inconclusive, match="gives no number"):
        await source.read()


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"errorClass": "ACCESS_DENIED"}, Forbidden),
        ({"error_code": "BAD_API_KEY"}, Unauthenticated),
        ({"errorClass": "TOO_MANY_REQUESTS"}, Throttled),
        ({"errorClass": "TIMEOUT"}, Transient),
        ({"errorClass": "SERVER_ERROR"}, Transient),
        ({"errorClass": "INVALID_INPUT"}, Refused),
        (None, Refused),
    ],
)
async def test_errors_of_graphql_come_with_status_200(vendor: Vendor, told: Any, error: type[ProviderError]) -> None:
    """Their class says what the caller does."""
    source = newrelic(vendor)
    vendor.said = {"data": None, "errors": [{"message": KEY, "extensions": told}]}
    with pytest.raises(error) as caught:
        await source.read()
    assert type(caught.value) is error
    assert KEY not in str(caught.value)


async def test_an_account_that_the_key_does_not_see_is_told(vendor: Vendor) -> None:
    """New Relic answers null for it."""
    source = newrelic(vendor)
    vendor.said = {"data": {"actor": {"account": None}}}
    with pytest.raises(Forbidden, match="grant it reading of the account"):
        await source.read()


@pytest.mark.parametrize("make", [datadog, newrelic])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (429, Throttled),
        (500, Transient),
        (503, Transient),
        (302, Refused),
        (400, Refused),
    ],
)
async def test_each_refusal_says_what_to_do(
    vendor: Vendor, make: Callable[[Vendor], Signal], status: int, error: type[ProviderError]
) -> None:
    """The error's name says what the caller does; no key is in it."""
    source = make(vendor)
    vendor.status = status
    with pytest.raises(error, match="localhost") as told:
        await source.read()
    assert type(told.value) is error
    assert KEY not in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("make", [datadog, newrelic])
@pytest.mark.parametrize("odd", [[], "text", {"odd": 1}, {"overall_state": 7, "data": {"actor": 7}}, None])
async def test_what_is_no_such_api_is_told(vendor: Vendor, make: Callable[[Vendor], Signal], odd: Any) -> None:
    """An answer of another shape is no signal."""
    source = make(vendor)
    vendor.said = odd
    with pytest.raises(Refused, match="does not answer as its API does"):
        await source.read()


@pytest.mark.parametrize("make", [datadog, newrelic])
async def test_a_vendor_that_is_away_and_a_key_that_cannot_be_sent_are_told(
    vendor: Vendor, make: Callable[[Vendor], Signal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first may work next time; the second is not shown."""
    source = make(vendor)
    monkeypatch.setenv("WATCHER_KEY", "two\r\nlines")
    with pytest.raises(Unauthenticated) as told:
        await source.read()
    assert "lines" not in str(told.value)
    monkeypatch.setenv("WATCHER_KEY", KEY)
    vendor.leave()
    with pytest.raises(Transient, match="cannot be reached"):
        await source.read()


@pytest.mark.parametrize(
    ("provider", "target", "options", "secret", "says"),
    [
        ("datadog", "4711", {}, True, "does not say where its Datadog is"),
        ("datadog", "4711", {"url": "http://api.datadoghq.eu"}, True, "in the open"),
        ("datadog", "4711", {"url": "https://api.datadoghq.eu"}, False, "has no key for Datadog"),
        ("datadog", "XID", {"url": "https://api.datadoghq.eu"}, True, "is no id of a monitor"),
        ("newrelic", QUERY, {"account": "1"}, True, "does not say where its New Relic is"),
        ("newrelic", QUERY, {"account": "1", "url": "http://api.newrelic.com"}, True, "in the open"),
        ("newrelic", QUERY, {"account": "1", "url": "https://api.newrelic.com"}, False, "has no key for New Relic"),
        ("newrelic", QUERY, {"url": "https://api.newrelic.com"}, True, "does not say its New Relic account"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(
    provider: str, target: str, options: dict[str, str], secret: bool, says: str
) -> None:
    """Before anything is asked, and before a key is read."""
    pointer = Secret(SecretSource.ENV, "NOT_SET") if secret else None
    with pytest.raises(BadInput, match=says):
        registry.signal(SignalSpec("xid", provider, target, options=tuple(options.items()), secret=pointer))
