"""Record a history of every workflow from real runs on Temporal's development server, for this release.

    PYTHONPATH=.:tests .venv/bin/python tests/replay/record.py [FOLDER]

writes ``tests/replay/<version>/*.json`` (or into FOLDER), scrubbed of what names the machine. It takes about half a
minute. Record once per release and leave the older folders alone: workers of the next release meet such histories.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.worker import Worker

from orchestrator import __version__
from orchestrator.config import digest, dump
from orchestrator.core.crowd import Moving
from orchestrator.core.decision import Request
from orchestrator.core.governing import Ledger, SlotAnswer, SlotRequest
from orchestrator.core.health import EndpointState, Health
from orchestrator.core.move import Move, MoveKind, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
from orchestrator.core.orders import Limits, Pool
from orchestrator.core.quorum import Report
from orchestrator.core.rehearsal import shadow_of
from orchestrator.core.topology import Mode, Topology, Workload
from real.actors import CHAT, Canary, Prober, Readiness, Rehearsal
from real.region import PARIS, Region
from real.scenery import AWAY, EU, GRANTED, TOLD, US, VANTAGES, World, at_home, passing, refusal, service
from real.stage import RealTime, Stage, real_time, staff, until
from runbooks.parse import parse
from runbooks.planner import Ground, plan
from workflows import options
from workflows.activities.documents import pack
from workflows.activities.governing import Governing
from workflows.activities.leading import Leading
from workflows.activities.looking import Pulses
from workflows.activities.publishing import Publishing
from workflows.activities.rehearsing import Rehearsing
from workflows.wire import (
    CONTROL_QUEUE,
    Acted,
    ActKind,
    AdoptRequest,
    Applied,
    Apply,
    Carry,
    DrillReport,
    DrillRequest,
    FailoverRequest,
    Pause,
    Refusal,
    RunAct,
    RunState,
    ServiceState,
    SetMode,
    Started,
    WatchState,
    domain_id,
    drill_id,
    lost_id,
    probe_queue,
    run_workflow_id,
    service_id,
    shard_of,
    watch_id,
)
from workflows.wire.drill import DRY, SYNTHETIC, AbortDrill
from workflows.wire.evacuation import Departed, EvacuationRequest, Fate
from workflows.wire.governor import Arrival, GiveBack, GovernorState, News, Regime, SlotAnswers, SlotRequests, Stand
from workflows.wire.ids import rehearsal_queue, turn_id
from workflows.wire.lost import Bundle, Fallen

HERE = Path(__file__).parent
_ANSWER: Any = Started | Refusal


@dataclass
class Recorder:
    """Writes histories of one server into one folder."""

    client: Client
    folder: Path

    async def keep(self, name: str, workflow: str, run: str | None = None) -> None:
        """Write the history of *workflow* (of its execution *run*) as ``<name>.json``."""
        history = await self.client.get_workflow_handle(workflow, run_id=run).fetch_history()
        scrubbed = scrub(json.loads(history.to_json()))
        document = {"workflow": workflow, "history": scrubbed}
        (self.folder / f"{name}.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        sys.stderr.write(f"{name}: {len(history.events)} events\n")


def scrub(value: Any) -> Any:  # JSON of any shape
    """*value* without what names the machine: identities, sticky queues, stack traces."""
    if isinstance(value, list):
        return [scrub(each) for each in value]
    if not isinstance(value, dict):
        return value
    clean = {key: scrub(each) for key, each in value.items() if key != "stackTrace"}
    if "identity" in clean:
        clean["identity"] = "worker"
    if clean.get("kind") == "TASK_QUEUE_KIND_STICKY":
        clean["name"] = "sticky"
    return clean


@contextlib.asynccontextmanager
async def theatre() -> AsyncIterator[tuple[Stage, Prober, Rehearsal, Region]]:
    """The development server with every worker."""
    async with real_time() as client:
        clock, prober, rehearsal = RealTime(client), Prober(), Rehearsal()
        world, publishing = World(clock.get_current_time), Publishing(client)
        region = Region()
        acts = (publishing.running_endpoints, publishing.publish_topology, *rehearsal.activities())
        acts = (*acts, *Canary().activities(), *Readiness().activities(), Rehearsing(client).whose_turn)
        acts = (*acts, region.list_inside, region.depart, region.await_arrival)
        leading = Leading(client, world.step, world.recheck, cast("Governing", Granting()), Pulses(client))
        acts = (*acts, leading.lead, leading.hand_over)
        async with staff(client, world, *acts):
            yield Stage(clock, world, service(cooldown_s=0.0)), prober, rehearsal, region


async def runs(play: Stage, recorder: Recorder) -> None:
    """Runs that complete, are undone, are overtaken and are cancelled, all of one service; and the service itself."""
    play.world.routing = replace(play.world.routing, fence=None)
    await play.open()
    first = (await play.handle.describe()).run_id
    await play.all_say(eu="healthy", us="healthy")
    await play.handle.execute_update("adopt", AdoptRequest("ann"))
    await play.handle.execute_update("pause", Pause("ann", "a look"))
    await play.handle.execute_update("resume", Pause("ann", "looked"))
    await play.handle.execute_update("set_mode", SetMode(Mode.OBSERVE, "ann", "observe first"))
    await play.all_say(eu="down", us="healthy")
    await play.until(lambda s: len(s.last_runs) == 1)
    await play.handle.execute_update("set_mode", SetMode(Mode.AUTOMATIC, "ann", "go"))
    status = await play.until(lambda s: s.run is None and len(s.last_runs) == 2)
    await recorder.keep("failover-completed", f"failover/chat/{status.last_runs[0].run}")
    await play.all_say(eu="healthy", us="healthy")

    play.world.failing["converge"] = refusal("Refused", "ns2 has the old answer")
    play.world.stumbling["verify"] = [passing()]
    await recorder.keep("failover-undone", await asked(play, MoveKind.FAILBACK, EU))
    play.world.failing = {"steer": refusal("StaleGeneration", "generation 9 stands")}
    await recorder.keep("failover-stale", await asked(play, MoveKind.FAILBACK, EU))
    play.world.failing = {}
    gate = play.world.gates["verify"] = asyncio.Event()
    workflow = await asked(play, MoveKind.FAILBACK, EU, cancel=True)
    gate.set()
    await recorder.keep("failover-cancelled", workflow)

    # Signals without content carry it over into a new execution with the smallest history.
    for _ in range(5):
        await asyncio.gather(*(play.handle.signal("look_again") for _ in range(100)))
    await until(lambda: current(play), lambda run: run != first)
    await play.until(lambda s: len(s.views) == 3)
    await play.handle.signal("retire")
    await play.handle.result()
    await recorder.keep("service-continued", play.handle.id, first)
    await recorder.keep("service", play.handle.id, await current(play))


async def current(play: Stage) -> str:
    return str((await play.handle.describe()).run_id)


async def asked(play: Stage, kind: MoveKind, target: EndpointId, *, cancel: bool = False) -> str:
    """The workflow of a run that a person asked for, when it is closed."""
    number = len((await play.status()).last_runs)
    request = FailoverRequest(f"request-{number}", Request(kind, Trigger("ann", "a rehearsal"), target))
    answer = await play.handle.execute_update("request", request, result_type=_ANSWER)
    assert isinstance(answer, Started), answer
    if cancel:
        await until(lambda: asyncio.sleep(0, play.world.steps[-1]), lambda step: step == "verify")
        await play.client.get_workflow_handle(answer.workflow).cancel()
    await play.until(lambda s: s.run is None and s.last_runs[0].run == answer.run)
    return answer.workflow


async def watching(client: Client, prober: Prober, recorder: Recorder) -> None:
    """A watch whose prober dies, fails, ends in peace and is stopped; and one that nobody takes up."""
    ends = {1: "dies", 2: "fails", 3: "returns"}
    prober.ends = lambda watch: ends.get(watch.epoch, "never")
    for name, vantage in (("watch", VANTAGES[0]), ("watch-silent", VANTAGES[1])):
        state = WatchState(vantage, 0, 1, notify=TOLD)
        await client.start_workflow("watch", state, id=f"watch/recorded/{name}", task_queue=CONTROL_QUEUE)
    async with Worker(client, task_queue=probe_queue(VANTAGES[0].id), activities=[prober.probe]):
        await until(lambda: asyncio.sleep(0, prober.epochs), lambda epochs: epochs[-1:] == [4])
    silent = client.get_workflow_handle("watch/recorded/watch-silent")
    await until(lambda: silent.query("state", result_type=WatchState), lambda state: state.told_silent)
    for name in ("watch", "watch-silent"):
        handle = client.get_workflow_handle(f"watch/recorded/{name}")
        await handle.signal("stop")
        await handle.result()
        await recorder.keep(name, handle.id)


async def topologies(client: Client, recorder: Recorder) -> None:
    """Two revisions, and one that came too late."""
    await client.start_workflow("topology", Applied(0, ""), id="topology", task_queue=CONTROL_QUEUE)
    handle = client.get_workflow_handle("topology")
    for expects, names in ((0, ("code",)), (1, ("code", "more")), (1, ("late",))):
        regions = tuple(sorted(vantage.region for vantage in VANTAGES))
        wanted = Topology(regions, VANTAGES, tuple(service(name, mode=Mode.OBSERVE) for name in names), TOLD)
        apply = Apply(expects, digest(wanted), pack(dump(wanted)), "ann")
        with contextlib.suppress(WorkflowUpdateFailedError):
            await handle.execute_update("apply", apply, result_type=Applied)
    await recorder.keep("topology", handle.id)


async def drills(client: Client, rehearsal: Rehearsal, recorder: Recorder) -> None:
    """A drill that passes with its turn, one that never sees its failover, one that has no turn, and one aborted."""
    for name, reacts in (("passed", True), ("failed", False)):
        rehearsal.reacts, rehearsal.home = reacts, EU
        request = DrillRequest(name, CHAT, "region-blackhole", by="ann")
        await client.execute_workflow("drill", request, id=drill_id(CHAT, name), task_queue=CONTROL_QUEUE)
        await recorder.keep(f"drill-{name}", drill_id(CHAT, name))
    await recorder.keep("turn", turn_id(CHAT))

    rehearsal.reacts, rehearsal.home, rehearsal.waiting = True, EU, asyncio.Event()
    first = await begun(client, DrillRequest("aborted", CHAT, "process-kill", by="ann"), "failover")
    skipped = DrillRequest("", CHAT, "process-kill", by="ann")
    await client.execute_workflow("drill", skipped, id=drill_id(CHAT, "skipped"), task_queue=CONTROL_QUEUE)
    await recorder.keep("drill-skipped", drill_id(CHAT, "skipped"))
    await first.execute_update("abort", AbortDrill("bob", "a real incident"), result_type=DrillReport)
    await first.result()
    rehearsal.waiting = None
    await recorder.keep("drill-aborted", first.id)


async def synthetic(play: Stage, rehearsal: Rehearsal, recorder: Recorder) -> None:
    """Drills that ask only, that move a canary, and that are cancelled with the fault told; a shadow and its run."""
    client, shadow = play.client, shadow_of(service("chat"))
    rehearsal.reacts, rehearsal.home = True, EU
    async with Worker(client, task_queue=rehearsal_queue(VANTAGES[0].id), activities=[Canary().probe]):
        for level in (DRY, SYNTHETIC):
            request = DrillRequest(level, CHAT, "region-blackhole", by="ann", level=level)
            await client.execute_workflow("drill", request, id=drill_id(CHAT, level), task_queue=CONTROL_QUEUE)
            await recorder.keep(f"drill-{level}", drill_id(CHAT, level))
    await recorder.keep("shadow-of-drill", service_id(shadow.id))
    await recorder.keep("watch-of-drill", watch_id(VANTAGES[0].id, shard_of(shadow.id, 1)))

    rehearsal.waiting, rehearsal.home = asyncio.Event(), EU
    request = DrillRequest("told", CHAT, "region-blackhole", by="ann", level=SYNTHETIC)
    handle = await begun(client, request, "failover")
    await handle.cancel()
    await handle.result()
    rehearsal.waiting = None
    await recorder.keep("drill-synthetic-cancelled", handle.id)

    # A shadow that moves, comes home, and meets a standby that is cold.
    cold = replace(shadow.endpoint(US), workload=Workload("fake", "us", serving=2, standby=0))
    shadow = replace(shadow, endpoints=(shadow.endpoint(EU), cold))
    there = Stage(play.env, play.world, shadow)
    play.world.routing = at_home()
    piece = replace(there.slice(), drill="recorded")
    id_ = service_id(shadow.id)
    await client.start_workflow("service", ServiceState(piece), id=id_, task_queue=CONTROL_QUEUE)
    await there.all_say(eu="healthy", us="healthy")
    await there.all_say(eu="down", us="healthy")
    status = await there.until(lambda status: status.run is None and len(status.last_runs) == 1)
    await recorder.keep("failover-of-drill", run_workflow_id(shadow.id, status.last_runs[0].run))
    await there.all_say(eu="healthy", us="healthy")
    await recorder.keep("failback-of-drill", await asked(there, MoveKind.FAILBACK, EU))
    await there.all_say(eu="healthy", us="down")
    await there.all_say(eu="down", us="down")
    await there.until(lambda status: status.question is not None)
    await recorder.keep("failover-of-drill-cold", await asked(there, MoveKind.FAILOVER, US))
    await there.handle.signal("retire")
    await there.handle.result()
    await recorder.keep("shadow", id_)


async def begun(client: Client, request: DrillRequest, phase: str) -> WorkflowHandle[Any, DrillReport]:
    """A drill that has come to *phase*."""
    id_ = drill_id(request.service, request.id)
    handle: WorkflowHandle[Any, DrillReport] = await client.start_workflow(
        "drill", request, id=id_, task_queue=CONTROL_QUEUE, result_type=DrillReport
    )
    await until(
        lambda: handle.query("report", result_type=DrillReport),
        lambda report: bool(report.phases) and report.phases[-1].name == phase,
    )
    return handle


STEERED = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: steered}
steps:
  - {id: yes, type: approve, people: 1, timeout: 10m}
  - id: both
    type: parallel
    branches:
      - [{id: one, type: verify}]
      - [{id: two, type: check, on_failure: ask, retry: 0}]
  - {id: hold, type: wait, for: 500ms}
  - {id: say, type: notify, text: halfway}
  - {id: steer, type: steer}
  - {id: drain, type: drain}
"""


