"""Questions of a service to people: told, told again while nobody answers, answered, void by themselves."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from orchestrator.core.move import MoveKind
from orchestrator.core.names import ServiceId
from orchestrator.core.questions import REMINDERS
from orchestrator.core.record import Mark, RunStatus
from orchestrator.core.topology import Mode, Questions, Unanswered
from real.scenery import EU, US, VANTAGES, service
from real.stage import Stage, stage, until
from workflows.wire import Acted, Question, ServiceState, Slice
from workflows.wire.service import QuestionAnswer

ROLES = (("leads", ("carol",)), ("sre", ("alice", "bob")))
ODD_S = 70.3
"""Not a minute: the test server may lose a workflow task in which another timer fires."""
BY_SRE = Questions("sre", ("leads",), timeout_s=300.7)


async def opened(play: Stage, **changes: Any) -> Question:
    """The question of a service that may not decide alone, whose active endpoint is down."""
    piece = Slice(1, play.service, VANTAGES, notify=play.slice().notify, simulates_hosts=True, roles=ROLES)
    await play.client.start_workflow(
        "service", ServiceState(piece, **changes), id=f"service/{play.service.id}", task_queue="control"
    )
    await play.all_say(eu="healthy", us="healthy")
    await play.all_say(eu="down", us="healthy")
    question = (await play.until(lambda s: s.question is not None)).question
    assert question is not None
    return question


async def answer(play: Stage, question: str, by: str = "alice", *, yes: bool = True, id_: str = "") -> str:
    """What a person who answers is told."""
    said = QuestionAnswer(id_ or uuid.uuid4().hex, question, yes, by, "load is low")
    acted: Acted = await play.handle.execute_update("answer", said, result_type=Acted)
    return acted.text


async def told(play: Stage, count: int) -> list[str]:
    """The events that people were told of, once there are so many; time is skipped."""

    async def ask() -> list[str]:
        if len(play.world.told) < count:
            await play.pass_(seconds=1)
        return play.world.events()

    events: list[str] = await until(ask, lambda seen: len(seen) >= count)
    return events


def asking(**policy: Any) -> Any:
    return stage(played=service(mode=Mode.APPROVAL, **policy))


async def test_nobody_answers() -> None:
    """A question goes to the next role, then the service holds as the policy says, and recalls it a few times more."""
    async with asking(questions=replace(BY_SRE, timeout_s=ODD_S)) as play:
        question = await opened(play)
        await play.pass_(seconds=ODD_S)
        assert await told(play, 2) == ["question", "question-escalated"]
        await play.pass_(seconds=ODD_S)
        await told(play, 3)
        await play.pass_(hours=1)
        events = await told(play, 3 + REMINDERS)
        assert events == ["question", "question-escalated", *["question-unanswered"] * (1 + REMINDERS)]
        first, escalated, silence, *reminders = [telling.text for telling in play.world.told]
        commands = (f"failover approve {question.id}", f"failover deny {question.id}", "failover run chat --to us")
        for text in (first, escalated, silence, *reminders):
            assert "move traffic from eu to us? service 'chat' is in mode approval" in text
            assert all(command in text for command in commands)
        assert "role sre (alice, bob)" in first
        assert "nobody has answered for 70 s; asked now: role leads (carol)" in escalated
        assert silence.startswith("nobody of role sre or leads answered in time (asked since 20")
        assert "the policy says to hold: traffic stays where it is" in silence
        assert "last reminder" in reminders[-1]
        assert not any("last reminder" in text for text in (silence, *reminders[:-1]))
        at = [telling.at - question.asked for telling in play.world.told]
        assert [round(each / timedelta(seconds=ODD_S)) for each in at] == [0, 1, 2, 4, 8, 16, 32]
        assert not play.world.wrote
        assert (await play.status()).question is not None, "it stands until somebody or the world answers it"


async def test_without_roles_the_same_are_asked_again() -> None:
    """Where the policy names nobody, everybody is asked twice, ten minutes each, before the service holds."""
    async with asking() as play:
        await opened(play)
        await play.pass_(minutes=21)
        assert await told(play, 3) == ["question", "question-escalated", "question-unanswered"]
        assert "asked now: anybody" in play.world.told[1].text
        assert play.world.told[2].text.startswith("nobody answered in time")


async def test_silence_may_mean_yes() -> None:
    """Where the policy says to proceed, the service does after the last role's time what it would do by itself."""
    async with asking(questions=replace(BY_SRE, on_timeout=Unanswered.PROCEED)) as play:
        question = await opened(play)
        await play.pass_(minutes=9)
        assert not play.world.wrote
        await play.pass_(minutes=1, seconds=5)
        record = (await play.closed()).last_runs[0]
        assert (record.status, record.trigger.by) == (RunStatus.COMPLETED, "automatic")
        assert f"nobody answered {question.id} in time, and the policy says to proceed then" in record.trigger.reason
        assert "the policy says to proceed" in play.world.told[2].text
        noted = record.first(Mark.NOTE)
        assert noted is not None
        assert noted.at == question.asked
        assert "question-void" not in play.world.events()


