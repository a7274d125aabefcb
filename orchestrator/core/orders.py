"""Orders: what holds for every service of a topology - the gate, freeze windows, jurisdictions, pools and limits. Pure.

Days and hours are read in the window's own time zone, by the zone database of the machine at hand (``zoneinfo``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from orchestrator.core.names import Domain, encloses

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT_MIN = 24 * 60
"""``24:00``: the end of a day."""
_WEEK = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment up to another; both carry a zone."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Weekly:
    """Some hours of some days, each week."""

    days: tuple[int, ...]
    """0 is Monday; sorted. The day on which the hours begin."""
    begins_min: int
    """Minutes after midnight."""
    ends_min: int
    """Minutes after midnight, 1440 at most; where it is not after the beginning, it is on the next day."""
    zone: str = "UTC"
    """``UTC``, or a name of the IANA time zone database: ``Europe/Berlin``."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing is moved that need not be."""

    reason: str
    when: Span | Weekly
    unplanned: bool = False
    """Whether automation also asks before it moves traffic away from what is down."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Hardware that endpoints of several services share: what one takes the others have not."""

    id: str
    capacity: int
    """Requests in flight that it carries, all together."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may move at one time, whoever moves it."""

    at_once: int = 10
    """Runs at one time, in all."""
    per_domain: int = 5
    """Runs at one time that bring traffic to one region."""
    change_guard: int = 30
    """Percent of all services: more at one time are a person's to decide; 100 turns it off."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What holds for every service."""

    gate: str | None = None
    """Why all automation is off; None: it is on."""
    freezes: tuple[Freeze, ...] = ()
    jurisdictions: tuple[tuple[Domain, str], ...] = ()
    """Whose law holds in which domain; sorted. The longest domain wins."""
    pools: tuple[Pool, ...] = ()
    limits: Limits = Limits()
    bake_s: float = 1800.0
    """How long a routing, or a revision of the topology, must serve well before it is good to go back to."""

    def pool(self, name: str) -> Pool | None:
        """The pool of that name, or None."""
        return next((each for each in self.pools if each.id == name), None)

    def jurisdiction(self, region: Domain) -> str | None:
        """Whose law holds in *region*; None: not known."""
        found = [(len(domain), law) for domain, law in self.jurisdictions if encloses(domain, region)]
        return max(found)[1] if found else None


NO_ORDERS = Orders()
"""Automation is on, nothing is frozen, and the usual limits hold."""


def zone_of(name: str) -> tzinfo | None:
    """The time zone of that name; None where the machine at hand does not know it."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return None


def frozen_until(freeze: Freeze, now: datetime) -> datetime | None:
    """When the window that *now* lies in ends; None: *now* lies in none.

    Days that follow each other without a gap are one window. A zone that is not known here counts as frozen for
    an hour: silence is not permission.
    """
    if isinstance(freeze.when, Span):
        return freeze.when.ends if freeze.when.begins <= now < freeze.when.ends else None
    zone = zone_of(freeze.when.zone)
    if zone is None:
        return now + timedelta(hours=1)
    end = _covering(freeze.when, zone, now)
    while end is not None and end - now < _WEEK:
        further = _covering(freeze.when, zone, end)
        if further is None:
            break
        end = further
    return end


def _covering(weekly: Weekly, zone: tzinfo, now: datetime) -> datetime | None:
    """The end of the latest of the week's windows that *now* lies in."""
    today = zone.fromutc(_utc(now).replace(tzinfo=zone)).date()
    ends = []
    for day in (today - timedelta(days=1), today):
        begins = _moment(day, weekly.begins_min, zone)
        longer = weekly.ends_min <= weekly.begins_min
        closes = _moment(day + timedelta(days=1) if longer else day, weekly.ends_min, zone)
        if day.weekday() in weekly.days and begins <= now < closes:
            ends.append(closes)
    return max(ends, default=None)


def _moment(day: date, minutes: int, zone: tzinfo) -> datetime:
    """*minutes* after the midnight of *day* on the clocks of *zone*, in UTC."""
    over, rest = divmod(minutes, MIDNIGHT_MIN)
    local = datetime.combine(day + timedelta(days=over), time(rest // 60, rest % 60), tzinfo=zone)
    return _utc(local)


def _utc(moment: datetime) -> datetime:
    return (moment - (moment.utcoffset() or timedelta())).replace(tzinfo=UTC)


def hours(weekly: Weekly) -> str:
    """The window in words: ``sat and sun 00:00-24:00 UTC``."""
    days = [DAYS[day] for day in weekly.days]
    listed = ", ".join(days[:-1]) + (" and " if len(days) > 1 else "") + days[-1] if days else "never"
    return f"{listed} {_clock(weekly.begins_min)}-{_clock(weekly.ends_min)} {weekly.zone}"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
