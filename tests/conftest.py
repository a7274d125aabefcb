"""The order of all tests: those that run whole systems come first, and no test process waits long for the last one.

Property tests run on shared machines: a slow example is no failure.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import settings

settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

HERE = Path(__file__).parent
LONG = frozenset({"system", "crashes", "breakglass"})


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the long tests out; the others stay beside those that share their fixtures.

    Each test process begins with a part of the list, in one piece.
    """
    hands = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.path.relative_to(HERE).parts[0] in LONG]
    rest = [item for item in items if item.path.relative_to(HERE).parts[0] not in LONG]
    part = -(-len(rest) // hands)
    items[:] = [item for hand in range(hands) for item in (*long[hand::hands], *rest[hand * part : (hand + 1) * part])]


CONTRACTS = {
    "steering": "test_shares_contract.py",
    "names": "test_steering_contract.py",
    "capacity": "test_capacity_contract.py",
}
"""What each contract of providers is called in the summary, and where it stands."""


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """How many cases of each contract every provider has passed."""
    for contract, file in CONTRACTS.items():
        passed = [each.nodeid for each in terminalreporter.stats.get("passed", ()) if f"/{file}::" in each.nodeid]
        if not passed:
            continue
        count = Counter(_provider(each) for each in passed if each.endswith("]"))
        said = ", ".join(f"{name} {cases}" for name, cases in sorted(count.items()))
        terminalreporter.write_line(f"contract of {contract}: {said}")


def _provider(nodeid: str) -> str:
    """The place that a case ran in: its first parameter, which no trouble or error is part of."""
    words = nodeid.rpartition("[")[2].rstrip("]").split("-")
    others = ("throttled", "broken", "late", "expired", "forbidden", "away")
    return "-".join(words[: next((n for n, word in enumerate(words) if word in others), len(words))])
