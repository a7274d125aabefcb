"""What the client load remembers of each request, and the summary of many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

RESOLVING = "resolving"
"""Clients that resolve the name by themselves, obey its TTL, and open a connection for each request."""
POOLED = "pooled"
"""Clients that resolve when they connect, and keep connections until they fail."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One completion asked for by a client. Times are Unix seconds on the wall clock."""

    population: str
    started: float
    ended: float
    ok: bool
    error: str
    """One short phrase: ``connect timed out``, ``cut``, ``status 503``; empty when ok."""
    address: str
    """Who was asked; empty where the name did not resolve."""
    tokens: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Requests that began in a window."""

    total: int
    failed: int
    failed_after: int
    """Failed ones that began after the moment from which nothing may fail any more."""
    last_failure: float | None = None
    """When the last of the failed ones began."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, Unix seconds: from *begin* until before *end*; *settled* lies between them."""

    begin: float
    end: float
    settled: float | None = None


def read_requests(path: Path, *, offset: int = 0) -> list[RequestRecord]:
    """The whole lines of a load's file from byte *offset* on."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(offset)
        lines = file.read().split(b"\n")[:-1]
    return [RequestRecord(*json.loads(line)) for line in lines]


def summarize(requests: Iterable[RequestRecord], windows: Mapping[str, Window]) -> dict[str, dict[str, Summary]]:
    """For each window and each population: how many requests began there, and how many of them failed.

    A request belongs to the window in which it began, however long it took.
    """
    everything = sorted(requests, key=lambda request: request.started)
    populations = sorted({request.population for request in everything} | {POOLED, RESOLVING})
    return {
        name: {
            population: _summary([request for request in everything if request.population == population], window)
            for population in populations
        }
        for name, window in windows.items()
    }


def _summary(requests: list[RequestRecord], window: Window) -> Summary:
    inside = [request for request in requests if window.begin <= request.started < window.end]
    failed = [request for request in inside if not request.ok]
    late = [request for request in failed if window.settled is not None and request.started >= window.settled]
    return Summary(len(inside), len(failed), len(late), failed[-1].started if failed else None)
