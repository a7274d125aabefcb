"""An evacuation as a person reads it: before it begins, and what has become of each service."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table

from orchestrator.cli.render.text import cell, seconds
from orchestrator.core.evacuation import Leaving
from workflows.wire.evacuation import EvacuationReport, Fate

STYLES = {
    Fate.WAITING: "dim",
    Fate.MOVING: "bold cyan",
    Fate.MOVED: "bold green",
    Fate.NOTHING: "dim",
    Fate.REFUSED: "bold yellow",
    Fate.FAILED: "bold red",
    Fate.LEFT: "bold yellow",
}


def planned(waves: tuple[tuple[Leaving, ...], ...], domain: str, at_once: int) -> str:
    """Which services would leave, wave by wave, as plain text."""
    count = sum(len(wave) for wave in waves)
    lines = [f"Evacuation of {domain}: {count} service{'s' if count != 1 else ''}, {at_once} at once at most"]
    for number, wave in enumerate(waves, 1):
        lines.append(f"  wave {number}: " + ", ".join(f"{each.service} (tier {each.tier})" for each in wave))
    return "\n".join(lines) + "\n"


def report(evacuation: EvacuationReport, now: datetime) -> RenderableType:
    """The evacuation: how far it is, and every service with its fate and the reason."""
    took = seconds(((evacuation.ended or now) - evacuation.started).total_seconds())
    state = "over" if evacuation.ended else "under way"
    head = cell(f"Evacuation of {evacuation.domain} by {evacuation.by}: {evacuation.reason}   {state}, {took}", "bold")
    grid = Table.grid(padding=(0, 2))
    for each in evacuation.departures:
        grid.add_row(
            cell(f"  {each.wave}", "dim"),
            cell(each.service, "bold"),
            cell(each.fate, STYLES[each.fate]),
            cell(each.run or "", "dim"),
            cell(each.text),
        )
    return Group(head, grid, cell(summary(evacuation)), *(cell(evacuation.stopped) for _ in (1,) if evacuation.stopped))


def summary(evacuation: EvacuationReport) -> str:
    """How many services met which fate."""
    return ", ".join(_counts(evacuation)) or "no service has endpoints there"


def _counts(evacuation: EvacuationReport) -> Iterator[str]:
    for fate in Fate:
        if count := evacuation.count(fate):
            yield f"{count} {fate}"
