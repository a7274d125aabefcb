"""The order of all tests: those that run whole systems come first, and no test process waits long for the last one.

Property tests run on shared machines: a slow example is no failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
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
