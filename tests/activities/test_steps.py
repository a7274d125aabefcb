"""The steps' activities against a real name server: what they do to the world, and do only once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
import structlog
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.steering import Routing
from orchestrator.core.topology import ProbeKind, ProbeSpec, Service, Workload
from providers import registry
from providers.base import Capacity
from providers.probes import Probes
from real.stage import endpoint
from real.steering import EU as AT_EU
from real.steering import NAME, BindWorld, change
from real.steering import US as AT_US
from runbooks.plan import Demote, Drain, Place, Promote, Steer
from workflows.activities import pulse, steps
from workflows.activities.steps import Steps
from workflows.wire import StepTask

EU, US = EndpointId("eu"), EndpointId("us")


@pytest.fixture
async def world() -> AsyncIterator[BindWorld]:
    bind = BindWorld()
    await bind.open()
    yield bind
    bind.close()


def service(world: BindWorld) -> Service:
    """eu and us as the world answers for them."""
    eu = replace(endpoint("eu", "alpha/paris", "127.0.1.10"), answer=world.home)
    us = replace(endpoint("us", "beta/ohio", "127.0.2.10"), answer=world.away)
    return Service(ServiceId("chat"), NAME.rstrip("."), (eu, us), world.spec)


async def adopt(chat: Service, run: str) -> Routing:
    return await ActivityEnvironment().run(Steps(Probes()).adopt, chat, run)


async def test_adopt_takes_the_record_and_leaves_the_answer(world: BindWorld) -> None:
    """The fence stands afterwards with the weights that the answer means; clients see no change."""
    before = await world.now()
    routing = await adopt(service(world), "adopt-1")
    assert await world.now() == before
    assert routing.fence is not None
    assert (routing.generation, routing.fence.weights) == (1, ((EU, 100), (US, 0)))


async def test_adopting_twice_changes_nothing(world: BindWorld) -> None:
    """What is under the fence already stays as it is."""
    first = await adopt(service(world), "adopt-1")
    assert await adopt(service(world), "adopt-2") == first


async def test_adopt_after_a_hand_edit_takes_what_it_says_now(world: BindWorld) -> None:
    """A person's edit is kept: adopting it is a new generation with the edit's own weights."""
    chat = service(world)
    await adopt(chat, "adopt-1")
    await world.edit("AAAA")
    await world.edit("A", *world.away.values)
    routing = await adopt(chat, "adopt-2")
    assert await world.now() == world.away
    assert routing.fence is not None
    assert (routing.generation, routing.fence.weights) == (2, ((EU, 0), (US, 100)))
    assert routing.fence.lineage == ((1, "adopt-1/adopt"),)


async def test_an_answer_that_nobody_explains_is_not_adopted(world: BindWorld) -> None:
    """An address of no endpoint is refused with the address and the cure, and nothing is written."""
    await world.edit("AAAA")
    await world.edit("A", "127.9.9.9")
    with pytest.raises(ApplicationError, match=r"answers 127\.9\.9\.9, which no endpoint of 'chat' explains"):
        await adopt(service(world), "adopt-1")
    assert (await world.steering().read()).fence is None


async def test_a_service_without_steering_has_nothing_to_adopt(world: BindWorld) -> None:
    """It says so, as a refusal that no retry would change."""
    with pytest.raises(ApplicationError, match="no steering") as caught:
        await adopt(replace(service(world), steering=None), "adopt-1")
    assert caught.value.non_retryable


# ------------------------------------------------------------------ acts that take capacity away


@dataclass
class Servers:
    """The capacity of one endpoint. It keeps its replicas, and may be slow to answer."""

    replicas: int = 2
    draining: bool = False
    slow_s: float = 0.0
    scaled: list[int] = field(default_factory=list)

    async def read(self) -> Capacity:
        await asyncio.sleep(self.slow_s)
        return Capacity(self.replicas, self.replicas)

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        await asyncio.sleep(self.slow_s)
        self.replicas = replicas
        self.scaled.append(replicas)
        return Capacity(replicas, replicas)

    async def begin(self, *, key: str) -> None:
        self.draining = True

    async def in_flight(self) -> int:
        return 0

    async def end(self, *, key: str) -> None:
        self.draining = False


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    made = Servers()
    monkeypatch.setattr(registry, "workload", lambda _: made)
    monkeypatch.setattr(registry, "drain", lambda _: made)
    return made


HANDLE = Workload("local", "eu", serving=2, standby=0)


async def steered(world: BindWorld, run: str) -> Routing:
    """The routing after *run* has moved the traffic from eu to us."""
    adopted = await adopt(service(world), "adopt-1")
    return await world.steering().write(change(adopted, AT_US, world.away, run=run))


def taking(world: BindWorld, verb: str, *, run: str = "run-1", **more: object) -> StepTask:
    """A step of *run* that takes capacity away from eu."""
    demote = Demote(EU, HANDLE, 0, world.spec, bake_s=0.0)
    task = StepTask(
        service=ServiceId("chat"),
        name=NAME.rstrip("."),
        run=RunId(run),
        step=verb,
        work=demote if verb == "demote" else Drain(EU, HANDLE),
        timeout_s=5.0,
        generation=2,
        base=1,
        steering=world.spec,
        own=world.home,
    )
    return replace(task, **more)  # type: ignore[arg-type]  # a test names fields freely


@pytest.mark.parametrize("verb", ["drain", "demote"])
async def test_an_endpoint_without_traffic_gives_its_capacity_up(verb: str, world: BindWorld, servers: Servers) -> None:
    """The routing is the run's own and sends the old endpoint nothing: it is drained, or demoted."""
    await steered(world, "run-1")
    await ActivityEnvironment().run(Steps(Probes()).step, taking(world, verb))
    assert (servers.draining, servers.scaled) == ((True, []) if verb == "drain" else (False, [0]))


