"""A whole system whose workers die on order, and what the world must look like afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from crashes.cases import EVERYBODY, HOME, STORIES, TEMPORAL, Crash, Story, book

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.steering import decode
from orchestrator.core.topology import Topology
from real.system import CHAT, FENCE, NAME, PAIR, System, until
from workflows.wire import Acted, ActKind, FailoverRequest, Refusal, RunAct, RunState, Started

TESTS = Path(__file__).parents[1]
LONGEST_S = 3600.0
"""The whole matrix in one world."""


@dataclass
class Hooks:
    """A server that others call: it does each thing once by its key, and says no at /no."""

    port: int = 0
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each path and key was asked."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            await reader.readexactly(int(headers.get("content-length", 0)))
            path = head[0].split()[1].removeprefix("/")
            self.done[path, headers["idempotency-key"]] += 1
            status = "400 Bad Request" if path == "no" else "204 No Content"
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()


@dataclass
class Theatre:
    """One world in which case after case is played."""

    system: System
    order: Path
    hooks: Hooks
    played: int = 0

    async def play(self, crash: Crash) -> Record:
        """Move from paris to ohio by the story's runbook, let somebody die, and look at the world."""
        story = STORIES[crash.story]
        before = await self._before()
        self.hooks.done.clear()
        self.order.with_suffix(".taken").unlink(missing_ok=True)
        if not story.inside:
            when = crash.when if crash.who not in {EVERYBODY, TEMPORAL} else "before"
            self.order.write_text(f"{story.crash} {when}", encoding="utf-8")
        self.played += 1
        # A prober that has just been started again has yet to see a completion; verify would ask for one anyway.
        trigger = Trigger("crash-matrix", str(crash), ("target-not-proven",))
        request = Request(MoveKind.SWITCHOVER, trigger, EndpointId("ohio"), runbook=crash.story)
        asked = FailoverRequest(f"case-{self.played}", request)
        answer = await self.system.plane.request(CHAT, asked)
        assert isinstance(answer, Started), answer
        await self._strike(crash, story, answer)
        record = await self.system.closed(answer.workflow, within_s=60.0)
        await self._looks_right(crash, story, record, before)
        await self._reset(record)
        return record

    async def _strike(self, crash: Crash, story: Story, run: Started) -> None:
        """Let die who has to, and start again whom nobody else does."""
        if story.inside:
            await until(lambda: self._begun(run, story.crash), bool, f"step {story.crash} begins")
        else:
            await until(self._somebody_died, bool, f"the worker dies in {story.crash}")
        if crash.who == EVERYBODY:
            await asyncio.gather(*(self.system.kill(key) for key in self.system.running.workers))
        if crash.who == TEMPORAL:
            await self.system.restart_temporal()
        await self._raise_the_dead()
        if story.crash == "yes":
            await self._approve(run)

    async def _somebody_died(self) -> bool:
        return any(process.returncode is not None for process in self.system.running.workers.values())

    async def _raise_the_dead(self) -> None:
        for vantage in self.system.topology.vantages:
            process = self.system.running.workers[vantage.id]
            if process.returncode is not None:
                await self.system.start_worker(vantage)

    async def _begun(self, run: Started, step: str) -> bool:
        record = await self.system.plane.record(run.run, CHAT)
        return any(each.step == step and each.mark is Mark.STEP_STARTED for each in record.entries)

    async def _approve(self, run: Started) -> None:
        async def asks() -> RunState:
            return await self.system.plane.run_state(run.run, CHAT)

        await until(asks, lambda state: bool(state.waiting), "the run asks for a yes")
        act = RunAct(f"yes-{run.run}", ActKind.APPROVE, "alice", "it may")
        answer = await self.system.plane.act(run.run, act, CHAT)
        assert isinstance(answer, Acted)

    # ------------------------------------------------------------------ what the world says

    async def _before(self) -> tuple[int, int]:
        fence = decode((await self.system.dns.ask(FENCE, "TXT"))[0])
        return fence.generation, await self.system.eye.serial()

    async def _looks_right(self, crash: Crash, story: Story, record: Record, before: tuple[int, int]) -> None:
        wanted = RunStatus.COMPLETED if story.completed else RunStatus.UNDONE
        told = [f"{entry.mark} {entry.step or ''}: {entry.text}" for entry in record.entries]
        assert record.status is wanted, (str(crash), *told)
        generation, serial = await self._before()
        assert generation == before[0] + story.writes, (str(crash), generation, before, *told)
        assert serial == before[1] + story.writes, (str(crash), "each write changes the zone once", *told)
        assert await self.system.dns.ask(NAME, "A") == self.system.answer(story.at), str(crash)
        for endpoint, replicas in (("ohio", story.ohio), ("paris", story.paris)):
            seen = await self.system.world.endpoint(endpoint)
            assert seen["desired"] == replicas, (str(crash), endpoint, seen, *told)
        keys = {(path, key) for path, key in self.hooks.done if path != "no"}
        assert sorted(path for path, _ in keys) == sorted(story.calls), (str(crash), self.hooks.done)

    async def _reset(self, record: Record) -> None:
        """Everything as it was: traffic in paris, two replicas there, one in ohio."""
        world = self.system.world
        await world.scale("paris", 2, key=f"reset-{record.run}")
        await world.drain("paris", on=False, key=f"reset-{record.run}")
        await self.system.steady()
        if record.status is RunStatus.COMPLETED:
            home = Request(
                MoveKind.FAILBACK,
                Trigger("crash-matrix", "reset", ("target-not-proven",)),
                EndpointId("paris"),
                runbook="home",
            )
            tries = itertools.count()

            async def ask() -> Started | Refusal:
                return await self.system.plane.request(CHAT, FailoverRequest(f"home-{record.run}-{next(tries)}", home))

            # A Temporal that has just come back knows heartbeats from before its death, which grow old meanwhile.
            answer = await until(ask, lambda said: isinstance(said, Started), "the way home is free")
            assert isinstance(answer, Started)
            closed = await self.system.closed(answer.workflow)
            assert closed.status is RunStatus.COMPLETED, closed.entries
        await world.scale("ohio", 1, key=f"reset-ohio-{record.run}")
        await self.system.steady()


@pytest.fixture
def theatre(tmp_path: Path) -> Callable[[], contextlib.AbstractAsyncContextManager[Theatre]]:
    """Opens a theatre for a test."""

    @contextlib.asynccontextmanager
    async def open_() -> AsyncIterator[Theatre]:
        hooks = Hooks()
        server = await asyncio.start_server(hooks.serve, "127.0.0.1", 0)
        hooks.port = server.sockets[0].getsockname()[1]
        order = tmp_path / "order"

        def change(topology: Topology) -> Topology:
            at = f"http://127.0.0.1:{hooks.port}"
            books = {"home.yaml": HOME} | {f"{name}.yaml": book(name, at) for name in STORIES}
            return replace(topology, books=tuple(sorted(books.items())))

        path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH", ""))))
        async with (
            server,
            System.start(
                tmp_path,
                vantages=PAIR,
                change=change,
                load_s=0.2,
                module="real.crashing",
                environment={"CRASH_ORDER": str(order), "PYTHONPATH": path},
                longest_s=LONGEST_S,
            ) as system,
        ):
            await system.world.scale("paris", 2, key="begin-paris")
            await system.world.scale("ohio", 1, key="begin-ohio")
            await system.steady()
            yield Theatre(system, order, hooks)

    return open_
