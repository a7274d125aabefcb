"""The crowd: what speaks against one move more while others are on their way. Pure; the governor asks it.

The objections belong to the safety rules ``too-many-at-once`` and ``change-guard``, which say before whom they yield.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import Domain, ServiceId, region_of
from orchestrator.core.orders import Limits
from orchestrator.core.situation import Situation
from orchestrator.core.targets import gaining, services_named

OFF = 100
"""The percentage that turns the change guard off, also where more services move than were counted."""


@dataclass(frozen=True, slots=True)
class Moving:
    """A service that moves, or is about to."""

    service: ServiceId
    into: tuple[Domain, ...]
    """The regions that get traffic by it; sorted."""
    evacuating: Domain | None = None
    """The failure domain that it leaves, where several vantages found the whole domain lost; else None."""
    home: bool = False
    """Whether it goes back to where it serves in ordinary times, and nothing is down."""


def moving(move: Move, situation: Situation, evacuating: Domain | None = None) -> Moving:
    """*move* as the others see it."""
    regions = {region_of(e.region) for name in gaining(move, situation) if (e := situation.endpoint(name)) is not None}
    return Moving(move.service, tuple(sorted(regions)), evacuating, home=move.kind is MoveKind.FAILBACK)


def crowding(one: Moving, others: tuple[Moving, ...], services: int, limits: Limits) -> tuple[Objection, ...]:
    """Why *one* must not move while *others* do; empty: it may. *services* is how many there are in all.

    A service among *others* that is *one* itself does not count twice.
    """
    rest = tuple(sorted((each for each in others if each.service != one.service), key=lambda each: each.service))
    many = (Objection("too-many-at-once", text) for text in _too_many(one, rest, limits))
    guard = (Objection("change-guard", text, asks=True) for text in _too_much(one, rest, services, limits))
    return (*guard, *many)


def changes(crowd: tuple[Moving, ...]) -> int:
    """How many changes *crowd* is: all that leaves one lost domain is one, every other service is one."""
    lost = {each.evacuating for each in crowd if each.evacuating is not None}
    return len(lost) + len({each.service for each in crowd if each.evacuating is None})


def _too_many(one: Moving, rest: tuple[Moving, ...], limits: Limits) -> Iterator[str]:
    if len(rest) >= limits.at_once:
        yield (
            f"{_services(rest)} on the move and {limits.at_once} may be at one time; wait until one has arrived, or "
            "raise limits.at_once"
        )
    for domain in one.into:
        there = tuple(each for each in rest if domain in each.into)
        if len(there) >= limits.per_domain:
            yield (
                f"{_services(there)} on the move to {domain} and {limits.per_domain} may be at one time; wait until "
                "one has arrived, or raise limits.per_domain"
            )


def _too_much(one: Moving, rest: tuple[Moving, ...], services: int, limits: Limits) -> Iterator[str]:
    if limits.change_guard >= OFF:
        return
    count = changes((*rest, one))
    # A single change is no crowd, however few services there are; and one more of a change under way adds nothing.
    if count <= 1 or (one.evacuating is not None and count == changes(rest)):
        return
    if count * 100 > limits.change_guard * max(services, 1):
        yield (
            f"{_services(rest)} on the move already, and with '{one.service}' that is {count} changes at one time "
            f"among {services} services, more than {limits.change_guard} %; look whether one cause is behind them"
        )


def _services(crowd: tuple[Moving, ...]) -> str:
    return f"{services_named(tuple(each.service for each in crowd))} {'is' if len(crowd) == 1 else 'are'}"
