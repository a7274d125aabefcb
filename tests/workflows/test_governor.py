"""The governor: two services, real workflows, and one holder of what they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from orchestrator.core.crowd import Moving
from orchestrator.core.decision import Request
from orchestrator.core.easing import Setback
from orchestrator.core.governing import Ledger, SlotAnswer, SlotRequest
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import Domain, RunId, ServiceId, VantageId
from orchestrator.core.orders import Limits, Orders, Pool
from orchestrator.core.record import Mark, Record, RunStatus
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer, Mode, Shares, Ungoverned
from orchestrator.runtime.governing import held
from real.scenery import AWAY, EU, TOLD, US, VANTAGES, World, refusal, service
from real.stage import Stage, staff, time_skipping, until
from real.town import Town
from workflows import options
from workflows.activities.governing import Governing
from workflows.wire import (
    CONTROL_QUEUE,
    GOVERNOR_ID,
    Explanation,
    FailoverRequest,
    Heartbeats,
    Look,
    PlanQuestion,
    Refusal,
    ServiceState,
    Slice,
    Started,
    service_id,
)
from workflows.wire.governor import GiveBack, GovernorState, News, Regime, SlotAnswers, SlotRequests

ANSWER: Any = Started | Refusal
CHAT, CODE = ServiceId("chat"), ServiceId("code")
CALM = Limits(change_guard=100)
POOLS = (Pool("h100", 80),)
PARIS = Domain("alpha/paris")


@dataclass
class Play:
    """Two services whose standbys in Ohio run on one pool, each need of 50 in flight, and the pool carries 80."""

    env: WorkflowEnvironment
    town: Town
    chat: Stage
    code: Stage

    @property
    def governor(self) -> WorkflowHandle[Any, Any]:
        return self.env.client.get_workflow_handle(GOVERNOR_ID)

    async def govern(self, limits: Limits = CALM, pools: tuple[Pool, ...] = POOLS) -> None:
        """Start the governor, or tell it other limits."""
        regime = Regime(1, limits, pools, (CHAT, CODE))
        await self.env.client.start_workflow(
            "governor",
            GovernorState(Ledger()),
            id=GOVERNOR_ID,
            task_queue=CONTROL_QUEUE,
            start_signal="configure",
            start_signal_args=[regime],
        )

    async def open(self, *pools: Pool, **policy: Any) -> None:
        """Start both services, all well."""
        for stage in (self.chat, self.code):
            stage.service = replace(stage.service, policy=replace(stage.service.policy, **policy))
            piece = Slice(1, stage.service, VANTAGES, TOLD, True, orders=Orders(pools=pools or POOLS))
            await self.env.client.start_workflow(
                "service", ServiceState(piece), id=service_id(stage.service.id), task_queue=CONTROL_QUEUE
            )
            await stage.all_say(eu="healthy", us="healthy")

    async def held(self) -> Ledger:
        ledger: Ledger = await self.governor.query("held", result_type=Ledger)
        return ledger

    async def holders(self) -> list[str]:
        return sorted(str(each.request.moving.service) for each in (await self.held()).grants)

    async def wish(self, name: str, number: int = 1, **changes: Any) -> SlotAnswer:
        """A run of another service asks for leave."""
        moving = Moving(ServiceId(name), (Domain("beta/ohio"),))
        request = SlotRequest(RunId(f"{name}-{number}"), f"failover/{name}/{number}", moving)
        asked = SlotRequests((replace(request, **changes),))
        said: SlotAnswers = await self.governor.execute_update("acquire", asked, result_type=SlotAnswers)
        return said.answers[0]


@pytest.fixture
async def play() -> AsyncIterator[Play]:
    """Nothing has begun."""
    async with time_skipping() as env:
        town = Town(env.get_current_time)
        stages = []
        for name in (CHAT, CODE):
            town.worlds[name] = World(env.get_current_time)
            one = service(name)
            pooled = tuple(replace(each, pool="h100") if each.id == US else each for each in one.endpoints)
            stages.append(Stage(env, town.worlds[name], replace(one, endpoints=pooled)))
        town.governing = Governing(env.client)
        async with staff(env.client, town):
            yield Play(env, town, *stages)


async def ask(stage: Stage, number: int = 1, **changes: Any) -> Started | Refusal:
    """A person asks for a switchover to Ohio."""
    trigger = Trigger("ann@laptop", "because", changes.pop("overrides", ()))
    request = Request(MoveKind.SWITCHOVER, trigger, US)
    asked = FailoverRequest(f"request-{number}", request, **changes)
    answer: Started | Refusal = await stage.handle.execute_update("request", asked, result_type=ANSWER)
    return answer


async def fall(*stages: Stage) -> None:
    """Paris is down in the eyes of everybody."""
    for stage in stages:
        await stage.all_say(eu="down", us="healthy")


async def test_two_services_do_not_count_on_the_same_standby(play: Play) -> None:
    """The first gets the pool, the second asks and names who has it; when the first is home again, the second goes."""
    await play.govern()
    await play.open()
    await fall(play.chat)
    await play.chat.closed()
    assert await play.holders() == []
    await fall(play.code)
    status = await play.code.until(lambda status: status.question is not None)
    assert status.question is not None
    assert [reason.rule for reason in status.question.reasons] == ["pool-full"]
    assert status.question.reasons[0].text == (
        "pool 'h100' carries 80 requests in flight, 50 are promised to 'chat' and 50 would come to it; free some of "
        "it or choose a target elsewhere"
    )
    assert not play.code.world.wrote
    # Chat goes home by hand: what it leaves is free.
    await play.chat.all_say(eu="healthy", us="healthy")
    home = Request(MoveKind.FAILBACK, Trigger("ann@laptop", "healed"), EU)
    answer = await play.chat.handle.execute_update("request", FailoverRequest("home", home), result_type=ANSWER)
    assert isinstance(answer, Started), answer
    await play.chat.closed(2)
    await play.code.closed()
    assert play.code.world.routing.fence is not None
    assert play.code.world.routing.fence.weights == AWAY


async def test_one_run_at_a_time_where_that_is_the_limit(play: Play) -> None:
    """The second service waits for its turn and says for whom; then it goes by itself."""
    await play.govern(replace(CALM, at_once=1), (Pool("h100", 1000),))
    gate = play.chat.world.gates["steer"] = asyncio.Event()
    await play.open(Pool("h100", 1000))
    await fall(play.chat)
    await play.chat.until(lambda status: status.run is not None)
    assert await play.holders() == ["chat"]
    await fall(play.code)
    status = await play.code.until(lambda status: [reason.rule for reason in status.hold] == ["too-many-at-once"])
    assert status.hold[0].text.startswith("'chat' is on the move and 1 may be at one time; wait until one has arrived")
    assert [each.service for each in (await play.held()).waiting] == ["code"]
    second = play.code.world.gates["steer"] = asyncio.Event()
    gate.set()
    assert await until(play.holders, lambda names: names == ["code"]), "it was called"
    second.set()
    await play.chat.until(lambda status: status.run is None)
    await play.code.closed()
    assert await play.holders() == []
    assert not (await play.held()).waiting


async def test_a_person_waits_as_well_or_overrides_the_limit_by_name(play: Play) -> None:
    """A request beyond the limit is refused with the reason; overridden by name it runs, and the record says so."""
    await play.govern(replace(CALM, at_once=1), (Pool("h100", 1000),))
    await play.open(Pool("h100", 1000))
    assert (await play.wish("other")).granted
    refused = await ask(play.chat)
    assert isinstance(refused, Refusal)
    assert [reason.rule for reason in refused.reasons] == ["too-many-at-once"]
    started = await ask(play.chat, 2, overrides=("too-many-at-once",))
    assert isinstance(started, Started)
    assert await play.holders() == ["chat", "other"]
    status = await play.chat.closed()
    assert [reason.rule for reason in status.last_runs[0].objections] == ["too-many-at-once"]
    assert status.last_runs[0].status is RunStatus.COMPLETED


async def test_the_whole_lot_at_once_is_a_persons_to_decide(play: Play) -> None:
    """More than 30 % of the services at one time: automation asks; an evacuation is one change, and goes."""
    await play.govern(Limits(), (Pool("h100", 1000),))
    await play.open(Pool("h100", 1000), mode=Mode.MANUAL)
    assert (await play.wish("other")).granted
    refused = await ask(play.chat)
    assert isinstance(refused, Refusal)
    assert [reason.rule for reason in refused.reasons] == ["change-guard"]
    await play.governor.signal("told", News(back=(GiveBack(RunId("other-1")),)))
    assert isinstance(await ask(play.chat, 2, evacuating=PARIS), Started)
    assert isinstance(await ask(play.code, 2, evacuating=PARIS), Started)
    await play.chat.closed()
    await play.code.closed()


async def test_a_region_that_is_lost_is_one_change(play: Play) -> None:
    """All of two services flee from one region at once, and nobody is asked: the cause is known, and it is one."""
    await play.govern(Limits(), (Pool("h100", 1000),))
    gates = [stage.world.gates.setdefault("steer", asyncio.Event()) for stage in (play.chat, play.code)]
    await play.open(Pool("h100", 1000))
    await fall(play.chat, play.code)
    await until(play.holders, lambda names: names == ["chat", "code"])
    for gate in gates:
        gate.set()
    await play.chat.closed()
    await play.code.closed()


@pytest.mark.parametrize("proceed", [False, True], ids=["ask", "proceed"])
async def test_without_a_governor_a_person_is_asked(play: Play, *, proceed: bool) -> None:
    """Nobody counts what else moves: automation asks, or goes where the policy lets it, and the record says so."""
    await play.open(without_governor=Ungoverned.PROCEED if proceed else Ungoverned.ASK)
    await fall(play.chat)
    if proceed:
        record = (await play.chat.closed()).last_runs[0]
        assert record.status is RunStatus.COMPLETED
        assert [reason.rule for reason in record.objections] == ["governor-silent"]
        return
    status = await play.chat.until(lambda status: status.question is not None)
    assert status.question is not None
    assert [reason.text for reason in status.question.reasons] == [
        "there is no governor to say what else is on the move; make it anew with: failover apply"
    ]
    assert not play.chat.world.wrote
    assert isinstance(await ask(play.chat), Started), "a person's request is the yes"
    record = (await play.chat.closed()).last_runs[0]
    assert [reason.rule for reason in record.objections] == ["governor-silent"]


async def test_a_governor_that_does_not_answer_in_time_is_no_yes(play: Play) -> None:
    """Half a second without an answer: automation asks, and what was granted too late is given back."""
    await play.govern()
    await play.open()
    play.town.late = asyncio.Event()
    await fall(play.chat)
    status = await play.chat.until(lambda status: status.question is not None)
    assert status.question is not None
    assert [reason.text for reason in status.question.reasons] == [
        "the governor did not say within 0.5 s what else is on the move; look at: failover doctor"
    ]
    await until(play.holders, lambda names: names == [])
    play.town.late.set()
    play.town.late = None
    await play.chat.closed()
    assert play.chat.world.wrote, "it was asked again"


async def test_hundreds_that_ask_in_one_second_are_all_answered(play: Play) -> None:
    """A region is lost: every service has its answer in time, and no more are granted than may move at one time."""
    names = tuple(ServiceId(f"s{number:03}") for number in range(300))
    await play.govern()
    limits = replace(CALM, at_once=7, per_domain=7)
    await play.governor.signal("configure", Regime(2, limits, (), names))
    governing = play.town.governing
    assert governing is not None
    asked = [SlotRequest(RunId(f"{name}-1"), "w", Moving(name, (Domain("beta/ohio"),))) for name in names]
    answers = await asyncio.gather(*(governing.acquire(each) for each in asked))
    assert sum(answer.granted for answer in answers) == 7
    assert all(answer.objections for answer in answers if not answer.granted)
    assert len(await play.holders()) == 7


async def test_what_a_terminated_run_held_is_free_again(play: Play) -> None:
    """A run that ended without a word blocks nobody for long; one that takes long keeps what it has."""
    await play.govern(replace(CALM, at_once=2))
    assert (await play.wish("long")).granted
    assert (await play.wish("dead")).granted
    assert not (await play.wish("late")).granted
    play.town.ended["failover/dead/1"] = "TERMINATED"

    async def passing() -> list[str]:
        await play.env.sleep(60)
        return await play.holders()

    assert await until(passing, lambda names: len(names) < 2) == ["long"]
    assert (await play.wish("late")).granted
    assert not (await play.wish("dead")).granted, "its token is spent"
    await play.env.sleep(600)
    assert "long" in await play.holders()


async def test_a_run_that_was_lost_gives_back_what_it_held(play: Play) -> None:
    """A run that somebody terminates frees its service, and its service frees the pool."""
    await play.govern()
    play.chat.world.gates["steer"] = asyncio.Event()
    await play.open()
    started = await ask(play.chat)
    assert isinstance(started, Started)
    assert await play.holders() == ["chat"]
    play.town.ended[started.workflow] = "TERMINATED"

    async def passing() -> list[str]:
        await play.chat.pass_(seconds=20)
        return await play.holders()

    await until(passing, lambda names: names == [])
    play.chat.world.gates["steer"].set()


async def test_what_is_granted_outlives_the_execution(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """A governor that continues as new holds what it held, and answers the same question with the same answer."""
    monkeypatch.setattr(options, "CONTINUE_AT", 60)
    await play.govern(replace(CALM, at_once=2))
    first = (await play.governor.describe()).run_id
    assert (await play.wish("chat")).granted
    for number in range(40):
        assert (await play.wish("code", number, needs=(("h100", 50),))).granted

    async def execution() -> str | None:
        await play.env.sleep(1)
        return (await play.governor.describe()).run_id

    assert await until(execution, lambda now: now != first), "as soon as nobody asks for a while"
    assert (await play.wish("chat")).granted
    assert not (await play.wish("more")).granted
    assert not (await play.wish("code", 3)).granted, "its run was over before the last one began"
    assert await play.holders() == ["chat", "code"]


async def test_a_service_that_is_away_tells_a_new_governor(play: Play) -> None:
    """The governor was lost and made anew: it learns from the services what their traffic takes of the pool."""
    for stage in (play.chat, play.code):
        stage.world.routing = replace(
            stage.world.routing, answer=Answer("addresses", ("192.0.2.2",)), fence=Fence(9, "a", "a", AWAY)
        )
    await play.govern()
    await play.open()
    standing = await until(lambda: _standing(play), lambda found: len(found) == 2)
    assert standing == {"chat": (("h100", 50),), "code": (("h100", 50),)}
    await play.chat.handle.signal("retire")
    await until(lambda: _standing(play), lambda found: list(found) == ["code"])


async def _standing(play: Play) -> dict[str, Any]:
    return {str(each.service): each.needs for each in (await play.held()).standing}


async def test_explain_says_what_the_governor_would_refuse(play: Play) -> None:
    """Whoever asks what would be done now is told that somebody else has the pool."""
    await play.govern()
    await play.open(mode=Mode.MANUAL)
    assert (await play.wish("other", needs=(("h100", 50),))).granted
    ledger = await held(play.env.client)
    now = await play.env.get_current_time()
    seen = Look(Heartbeats(tuple((VantageId(v), now) for v in ("v1", "v2", "v3"))), play.chat.world.routing)
    asked = PlanQuestion(now, seen, Request(MoveKind.SWITCHOVER, Trigger("ann@laptop", "because"), US))
    for known, rules in ((None, []), (ledger, ["pool-full"])):
        question = replace(asked, ledger=known)
        answer: Explanation = await play.chat.handle.query("explain", question, result_type=Explanation)
        assert [reason.rule for reason in answer.reasons] == rules
    assert await play.holders() == ["other"], "to ask is not to get"


# ------------------------------------------------------------------ the way home


async def away(play: Play, **policy: Any) -> None:
    """Both services are served in Ohio, behind a steering that weighs, and Paris is well again."""
    for stage in (play.chat, play.code):
        options_ = (("eu", "192.0.2.1"), ("us", "192.0.2.2"))
        weighs = replace(stage.service.steering, provider="local", options=options_, shares=Shares.WEIGHTED)
        stage.service = replace(stage.service, steering=weighs)
        stage.world.routing = replace(
            stage.world.routing, answer=Answer("addresses", ("192.0.2.2",)), fence=Fence(9, "a", "a", AWAY)
        )
    await play.govern()
    await play.open(Pool("h100", 1000), **policy)


async def go_home(stage: Stage, number: int = 1, *overrides: str, **values: str) -> Started | Refusal:
    trigger = Trigger("ann@laptop", "Paris is mended", overrides)
    request = Request(MoveKind.FAILBACK, trigger, EU, values=tuple(values.items()))
    asked = FailoverRequest(f"home-{number}", request)
    answer: Started | Refusal = await stage.handle.execute_update("request", asked, result_type=ANSWER)
    return answer


async def test_a_region_that_slows_is_not_given_the_next_service(play: Play) -> None:
    """Chat turns back at half: Code is told so, by which run and how to go all the same; named by a person, it goes."""
    await away(play)
    slow = "eu beside us: the target's first token takes 2.00 s and the source's 0.20 s"
    play.chat.world.failing["steer.50.hold"] = refusal("Refused", slow)
    first = await go_home(play.chat)
    assert isinstance(first, Started), first
    record = (await play.chat.closed()).last_runs[0]
    assert record.status is RunStatus.UNDONE
    assert play.chat.world.routing.fence is not None
    assert play.chat.world.routing.fence.weights == AWAY, "it is back where it stood"
    [setback] = await until(lambda: _setbacks(play), bool)
    assert (setback.region, setback.run, setback.times) == (PARIS, first.run, 1)
    refused = await go_home(play.code)
    assert isinstance(refused, Refusal)
    assert [reason.rule for reason in refused.reasons] == ["setback"]
    assert f"({slow}; run {first.run})" in refused.reasons[0].text
    # A person who has looked at Paris goes: its stages pass, and that ends it for everybody.
    assert isinstance(await go_home(play.code, 2, "setback"), Started)
    record = (await play.code.closed()).last_runs[0]
    assert (record.status, [reason.rule for reason in record.objections]) == (RunStatus.COMPLETED, ["setback"])
    assert await until(lambda: _setbacks(play), lambda found: not found) == ()
    play.chat.world.failing.clear()
    assert isinstance(await go_home(play.chat, 2), Started)
    await play.chat.closed(2)


async def test_who_is_on_the_way_stays_where_another_one_turned_back(play: Play) -> None:
    """Code has a tenth in Paris when Chat turns back: it gets no more until that is over, says why, and arrives.

    It hears so while Chat's own way back still hangs.
    """
    await away(play)
    gate = play.code.world.gates["steer.10.hold"] = asyncio.Event()
    on_the_way = await go_home(play.code)
    assert isinstance(on_the_way, Started), on_the_way
    await until(lambda: asyncio.sleep(0, play.code.world.steps), lambda steps: "steer.10.hold" in steps)
    slow = "eu beside us: 2 of 2 answers of the target failed (status 503), and 0 % may"
    play.chat.world.failing["steer.10.hold"] = refusal("Refused", slow)
    back = play.chat.world.gates["steer.10-undo"] = asyncio.Event()
    first = await go_home(play.chat, jitter="0s")
    assert isinstance(first, Started), first
    [setback] = await until(lambda: _setbacks(play), bool)
    assert (await play.chat.status()).run == first.run, "it is still on its way back"
    gate.set()
    back.set()
    assert (await play.chat.closed()).last_runs[0].status is RunStatus.UNDONE
    record = await until(lambda: _passed(play.code, on_the_way), lambda found: found.closed is not None)
    assert record.status is RunStatus.COMPLETED
    half = next(entry for entry in record.entries if entry.step == "steer.50" and entry.mark is Mark.STEERED)
    assert half.at >= setback.until
    [said] = [entry.text for entry in record.entries if entry.text.startswith("waiting: no more traffic goes to")]
    assert "the failback of service 'chat' into alpha/paris had to turn back" in said
    assert f"({slow}; run {first.run})" in said
    assert await until(lambda: _setbacks(play), lambda found: not found) == (), "Paris bore Code's return"


async def test_nobody_who_flees_is_held_up_by_a_setback(play: Play) -> None:
    """Paris did not bear Chat's return; when Ohio falls, both flee to Paris by themselves all the same."""
    await away(play)
    play.chat.world.failing["steer.10.hold"] = refusal("Refused", "3 of 10 answers of the target failed")
    assert isinstance(await go_home(play.chat), Started)
    await play.chat.closed()
    await until(lambda: _setbacks(play), bool)
    await play.code.all_say(eu="healthy", us="down")
    record = (await play.code.closed()).last_runs[0]
    assert (record.kind, record.status, record.target) == (MoveKind.FAILOVER, RunStatus.COMPLETED, EU)