@pytest.mark.parametrize("verb", ["drain", "demote"])
async def test_traffic_sent_back_by_hand_keeps_its_capacity(verb: str, world: BindWorld, servers: Servers) -> None:
    """A person edited the answer back after the move: the fence says 0, the clients say otherwise, nothing is taken."""
    await steered(world, "run-1")
    await world.edit("A", "127.0.1.10")
    with pytest.raises(ApplicationError, match="edited it by hand") as caught:
        await ActivityEnvironment().run(Steps(Probes()).step, taking(world, verb))
    assert caught.value.type == "ChangedOutside"
    assert (servers.draining, servers.scaled) == (False, [])


@pytest.mark.parametrize("verb", ["drain", "demote"])
async def test_a_routing_of_another_run_takes_no_capacity(verb: str, world: BindWorld, servers: Servers) -> None:
    """The generation has the right number, and another run wrote it: its capacity is not ours to take."""
    await steered(world, "run-9")
    with pytest.raises(ApplicationError, match=r"by run run-9, step steer") as caught:
        await ActivityEnvironment().run(Steps(Probes()).step, taking(world, verb))
    assert caught.value.type == "StaleGeneration"
    assert (servers.draining, servers.scaled) == (False, [])


@pytest.mark.parametrize("verb", ["drain", "demote"])
async def test_before_anything_is_steered_the_routing_that_was_planned_from_counts(
    verb: str, world: BindWorld, servers: Servers
) -> None:
    """An endpoint that had no traffic when the plan was made gives its capacity up while that routing stands."""
    await steered(world, "run-9")
    await ActivityEnvironment().run(Steps(Probes()).step, taking(world, verb, base=2))
    assert (servers.draining, servers.scaled) == ((True, []) if verb == "drain" else (False, [0]))
    now = await world.steering().read()
    await world.steering().write(change(now, AT_US, world.away, run="run-8"))
    servers.scaled.clear()
    with pytest.raises(ApplicationError, match=r"generation 3, by run run-8.* not our 2"):
        await ActivityEnvironment().run(Steps(Probes()).step, taking(world, verb, base=2))
    assert servers.scaled == []


async def test_a_demotion_that_is_tried_again_late_keeps_time_for_the_act(world: BindWorld, servers: Servers) -> None:
    """The worker died near the end of the bake: the next one bakes for what is left, and demotes within it."""
    await steered(world, "run-1")
    work = Demote(EU, HANDLE, 0, world.spec, bake_s=60.0)
    await ActivityEnvironment().run(Steps(Probes()).step, taking(world, "demote", work=work, timeout_s=1.0))
    assert servers.scaled == [0]


