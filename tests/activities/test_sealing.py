"""A write that has not landed, and may still: a run says that all is as it was only once that is sure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from orchestrator.core.names import EndpointId, RunId, ServiceId
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.steering import Fence, Landing, Routing, SteeringChange, landing
from orchestrator.core.topology import Answer, ProbeSpec, Shares, SteeringSpec
from providers import registry
from providers.base import Forbidden, ServerAnswer, StaleGeneration, Transient
from runbooks.plan import Steer
from workflows.activities.steps import Steps
from workflows.wire import StepTask

EU, US = EndpointId("eu"), EndpointId("us")
AT_EU, AT_US = Answer("addresses", ("192.0.2.1",)), Answer("addresses", ("192.0.2.2",))
SPEC = SteeringSpec("rfc2136", "chat.example.", "example.", 5, "127.0.0.1:53")
FOUND = Fence(7, "run-7", "steer", ((EU, 100), (US, 0)))


class Primary:
    """A primary that can always be read, and takes writes only when it is well."""

    shares = Shares.EQUAL

    def __init__(self) -> None:
        self.routing = Routing(AT_EU, 5, FOUND)
        self.trouble: Exception | None = None

    async def read(self) -> Routing:
        return self.routing

    async def write(self, change: SteeringChange) -> Routing:
        if self.trouble is not None:
            raise self.trouble
        if landing(change, self.routing) is not Landing.NOT_YET:
            raise StaleGeneration(f"generation {self.routing.generation} stands")
        self.routing = Routing(change.answer, 5, change.fence)
        return self.routing

    async def answers(self) -> tuple[ServerAnswer, ...]:
        return (ServerAnswer(SPEC.primary, self.routing.answer),)


class Well:
    """Every endpoint answers."""

    async def ask(self, spec: ProbeSpec, url: str, *, name: str, fresh: bool = False) -> Outcome:
        return Outcome(OutcomeKind.PASSED, 0.01, "", completed=True)


@pytest.fixture
def primary(monkeypatch: pytest.MonkeyPatch) -> Primary:
    made = Primary()
    monkeypatch.setattr(registry, "steering", lambda spec: made)
    return made


def task(step: str) -> StepTask:
    work = Steer(SPEC, 7, AT_EU, ((EU, 0), (US, 100)), AT_US, ((7, "run-7/steer"),), ((EU, 100), (US, 0)), AT_EU, FOUND)
    return StepTask(ServiceId("chat"), "chat.example", RunId("run-8"), step, work, 5.0, generation=7, base=7)


async def test_an_undo_that_cannot_be_sure_is_tried_again(primary: Primary) -> None:
    """The primary takes no write for a moment: the write that may still be on its way is not taken for gone."""
    primary.trouble = Transient("no answer")
    with pytest.raises(ApplicationError) as told:
        await ActivityEnvironment().run(Steps(Well()).undo, task("steer-undo"))
    assert told.value.type == "Transient"
    primary.trouble = None
    await ActivityEnvironment().run(Steps(Well()).undo, task("steer-undo"))
    with pytest.raises(ApplicationError, match="generation 8 stands"):
        await ActivityEnvironment().run(Steps(Well()).step, task("steer"))
    assert primary.routing.answer == AT_EU


async def test_what_may_not_write_has_not_written(primary: Primary) -> None:
    """The key may not change the name: no late write of the run can land either, and all is as it was."""
    primary.trouble = Forbidden("the key may not do this")
    result = await ActivityEnvironment().run(Steps(Well()).undo, replace(task("steer-undo")))
    assert "it takes no write now" in result.text
    assert primary.routing == Routing(AT_EU, 5, FOUND)
