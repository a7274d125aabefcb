"""The JSON beside each page. Keys are those of the frozen values (``workflows.wire``, ``core.record``) and stay.

Durations are seconds, times RFC 3339 UTC; weights are pairs of endpoint and share.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic_core import to_jsonable_python

from orchestrator.core.record import Record
from orchestrator.status.board import Board
from orchestrator.status.pane import Seen, Source
from orchestrator.status.words import rfc3339
from workflows.wire import DrillReport

Json = dict[str, Any]  # a document's values are of every JSON type


def sources(seen: Seen) -> Json:
    """When each source was last heard, and why one is not."""
    return {
        "now": rfc3339(seen.now),
        "control_plane": _source(seen.control, seen.now),
        "history": _source(seen.history, seen.now),
    }


def services(board: Board) -> Json:
    """``/api/services``: what is wrong first."""
    rows = []
    for row in board.rows:
        body = to_jsonable_python(row.status)
        del body["last_runs"]
        reasons = [{"about": reason.label, "text": reason.text, "command": reason.command} for reason in row.reasons]
        rows.append(body | {"state": row.word, "attention": row.state.value, "reasons": reasons})
    return {"headline": board.headline, **sources(board.seen), "services": rows}


def run(record: Record) -> Json:
    """``/api/runs/<id>``: the record, with its measures."""
    body: Json = to_jsonable_python(record)
    return body | {"ttd_s": record.ttd_s, "ttr_s": record.ttr_s}


def runs(seen: Seen) -> Json:
    """``/api/runs``: the newest, without their timelines."""
    brief = []
    for record in seen.records():
        body = run(record)
        for long in ("entries", "steps"):
            del body[long]
        brief.append(body)
    return {**sources(seen), "runs": brief}


def drill(report: DrillReport) -> Json:
    """``/api/drills/<id>``."""
    body: Json = to_jsonable_python(report)
    return body


def drills(seen: Seen) -> Json:
    """``/api/drills``: the newest, with their phases."""
    return {**sources(seen), "drills": [drill(report) for report in seen.kept.drills]}


def _source(source: Source, now: datetime) -> Json:
    return {
        "reachable": source.at is not None and not source.away,
        "as_of": rfc3339(source.at) if source.at else None,
        "age_s": round((now - source.at).total_seconds(), 3) if source.at else None,
        "error": source.error or None,
        "away_since": rfc3339(source.since) if source.since else None,
    }
