"""Easing: how traffic goes back to a place that has just recovered - not all services in the same second. Pure."""

from __future__ import annotations

import hashlib


def jitter_s(seed: str, longest_s: float) -> float:
    """Seconds from 0 to *longest_s*, in tenths, spread evenly over seeds: the same seed always waits as long."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    return round(longest_s * number / 2**64, 1)
