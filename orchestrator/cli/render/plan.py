"""A plan, a refusal and an explanation as a person reads them."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.cli.render.text import cell
from orchestrator.core.move import Objection


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


def refusal(
    reasons: tuple[Objection, ...], *, held_by: str | None, started_by: str | None, again: str
) -> RenderableType:
    """All that stands against a request, and how a person may set it aside (*again*: the command to repeat)."""
    lines: list[RenderableType] = [cell("Refused: nothing was started.", "bold red")]
    if held_by:
        lines.append(cell(f"Run {held_by}, started by {started_by or 'unknown'}, holds the service; see it with"))
        lines.append(cell(f"  failover show {held_by}"))
    if reasons:
        lines.append(objections(reasons))
        options = " ".join(f"--override {reason.rule}" for reason in reasons)
        lines.append(cell("If you know better, set the rules aside by name; your name and reason go into the record:"))
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
    head = Text.assemble(cell(service, "bold"), " ", cell(text, style), cell(", because:" if reasons else "."))
    return Group(head, objections(reasons)) if reasons else head
