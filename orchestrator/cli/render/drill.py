"""Drills and their schedules as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.render.text import cell, seconds
from workflows.wire import DrillReport

if TYPE_CHECKING:
    from orchestrator.runtime.control import DrillSchedule

VERDICT_STYLE = {
    "running": "bold cyan",
    "passed": "bold green",
    "partial": "bold yellow",
    "failed": "bold red",
    "inconclusive": "bold yellow",
    "skipped": "bold yellow",
}


def _what(fault: str, level: str) -> str:
    """The fault, and how much of it is real where not all is."""
    return fault if level == "fault" else f"{fault} ({level})"


def report(drill: DrillReport, now: datetime) -> RenderableType:
    """A drill's phases, and what was measured against the objective."""
    where = f"{drill.target} of {drill.service}" if drill.target else drill.service
    head = Text.assemble(
        cell(f"Drill {drill.id}: {_what(drill.fault, drill.level)} at {where}   "),
        cell(drill.verdict, VERDICT_STYLE.get(drill.verdict, "bold")),
    )
    grid = Table.grid(padding=(0, 2))
    for phase in drill.phases:
        word, style = {None: ("running", "cyan"), True: ("ok", "green"), False: ("failed", "bold red")}[phase.ok]
        took = seconds(((phase.ended or now) - phase.started).total_seconds())
        grid.add_row(cell(f"  {phase.name}", "bold"), cell(word, style), cell(took, "dim"), cell(phase.text))
    lines: list[RenderableType] = [head, *([grid] if drill.phases else [])]
    if drill.ttr_s is not None:
        met = drill.ttr_s <= drill.objective_s and drill.verdict != "partial"
        short = ", without what was not rehearsed" if drill.verdict == "partial" else ""
        detected = f", detected in {seconds(drill.ttd_s)}" if drill.ttd_s is not None else ""
        lines.append(
            cell(
                f"Recovered in {seconds(drill.ttr_s)} of {seconds(drill.objective_s)}{detected}{short}",
                "bold green" if met else "bold yellow" if short else "bold red",
            )
        )
    if drill.text:
        lines.append(cell(drill.text))
    lines += [cell(f"  failover show {run}", "dim") for run in (drill.failover, drill.failback) if run]
    return Group(*lines)


def schedules(found: Iterable[DrillSchedule]) -> RenderableType:
    """Every schedule with when it runs next."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("NAME", "CRON (UTC)", "FAULT", "SERVICE", "STATE", "NEXT", "LAST", "NOTE"):
        grid.add_column(column, no_wrap=column != "NOTE", overflow="fold")
    for schedule in found:
        grid.add_row(
            cell(schedule.name, "bold"),
            cell(schedule.cron),
            cell(_what(schedule.request.fault, schedule.request.level)),
            cell(schedule.request.service),
            cell("paused", "yellow") if schedule.paused else cell("on", "green"),
            cell(schedule.next_runs[0] if schedule.next_runs and not schedule.paused else "-"),
            cell(schedule.last or "-"),
            cell(schedule.note),
        )
    return grid
