"""A source is away: the page keeps what it knows, loudly and with its age."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record
from orchestrator.history import Store
from orchestrator.status import CannotListen, create_app, serve
from real.ports import free_port


def _asking(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page")


AWAY = "Temporal at 127.0.0.1:7233 cannot be reached; start it"


async def test_a_page_without_a_history_shows_what_the_services_carry(world: Any) -> None:
    """No history is kept here: the page is whole all the same, and nothing is called away."""
    async with _asking(create_app(world, None)) as client:
        page = (await client.get("/")).text
        assert "Everything is serving" in page
        assert "The history is away" not in page
        assert (await client.get("/api/runs")).status_code == 200
        assert (await client.get("/runs/nobody-20260101-000000-0000")).status_code == 404


async def test_temporal_away_keeps_the_last_state_with_its_age(site: Any, world: Any) -> None:
    """When the control plane goes away the page says so in red, and goes on showing what it saw last."""
    assert "Everything is serving" in (await site.client.get("/")).text
    world.away = AWAY
    await asyncio.sleep(0.15)  # older than what may be shown again without asking
    page = (await site.client.get("/")).text
    assert "The control plane is away" in page
    assert AWAY in page
    assert "Shown is the state as of" in page
    assert "head bad away" in page
    assert "embed.example.com" in page
    answer = await site.client.get("/api/services")
    assert answer.status_code == 503
    body = answer.json()
    assert body["control_plane"]["error"] == AWAY
    assert body["control_plane"]["age_s"] > 0
    assert len(body["services"]) == 4
    world.away = ""
    await asyncio.sleep(0.15)
    assert "Everything is serving" in (await site.client.get("/")).text


async def test_temporal_away_from_the_start_still_shows_history(world: Any, store: Store) -> None:
    """A page that never heard the control plane shows past runs and says how to find it."""
    world.away = AWAY
    async with _asking(create_app(world, store)) as client:
        page = (await client.get("/")).text
        assert "The control plane is away" in page
        assert "Nothing was seen since" in page
        assert "chat-20260228-0005" in page
        assert (await client.get("/runs/chat-20260228-0005")).status_code == 200
        assert (await client.get("/runs/nobody")).status_code == 503


async def test_history_away_is_loud_and_services_stay(world: Any, worlds: ModuleType, tmp_path: Path) -> None:
    """When the history is away services are still shown, and the runs that the control plane knows with them."""
    (tmp_path / "file").write_text("no directory")
    now = worlds.utc_now()
    known = worlds.record(began=now, run="chat-recent")
    world.put(replace(world.services["chat"], last_runs=(known,)))
    async with _asking(create_app(world, Store.at(tmp_path / "file" / "history.db"))) as client:
        page = (await client.get("/")).text
        assert "Everything is serving" in page
        assert "The history is away" in page
        assert "chat-recent" in page
        assert (await client.get("/runs/chat-recent")).status_code == 200
        assert (await client.get("/api/services")).status_code == 200
        assert (await client.get("/api/runs")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200


class _Hangs:
    """A control plane whose answers never come."""

    async def statuses(self) -> tuple[Any, ...]:
        await asyncio.Event().wait()
        raise AssertionError

    async def record(self, run: RunId, service: ServiceId | None = None) -> Record:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_control_plane_that_hangs_is_away(store: Store) -> None:
    """No answer within a few seconds is told as such; the page itself does not hang."""
    async with _asking(create_app(_Hangs(), store, budget_s=2.0)) as client:
        page = (await client.get("/")).text
        assert "the control plane has not answered within 2 s" in page
        assert "chat-20260228-0005" in page


class _Breaks(_Hangs):
    async def statuses(self) -> tuple[Any, ...]:
        raise KeyError("a bug")


async def test_a_bug_in_a_source_does_not_take_the_page_down(store: Store) -> None:
    """An unexpected error is one sentence on the page, not a traceback."""
    async with _asking(create_app(_Breaks(), store)) as client:
        page = await client.get("/")
        assert page.status_code == 200
        assert "internal error (KeyError)" in page.text


async def test_a_port_in_use_is_one_sentence(world: Any, store: Store) -> None:
    """Serving where somebody listens already fails with the cure, before anything is served."""
    port = free_port()
    taken = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
    async with taken:
        with pytest.raises(CannotListen, match=rf"127\.0\.0\.1:{port}: the port is in use; choose another"):
            await serve(create_app(world, store), "127.0.0.1", port)
    with pytest.raises(CannotListen, match="is no port"):
        await serve(create_app(world, store), "127.0.0.1", 70000)
