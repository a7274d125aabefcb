"""A dial and a document of paper: they keep state in memory, and count. For stories of FencedDial itself."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.core.topology import Shares, SteeringSpec
from providers.base import Forbidden, NotFound, ProviderError, Steering, Throttled, Transient, Unauthenticated
from providers.fenced import FencedDial, Overtaken, Sheet, Targets
from real.place import EU, US, Trouble

SPEC = SteeringSpec("paper", "chat.example.", "", 0, "", shares=Shares.WEIGHTED)
ERRORS: Mapping[Trouble, ProviderError] = {
    Trouble.THROTTLED: Throttled("paper asks for patience"),
    Trouble.BROKEN: Transient("paper is torn"),
    Trouble.LATE: Transient("paper gave no answer"),
    Trouble.EXPIRED: Unauthenticated("paper does not take the expired pass; get another"),
    Trouble.FORBIDDEN: Forbidden("paper may not be written; ask for a pencil"),
    Trouble.AWAY: Transient("paper is away"),
}
WRITES = frozenset({Trouble.THROTTLED, Trouble.BROKEN, Trouble.LATE})
"""Troubles that only writes meet."""


class Paper:
    """Document and Dial in one, with the troubles of a way to them."""

    at = "a sheet of paper"

    def __init__(self, weights: Mapping[str, int]) -> None:
        self.weights = dict(weights)
        self.text: str | None = None
        self.version = 0
        self.effects = 0
        self.troubles: list[Trouble] = []

    def _meet(self, *, writes: bool) -> Trouble | None:
        if not self.troubles or (self.troubles[0] in WRITES and not writes):
            return None
        return self.troubles.pop(0)

    async def read(self) -> Sheet:
        self._object(self._meet(writes=False))
        return Sheet(self.text, str(self.version) if self.text is not None else None)

    async def put(self, text: str, *, tag: str | None) -> None:
        met = self._meet(writes=True)
        if met is not Trouble.LATE:
            self._object(met)
        if tag != (str(self.version) if self.text is not None else None):
            raise Overtaken
        self.text, self.version = text, self.version + 1
        self.effects += 1
        self._object(met)

    def _object(self, met: Trouble | None) -> None:
        if met is not None:
            raise ERRORS[met]


class PaperDial:
    """The dial on *paper*."""

    at = "a dial of paper"

    def __init__(self, paper: Paper) -> None:
        self._paper = paper

    async def read(self) -> Targets:
        return tuple(sorted(self._paper.weights.items()))

    async def turn(self, targets: Targets) -> None:
        wanted = dict(targets)
        missing = sorted(wanted.keys() - self._paper.weights.keys())
        if missing:
            raise NotFound(f"no target is called {', '.join(missing)}")
        for target in sorted(self._paper.weights, key=lambda each: -wanted.get(each, 0)):
            if self._paper.weights[target] != wanted.get(target, 0):
                self._paper.weights[target] = wanted.get(target, 0)
                self._paper.effects += 1


class PaperPlace:
    """Shares on paper."""

    cannot: frozenset[Trouble] = frozenset()

    def __init__(self) -> None:
        self.spec = SPEC
        self.targets = {EU: "paris", US: "ohio"}
        self.paper = Paper({"paris": 100, "ohio": 0})

    async def open(self) -> None:
        """It lies there already."""

    def close(self) -> None:
        """Nothing is kept."""

    def steering(self) -> Steering:
        return FencedDial(self.spec, PaperDial(self.paper), self.paper)

    def missing(self) -> Steering:
        elsewhere = Paper({})
        elsewhere.read = self._nowhere  # type: ignore[method-assign]  # the sheet of a place that is not there
        return FencedDial(self.spec, PaperDial(elsewhere), elsewhere)

    async def _nowhere(self) -> Sheet:
        raise NotFound("there is no such sheet")

    async def now(self) -> dict[str, int]:
        return {target: weight for target, weight in self.paper.weights.items() if weight}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        self.paper.weights = {target: shares.get(target, 0) for target in self.paper.weights}

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        self.paper.troubles += [what] * times

    @property
    def effects(self) -> int:
        return self.paper.effects


STEERED = {"paper": PaperPlace}
