"""Observed load on its way in heartbeats: packed by probers, unpacked by whoever reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from orchestrator.core.load import Observed
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.prober import Loads, Signals
from orchestrator.prober.loads import Sighting
from workflows.activities import signals as signs
from workflows.activities.documents import pack, unpack
from workflows.wire.watching import LoadsBeat

MOST = 2000
"""Endpoints that a heartbeat tells of, those with most in flight first: more want more shards."""
PACK_EVERY_S = 1.0
By = dict[ServiceId, tuple[Observed, ...]]


class Packed:
    """What *loads* and *signals* have seen, packed anew now and then: never by who beats, for that is the engine's
    tick."""

    def __init__(self, loads: Loads, signals: Signals | None = None) -> None:
        self._loads = loads
        self._signals = signals
        self._packed = self._signs = ""
        self._at = 0.0

    async def run(self) -> None:
        """Pack until cancelled."""
        while True:
            at, seen = monotonic(), tuple(self._loads.seen())
            active = tuple(self._signals.active()) if self._signals is not None else ()
            said = await asyncio.to_thread(packed, seen) if seen else ""
            self._packed, self._signs, self._at = said, signs.packed(active), at
            await asyncio.sleep(PACK_EVERY_S)

    def details(self) -> tuple[LoadsBeat, ...]:
        """What a heartbeat says besides; nothing while nothing is known."""
        if not self._packed and not self._signs:
            return ()
        return (LoadsBeat(self._packed, round(monotonic() - self._at, 1), self._signs),)


def packed(seen: Iterable[Sighting]) -> str:
    """*seen* as it travels."""
    by: dict[str, list[tuple[str, int, int]]] = {}
    for each in sorted(seen, key=lambda each: (-each.in_flight, each.service, each.endpoint))[:MOST]:
        by.setdefault(each.service, []).append((each.endpoint, each.in_flight, round(each.age_s)))
    return pack(json.dumps(by, separators=(",", ":")))


def observed(beat: LoadsBeat, at: datetime) -> By:
    """What *beat*, which the server stamped at *at*, says of each service. Raises ValueError for another format."""
    if not beat.packed:
        return {}
    try:
        said: dict[str, list[Any]] = json.loads(unpack(beat.packed))
        when = at - timedelta(seconds=max(0.0, beat.age_s))
        return {
            ServiceId(service): tuple(
                Observed(EndpointId(endpoint), int(count), when - timedelta(seconds=int(age)))
                for endpoint, count, age in there
            )
            for service, there in said.items()
        }
    except Exception as error:
        raise ValueError(f"a heartbeat says its loads in another way: {type(error).__name__}") from error
