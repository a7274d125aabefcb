"""One history: everything is set up from a seed, happens, comes to its end, and is looked at after every event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from runbooks.simulate.people import People
from runbooks.simulate.serving import ServiceSide
from runbooks.simulate.setting import Setting, setting
from runbooks.simulate.stage import Stage
from runbooks.simulate.watching import Post
from runbooks.simulate.world import World

CALM_S = 300.0
"""So long after the last fault every run must have ended."""
LONGEST = 20_000
"""Events after which a history goes in circles."""
SHOWN = 30


@dataclass(frozen=True, slots=True)
class Violation:
    """What was broken, and how it came to that."""

    seed: int
    invariant: str
    text: str
    event: int
    story: tuple[str, ...]
    """The last events."""
    weather: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a history went."""

    seed: int
    events: int
    counts: Counter[str]
    violation: Violation | None
    story: tuple[str, ...] = ()


class History:
    """Everything there is in one history."""

    def __init__(self, seed: int, weather: Mapping[str, float], *, whole: bool = False) -> None:
        self.stage = Stage(seed, whole=whole)
        self.weather = tuple(sorted(weather.items()))
        self.setting: Setting = setting(self.stage.rng, weather)
        self.world = World(self.stage, self.setting)
        service, faults = self.setting.service, self.setting.faults
        self.posts = tuple(Post(self.stage, self.world, service, each, faults) for each in self.setting.vantages)
        self.service = ServiceSide(self.stage, self.world, self.setting, self.posts)
        self.people = People(self.stage, self.world, self.setting, self.service)

    @property
    def over(self) -> bool:
        """Whether nothing is left to happen that matters."""
        stage = self.stage
        if not stage.calm and stage.now >= self.setting.horizon_s:
            stage.calm = True
            stage.say("it is calm: no more faults")
        late = stage.now >= self.setting.horizon_s + CALM_S
        # Executors that were frozen wake up within half a minute.
        quiet = stage.now >= self.setting.horizon_s + 30.0
        return late or (quiet and not any(run.open for run in self.service.runs.values()))
