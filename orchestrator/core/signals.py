"""Signals: what others say of an endpoint - an alarm, a notice that its machine goes away. Pure.

A signal is evidence beside the probes. It may make an endpoint a doubtful target, or be a reason to leave it in good
time; it never says that an endpoint works, and never alone that it is down. No word of a signal is no word: evidence
that is not renewed is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.core.names import EndpointId

KEPT_S = 180.0
"""Evidence is forgotten when nobody has renewed it for so long: its source is asked at least once a minute."""


class Effect(StrEnum):
    """What an active signal does."""

    NOTE = "note"
    """It is told beside the verdict."""
    DOUBT = "doubt"
    """Automation moves no traffic to the endpoint without asking."""
    DRAIN = "drain"
    """The same, and traffic that goes there is moved away by a planned move, as the service's mode allows."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One signal that is active at one endpoint."""

    endpoint: EndpointId
    signal: str
    """Its id in the topology."""
    effect: Effect
    text: str
    """What its source says, in a phrase."""
    heard: datetime
    """When its source last said so, by the server's clock."""
    since: datetime | None = None
    """Since when, where the source knows."""


def gathered(*told: Evidence) -> tuple[Evidence, ...]:
    """What several vantages have heard, each signal once, by the latest word; sorted by endpoint and signal."""
    latest: dict[tuple[EndpointId, str], Evidence] = {}
    for each in told:
        before = latest.get((each.endpoint, each.signal))
        if before is None or each.heard >= before.heard:
            latest[each.endpoint, each.signal] = each
    return tuple(latest[key] for key in sorted(latest))


def remembered(known: tuple[Evidence, ...], *, now: datetime) -> tuple[Evidence, ...]:
    """*known* without what nobody has renewed for too long."""
    return tuple(each for each in known if now - each.heard <= timedelta(seconds=KEPT_S))


def against(evidence: tuple[Evidence, ...], endpoint: EndpointId, *effects: Effect) -> tuple[Evidence, ...]:
    """What is known of *endpoint* with one of *effects*."""
    return tuple(each for each in evidence if each.endpoint == endpoint and each.effect in effects)


def said(found: tuple[Evidence, ...]) -> str:
    """*found* in one phrase: ``gpu-errors: 3 XID errors in 5 min, since 02:10:07``."""
    return "; ".join(
        f"{each.signal}: {each.text}" + (f", since {each.since:%Y-%m-%dT%H:%M:%SZ}" if each.since else "")
        for each in found
    )
