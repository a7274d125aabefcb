"""Services and their endpoints as a table: what is wrong first, and how old the knowledge is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.cli.render.text import age, cell, listed, stamp
from orchestrator.cli.render.waiting import waiting_lines
from orchestrator.core.names import RunId
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.runtime.standing import answers, notices
from workflows.wire import EndpointBrief, RunState, ServiceStatus

VERDICT_STYLE = {
    Verdict.HEALTHY: "green",
    Verdict.DEGRADED: "yellow",
    Verdict.DOWN: "bold red",
    Verdict.UNKNOWN: "magenta",
}
PASSING = frozenset({"confirm", "one-run-at-a-time"})
"""Reasons to hold that go away by themselves."""
TABLE_WIDTH = 100
"""Columns below which the table's last column would be a ribbon."""
STALE_S = 60.0
"""Knowledge older than this is shown loudly."""


def _verdicts(status: ServiceStatus) -> dict[str, Assessment]:
    return {assessment.endpoint: assessment for assessment in status.assessments}


def trouble(status: ServiceStatus) -> int:
    """How much *status* needs a look, 0 for not at all: what the order of the table and its headline come from."""
    verdicts = _verdicts(status)
    serving = {brief.id for brief in status.endpoints if brief.weight}
    worst = {assessment.verdict for assessment in verdicts.values()}
    grades = (
        any(verdicts[name].verdict is Verdict.DOWN for name in serving if name in verdicts),
        status.run is not None,
        status.question is not None,
        any(notice.needs_somebody for notice in notices(status)),
        bool(status.held),
        Verdict.DOWN in worst,
        Verdict.DEGRADED in worst,
        Verdict.UNKNOWN in worst or not verdicts,
        status.paused is not None or status.gate is not None,
        any(reason.rule not in PASSING for reason in status.hold),
    )
    return next((len(grades) - place for place, wrong in enumerate(grades) if wrong), 0)


def in_order(statuses: Iterable[ServiceStatus]) -> tuple[ServiceStatus, ...]:
    """What is wrong first, then by name."""
    return tuple(sorted(statuses, key=lambda status: (-trouble(status), status.service)))


def _rows(status: ServiceStatus) -> Iterable[tuple[EndpointBrief, Assessment | None]]:
    """Endpoints with what is known of them: those that carry traffic first."""
    verdicts = _verdicts(status)
    for brief in sorted(status.endpoints, key=lambda brief: (-(brief.weight or 0), brief.id)):
        yield brief, verdicts.get(brief.id)


def _remarks(status: ServiceStatus, state: RunState | None) -> Iterable[Text]:
    """Sentences below the table: what is going on, what a run waits for, and which command helps."""
    name = status.service
    if status.run:
        yield cell(f"{name}: run {status.run} is under way, started by {status.run_started_by or 'unknown'}", "bold")
        yield cell(f"    failover show {status.run}")
        yield from waiting_lines(status.run, state) if state else ()
    if status.question:
        asked = status.question
        rules = listed(reason.text for reason in asked.reasons)
        yield cell(f"{name}: asks whether to move {listed(asked.source)} -> {asked.target}: {rules}", "bold yellow")
        yield from (cell(f"    {command}") for command in answers(name, asked))
    if status.paused:
        yield cell(f"{name}: paused: {status.paused}", "yellow")
        yield cell(f"    failover resume {name}")
    for reason in status.held:
        yield cell(f"{name}: held ({reason.rule}): {reason.text}", "yellow")
    if status.held and not status.paused:
        yield cell(f"    failover resume {name}")
    for notice in notices(status):
        yield cell(f"{name}: {notice.label}: {notice.text}", "bold yellow" if notice.needs_somebody else "yellow")
        for command in notice.commands:
            yield cell(f"    {command}")
    if status.cost:
        yield cell(f"{name}: {status.cost}", "dim")
    for reason in status.hold:
        yield cell(f"{name}: nothing is done ({reason.rule}): {reason.text}", "yellow")