@pytest.mark.parametrize("verb", ["drain", "demote", "promote"])
async def test_a_worker_that_slept_does_not_act_upon_what_it_read_before(
    verb: str, world: BindWorld, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was told of the world is too old when it wakes: passing trouble, and nothing is done."""
    await steered(world, "run-1")
    servers.replicas = 1
    # Any time at all is too long for a nap.
    monkeypatch.setattr(pulse, "SILENT_S", 0.0)
    more = {"work": Promote(US, HANDLE, 2), "own": None} if verb == "promote" else {}
    with pytest.raises(ApplicationError, match="too long to act upon what it read") as caught:
        await ActivityEnvironment().run(Steps(Probes()).step, taking(world, verb, **more))
    assert caught.value.type == "Transient"
    assert (servers.draining, servers.scaled) == (False, [])


async def test_each_attempt_is_one_line_of_the_log(
    world: BindWorld, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator finds service, run, step, how long it took and, where it failed, which error and why."""
    # A command that another test ran in this process may have set the level, and loggers remember theirs.
    structlog.reset_defaults()
    monkeypatch.setattr(steps, "log", structlog.get_logger())
    await steered(world, "run-1")
    with structlog.testing.capture_logs() as lines:
        await ActivityEnvironment().run(Steps(Probes()).step, taking(world, "demote"))
        with pytest.raises(ApplicationError):
            await ActivityEnvironment().run(Steps(Probes()).step, taking(world, "demote", run="run-2"))
    told = [line for line in lines if line["event"].startswith("step.")]
    assert [(line["event"], line["run"], line["step"], line["kind"]) for line in told] == [
        ("step.done", "run-1", "demote", "demote"),
        ("step.failed", "run-2", "demote", "demote"),
    ]
    assert told[1]["error"] == "StaleGeneration"
    assert "by run run-1" in told[1]["reason"]
    assert all(line["seconds"] >= 0 for line in told)


def promotion(world: BindWorld) -> StepTask:
    """The undo of a promotion of us, from 0 to 2 replicas, of a run planned at generation 1."""
    work = Promote(US, HANDLE, 2)
    return taking(world, "promote-undo", work=work, own=world.away, replicas_before=0)


async def test_a_promotion_is_taken_back_while_nothing_was_steered(world: BindWorld, servers: Servers) -> None:
    """The routing is the one that the run was planned from: the standby returns to what it had."""
    await adopt(service(world), "adopt-1")
    await ActivityEnvironment().run(Steps(Probes()).undo, promotion(world))
    assert servers.scaled == [0]


async def test_a_promotion_is_taken_back_after_our_own_way_back(world: BindWorld, servers: Servers) -> None:
    """The run has steered there and back again: its own generation stands, and the standby serves nobody."""
    there = await steered(world, "run-1")
    await world.steering().write(change(there, AT_EU, world.home, run="run-1", step="steer-undo"))
    await ActivityEnvironment().run(Steps(Probes()).undo, promotion(world))
    assert servers.scaled == [0]


async def test_a_promotion_that_a_rival_may_count_on_stays(world: BindWorld, servers: Servers) -> None:
    """Somebody else has written since the plan was made, and may be on the way there: the capacity is left."""
    await steered(world, "run-9")
    now = await world.steering().read()
    await world.steering().write(change(now, AT_EU, world.home, run="run-9", step="back"))
    with pytest.raises(ApplicationError, match=r"by run run-9, step back"):
        await ActivityEnvironment().run(Steps(Probes()).undo, promotion(world))
    assert servers.scaled == []


async def test_a_slow_provider_is_no_dead_worker(world: BindWorld, servers: Servers) -> None:
    """A provider that takes its time to answer is waited for with heartbeats, which carry what was found before."""
    servers.replicas, servers.slow_s = 0, 1.2
    beats: list[tuple[object, ...]] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.append(details)
    task = taking(world, "promote", work=Promote(US, HANDLE, 2), timeout_s=20.0)
    result = await environment.run(Steps(Probes()).step, task)
    assert result.replicas_before == 0
    assert servers.scaled == [2]
    assert len(beats) >= 6
    assert beats[-1] == (0,)


# ------------------------------------------------------------------ the way back


@dataclass
class SlowModel:
    """A model that completes, after a time that is usual for models."""

    takes_s: float

    async def ask(self, spec: ProbeSpec, url: str, *, name: str, fresh: bool = False) -> Outcome:
        await asyncio.sleep(self.takes_s)
        late = self.takes_s > spec.timeout_s
        return Outcome(OutcomeKind.TIMED_OUT if late else OutcomeKind.PASSED, self.takes_s, "ok", completed=not late)


async def test_the_way_back_waits_for_a_slow_completion(world: BindWorld) -> None:
    """The old endpoint completes in 3.3 s, which its probe allows: that is healthy, and traffic may go back there."""
    adopted = await adopt(service(world), "adopt-1")
    there = await world.steering().write(change(adopted, AT_US, world.away, run="run-1"))
    chat = ProbeSpec("completion", ProbeKind.CHAT, interval_s=60.0, timeout_s=10.0)
    work = Steer(world.spec, 1, world.home, AT_US, world.away, before=AT_EU, stands=adopted.fence)
    place = Place(EU, "http://127.0.1.10:8000", NAME, Domain("alpha/paris"), (chat,))
    task = taking(world, "steer-undo", work=work, sources=(place,), timeout_s=15.0)
    result = await ActivityEnvironment().run(Steps(SlowModel(3.3)).undo, task)
    assert result.routing is not None
    assert result.routing.generation == there.generation + 1
    assert await world.now() == world.home
