"""Planned moves under load: how many requests fail, or are cut in the middle of their stream.

A world of three regions under steady client load that streams completions, each about a second long: clients that obey
the TTL, and clients with pooled connections. The service is moved to the other endpoint and back, time after time, by
the planned runbook: promote, verify, steer, converge, drain. Counted is every request that began in a move.

    python benchmarks/switchovers.py
    python benchmarks/switchovers.py --times 20 --json

Bar: none fails, none is cut, whichever kind of client. Exit status 1 when one does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId
from orchestrator.core.record import RunStatus
from orchestrator.local import demo
from orchestrator.local.measure import Settings
from orchestrator.local.requests import RequestRecord
from workflows.wire import FailoverRequest, Refusal

TOKENS = 64
"""In each completion: about a second at the world's usual pace."""
AFTER_S = 1.5
"""What began so long after a move counts as its own."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One move, and what its clients noticed."""

    to: str
    seconds: float
    requests: int
    failed: int
    """Of them, those that got no answer or a wrong one."""
    cut: int
    """Those whose stream ended before its end."""
    longest_s: float
    """The longest request that was under way."""


async def move(stage: demo.Stage, number: int, to: str) -> Moved:
    """Move the service to the endpoint *to*, and count."""
    began = time.time()
    known = {record.run for record in (await stage.plane.status(demo.CHAT)).last_runs}
    request = Request(MoveKind.SWITCHOVER, Trigger("benchmark", f"move {number}"), EndpointId(to))
    answer = await stage.plane.request(demo.CHAT, FailoverRequest(f"move-{number}", request))
    if isinstance(answer, Refusal):
        raise SystemExit("refused: " + "; ".join(reason.text for reason in answer.reasons))
    status = await stage.until(lambda seen: demo.closed(seen, known), f"move {number}")
    if status.last_runs[0].status is not RunStatus.COMPLETED:
        raise SystemExit(f"move {number} ended as {status.last_runs[0].status}: {status.last_runs[0].entries[-1].text}")
    took = time.time() - began
    await asyncio.sleep(AFTER_S)
    ended = time.time()

    def mine() -> list[RequestRecord]:
        return [each for each in stage.load.requests() if began - 2.0 <= each.started < ended]

    # What is under way is waited for: a stream that is cut later was cut by this move.
    await asyncio.sleep(2.0)
    inside = mine()
    bad = [each for each in inside if not each.ok]
    cut = [each for each in bad if each.tokens > 0]
    longest = max((each.ended - each.started for each in inside), default=0.0)
    return Moved(to, round(took, 2), len(inside), len(bad) - len(cut), len(cut), round(longest, 2))


async def measured(times: int) -> list[Moved]:
    """*times* moves, to and fro, in one world."""
    with tempfile.TemporaryDirectory(prefix="failover-switchovers-") as folder:
        settings = Settings(1.0, 0.5, 3, 3)
        async with demo.staged(Path(folder), settings, lambda _: None, max_tokens=TOKENS) as stage:
            await stage.plane.adopt(demo.CHAT, by="benchmark")
            status = await stage.until(demo.well, "a healthy start")
            home = next(str(endpoint.id) for endpoint in status.endpoints if endpoint.weight)
            other = next(str(endpoint.id) for endpoint in status.endpoints if str(endpoint.id) != home)
            await asyncio.sleep(3.0)
            found = []
            for number in range(times):
                found.append(await move(stage, number, other if number % 2 == 0 else home))
                await stage.until(demo.well, "all well again")
            return found


def main() -> None:
    """Measure, print, and say by the exit status whether the bar holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    found = asyncio.run(measured(options.times))
    bad = sum(each.failed + each.cut for each in found)
    if options.json:
        sys.stdout.write(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    else:
        line = "{:>4} {:<8} {:>8} {:>9} {:>7} {:>5} {:>10}\n"
        sys.stdout.write(line.format("move", "to", "seconds", "requests", "failed", "cut", "longest s"))
        for number, each in enumerate(found, 1):
            values = (each.to, each.seconds, each.requests, each.failed, each.cut, each.longest_s)
            sys.stdout.write(line.format(number, *values))
        total, took = sum(each.requests for each in found), statistics.median(each.seconds for each in found)
        word = "holds" if not bad else "missed"
        sys.stdout.write(f"{word}  {len(found)} moves, {total} requests, {bad} failed or cut; a move takes {took} s\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