async def steered(play: Stage, recorder: Recorder) -> None:
    """A run by a runbook of one's own that people approve, hold, release, help on, and switch to unplanned."""
    chat, run = play.service, RunId("chat-20260101-000000-0001")
    move = Move(chat.id, MoveKind.SWITCHOVER, (EU,), US, AWAY)
    play.world.routing = at_home()
    ground = Ground(chat, play.world.routing, 1)
    made = plan(move, ground, run=run, trigger=Trigger("ann", "practice"), book=parse(STEERED, "steered.yaml"))
    play.world.stumbling["two"] = [refusal("Refused", "not yet")]
    gate = play.world.gates["drain"] = asyncio.Event()
    handle = await play.client.start_workflow(
        "failover", Carry(made, chat, (CONTROL_QUEUE,), ()), id=run_workflow_id(chat.id, run), task_queue=CONTROL_QUEUE
    )

    async def state(word: str) -> None:
        await until(lambda: handle.query("state", result_type=RunState), lambda seen: word in str(seen))

    async def act(kind: ActKind, **more: Any) -> None:
        await handle.execute_update("act", RunAct(f"act-{kind}", kind, "ann", "practice", **more), result_type=Acted)

    await state("waits for a yes")
    await act(ActKind.PAUSE)
    await act(ActKind.APPROVE)
    await act(ActKind.RESUME)
    await state("needs a person")
    await act(ActKind.RETRY)
    await state("('drain', 'running')")
    await act(ActKind.SWITCH, planned=False)
    gate.set()
    await handle.result()
    play.world.gates.clear()
    await recorder.keep("failover-steered", handle.id)


