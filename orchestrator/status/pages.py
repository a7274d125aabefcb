"""Pages as HTML: one fragment each, the same whether it is loaded or arrives by the event stream."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from orchestrator.core.record import Record
from orchestrator.history.merge import is_closed
from orchestrator.status import words
from orchestrator.status.board import board, title
from orchestrator.status.pane import Seen
from orchestrator.status.state import DRILL, RUN, RUN_MEANING, State
from orchestrator.status.timeline import meter, timeline
from workflows.wire import DrillReport

_PASSING = re.compile(r"<time data-now [^>]*>[^<]*|(<time [^>]*data-age [^>]*>)[^<]*")
_PART = re.compile(r'^<(?:div|section) id="(part-[a-z]+)"', re.MULTILINE)
"""Where a part of a page begins. Text that others wrote is escaped: it holds no such tag."""
STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class Page:
    """One page at one moment. No slots: what is worked out of it is kept, for all who look."""

    title: str
    headline: str
    """What a screen reader is told when it changes."""
    html: str
    """The fragment inside ``<main>``."""
    now: str
    path: str

    @cached_property
    def mark(self) -> str:
        """The same for the same content: what passes by itself (ages, the time of the look) does not count."""
        return _mark(self.html)

    @cached_property
    def parts(self) -> dict[str, tuple[str, str]]:
        """The parts of the fragment by id, each with its mark."""
        begins = [(found[1], found.start()) for found in _PART.finditer(self.html)]
        ends = [at for _, at in begins[1:]] + [len(self.html)]
        pieces = ((part, self.html[at:end]) for (part, at), end in zip(begins, ends, strict=True))
        return {part: (piece, _mark(piece)) for part, piece in pieces}

    def since(self, before: Page | None) -> str:
        """The fragment for who shows *before*: an empty element stands for each part that is still the same.

        Whole for who shows nothing yet, or a page of other parts.
        """
        if before is None or list(before.parts) != list(self.parts):
            return self.html
        return "".join(
            f'<div id="{part}" data-same></div>' if before.parts[part][1] == mark else piece
            for part, (piece, mark) in self.parts.items()
        )


def _mark(html: str) -> str:
    return hashlib.sha256(_PASSING.sub(r"\1", html).encode()).hexdigest()[:16]


class Pages:
    """The templates. Everything they are given is escaped."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("orchestrator.status", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            seconds=words.seconds,
            span=words.span,
            objective=words.objective,
            shares=words.shares,
            listed=words.listed,
            rfc3339=words.rfc3339,
            clock=words.clock,
            timeline=timeline,
            meter=meter,
            is_closed=is_closed,
            run_state=RUN,
            run_meaning=RUN_MEANING,
            drill_state=DRILL,
            blind=State.BLIND,
            asset=asset,
        )

    def whole(self, page: Page) -> str:
        """*page* as a document."""
        return self._environment.get_template("page.html").render(page=page)

    def board(self, seen: Seen) -> Page:
        """The first page."""
        shown = board(seen)
        html = self._environment.get_template("board.html").render(board=shown, seen=seen, now=seen.now)
        return Page(title(shown.state, shown.headline), shown.headline, html, words.rfc3339(seen.now), "/")

    def run(self, record: Record, seen: Seen) -> Page:
        """One run's page."""
        told = timeline(record, seen.told)
        head = f"{record.service}: {record.kind.value} to {record.target}, {record.status.value}"
        template = self._environment.get_template("run.html")
        waits = () if is_closed(record) else seen.waits(record.run)
        html = template.render(
            record=record, told=told, meter=meter(record, told), waits=waits, seen=seen, now=seen.now
        )
        state = RUN[record.status]
        return Page(title(state, head), head, html, words.rfc3339(seen.now), f"/runs/{record.run}")

    def drill(self, report: DrillReport, seen: Seen) -> Page:
        """One drill's page."""
        head = f"{report.service}: drill {report.fault}, {report.verdict}"
        html = self._environment.get_template("drill.html").render(report=report, seen=seen, now=seen.now)
        state = DRILL.get(report.verdict, State.BLIND)
        return Page(title(state, head), head, html, words.rfc3339(seen.now), f"/drills/{report.id}")

    def notice(self, headline: str, text: str, seen: Seen, state: State = State.BLIND) -> Page:
        """A page that says why there is nothing to see."""
        template = self._environment.get_template("notice.html")
        html = template.render(headline=headline, text=text, state=state, seen=seen, now=seen.now)
        return Page(title(state, headline), headline, html, words.rfc3339(seen.now), "")


@cache
def asset(name: str) -> str:
    """The address of a static file, with a digest of its content: it may be kept for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"
