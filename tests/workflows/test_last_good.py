"""restore-last-good: back to where traffic went when all was well for long enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.record import RunStatus
from orchestrator.core.topology import Service
from real.scenery import AT_HOME, AWAY, US
from real.stage import Stage, stage
from runbooks import printed
from workflows.wire import (
    Explanation,
    FailoverRequest,
    Heartbeats,
    Look,
    PlanQuestion,
    Refusal,
    ServiceStatus,
    Started,
)

ANSWER: Any = Started | Refusal


async def ask(play: Stage, name: str, request: Request) -> Started | Refusal:
    answer: Started | Refusal = await play.handle.execute_update(
        "request", FailoverRequest(name, request), result_type=ANSWER
    )
    return answer


async def go_away(play: Stage) -> ServiceStatus:
    """A planned move to us."""
    answer = await ask(play, "away", Request(MoveKind.SWITCHOVER, Trigger("ann", "try us"), US))
    assert isinstance(answer, Started), answer
    return await play.closed()


async def leave_after(play: Stage, minutes: int) -> None:
    """Home serves well for so long, then traffic is moved to us."""
    await play.all_say(eu="healthy", us="healthy")
    await play.handle.signal("look_again")
    await play.settled()
    await play.pass_(minutes=minutes)
    await go_away(play)


def restore() -> Request:
    return Request(MoveKind.SWITCHOVER, Trigger("ann", "us is odd"), runbook="restore-last-good")


async def test_traffic_goes_back_to_what_had_served_well() -> None:
    """Home served well for 40 minutes, then a planned move; restore-last-good brings the traffic home again."""
    async with stage() as play:
        await play.open()
        await leave_after(play, minutes=40)
        status = await play.until(lambda seen: seen.last_good is not None)
        assert status.last_good is not None
        assert status.last_good.weights == AT_HOME
        answer = await ask(play, "restore", restore())
        assert isinstance(answer, Started), answer
        await play.closed(runs=2)
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AT_HOME
        records = (await play.status()).last_runs
        assert [record.status for record in records] == [RunStatus.COMPLETED, RunStatus.COMPLETED]
        assert records[0].runbook == "restore-last-good"


async def test_what_served_for_a_minute_is_not_gone_back_to() -> None:
    """Home was seen well for a minute only: the request is refused with the reason, and nothing moves."""
    async with stage() as play:
        await play.open()
        await leave_after(play, minutes=1)
        answer = await ask(play, "restore", restore())
        assert isinstance(answer, Refusal)
        assert "is known to have served well for 30 min to its end" in answer.reasons[0].text
        assert answer.reasons[0].rule == "no-last-good"
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AWAY


async def baked_at_home(play: Stage) -> None:
    """Home served well for 40 minutes under revision 1; then traffic was moved to us."""
    await play.open()
    await leave_after(play, minutes=40)
    await play.until(lambda seen: seen.last_good is not None)


async def configured(play: Stage, revision: int, service: Service) -> None:
    await play.settled()
    await play.handle.signal("configure", replace(play.slice(revision), service=service))
    await play.settled()


async def explained(play: Stage) -> Explanation:
    now = await play.env.get_current_time()
    heard = Heartbeats(tuple((vantage.id, now) for vantage in play.slice().vantages))
    question = PlanQuestion(now, Look(heard, play.world.routing), restore())
    found: Explanation = await play.handle.query("explain", question, result_type=Explanation)
    return found


async def test_the_plan_says_under_which_topology_it_had_served() -> None:
    """Home served well under revision 1; under revision 3 the plan's text says so, and how to go back to that too."""
    async with stage() as play:
        await baked_at_home(play)
        same = await explained(play)
        assert same.plan is not None
        assert same.plan.remarks == ()
        policy = replace(play.service.policy, cooldown_s=90.0)
        await configured(play, 3, replace(play.service, policy=policy))
        found = await explained(play)
        assert found.plan is not None
        (remark,) = found.plan.remarks
        assert remark == (
            "this routing served well under revision 1 of the topology; revision 3 is in force: failover topology "
            "restore --revision 1 goes back to it"
        )
        assert f"  note        {remark}\n" in printed.text(found.plan)
        await configured(play, 4, play.service)
        again = await explained(play)
        assert again.plan is not None
        assert again.plan.remarks[0].endswith("revision 4, which is in force, says the same of this service")


async def test_what_the_topology_has_lost_is_named_with_its_cure() -> None:
    """The last good routing names eu, which revision 2 took away: the refusal names the command that brings it back."""
    async with stage() as play:
        await baked_at_home(play)
        await configured(play, 2, replace(play.service, endpoints=play.service.endpoints[1:]))
        answer = await ask(play, "restore", restore())
        assert isinstance(answer, Refusal)
        assert [reason.rule for reason in answer.reasons] == ["no-last-good"]
        assert "sends traffic to eu, which is not in revision 2 of the topology" in answer.reasons[0].text
        assert "failover topology restore --revision 1" in answer.reasons[0].text
        await configured(play, 3, play.service)
        await play.all_say(eu="healthy", us="healthy")
        again = await ask(play, "again", restore())
        assert isinstance(again, Started), again
        await play.closed(runs=2)
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AT_HOME


async def test_the_topology_says_how_long_a_routing_bakes() -> None:
    """With a bake time of ten seconds, home is good after a minute."""
    async with stage() as play:
        await play.open()
        quick = replace(play.slice(2), orders=replace(play.slice().orders, bake_s=10.0))
        await play.handle.signal("configure", quick)
        await leave_after(play, minutes=1)
        status = await play.until(lambda seen: seen.last_good is not None)
        assert status.last_good is not None
        assert (status.last_good.weights, status.last_good.revision) == (AT_HOME, 2)
