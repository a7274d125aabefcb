"""What providers there are, as data: their names, options, where their control planes live. No SDK is imported here.

Each folder of providers says what it has in its own ``catalog.py``. A package of somebody else joins by an entry point
of group ``failover.providers`` that names a tuple of Entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.topology import Shares

GROUP = "failover.providers"
"""The entry points of other people's providers."""


class Part(StrEnum):
    """What a provider does for an endpoint or a service."""

    STEERING = "steering"
    WORKLOAD = "workload"
    DRAIN = "drain"
    FAULT = "fault"
    SIGNAL = "signal"
    READINESS = "readiness"


@dataclass(frozen=True, slots=True)
class Option:
    """One setting, a word in ``options`` of the topology."""

    name: str
    says: str
    """One phrase for the reference page."""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Plane:
    """The failure domain that some calls need alive, beside the place they act on."""

    calls: str
    """Which: ``read, write``."""
    domain: str
    """``aws/us-east-1``; an option's value stands in braces: ``aws/{region}``. Empty: wherever the user runs it."""
    source: str
    """Where the vendor says so: an address, or a phrase where the user runs it himself."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One provider in one part."""

    name: str
    part: Part
    factory: str
    """``module:Class``, imported when first used; called with a SteeringSpec or a Workload."""
    says: str
    """One sentence: what it does."""
    options: tuple[Option, ...] = ()
    free_options: bool = False
    """Options may have any name, as they name endpoints."""
    planes: tuple[Plane, ...] = ()
    shares: Shares = Shares.EQUAL
    """What spread a steering can express."""
    target: str = ""
    """What a steering calls an endpoint: a phrase for ``answer: {target: ...}``. Empty: DNS answers as they are."""
    needs: tuple[str, ...] = ()
    """Which of zone, ttl, primary and key a steering cannot do without."""
    takes: tuple[str, ...] = ()
    """Which of them it knows beside those."""
    extra: str = ""
    """The extra of this package that brings its SDK: ``aws``."""
    doctor: str = ""
    """``module:function`` that examines a steering without changing anything, for ``failover doctor --dns``."""
    pace_s: float = 1.0
    """How often a step that waits for something asks it. Clouds count calls for a whole account."""
    attempt_s: float = 12.0
    """How long one attempt at a steering's write may take before another worker makes the next: it reads, writes and
    looks again."""
    watch_s: float = 60.0
    """How often a prober looks at a steering's answers while nothing happens."""
    proven: str = ""
    """What its tests speak to, one phrase: ``a server emulator (moto 5)``. Empty: nothing yet."""

    @property
    def dns(self) -> bool:
        """Whether clients keep its answers for a time to live."""
        return "ttl" in self.needs or "ttl" in self.takes


def domain(plane: Plane, options: tuple[tuple[str, str], ...]) -> str:
    """The domain of *plane* for a handle with these options; a part that no option names is left out."""
    text = plane.domain
    for name, value in options:
        text = text.replace("{" + name + "}", value)
    return text if "{" not in text else text[: text.index("{")].rstrip("/")
