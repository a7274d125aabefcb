"""What stands over a service, in the words of status: a move for a time, a run that halted, a freeze, the gate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.core.move import Objection
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.record import Entry, Mark, RunStatus, StepBrief
from orchestrator.core.situation import Shift
from workflows.wire.service import Frozen, Question


def test_what_stands_over_a_service_is_said(failover: Any, plane: Any, fake: Any) -> None:
    """A move for a time, a freeze, the gate and a run nobody has looked at stand in the text, with what to type."""
    back = fake.serving_weights(fake.EU)
    plane.entities["chat"].more = {
        "shift": Shift(RunId("r1"), "ann", "patches", fake.at(7200), back),
        "unacknowledged": fake.at(60),
        "freezes": (Frozen("the year ends", fake.at(3600)), Frozen("the vote", fake.at(60), unplanned=True)),
        "gate": "the network is rebuilt",
    }
    ended = failover("status", "chat")
    assert ended.out.startswith("1 of 1 services need a look")
    for said in (
        "chat: not acknowledged: automation waits until somebody has looked at its run that closed at 2026-03-01T12:01",
        "    failover ack chat",
        "chat: for a time: moved until 2026-03-01T14:00:00Z by ann (patches); then the service asks to go back to eu",
        "    failover run chat --to eu",
        "chat: freeze: nothing is moved that need not be until 2026-03-01T13:00:00Z, because: the year ends",
        "chat: freeze: nothing is moved until 2026-03-01T12:01:00Z, because: the vote",
        "chat: gate: automation of all services is off (the network is rebuilt)",
    ):
        assert said in ended.out
    (chat,) = failover("status", "chat", "--json").document["services"]
    assert chat["shift"]["by"] == "ann"
    assert [each["reason"] for each in chat["freezes"]] == ["the year ends", "the vote"]
    assert chat["gate"] == "the network is rebuilt"
    assert chat["unacknowledged"] == "2026-03-01T12:01:00Z"


def test_a_freeze_alone_needs_nobody(failover: Any, plane: Any, fake: Any) -> None:
    """A freeze window is said, and the headline still says that all is well."""
    plane.entities["chat"].more = {"freezes": (Frozen("the year ends", fake.at(3600)),)}
    ended = failover("status", "chat")
    assert ended.out.startswith("The service is well")
    assert "because: the year ends" in ended.out


def test_a_run_that_halted_is_shown_until_somebody_has_seen_it(failover: Any, plane: Any, fake: Any) -> None:
    """The world stands as a halted run left it: whoever looks next sees that, until a person has acknowledged it."""
    chat = plane.entities["chat"]
    chat.records = [fake.make_record("r7", status=RunStatus.HALTED)]
    ended = failover("status", "chat")
    assert ended.out.startswith("1 of 1 services need a look")
    assert "chat: halted: its last run, r7, halted and left the world as it stands for a person" in ended.out
    assert "    failover show r7" in ended.out
    assert "    failover ack chat" in ended.out
    (asked,) = failover("status", "--json").document["asks"]
    assert asked["commands"] == ["failover show r7", "failover ack chat"]
    chat.more = {"acknowledged": fake.at(3600)}
    assert failover("status", "chat").out.startswith("The service is well")


def test_a_target_without_room_is_named_with_the_reason(failover: Any, plane: Any, fake: Any) -> None:
    """The cloud of us refused the capacity: status says so, and where to read more, while us is tried last."""
    steps = (StepBrief("promote", "promote", "scale us to 3", 60.0),)
    entries = (Entry(datetime.now(UTC), Mark.STEP_FAILED, "beta/ohio has room for 4 replicas, not for 9", "promote"),)
    put_back = {"status": RunStatus.UNDONE, "steps": steps, "entries": entries, "closed": datetime.now(UTC)}
    plane.entities["chat"].records = [fake.make_record("r7", **put_back)]
    ended = failover("status", "chat")
    assert (
        "chat: tried last: us could not be made ready by run r7: beta/ohio has room for 4 replicas, not for 9"
    ) in ended.out
    assert "    failover show r7" in ended.out


def test_programs_are_told_what_waits_for_an_answer(failover: Any, plane: Any, fake: Any) -> None:
    """The question of a service stands among what asks, with the commands that say yes and no."""
    why = (Objection("capacity-unknown", "nobody knows how much us carries", asks=True),)
    question = Question("q-1", fake.at(0), (EndpointId("eu"),), EndpointId("us"), why)
    plane.entities["chat"].more = {"question": question}
    (asked,) = failover("status", "--json").document["asks"]
    assert asked == {
        "service": "chat",
        "run": None,
        "text": "move eu -> us? nobody knows how much us carries",
        "commands": ["failover approve q-1", "failover deny q-1", "failover run chat --to us"],
    }
