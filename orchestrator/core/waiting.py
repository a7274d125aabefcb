"""When automation waits: after a run, while it is frozen, off, paused or held, until a failure is confirmed. Pure.

The functions that yield texts are each the check of one safety rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import EndpointId
from orchestrator.core.orders import Freeze, Weekly, frozen_until, hours, zone_of
from orchestrator.core.quorum import Verdict
from orchestrator.core.situation import Situation

LONGEST_COOLDOWN_S = 86400.0
"""However often a service flaps."""
A_WEEK = timedelta(days=7)
KEPT = 20
"""Automatic runs that a service remembers: more doublings than a day holds of any cool-down above 0.1 s."""


def confirm_left_s(endpoint: EndpointId, situation: Situation) -> float | None:
    """Seconds until *endpoint* has been failing for ``confirm_s``; 0 or less: it has; None: nobody knows since when."""
    first_bad = situation.assessment(endpoint).first_bad
    if situation.service.policy.confirm_s <= 0:
        return 0.0
    if first_bad is None:
        return None
    return situation.service.policy.confirm_s - (situation.now - first_bad).total_seconds()


def flaps(situation: Situation) -> int:
    """Automatic runs that closed within the flap window before the last run did, that one included; 1 at least."""
    if situation.last_closed is None:
        return 1
    # Counted back from the last run, not from now: the wait must not shrink while it passes.
    since = situation.last_closed - timedelta(seconds=situation.service.policy.flap_window_s)
    return max(1, sum(since <= closed <= situation.last_closed for closed in situation.automatic))


def cooldown_s(situation: Situation) -> float:
    """How long automation waits after the last run: doubled by each automatic run before it in the flap window."""
    usual = situation.service.policy.cooldown_s
    return max(usual, min(usual * 2.0 ** min(flaps(situation) - 1, 32), LONGEST_COOLDOWN_S))


def cooldown_left_s(situation: Situation) -> float:
    """Seconds until automation may run again after the last run; 0 or less: it may."""
    if situation.last_closed is None:
        return 0.0
    return cooldown_s(situation) - (situation.now - situation.last_closed).total_seconds()


def remembered(automatic: tuple[datetime, ...], closed: datetime) -> tuple[datetime, ...]:
    """*automatic* with one more automatic run that has closed: what a service carries to tell flapping by."""
    return tuple(sorted({*automatic, closed}))[-KEPT:]


def unacknowledged(situation: Situation) -> datetime | None:
    """When the last automatic run closed, if the policy wants it acknowledged and nobody has done so."""
    if not situation.service.policy.acknowledge or not situation.automatic:
        return None
    last, seen = max(situation.automatic), situation.acknowledged
    return last if seen is None or seen < last else None


def freezes_now(situation: Situation) -> Iterator[tuple[Freeze, datetime]]:
    """The freeze windows that the present lies in, each with its end."""
    yield from freezes_at((*situation.orders.freezes, *situation.service.policy.freezes), situation.now)


def freezes_at(freezes: Iterable[Freeze], now: datetime) -> Iterator[tuple[Freeze, datetime]]:
    """Those of *freezes* that *now* lies in, each with its end."""
    for freeze in freezes:
        until = frozen_until(freeze, now)
        if until is not None:
            yield freeze, until


def paused(_: Move, situation: Situation) -> Iterator[str]:
    """A person has paused automation."""
    if situation.paused is not None:
        service, why = situation.service.id, situation.paused or "no reason given"
        yield f"service '{service}' is paused ({why}); resume it with: failover resume {service}"


def frozen_left_s(situation: Situation) -> tuple[float, ...]:
    """Seconds until each of the freeze windows ends that bind automation in an outage."""
    binding = (until for freeze, until in freezes_now(situation) if freeze.unplanned)
    return tuple((until - situation.now).total_seconds() for until in binding)


def cool_down(_: Move, situation: Situation) -> Iterator[str]:
    """The last run closed only now."""
    left, whole, service = cooldown_left_s(situation), cooldown_s(situation), situation.service.id
    if left <= 0:
        return
    count = flaps(situation)
    often = f" after {count} automatic runs within {spoken(situation.service.policy.flap_window_s)}"
    yield (
        f"the last run of service '{service}' closed {spoken(whole - left)} ago and automation waits "
        f"{spoken(whole)}{often if whole > situation.service.policy.cooldown_s else ''}; "
        f"act by hand with: failover run {service}"
    )


def not_acknowledged(_: Move, situation: Situation) -> Iterator[str]:
    """Nobody has said yet that they have seen the last automatic run."""
    closed, service = unacknowledged(situation), situation.service.id
    if closed is not None:
        yield (
            f"nobody has acknowledged the automatic run of service '{service}' that closed at {at(closed)}; "
            f"look at it, then: failover ack {service}"
        )


def frozen(move: Move, situation: Situation) -> Iterator[str]:
    """A freeze window covers the present."""
    if move.kind is MoveKind.PREPARATION:
        return
    for freeze, until in freezes_now(situation):
        if freeze.unplanned or move.planned:
            yield freeze_text(freeze, until, situation.now)


def freeze_text(freeze: Freeze, until: datetime, now: datetime) -> str:
    """What *freeze*, in force until *until*, forbids, for how long and why, and the cure."""
    what = "nothing is moved" if freeze.unplanned else "nothing is moved that need not be"
    end, cure = f"until {at(until)}", "wait until then"
    if isinstance(freeze.when, Weekly):
        end += f" ({hours(freeze.when)})"
        if zone_of(freeze.when.zone) is None:
            end = f"while nobody here knows time zone '{freeze.when.zone}' of a freeze window"
            cure = "install the time zone database on this machine"
        elif until - now >= A_WEEK:
            end, cure = f"at any time ({hours(freeze.when)})", "shorten the window"
    return f"{what} {end}, because: {freeze.reason}; {cure}"


def no_drill(freezes: Iterable[Freeze], now: datetime) -> str:
    """Why no drill that moves anything begins *now*; empty: none of *freezes* is in force. A drill can always wait."""
    return next((freeze_text(freeze, until, now) for freeze, until in freezes_at(freezes, now)), "")


def gate(_: Move, situation: Situation) -> Iterator[str]:
    """Somebody has turned all automation off."""
    if situation.orders.gate is not None:
        why = situation.orders.gate or "no reason given"
        yield f"automation of all services is off ({why}); turn it on with 'automation: on' in the topology"


def confirm(move: Move, situation: Situation) -> Iterator[str]:
    """The source has not been failing for long enough."""
    need = situation.service.policy.confirm_s
    for name in move.source:
        # An unknown source counts as failing since nobody knows when: silence must not shorten the wait.
        if situation.verdict(name) not in {Verdict.DOWN, Verdict.UNKNOWN}:
            continue
        left = confirm_left_s(name, situation)
        if left is None:
            yield f"no vantage says since when endpoint '{name}' fails; automation waits for {spoken(need)} of it"
        elif left > 0:
            yield (
                f"endpoint '{name}' has been failing for {spoken(need - left)} and automation waits for "
                f"{spoken(need)}; act now with: failover run {situation.service.id}"
            )


def held(_: Move, situation: Situation) -> Iterator[str]:
    """Automation was held for a reason that still stands."""
    for standing in situation.held:
        service = situation.service.id
        yield (
            f"automation of service '{service}' is held ({standing.rule}: {standing.text}); "
            f"release it with: failover resume {service}"
        )


def spoken(seconds: float) -> str:
    """Seconds as a sentence says them: ``9.9 s``, ``299 s``, ``80 min``, ``6 h``."""
    if abs(seconds) < 10:
        return f"{seconds:.1f} s"
    if seconds < 600 or seconds % 60:
        return f"{seconds:.0f} s" if seconds < 7200 else f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds < 7200 or seconds % 3600 else f"{seconds / 3600:.0f} h"


def at(moment: datetime) -> str:
    """*moment* as a sentence says it: RFC 3339, UTC, whole seconds."""
    utc = moment - (moment.utcoffset() or timedelta())
    return f"{utc:%Y-%m-%dT%H:%M:%S}Z"
