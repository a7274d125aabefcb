"""The worker: the one composition root. A process stands in one failure domain and probes for one vantage."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvloop
from temporalio.client import Client
from temporalio.worker import Worker

from orchestrator.core.errors import FailoverError
from orchestrator.core.names import Domain, VantageId
from orchestrator.core.quorum import Report
from orchestrator.runtime.connection import connect
from orchestrator.runtime.logging import set_up
from orchestrator.runtime.payloads import learn
from orchestrator.runtime.processes import settle
from orchestrator.runtime.sandbox import runner
from providers.probes import Probes
from workflows import options
from workflows.activities.dry import Dry
from workflows.activities.evacuating import Evacuating
from workflows.activities.governing import Governing
from workflows.activities.leading import Leading
from workflows.activities.looking import Looking, Pulses, look
from workflows.activities.probing import Probing
from workflows.activities.publishing import Publishing
from workflows.activities.rehearsing import Rehearsing
from workflows.activities.shadowing import Shadowing
from workflows.activities.steps import Steps
from workflows.activities.telling import Chronicle, Herald
from workflows.activities.verbs import Verbs
from workflows.activities.weighing import Weighing
from workflows.domain import DomainWorkflow
from workflows.drill import DrillWorkflow
from workflows.failover import FailoverWorkflow
from workflows.governor import GovernorWorkflow
from workflows.herald import HeraldWorkflow
from workflows.lost import LostWorkflow
from workflows.service import ServiceWorkflow
from workflows.topology import TopologyWorkflow
from workflows.turn import TurnWorkflow
from workflows.watch import WatchWorkflow
from workflows.wire import (
    CONTROL_QUEUE,
    HISTORY_QUEUE,
    TELLING_QUEUE,
    Carry,
    Look,
    RunClosed,
    ServiceState,
    StepResult,
    StepTask,
    probe_queue,
    steps_queue,
)
from workflows.wire import Herald as News
from workflows.wire.ids import rehearsal_queue

log = structlog.get_logger()

CACHED_WORKFLOWS = 4000
TRAVELLING = (Carry, Look, News, Report, RunClosed, ServiceState, StepResult, StepTask)
"""What is read in a failover."""
PROBES_AT_ONCE = 8
"""Shards of its vantage that one worker probes at most."""
REHEARSALS_AT_ONCE = 4
"""Drills that one worker probes for at most, beside them."""


@dataclass(frozen=True, slots=True)
class Post:
    """Where a worker stands and what it does there."""

    domain: Domain
    vantage: VantageId | None = None
    """None: it carries out steps and decisions, and probes nothing."""
    host: str = ""
    """The machine; empty: this one's name."""
    state: Path | None = None
    """Folder for its copy of the topology; None: a temporary one."""
    history: str | None = None
    """URL of the history store; None: this worker publishes nothing, another one may."""


@contextlib.asynccontextmanager
async def workers(client: Client, post: Post) -> AsyncIterator[None]:
    """Everything one process runs: decisions, the steps of its domain, the probing of its vantage."""
    learn(*TRAVELLING)
    stack = contextlib.AsyncExitStack()
    state = post.state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="failover-worker-")))
    probes = Probes()
    pulses = Pulses(client)
    looking, steps = Looking(client, pulses), Steps(probes, Weighing(client, partial(look, pulses)))
    governing = Governing(client)
    leading = Leading(client, Verbs(probes, lambda *_found: None).do, looking.recheck, governing, pulses)
    publishing, rehearsing, evacuating = Publishing(client), Rehearsing(client), Evacuating(client)
    dry = Dry(client)
    host = post.host or socket.gethostname()
    probing, shadowing = Probing(client, host=host, cache=state), Shadowing(client, host=host)
    acts: list[Callable[..., Any]] = [steps.step, steps.undo, steps.adopt, leading.lead]
    work = partial(
        Worker,
        client,
        max_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
        default_heartbeat_throttle_interval=options.HEARTBEAT_EVERY,
    )
    control = work(
        task_queue=CONTROL_QUEUE,
        workflows=[
            DomainWorkflow,
            DrillWorkflow,
            FailoverWorkflow,
            GovernorWorkflow,
            HeraldWorkflow,
            LostWorkflow,
            ServiceWorkflow,
            TopologyWorkflow,
            TurnWorkflow,
            WatchWorkflow,
        ],
        activities=[
            *(looking.look, looking.describe_run, looking.recheck, governing.acquire, leading.hand_over),
            governing.setbacks,
            *(publishing.running_endpoints, publishing.publish_topology),
            *(rehearsing.inject, rehearsing.clear, rehearsing.steady, rehearsing.await_run, rehearsing.ask_failback),
            rehearsing.whose_turn,
            *(dry.decide, dry.governor, dry.capacity, dry.steering),
            *(shadowing.shadow, shadowing.canary, shadowing.settle),
            *(evacuating.list_inside, evacuating.depart, evacuating.await_arrival),
            *acts,
        ],
        workflow_runner=runner(),
        max_cached_workflows=CACHED_WORKFLOWS,
        sticky_queue_schedule_to_start_timeout=options.STICKY_TIMEOUT,
        # Eager execution would keep a step on the worker that decided, which may stand in the failing domain.
        disable_eager_activity_execution=True,
        workflow_task_executor=ThreadPoolExecutor(max_workers=8, thread_name_prefix="workflow"),
    )
    running = [control, work(task_queue=steps_queue(post.domain), activities=acts)]
    running.append(work(task_queue=TELLING_QUEUE, activities=[Herald().tell]))
    if post.history is not None:
        running.append(work(task_queue=HISTORY_QUEUE, activities=[Chronicle(post.history).publish]))
    if post.vantage is not None:
        queue = probe_queue(post.vantage)
        running.append(work(task_queue=queue, activities=[probing.probe], max_concurrent_activities=PROBES_AT_ONCE))
        queue = rehearsal_queue(post.vantage)
        running.append(
            work(task_queue=queue, activities=[shadowing.probe], max_concurrent_activities=REHEARSALS_AT_ONCE)
        )
    async with stack:
        stack.push_async_callback(probes.close)
        for worker in running:
            await stack.enter_async_context(worker)
        log.info("worker.started", domain=post.domain, vantage=post.vantage, pid=os.getpid())
        yield


def _raise_descriptor_limit() -> None:
    """Each kept-alive probe holds one file descriptor: take as many as this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def run_worker(client: Client, post: Post) -> None:
    """Work until SIGTERM or SIGINT."""
    _raise_descriptor_limit()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with workers(client, post):
        settle()
        await stop.wait()
    log.info("worker.stopped", domain=post.domain, vantage=post.vantage)


def main() -> None:
    """``python -m orchestrator.runtime.worker``: what ``failover up`` starts, one per vantage."""
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--vantage")
    parser.add_argument("--host", default="")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--history")
    given = parser.parse_args()
    set_up("info")
    post = Post(Domain(given.domain), given.vantage, given.host, given.state, given.history)

    async def work() -> None:
        await run_worker(await connect(), post)

    status = 0
    try:
        uvloop.run(work())
    except FailoverError as error:
        log.error("worker.refused", reason=str(error))
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Temporal's client may crash the interpreter while it is torn down, and the status would be lost.
    os._exit(status)


if __name__ == "__main__":
    main()
