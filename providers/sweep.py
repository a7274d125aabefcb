"""One look at a cloud: many reads, of which some may be refused, and what they come to."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TypeVar

from providers.base import ProviderError
from providers.belonging import services_of
from providers.inventory import FoundEndpoint, FoundSteering, Inventory

T = TypeVar("T")


class Sweep:
    """Many reads, of which some may be refused: what answers counts, what does not is said."""

    def __init__(self) -> None:
        self.left_out: list[str] = []
        self.remarks: list[str] = []
        self._answered = False
        self._first: ProviderError | None = None

    async def part(self, reading: Awaitable[T], otherwise: T) -> T:
        """What *reading* gives, or *otherwise* where it is refused or away."""
        try:
            found = await reading
        except ProviderError as error:
            self._first = self._first or error
            if str(error) not in self.left_out:
                self.left_out.append(str(error))
            return otherwise
        self._answered = True
        return found

    def ended(
        self, endpoints: Iterable[FoundEndpoint], steerings: Iterable[FoundSteering], looked_for: str
    ) -> Inventory:
        """The inventory. Raises the first error where nothing at all could be read."""
        if self._first is not None and not self._answered:
            raise self._first
        ordered = sorted(endpoints, key=lambda each: (each.region, each.says))
        names = sorted(steerings, key=lambda each: (each.name, each.says))
        services, untold = services_of(tuple(ordered), tuple(names))
        remarks = tuple(sorted({*self.remarks, *untold}))
        return Inventory(services, looked_for, tuple(sorted(self.left_out)), remarks)
