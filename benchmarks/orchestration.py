"""Where the seconds of a failover and of its way home go, over several demos in a row.

Each run is the whole demo: a world of three regions, client load, the active region blackholed, the automatic
failover, the planned failback, measured from outside (``orchestrator.local.demo``). Printed are medians and the
spread, and the wait within the orchestration as the record has it: between steps, when nothing was being done.

    python benchmarks/orchestration.py
    python benchmarks/orchestration.py --runs 7 --interval 1 --fall 3 --json

Bars, on medians: orchestration below 0.5 s both ways; detect at most timeout + 0.3 s + what fall and fast confirm
need. Exit status 1 when one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from dataclasses import asdict, dataclass

import structlog

from orchestrator.core.record import Mark, Record
from orchestrator.local import demo
from orchestrator.local.measure import FAST_S, DemoReport, Phase, Seconds, Settings

CONFIRM_S = 0.1
"""Pause of fast confirm in the demo's topology, from start to start of a re-probe."""
QUICK_CONNECT_S = 0.25
"""How long a re-probe waits for a connection in a blackhole (``orchestrator.prober.watched``)."""
ALLOWED_S = 0.3


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds."""

    median: float
    least: float
    most: float


def spread(values: list[float]) -> Spread:
    return Spread(round(statistics.median(values), 3), round(min(values), 3), round(max(values), 3))


def detect_bar_s(settings: Settings) -> float:
    """The first failing probe starts half an interval after the fault, and waits its timeout; the others are quick."""
    rest = (settings.fall - 1) * max(QUICK_CONNECT_S, CONFIRM_S)
    return settings.interval / 2 + settings.timeout + ALLOWED_S + rest


def between_s(record: Record) -> float:
    """Seconds from the decision to the steering's end in which no step ran: hand-overs."""
    decided = record.first(Mark.DECIDED)
    began: dict[str, float] = {}
    busy, last = 0.0, 0.0
    for entry in record.entries:
        at, step = entry.at.timestamp(), entry.step or ""
        if entry.mark is Mark.STEP_STARTED:
            began[step] = at
        elif entry.mark is Mark.STEP_DONE:
            busy, last = busy + at - began[step], at
            if step == "steer":
                break
    return last - decided.at.timestamp() - busy if decided else 0.0


def figures(phases: list[Phase]) -> dict[str, Spread]:
    """Each of the demo's seconds, over the runs."""
    found = {name: spread([getattr(phase.seconds, name) for phase in phases]) for name in Seconds.__dataclass_fields__}
    found["between steps"] = spread([between_s(phase.record) for phase in phases])
    return found


def table(out: dict[str, Spread], home: dict[str, Spread]) -> str:
    lines = [f"{'seconds':<14} {'failover':>9} {'min':>7} {'max':>7}   {'failback':>9} {'min':>7} {'max':>7}"]
    for name, there in out.items():
        back = home[name]
        lines.append(
            f"{name:<14} {there.median:>9.3f} {there.least:>7.3f} {there.most:>7.3f}   "
            f"{back.median:>9.3f} {back.least:>7.3f} {back.most:>7.3f}"
        )
    return "\n".join(lines)


async def repeat(runs: int, interval_s: float, timeout_s: float, fall: int) -> list[DemoReport]:
    reports = []
    for index in range(runs):
        report = await demo.run(interval_s=interval_s, timeout_s=timeout_s, fall=fall)
        reports.append(report)
        there, back = report.failover.seconds, report.failback.seconds
        print(
            f"{index + 1} of {runs}: passed {report.passed}, detect {there.detect:.3f} s, "
            f"orchestration {there.orchestration:.3f} s, {back.orchestration:.3f} s home",
            file=sys.stderr,
        )
    return reports


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between probes")
    parser.add_argument("--timeout", type=float, default=0.5, help="seconds that a probe may take")
    parser.add_argument("--fall", type=int, default=3, help="failures before an endpoint is down")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    given = parser.parse_args()
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(30),
    )
    reports = asyncio.run(repeat(given.runs, given.interval, given.timeout, given.fall))
    out, home = figures([r.failover for r in reports]), figures([r.failback for r in reports])
    bar_s = detect_bar_s(reports[0].settings)
    held = {
        f"failover orchestration {out['orchestration'].median:.3f} s < {FAST_S:g} s": out["orchestration"].median
        < FAST_S,
        f"failback orchestration {home['orchestration'].median:.3f} s < {FAST_S:g} s": home["orchestration"].median
        < FAST_S,
        f"detect {out['detect'].median:.3f} s <= {bar_s:.2f} s": out["detect"].median <= bar_s,
        "every demo passed": all(report.passed for report in reports),
    }
    if given.json:
        seconds = {
            way: {name: asdict(each) for name, each in found.items()}
            for way, found in (("failover", out), ("failback", home))
        }
        print(
            json.dumps(
                {"runs": len(reports), "settings": asdict(reports[0].settings), "seconds": seconds, "held": held},
                indent=2,
            )
        )
    else:
        print(table(out, home))
    for text, holds in held.items():
        print(f"{'holds ' if holds else 'MISSED'} {text}", file=sys.stderr)
    return 0 if all(held.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
