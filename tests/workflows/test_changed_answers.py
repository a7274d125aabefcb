"""A topology that changes what an endpoint answers while traffic goes there: no hand edit, and no dead end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.names import EndpointId
from orchestrator.core.record import RunStatus
from orchestrator.core.steering import Former, former, shares_now
from orchestrator.core.topology import Answer, Service
from real.scenery import AT_HOME, AWAY, EU, US, at_home, service
from real.stage import Stage, stage
from workflows.wire import FailoverRequest, Refusal, Started

ANSWER: Any = Started | Refusal
WRONG = Answer("addresses", ("192.0.2.99",))


def answering(whole: Service, **answers: Answer) -> Service:
    """*whole*, whose endpoints have those answers."""
    return replace(
        whole, endpoints=tuple(replace(each, answer=answers.get(each.id, each.answer)) for each in whole.endpoints)
    )


async def configured(play: Stage, revision: int, known: Service) -> None:
    await play.settled()
    await play.handle.signal("configure", replace(play.slice(revision), service=known))
    await play.settled()


async def asked(play: Stage, target: EndpointId) -> Started | Refusal:
    wanted = Request(MoveKind.SWITCHOVER, Trigger("ann", "to where it answers"), target)
    answer: Started | Refusal = await play.handle.execute_update(
        "request", FailoverRequest(f"to {target}", wanted), result_type=ANSWER
    )
    return answer


async def moved_to_a_wrong_address(play: Stage) -> None:
    """Revision 2 gave us a wrong answer, and eu died: traffic was sent to where nobody is. Revision 3 puts it right."""
    await play.open()
    await configured(play, 2, answering(play.service, us=WRONG))
    await play.all_say(eu="down", us="healthy")
    await play.closed()
    assert play.world.routing.answer == WRONG
    await configured(play, 3, play.service)
    await play.all_say(eu="healthy", us="healthy")
    await play.pass_(minutes=10)


async def test_a_good_topology_leads_out_of_a_wrong_answer() -> None:
    """The record still says what revision 2 meant by us: it counts as us, and the same endpoint is steered to anew."""
    async with stage() as play:
        await moved_to_a_wrong_address(play)
        status = await play.until(lambda seen: bool(seen.hold))
        (told,) = status.hold
        assert told.rule == "answer-outdated"
        assert "still answers 192.0.2.99, as an earlier topology said of us" in told.text
        assert "failover run chat --to us" in told.text
        assert {each.id: each.weight for each in status.endpoints} == {"eu": 0, "us": 100}
        answer = await asked(play, US)
        assert isinstance(answer, Started), answer
        status = await play.closed(runs=2)
        assert status.last_runs[0].status is RunStatus.COMPLETED
        assert play.world.routing.answer == Answer("addresses", ("192.0.2.2",))
        await play.until(lambda seen: not seen.hold)
        assert isinstance(await asked(play, EU), Started)


async def test_a_hand_edit_is_still_one() -> None:
    """Somebody edits the record after the topology was put right: it is kept, and a person has to look."""
    async with stage() as play:
        await moved_to_a_wrong_address(play)
        play.world.routing = replace(play.world.routing, answer=Answer("addresses", ("203.0.113.9",)))
        answer = await asked(play, EU)
        assert isinstance(answer, Refusal)
        assert "changed-outside" in {reason.rule for reason in answer.reasons}


def test_what_is_ours_is_so_by_its_generation() -> None:
    """The old answer counts as ours for the write that made it, and for no other one; without a fence there is none."""
    before, after = service().endpoints, answering(service(), eu=WRONG).endpoints
    routing = at_home()
    known = former(routing, before, after, None)
    assert known == Former(7, Answer("addresses", ("192.0.2.1",)))
    assert shares_now(routing, after) is None
    assert shares_now(routing, after, known) == AT_HOME
    assert former(routing, after, after, known) == known
    assert former(routing, after, before, known) is None
    assert former(None, before, after, known) is None
    assert former(routing, before, before[1:], None) is None, "what is gone has no other answer"
    assert routing.fence is not None
    later = replace(routing, fence=replace(routing.fence, generation=8, weights=AWAY))
    assert shares_now(later, after, known) is None
    bare = replace(routing, fence=None)
    assert former(bare, before, after, None) is None
    assert shares_now(bare, after, known) is None