def table(
    statuses: Iterable[ServiceStatus], now: datetime, states: Mapping[RunId, RunState] = MappingProxyType({})
) -> RenderableType:
    """Every service and endpoint, with a headline that says at a glance whether anything needs a look.

    *states* says of runs under way what they wait for.
    """
    ordered = in_order(statuses)
    wrong = sum(1 for status in ordered if trouble(status))
    head = (
        cell(f"{wrong} of {len(ordered)} services need a look", "bold red")
        if wrong
        else cell(f"All {len(ordered)} services are well" if len(ordered) != 1 else "The service is well", "bold green")
    )
    head = Text.assemble(head, cell(f"   as of {stamp(now)}", "dim"))
    remarks: list[RenderableType] = [line for status in ordered for line in _remarks(status, _state(status, states))]
    return Group(head, "", _Fleet(ordered, now), *(("", *remarks) if remarks else ()))


def _state(status: ServiceStatus, states: Mapping[RunId, RunState]) -> RunState | None:
    return states.get(status.run) if status.run else None


@dataclass(frozen=True, slots=True)
class _Fleet:
    """Services with their endpoints: a table, or one below the other where the terminal is too narrow for one."""

    ordered: tuple[ServiceStatus, ...]
    now: datetime

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < TABLE_WIDTH:
            yield from _stacked(self.ordered, self.now)
        else:
            yield _grid(self.ordered, self.now)


def _mode(status: ServiceStatus) -> str:
    return f"{status.mode}, paused" if status.paused else status.mode


def _share(brief: EndpointBrief) -> Text:
    return cell("?" if brief.weight is None else f"{brief.weight} %", "bold" if brief.weight else "dim")


def _seen(seen: Assessment | None, brief: EndpointBrief, now: datetime) -> tuple[Text, Text]:
    """The verdict, and what is seen."""
    verdict = seen.verdict if seen else Verdict.UNKNOWN
    text = seen.text if seen else "no vantage has reported"
    return cell(verdict, VERDICT_STYLE[verdict]), cell(f"{text}{_load(brief, now)}{_signals(brief)}")


def _load(brief: EndpointBrief, now: datetime) -> str:
    """What it has in flight, where that is known; nothing for one that has neither traffic nor load."""
    if brief.in_flight is None or brief.in_flight_at is None or not (brief.weight or brief.in_flight):
        return ""
    requests = "request" if brief.in_flight == 1 else "requests"
    return f"; {brief.in_flight} {requests} in flight, {age(brief.in_flight_at, now)}"


def _signals(brief: EndpointBrief) -> str:
    return f"; signal {brief.signals}" if brief.signals else ""


def _stacked(ordered: tuple[ServiceStatus, ...], now: datetime) -> Iterator[RenderableType]:
    for status in ordered:
        yield Text.assemble(cell(status.service, "bold"), "  ", cell(_mode(status)), "  ", _as_of(status, now))
        for brief, seen in _rows(status):
            verdict, text = _seen(seen, brief, now)
            region = cell(brief.region, "dim")
            yield Text.assemble("  ", cell(brief.id), "  ", verdict, "  ", _share(brief), "  ", region)
            yield Padding(text, (0, 0, 0, 4))


def _grid(ordered: tuple[ServiceStatus, ...], now: datetime) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("SERVICE", "MODE", "ENDPOINT", "REGION", "VERDICT"):
        grid.add_column(column, no_wrap=True)
    grid.add_column("SHARE", justify="right", no_wrap=True)
    grid.add_column("WHAT IS SEEN", overflow="fold")
    grid.add_column("AS OF", no_wrap=True)
    for status in ordered:
        first = True
        for brief, seen in _rows(status):
            verdict, text = _seen(seen, brief, now)
            grid.add_row(
                cell(status.service if first else "", "bold"),
                cell(_mode(status) if first else ""),
                cell(brief.id),
                cell(brief.region, "dim"),
                verdict,
                _share(brief),
                text,
                _as_of(status, now) if first else "",
            )
            first = False
    return grid


def _as_of(status: ServiceStatus, now: datetime) -> Text:
    old = (now - status.as_of).total_seconds() > STALE_S
    return cell(age(status.as_of, now), "bold red" if old else "dim")
