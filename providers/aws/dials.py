"""What the dials of AWS have in common."""

from __future__ import annotations

from collections.abc import Mapping

from providers.base import NotFound
from providers.fenced import Targets


def must_be_there(targets: Targets, now: Targets, at: str) -> Mapping[str, int]:
    """*targets* by name. Raises NotFound where one is not among those that the dial has."""
    wanted, has = dict(targets), {name for name, _ in now}
    missing = sorted(name for name, weight in wanted.items() if weight and name not in has)
    if missing:
        raise NotFound(f"{at} has no {', '.join(missing)}; it has: {', '.join(sorted(has)) or 'nobody'}")
    return wanted
