"""A world to break the glass in: model servers, BIND, and nothing of Temporal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from real.glass import Site, opened


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A laptop's view of the local world, with BIND, and no Temporal anywhere."""
    async with opened(tmp_path) as found:
        yield found
