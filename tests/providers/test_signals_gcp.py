"""Signals from Google Cloud Monitoring, asked over HTTP as its REST API is documented."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import SignalSpec
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
from wire.google_monitoring import Monitoring
from wire.google_rest import Answer

POLICY = "17364829"
SECRET = "ya29.very-secret"


@pytest.fixture
def google() -> Iterator[Monitoring]:
    made = Monitoring()
    made.policy(POLICY, "XID errors")
    made.policy("99", "disk full")
    yield made
    made.leave()


def signal(google: Monitoring, target: str = POLICY) -> Signal:
    options = (("endpoint", google.url), ("project", "acme"))
    return registry.signal(SignalSpec("xid", "google-monitoring", target, options=options))


@pytest.mark.parametrize("target", [POLICY, f"projects/acme/alertPolicies/{POLICY}"])
async def test_a_policy_is_active_while_an_alert_of_it_is_open(google: Monitoring, target: str) -> None:
    """Since its first one; alerts of other policies, and closed ones, do not count."""
    source = signal(google, target)
    google.opens("99", "2026-03-01T01:00:00Z")
    google.opens(POLICY, "2026-03-01T01:30:00Z", state="CLOSED")
    assert await source.read() == Sign(False, "no open alert")
    google.opens(POLICY, "2026-03-01T02:10:00.123456789Z")
    sign = await source.read()
    assert (sign.active, sign.text) == (True, "an alert of XID errors")
    assert sign.since == datetime(2026, 3, 1, 2, 10, 0, 123456, UTC)
    google.opens(POLICY, "2026-03-01T02:00:00Z")
    sign = await source.read()
    assert (sign.text, sign.since) == ("2 alerts of XID errors", datetime(2026, 3, 1, 2, 0, tzinfo=UTC))
    assert google.authorizations == [None] * len(google.seen), "plain http gets no credentials"


async def test_alerts_are_read_page_by_page(google: Monitoring) -> None:
    """A project that has many does not hide ours."""
    google.page = 2
    for minute in range(5):
        google.opens("99", f"2026-03-01T01:0{minute}:00Z")
    google.opens(POLICY, "2026-03-01T02:10:00Z")
    assert (await signal(google).read()).active
    google.page = 0
    with pytest.raises(Refused, match="too many to read"):
        await signal(google).read()


async def test_a_policy_that_is_disabled_or_not_there_is_told(google: Monitoring) -> None:
    """Neither must look like silence."""
    google.policies[POLICY]["enabled"] = False
    with pytest.raises(Inconclusive, match="is disabled"):
        await signal(google).read()
    with pytest.raises(NotFound):
        await signal(google, "4711").read()


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ((401, "UNAUTHENTICATED", SECRET), Unauthenticated, "does not accept the credentials"),
        ((403, "PERMISSION_DENIED", SECRET), Forbidden, "monitoring.alerts.list"),
        ((404, "NOT_FOUND", SECRET), NotFound, "compare the names"),
        ((429, "RESOURCE_EXHAUSTED", SECRET), Throttled, "patience"),
        ((500, "INTERNAL", SECRET), Transient, "500"),
        ((503, "UNAVAILABLE", SECRET), Transient, "503"),
        ((400, "INVALID_ARGUMENT", "the filter is odd"), Refused, "the filter is odd"),
    ],
)
async def test_each_refusal_says_what_to_do(
    google: Monitoring, answer: Answer, error: type[ProviderError], says: str
) -> None:
    """The error's name says what the caller does, its sentence what people do."""
    google.meets = lambda _method, path: answer if "/alerts" in path else None
    with pytest.raises(error, match=says) as told:
        await signal(google).read()
    assert type(told.value) is error
    assert SECRET not in str(told.value)
    assert "\n" not in str(told.value)


async def test_nobody_there_is_told(google: Monitoring) -> None:
    """It may work next time."""
    google.leave()
    with pytest.raises(Transient):
        await signal(google).read()


@pytest.mark.parametrize(
    ("target", "options", "says"),
    [
        (POLICY, (), "needs the option project"),
        ("projects/acme/alerts/1", (("project", "acme"),), "is no alerting policy"),
        ("projects/acme/alertPolicies/", (("project", "acme"),), "is no alerting policy"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(target: str, options: tuple[tuple[str, str], ...], says: str) -> None:
    """Before anything is asked."""
    with pytest.raises(BadInput, match=says):
        registry.signal(SignalSpec("xid", "google-monitoring", target, options=options))