async def evacuated(client: Client, region: Region, recorder: Recorder) -> None:
    """An evacuation of two waves, with one that is refused."""
    region.add("chat", 1)
    region.add("batch", 3)
    region.add("stuck", 3)
    region.answers["stuck"] = Departed(Fate.REFUSED, text="endpoint 'us' is down itself")
    request = EvacuationRequest("recorded", PARIS, "ann", "practice")
    await client.execute_workflow("domain", request, id=domain_id(PARIS), task_queue=CONTROL_QUEUE)
    await recorder.keep("domain", domain_id(PARIS))


class Granting:
    """A governor that grants all."""

    async def acquire(self, request: SlotRequest) -> SlotAnswer:
        return GRANTED

    def arrived(self, arrival: Arrival) -> None: ...


async def lost(play: Stage, recorder: Recorder) -> None:
    """A region is lost, and a service is led out of it."""
    play.world.routing = at_home()
    code = Stage(play.env, play.world, service("code", cooldown_s=0.0))
    await code.open()
    await code.all_say(eu="healthy", us="healthy")
    await code.until(lambda status: status.routing is not None)
    states = (
        EndpointState(EU, Health.DOWN, "http: connection refused", 1.0, 0.5),
        EndpointState(US, Health.HEALTHY, proven=True),
    )
    for vantage in VANTAGES[1:]:
        report = Report(code.service.id, vantage.id, 0, vantage.id, 2, 1, 1, False, states)
        bundle = Bundle(PARIS, vantage.id, vantage.region, len(VANTAGES), 10, (Fallen(report),))
        await play.client.start_workflow(
            "lost",
            PARIS,
            id=lost_id(PARIS),
            task_queue=CONTROL_QUEUE,
            start_signal="heard",
            start_signal_args=[bundle],
        )
    status = await code.until(lambda status: status.run is None and bool(status.last_runs))
    await play.client.get_workflow_handle(lost_id(PARIS)).result()
    await recorder.keep("lost", lost_id(PARIS))
    await recorder.keep("service-led", code.handle.id)
    await recorder.keep("failover-led", run_workflow_id(code.service.id, status.last_runs[0].run))


