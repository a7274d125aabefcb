"""Server-sent events: the page again each time it changed, a tick while it did not, a ping while nobody answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from orchestrator.status.pages import Page
from orchestrator.status.pane import Pane, Seen

TICK_S = 5.0
"""A viewer that hears nothing for a few of these knows that it is cut off."""

Render = Callable[[Seen], Awaitable[Page]]


def event(name: str, data: dict[str, str], *, mark: str = "") -> bytes:
    """One event (WHATWG HTML, "Server-sent events"): JSON has no line breaks, so one data line carries it."""
    head = f"id: {mark}\n" if mark else ""
    return f"{head}event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def changes(pane: Pane, render: Render, *, last: str = "") -> AsyncIterator[bytes]:
    """Events for one viewer, until it goes or the pane closes.

    *last* is the mark of what it shows: that is not sent again, and of a later page only the parts that changed.
    """
    yield b"retry: 1000\n\n"
    following = pane.follow()
    upcoming: asyncio.Task[Seen] | None = None
    shown: Page | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.create_task(anext(following))  # type: ignore[arg-type]  # an async generator's anext is a coroutine
            done, _ = await asyncio.wait({upcoming}, timeout=TICK_S)
            if not done:
                yield event("ping", {})
                continue
            try:
                seen = upcoming.result()
            except StopAsyncIteration:
                return
            upcoming = None
            page = await render(seen)
            if page.mark == last:
                yield event("tick", {"now": page.now})
            else:
                last, html = page.mark, page.since(shown)
                told = {"now": page.now, "title": page.title, "headline": page.headline, "html": html}
                yield event("page", told, mark=last)
            shown = page
    finally:
        if upcoming is not None:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
        await following.aclose()  # type: ignore[attr-defined]  # Pane.follow is an async generator
