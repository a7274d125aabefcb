"""Signals from Azure Monitor, by the door of all that is asked of Azure."""

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
from real.saboteur import Mischief
from wire.arm import GROUP, SUBSCRIPTION, reply
from wire.arm_alerts import LOG_RULE, RULE, Monitor

SECRET = "eyJ0-very-secret"


@pytest.fixture
def azure() -> Iterator[Monitor]:
    made = Monitor().start()
    yield made
    made.close()


def signal(azure: Monitor, target: str = RULE) -> Signal:
    return registry.signal(SignalSpec("xid", "azure-monitor", target, options=(("endpoint", azure.url),)))


@pytest.mark.parametrize("rule", [RULE, LOG_RULE, RULE.upper().replace("/SUBSCRIPTIONS", "/subscriptions")])
async def test_a_rule_is_active_while_an_alert_of_it_is_fired(azure: Monitor, rule: str) -> None:
    """Since its first one; alerts of other rules, resolved ones, and those that a person has closed do not count."""
    source = signal(azure, rule)
    azure.fires(RULE + "-other", "2026-03-01T01:00:00Z")
    azure.fires(rule, "2026-03-01T01:10:00Z", monitorCondition="Resolved")
    azure.fires(rule, "2026-03-01T01:20:00Z", alertState="Closed")
    assert await source.read() == Sign(False, "no fired alert")
    azure.fires(rule, "2026-03-01T02:10:00.1234567Z", alertState="Acknowledged", severity="Sev3")
    sign = await source.read()
    name = rule.rpartition("/")[2]
    assert (sign.active, sign.text) == (True, f"an alert of {name} fired (Sev3)")
    assert sign.since == datetime(2026, 3, 1, 2, 10, 0, 123456, UTC)
    azure.fires(rule, "2026-02-10T02:00:00Z", days=19)
    sign = await source.read()
    assert (sign.text, sign.since) == (f"2 alerts of {name} fired (Sev1)", datetime(2026, 2, 10, 2, 0, tzinfo=UTC))
    assert all(request.headers.get("Authorization") is None for request in azure.seen)


async def test_alerts_are_read_page_by_page(azure: Monitor) -> None:
    """A subscription that has many does not hide ours."""
    azure.page = 2
    for minute in range(5):
        azure.fires(LOG_RULE, f"2026-03-01T01:0{minute}:00Z")
    azure.fires(RULE, "2026-03-01T02:10:00Z")
    assert (await signal(azure).read()).active


async def test_a_rule_that_can_say_nothing_is_told(azure: Monitor) -> None:
    """Not there, disabled, or without an end: none of them must look like silence, or stay for ever."""
    with pytest.raises(NotFound):
        await signal(azure, RULE + "-gone").read()
    kept = azure.state.resources[RULE.lower()].properties
    kept["enabled"] = False
    with pytest.raises(Inconclusive, match="alert rule xid is disabled"):
        await signal(azure).read()
    kept |= {"enabled": True, "autoMitigate": False}
    with pytest.raises(Refused, match="do not end by themselves; set its autoMitigate"):
        await signal(azure).read()


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "ExpiredAuthenticationToken", Unauthenticated),
        (403, "AuthorizationFailed", Forbidden),
        (404, "SubscriptionNotFound", NotFound),
        (429, "TooManyRequests", Throttled),
        (500, "InternalServerError", Transient),
        (503, "ServiceUnavailable", Transient),
        (400, "BadRequest", Refused),
    ],
)
async def test_each_refusal_says_what_to_do(azure: Monitor, status: int, code: str, error: type[ProviderError]) -> None:
    """The error's name says what the caller does, its sentence what people do."""
    message = "no" if error in {Forbidden, Refused} else SECRET
    refusal = reply(status, {"error": {"code": code, "message": message}})
    azure.mischief.append(Mischief(lambda _method, path, _body: "AlertsManagement" in path, 9, refusal))
    with pytest.raises(error, match=code) as told:
        await signal(azure).read()
    assert type(told.value) is error
    assert SECRET not in str(told.value)
    assert "\n" not in str(told.value)


async def test_nobody_there_is_told(azure: Monitor) -> None:
    """It may work next time."""
    azure.leave()
    with pytest.raises(Transient):
        await signal(azure).read()


@pytest.mark.parametrize(
    "target",
    [
        "xid",
        f"{GROUP}/providers/Microsoft.Insights/activityLogAlerts/service-health",
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Insights/metricAlerts/xid",
        f"{RULE}/more",
    ],
)
def test_what_is_no_rule_with_a_state_is_refused(target: str) -> None:
    """An alert of the activity log has none: it would stand fired for a month."""
    with pytest.raises(BadInput, match="signal 'xid'"):
        registry.signal(SignalSpec("xid", "azure-monitor", target))