async def governed(client: Client, recorder: Recorder) -> None:
    """A governor that is told the rules, grants, refuses, and gets back."""
    await client.start_workflow("governor", GovernorState(Ledger()), id="governor/recorded", task_queue=CONTROL_QUEUE)
    handle = client.get_workflow_handle("governor/recorded")
    names = (ServiceId("chat"), ServiceId("code"))
    await handle.signal("configure", Regime(1, Limits(at_once=1), (Pool("h100", 80),), names))
    for name in names:
        run = RunId(f"{name}-run")
        asked = SlotRequest(run, run_workflow_id(name, run), Moving(name, (Domain("beta/ohio"),)))
        await handle.execute_update("acquire", SlotRequests((asked,)), result_type=SlotAnswers)
    await handle.signal("told", News(Stand(names[0], ())))
    await handle.signal("told", News(back=(GiveBack(RunId("chat-run")),)))
    await handle.query("held", result_type=Ledger)
    await recorder.keep("governor", handle.id)


async def heralds(client: Client, recorder: Recorder) -> None:
    """One herald that told people, and one that published."""
    kept: set[str] = set()
    async for found in client.list_workflows("WorkflowType = 'herald' AND ExecutionStatus = 'Completed'"):
        history = await client.get_workflow_handle(found.id).fetch_history()
        kinds = {event.activity_task_scheduled_event_attributes.activity_type.name for event in history.events}
        for kind in (kinds & {options.TELL, options.PUBLISH}) - kept:
            kept.add(kind)
            await recorder.keep(f"herald-{kind}", found.id)


async def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / __version__
    folder.mkdir(exist_ok=True)
    async with theatre() as (play, prober, rehearsal, region):
        recorder = Recorder(play.client, folder)
        await runs(play, recorder)
        await steered(play, recorder)
        await evacuated(play.client, region, recorder)
        await governed(play.client, recorder)
        await lost(play, recorder)
        await topologies(play.client, recorder)
        await drills(play.client, rehearsal, recorder)
        await synthetic(play, rehearsal, recorder)
        await watching(play.client, prober, recorder)
        await heralds(play.client, recorder)


if __name__ == "__main__":
    asyncio.run(main())
