"""The demo's report: where the time went, what clients felt, and the two timelines."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from orchestrator.cli.render.record import timeline
from orchestrator.cli.render.text import cell, seconds

if TYPE_CHECKING:
    from orchestrator.local.measure import DemoReport, Requests


def _felt(requests: Requests) -> str:
    return f"{requests.failed} of {requests.total} failed, {requests.failed_after_converged} after all had moved"


def report(demo: DemoReport, now: datetime, *, ascii_only: bool = False) -> RenderableType:
    """Failover and failback side by side, as observed from outside, below their timelines."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("SEEN FROM OUTSIDE", "FAILOVER", "FAILBACK"):
        grid.add_column(column, no_wrap=True)
    out, home = demo.failover, demo.failback
    for field in fields(out.seconds):
        pair = (seconds(getattr(way.seconds, field.name)) for way in (out, home))
        grid.add_row(field.name, *pair, style="bold" if field.name == "total" else "")
    grid.add_row("clients that obey the TTL", _felt(out.requests), _felt(home.requests))
    grid.add_row("clients that keep connections", _felt(out.pooled_requests), _felt(home.pooled_requests))
    verdict = cell("The demo passed.", "bold green") if demo.passed else cell("The demo did not pass.", "bold red")
    ways = [timeline(way.record, now, ascii_only=ascii_only) for way in (out, home)]
    return Group(ways[0], "", ways[1], "", grid, "", verdict)
