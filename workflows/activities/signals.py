"""Outside evidence on its way in heartbeats: packed by probers, unpacked by whoever reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.signals import Effect, Evidence
from orchestrator.prober.signals import Active
from workflows.activities.documents import pack, unpack

MOST = 500
"""Signals that a heartbeat tells of, those that make traffic leave first: more want more shards."""
TEXT = 160
"""Characters of each that travel."""
ORDER = (Effect.DRAIN, Effect.DOUBT, Effect.NOTE)
Signs = dict[ServiceId, tuple[Evidence, ...]]


def packed(active: Iterable[Active]) -> str:
    """*active* as it travels."""
    by: dict[str, list[tuple[object, ...]]] = {}
    ranked = sorted(active, key=lambda each: (ORDER.index(each.spec.effect), each.service, each.endpoint, each.spec.id))
    for each in ranked[:MOST]:
        since = each.sign.since.isoformat() if each.sign.since else ""
        said = (each.endpoint, each.spec.id, each.spec.effect, each.sign.text[:TEXT], since, round(each.age_s))
        by.setdefault(each.service, []).append(said)
    return pack(json.dumps(by, separators=(",", ":"))) if by else ""


def evidence(text: str, at: datetime) -> Signs:
    """What *text*, packed at *at* by the server's clock, says of each service. Raises ValueError for another format."""
    if not text:
        return {}
    try:
        said: dict[str, list[Any]] = json.loads(unpack(text))
        return {
            ServiceId(service): tuple(
                Evidence(
                    EndpointId(endpoint),
                    str(signal),
                    Effect(effect),
                    str(phrase),
                    at - timedelta(seconds=int(age)),
                    datetime.fromisoformat(since) if since else None,
                )
                for endpoint, signal, effect, phrase, since, age in there
            )
            for service, there in said.items()
        }
    except Exception as error:
        raise ValueError(f"a heartbeat says its signals in another way: {type(error).__name__}") from error
