"""A token bucket: how often a flapping service may be reported."""

from __future__ import annotations

BURST = 10
EVERY_S = 10.0


class Budget:
    """*burst* reports at once, then one every *every_s* seconds."""

    __slots__ = ("_at", "_burst", "_every_s", "_tokens")

    def __init__(self, *, burst: int = BURST, every_s: float = EVERY_S) -> None:
        self._burst = burst
        self._every_s = every_s
        self._tokens = float(burst)
        self._at: float | None = None

    def spend(self, now: float) -> bool:
        """Take a token, if there is one."""
        if self._at is not None:
            self._tokens = min(float(self._burst), self._tokens + (now - self._at) / self._every_s)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
