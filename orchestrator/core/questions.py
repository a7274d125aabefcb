"""A question of a service to people: whom it asks by and by, when it is told again, and when silence decides. Pure.

It is told to one role after another, as an approval inside a run is; then silence means what the policy says; and where
that is to hold, the question stands, and people are reminded of it ever more rarely, a few times.
"""

from __future__ import annotations

from orchestrator.core.topology import Questions

REMINDERS = 4
"""So often people are told of a question that was left unanswered: with ten minutes each, the last time after 5 h."""


def rounds(asked: Questions) -> tuple[str | None, ...]:
    """Whom it asks, one after another and each besides those before; None: anybody.

    Two at least: where the policy names nobody else, the same are asked again.
    """
    return (asked.role, *(asked.escalate or (asked.role,)))


def due_s(asked: Questions, told: int) -> float | None:
    """Seconds from the question to its next telling, when it was *told* so often; None: it is told no more."""
    count = len(rounds(asked))
    if told <= count:
        return told * asked.timeout_s
    later = told - count
    return count * asked.timeout_s * 2.0**later if later <= REMINDERS else None


def silent(asked: Questions, told: int) -> bool:
    """Whether all who are asked have had their time: then silence means what the policy says."""
    return told > len(rounds(asked))
