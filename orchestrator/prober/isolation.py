"""Suspecting oneself: when unrelated regions look down together, the fault is more likely here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from orchestrator.core.health import Health
from orchestrator.core.names import Domain, region_of
from orchestrator.prober.watched import WatchedEndpoint


class Regions:
    """How many endpoints of each region look down, and how many look up, kept as opinions change.

    A standby that is meant to be off counts only while it answers.
    """

    def __init__(self, endpoints: Iterable[WatchedEndpoint] = ()) -> None:
        self._down: Counter[Domain] = Counter()
        self._up: Counter[Domain] = Counter()
        for endpoint in endpoints:
            self._count(endpoint, endpoint.opinion, 1)

    def turn(self, endpoint: WatchedEndpoint, opinion: Health) -> None:
        """Take in that *endpoint* is now of *opinion*."""
        self._count(endpoint, endpoint.opinion, -1)
        self._count(endpoint, opinion, 1)
        endpoint.opinion = opinion

    @property
    def isolated(self) -> bool:
        """More than half of at least two regions look wholly down."""
        regions = {region for tally in (self._down, self._up) for region, number in tally.items() if number > 0}
        wholly = [region for region in regions if self._up[region] <= 0]
        return len(regions) >= 2 and len(wholly) * 2 > len(regions)

    def _count(self, endpoint: WatchedEndpoint, opinion: Health, number: int) -> None:
        region = region_of(endpoint.endpoint.region)
        if opinion is Health.DOWN:
            if not endpoint.meant_to_be_off:
                self._down[region] += number
        elif opinion is not Health.UNKNOWN:
            self._up[region] += number
