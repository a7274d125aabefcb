"""A plan, a refusal and an explanation as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.render.text import cell
from orchestrator.core.move import Objection
from orchestrator.core.safety import Yields, rule
from workflows.wire import Refusal


def plan_text(text: str) -> Text:
    """The planner's own text; what the approver reads is never re-worded here."""
    return Text("\n".join(cell(line).plain for line in text.rstrip("\n").splitlines()))


def objections(reasons: Iterable[Objection]) -> Table:
    """Every reason on its own line, with the rule's name that ``--override`` takes."""
    table = Table.grid(padding=(0, 2))
    for reason in reasons:
        mark = cell("asks" if reason.asks else "stops", "yellow" if reason.asks else "red")
        table.add_row("  ", cell(reason.rule, "bold"), mark, cell(reason.text))
    return table


def _mendable(reason: Objection, *, planned: bool) -> bool:
    """Whether a person may set *reason* aside by its name."""
    known = rule(reason.rule)
    return known is not None and (known.planned if planned else known.unplanned) is Yields.TO_ITS_NAME


def refusal(answer: Refusal, *, planned: bool, again: str) -> RenderableType:
    """All that stands against a request, and how a person may set it aside (*again*: the command to repeat)."""
    lines: list[RenderableType] = [cell("Refused: nothing was started.", "bold red")]
    if answer.held_by:
        lines.append(cell(f"Run {answer.held_by}, started by {answer.started_by or 'unknown'}, holds the service:"))
        lines.append(cell(f"  failover show {answer.held_by} --watch"))
    by_name = {reason.rule for reason in answer.reasons if _mendable(reason, planned=planned)}
    grid = Table.grid(padding=(0, 2))
    for reason in answer.reasons:
        word = cell("you may override it", "yellow") if reason.rule in by_name else cell("mend it first", "red")
        grid.add_row("  ", cell(reason.rule, "bold"), word, cell(reason.text))
    if answer.reasons:
        lines.append(grid)
    if by_name and all(reason.rule in by_name for reason in answer.reasons):
        options = " ".join(f"--override {name}" for name in sorted(by_name))
        lines.append(cell("If you know better, override by name; your name and your reason go into the record:"))
        lines.append(cell(f"  {again} {options}"))
    return Group(*lines)


def explanation(service: str, decision: str, reasons: tuple[Objection, ...]) -> RenderableType:
    """Why a service would or would not act now."""
    said = {
        "go": ("would act now", "bold red"),
        "ask": ("would ask a person now", "bold yellow"),
        "hold": ("would do nothing now", "bold green"),
    }
    text, style = said.get(decision, (decision, "bold"))
    end = ", because:" if reasons else ": nothing that carries its traffic is down." if decision == "hold" else "."
    head = Text.assemble(
        cell(service, "bold"),
        " ",
        cell(text, style),
        cell(end),
    )
    return Group(head, objections(reasons)) if reasons else head
