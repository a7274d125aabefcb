"""A cloud whose API does not answer: the step that needs it gives up in time and says so; nothing else is held up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from orchestrator.core.names import ServiceId
from orchestrator.core.topology import Service, Topology, Workload
from real.command import failover
from real.system import NAME, PAIR, System, until

PAGE = "page.local.test."


@contextlib.asynccontextmanager
async def black_hole() -> AsyncIterator[str]:
    """The address of an API that takes every connection and answers nothing."""
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in held:
            writer.close()


def beside(chat: Service, at: str) -> tuple[Service, Service]:
    """*chat*, whose capacity in Tokyo is controlled at *at*; and a service beside it that needs no cloud."""
    assert chat.steering is not None
    options = (("endpoint", at), ("region", "ap-northeast-1"))
    lost = Workload("ecs", "cluster/chat", serving=2, standby=1, options=options)
    endpoints = tuple(replace(each, workload=lost) if each.id == "tokyo" else each for each in chat.endpoints)
    page = replace(chat, id=ServiceId("page"), name=PAGE[:-1], steering=replace(chat.steering, name=PAGE))
    return replace(chat, endpoints=endpoints), page


async def test_a_cloud_that_hangs_ends_one_step_with_a_sentence_and_nothing_else(tmp_path: Path) -> None:
    """ECS in Tokyo takes connections and says nothing: the run to it gives up at its step's deadline and puts nothing
    half done into the world; meanwhile another service moves as fast as ever, and the service itself can move on."""
    async with black_hole() as at:

        def change(topology: Topology) -> Topology:
            orders = replace(topology.orders, limits=replace(topology.orders.limits, change_guard=100))
            return replace(topology, services=beside(topology.services[0], at), orders=orders)

        names = (("page", "paris"),)
        async with System.start(tmp_path, vantages=PAIR, change=change, names=names) as system:
            await system.steady()
            await system.plane.adopt(ServiceId("page"), by="test")
            begun = time.monotonic()
            words = ("--reason", "x", "--yes", "--wait")
            lost = asyncio.create_task(
                failover(
                    *(system, "run", "chat", "--to", "tokyo", *words),
                    *("--runbook", "region-failover", "--set", "patience=6s"),
                )
            )
            await until(system.runs, bool, "the run to Tokyo")
            page = await failover(system, "run", "page", "--to", "ohio", *words, "--runbook", "region-failover")
            assert page.status == 0, page.err
            assert not lost.done(), "the other service did not wait for the cloud"
            assert await system.dns.ask(PAGE, "A") == system.answer("ohio")
            ended = await lost
            assert ended.status == 1, ended
            assert time.monotonic() - begun < 40
            assert "Traceback" not in ended.out + ended.err
            run = next(each for each in await system.runs() if "/chat/" in each)
            shown = await until(
                lambda: failover(system, "show", run.rpartition("/")[2]), lambda said: said.status == 0, "the record"
            )
            assert "gave no answer within" in " ".join(shown.out.split()), shown
            assert await system.dns.ask(NAME, "A") == system.answer("paris"), "nothing was moved"
            again = await failover(system, "run", "chat", "--to", "ohio", *words, "--runbook", "region-failover")
            assert again.status == 0, again.err
            assert await system.dns.ask(NAME, "A") == system.answer("ohio"), "it could go elsewhere all the while"