async def test_silence_sets_no_safety_rule_aside() -> None:
    """The load is unknown: however long nobody answers, a policy that proceeds moves nothing a rule asks about."""
    unknown = service(
        mode=Mode.APPROVAL, capacity=None, questions=Questions(timeout_s=ODD_S, on_timeout=Unanswered.PROCEED)
    )
    async with stage(played=unknown) as play:
        question = await opened(play)
        assert {reason.rule for reason in question.reasons} == {"approval", "capacity-unknown"}
        await play.pass_(minutes=10)
        assert not play.world.wrote
        assert (await play.status()).question is not None


async def test_a_yes_makes_the_very_move_and_is_in_the_record() -> None:
    """Somebody of the role says yes: the move that was asked about is made, and the record says who, when and why."""
    unknown = service(mode=Mode.APPROVAL, capacity=None, questions=BY_SRE)
    async with stage(played=unknown) as play:
        question = await opened(play)
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await answer(play, question.id, "zoe")
        assert "'zoe' is in none of the roles that are asked; those who may say yes: alice, bob" in str(
            caught.value.cause
        )
        said = await answer(play, question.id, id_="a-1")
        assert said.startswith("approved by alice: load is low; run chat-")
        assert await answer(play, question.id, id_="a-1") == said, "a retry is the same answer"
        status = await play.closed()
        record = status.last_runs[0]
        assert f"run {record.run} begins" in said
        assert (record.kind, record.source, record.target) == (MoveKind.FAILOVER, (EU,), US)
        assert (record.trigger.by, record.trigger.reason) == ("alice", f"load is low (yes to {question.id})")
        texts = [entry.text for entry in record.entries]
        assert any(
            text.startswith(f"asked people ({question.id}): service 'chat' is in mode approval") for text in texts
        )
        assert f"decided by alice: load is low (yes to {question.id})" in texts
        assert len(play.world.wrote) == 1
        assert status.question is None
        with pytest.raises(WorkflowUpdateFailedError) as late:
            await answer(play, question.id, "bob")
        assert f"does not wait for an answer to {question.id}" in str(late.value.cause)


async def test_a_no_is_kept_until_the_world_has_changed() -> None:
    """Somebody says no: it is told and recorded, nobody is asked again while the outage lasts, and after it anew."""
    async with asking(questions=replace(BY_SRE, on_timeout=Unanswered.PROCEED)) as play:
        question = await opened(play)
        said = await answer(play, question.id, "bob", yes=False, id_="n-1")
        assert said == "denied by bob: load is low"
        assert await answer(play, question.id, "bob", yes=False, id_="n-1") == said
        status = await play.until(lambda s: "denied" in {h.rule for h in s.hold})
        assert status.question is None
        assert "failover run chat --to us" in status.hold[0].text
        record = status.last_runs[0]
        assert (record.status, record.run) == (RunStatus.OBSERVED, question.id.removeprefix("q-"))
        assert f"{question.id} denied by bob: load is low" in [entry.text for entry in record.entries]
        await play.pass_(hours=2)
        assert await told(play, 2) == ["question", "question-denied"]
        assert not play.world.wrote
        await play.all_say(eu="healthy", us="healthy")
        await play.until(lambda s: not s.hold)
        await play.all_say(eu="down", us="healthy")
        again = (await play.until(lambda s: s.question is not None)).question
        assert again is not None
        assert again.id != question.id


async def test_the_world_answers_first() -> None:
    """The endpoint is well again: people are told that nobody has to answer, and a late yes is refused."""
    async with asking() as play:
        question = await opened(play)
        await play.pass_(minutes=11)
        await play.all_say(eu="healthy", us="healthy")
        await play.until(lambda s: s.question is None)
        assert await told(play, 3) == ["question", "question-escalated", "question-void"]
        assert f"nobody has to answer {question.id} any more" in play.world.told[2].text
        assert "eu is " in play.world.told[2].text
        with pytest.raises(WorkflowUpdateFailedError) as late:
            await answer(play, question.id)
        assert "look at: failover status chat" in str(late.value.cause)
        await play.pass_(hours=12)
        assert len(play.world.told) == 3, "and no reminder comes any more"


async def test_silence_of_the_vantages_is_no_answer() -> None:
    """For a moment nobody can see the endpoint: the question stands, and people do not have to answer another one."""
    async with asking() as play:
        question = await opened(play)
        play.world.beating = ()
        await play.pass_(seconds=90)
        assert (await play.status()).service == ServiceId("chat")
        play.world.beating = ("v1", "v2", "v3")
        await play.all_say(eu="down", us="healthy")
        await play.pass_(seconds=90)
        status = await play.status()
        assert status.question is not None
        assert status.question.id == question.id
        assert set(play.world.events()) <= {"question", "held"}


async def test_a_question_goes_on_where_the_history_begins_anew() -> None:
    """The service continues as new while a question waits: it is told again at the time it was due, not once more."""
    async with asking() as play:
        question = await opened(play)
        first = (await play.handle.describe()).run_id
        for _ in range(60):
            for vantage in ("v1", "v2", "v3"):
                await play.report(vantage, in_a_rush=True, eu="down", us="degraded")
                await play.report(vantage, in_a_rush=True, eu="down", us="healthy")
        await play.until(lambda s: len(s.views) == 3 and all(v.seq > 350 for v in s.views))
        assert (await play.handle.describe()).run_id != first
        now = (await play.status()).question
        assert now is not None
        assert now.id == question.id
        await play.pass_(minutes=11)
        await told(play, 2)
        assert play.world.events() == ["question", "question-escalated"]
