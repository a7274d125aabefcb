"""What keeps a drill from beginning, or from having ended well."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from orchestrator.core.move import Objection
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId, shadow
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.topology import Mode, Role
from real.scenery import VANTAGES, service
from workflows.activities.rehearsing import Rehearsing, unsteady
from workflows.wire import (
    EndpointBrief,
    FailbackTask,
    FailoverRequest,
    Question,
    Refusal,
    RunQuestion,
    RunSeen,
    ServiceStatus,
    Slice,
    Started,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EU, US = EndpointId("eu"), EndpointId("us")


def status(*, votes: int = 3, serving: EndpointId = EU, us: Verdict = Verdict.HEALTHY) -> ServiceStatus:
    verdicts = {EU: Verdict.HEALTHY, US: us}
    return ServiceStatus(
        service=ServiceId("chat"),
        name="chat.example",
        revision=1,
        mode=Mode.AUTOMATIC,
        as_of=NOW,
        assessments=tuple(Assessment(e, v, f"{v}", NOW, None, True, votes) for e, v in verdicts.items()),
        views=(),
        routing=None,
        paused=None,
        run=None,
        run_started_by=None,
        endpoints=tuple(
            EndpointBrief(e, Domain(f"cloud/{e}"), Role.ACTIVE, f"http://{e}/", 100 if e == serving else 0)
            for e in verdicts
        ),
    )


def test_a_service_seen_well_by_most_is_steady() -> None:
    """Two of three vantages are enough to find a fault, so they are enough to begin."""
    assert unsteady(status(), EU, vantages=3) == ()
    assert unsteady(status(votes=2), None, vantages=3) == ()


def test_a_service_that_too_few_watch_is_not_steady() -> None:
    """One vantage of three says healthy, and could never say down: the drill waits for the others."""
    wrong = unsteady(status(votes=1), EU, vantages=3)
    assert wrong == tuple(f"only 1 of 3 vantages have a say on {e}, and 'down' needs more" for e in (EU, US))
    assert unsteady(status(votes=1), EU, vantages=2)


def test_trouble_and_traffic_elsewhere_are_named() -> None:
    """What is not healthy, and traffic that is not at home, are said together."""
    wrong = unsteady(status(serving=US, us=Verdict.DEGRADED), EU, vantages=3)
    assert wrong == ("us is degraded: degraded", "traffic is at us, not at eu")


class Asking:
    """A service that asks people whether it may move, as its workflow says it."""

    def get_workflow_handle(self, _: str) -> Asking:
        return self

    async def describe(self) -> None:
        raise RPCError("nobody watches", RPCStatusCode.NOT_FOUND, b"")

    async def query(self, what: str, *_: object, **__: object) -> Slice | ServiceStatus:
        if what == "slice":
            return Slice(1, service(), VANTAGES)
        reasons = (Objection("capacity", "the capacity of us is not known", asks=True),)
        return replace(status(), hold=reasons, question=Question("q-1", NOW, (EU,), US, reasons))


@pytest.mark.parametrize(("name", "said"), [("chat.drill", "a person would be asked first: "), ("chat", "")])
async def test_a_drill_without_people_does_not_wait_for_their_answer(name: str, said: str) -> None:
    """A shadow that would ask a person will never move: said at once. A real service may still be answered."""
    client: Any = Asking()
    seen: RunSeen = await ActivityEnvironment().run(Rehearsing(client).await_run, RunQuestion(ServiceId(name), 0.3))
    assert seen == RunSeen(None, f"{said}the capacity of us is not known")
    assert shadow(ServiceId("chat")) == "chat.drill"


class Cold(Asking):
    """A service that asks whether its cold standby is to get the traffic, and what a yes comes to."""

    def __init__(self, *more: Objection) -> None:
        self.reasons = (Objection("target-cold", "us is a cold standby", asks=True), *more)
        self.asked: list[FailoverRequest] = []

    async def query(self, what: str, *_: object, **__: object) -> Slice | ServiceStatus:
        if what == "slice":
            return Slice(1, service(), VANTAGES)
        question = Question("q-1", NOW, (EU,), US, self.reasons)
        return replace(status(), hold=self.reasons, question=question)

    async def execute_update(self, _: str, asked: FailoverRequest, **__: object) -> Started | Refusal:
        self.asked.append(asked)
        return Refusal((Objection("everything-down", "no endpoint is known to work"),))


async def test_a_drill_says_yes_to_a_cold_standby_and_to_nothing_else() -> None:
    """Where that is all that is asked it gives the yes in its own name, once; a yes that is refused ends the waiting.

    The question of a real service, and one for other reasons too, are not the drill's to answer.
    """
    question = RunQuestion(ServiceId("chat.drill"), 5.0, drill="d-1")
    cold: Any = Cold()
    seen: RunSeen = await ActivityEnvironment().run(Rehearsing(cold).await_run, question)
    assert seen.text == "a person would be asked first, and their yes refused: no endpoint is known to work"
    (asked,) = cold.asked
    assert (asked.request.target, asked.request.trigger.by, asked.drill) == (US, "drill:d-1", "d-1")
    assert asked.request.trigger.reason == "the yes of a person: us is a cold standby"
    for name, left in (("chat", replace(question, service=ServiceId("chat"), within_s=0.3)), ("more", question)):
        other: Any = Cold(*((Objection("gate", "closed", asks=True),) if name == "more" else ()))
        assert (await ActivityEnvironment().run(Rehearsing(other).await_run, left)).record is None
        assert not other.asked


def test_a_cold_standby_may_be_silent_as_long_as_it_carries_nothing() -> None:
    """It is meant to be; one that carries the traffic is not, nor is one that is slow: that one runs."""
    assert unsteady(status(us=Verdict.DOWN), EU, vantages=3, colds=(US,)) == ()
    assert unsteady(status(us=Verdict.DOWN), EU, vantages=3) == ("us is down: down",)
    assert unsteady(status(us=Verdict.DEGRADED), EU, vantages=3, colds=(US,)) == ("us is degraded: degraded",)
    assert unsteady(status(us=Verdict.DOWN, serving=US), None, vantages=3, colds=(US,)) == ("us is down: down",)


class Freezing:
    """A service in a freeze window that began during the drill: planned moves are refused unless it is set aside."""

    def __init__(self) -> None:
        self.asked: list[FailoverRequest] = []

    def get_workflow_handle(self, _: str) -> Freezing:
        return self

    async def execute_update(self, _: str, asked: FailoverRequest, **__: object) -> Started | Refusal:
        self.asked.append(asked)
        if "freeze" in asked.request.trigger.overrides:
            return Started(RunId("chat-1"), "failover/chat/chat-1")
        return Refusal((Objection("freeze", "nothing is moved until the year ends", asks=True),))


async def test_what_a_drill_has_moved_goes_home_in_a_freeze_that_began_meanwhile() -> None:
    """The way home is refused for the freeze, asked again with it set aside by name, and granted: one request."""
    service = Freezing()
    client: Any = service
    task = FailbackTask(ServiceId("chat"), "d-1", EU, "ann")
    started = await ActivityEnvironment().run(Rehearsing(client).ask_failback, task)
    assert started.run == "chat-1"
    assert [asked.request.trigger.overrides for asked in service.asked] == [(), ("freeze",)]
    assert {asked.id for asked in service.asked} == {"drill-d-1-back"}