async def test_who_goes_home_beside_others_keeps_a_distance(play: Play) -> None:
    """The first waits for nothing; the second, into the same region meanwhile, says the seconds and waits them."""
    await away(play)
    gate = play.chat.world.gates["steer.50"] = asyncio.Event()
    assert isinstance(await go_home(play.chat), Started)
    await until(play.holders, lambda names: names == ["chat"])
    assert isinstance(await go_home(play.code), Started)
    gate.set()
    first, second = [(await stage.closed()).last_runs[0] for stage in (play.chat, play.code)]
    assert [step.id for step in first.steps if step.kind == "wait"] == []
    [apart] = [step for step in second.steps if step.kind == "wait"]
    assert apart.text.endswith("not all that move there steer in the same second")
    took = next(entry.seconds for entry in second.entries if entry.step == apart.id and entry.mark is Mark.STEP_DONE)
    assert took is not None
    assert 0.1 <= apart.expected_s <= took <= 31.0


async def _passed(stage: Stage, started: Started) -> Record:
    """The run's record, some minutes later."""
    await stage.pass_(minutes=4)
    record: Record = await stage.client.get_workflow_handle(started.workflow).query("record", result_type=Record)
    return record


async def _setbacks(play: Play) -> tuple[Setback, ...]:
    return (await play.held()).setbacks
