"""What a service makes of the load that heartbeats tell: when it decides, when a person plans, while it is at rest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator.core.decision import Request
from orchestrator.core.health import EndpointState, Health
from orchestrator.core.load import KEPT_S, Observed
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.quorum import Report, fold
from orchestrator.core.record import RunStatus
from orchestrator.core.targets import Load
from real.scenery import AWAY, EU, TOLD, US, VANTAGES, at_home, service
from real.stage import stage
from runbooks.printed import text
from workflows import situation
from workflows.wire import FailoverRequest, Heartbeats, Look, PlanQuestion, ServiceState, Slice, StatusQuestion

NOW = datetime(2026, 3, 1, 2, 14, 7, tzinfo=UTC)
HOME = ServiceState(Slice(1, service(), VANTAGES, notify=TOLD), routing=at_home())
"""50 are declared, and either endpoint carries 100."""


def heard(*loads: Observed) -> Heartbeats:
    return Heartbeats(loads=loads)


async def test_observed_load_that_does_not_fit_asks_a_person_and_goes_on_asking() -> None:
    """50 are declared, 137 were in flight, the standby carries 100: automation asks, also hours later, when no prober
    remembers. Then a person says so, and the record tells what they set aside."""
    async with stage() as play:
        play.world.in_flight = {"eu": 137, "us": 0}
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        status = await play.until(lambda s: s.question is not None)
        assert status.question is not None
        (reason,) = status.question.reasons
        assert reason.text.startswith(
            "endpoint 'us' can carry 100 requests in flight and 137 would come to it (observed 137 requests in flight "
        )
        assert reason.text.endswith("Z, 50 declared); raise its capacity or shed load first")
        play.world.in_flight = {}
        await play.pass_(hours=2)
        status = await play.status()
        assert status.question is not None
        assert not play.world.wrote
        asked = Request(MoveKind.FAILOVER, Trigger("ann@laptop", "half of it is better than nothing"))
        await play.handle.execute_update("request", FailoverRequest("request-1", asked))
        record = (await play.closed()).last_runs[0]
        assert (record.status, [each.rule for each in record.objections]) == (RunStatus.COMPLETED, ["capacity-short"])


async def test_observed_load_answers_what_nobody_declared() -> None:
    """The policy says no capacity and the load is known: the standby carries it, and the traffic moves by itself."""
    async with stage(played=service(capacity=None)) as play:
        play.world.in_flight = {"eu": 37}
        await play.open()
        await play.all_say(eu="healthy", us="healthy")
        await play.all_say(eu="down", us="healthy")
        status = await play.until(lambda s: bool(s.last_runs) and s.run is None)
        assert status.last_runs[0].status is RunStatus.COMPLETED
        assert play.world.routing.fence is not None
        assert play.world.routing.fence.weights == AWAY


def test_what_a_service_shows_of_its_load() -> None:
    """By endpoint and for the whole, as the heartbeats tell it now; a quarter of an hour later nobody knows it."""
    seen = situation.status(HOME, StatusQuestion(NOW, heard(Observed(EU, 37, NOW), Observed(US, 2, NOW))))
    assert {each.id: (each.in_flight, each.in_flight_at) for each in seen.endpoints} == {EU: (37, NOW), US: (2, NOW)}
    assert seen.load == Load(37, NOW, (EU,), whole=True)
    late = NOW + timedelta(seconds=KEPT_S + 1)
    after = situation.status(situation.hearing(HOME, heard(Observed(EU, 37, NOW))), StatusQuestion(late))
    assert after.load is None
    assert {each.in_flight for each in after.endpoints} == {None}


def test_a_plan_says_which_load_it_was_made_for() -> None:
    """The text that an approver reads has both numbers; without an observation it is as it was."""
    asked = Request(MoveKind.SWITCHOVER, Trigger("ann@laptop", "because"), US)
    look = Look(heard(), at_home())
    question = PlanQuestion(NOW, look, asked)
    quiet = situation.preview(_well(), question)
    loaded = situation.preview(_well(), replace(question, look=replace(look, heartbeats=heard(Observed(EU, 37, NOW)))))
    assert quiet.plan is not None
    assert loaded.plan is not None
    assert "  note        observed 37 requests in flight at 2026-03-01T02:14:07Z, 50 declared\n" in text(loaded.plan)
    assert replace(loaded.plan, remarks=quiet.plan.remarks) == quiet.plan
    too_much = heard(Observed(EU, 137, NOW))
    refused = situation.preview(_well(), replace(question, look=replace(look, heartbeats=too_much)))
    assert (refused.decision, [each.rule for each in refused.reasons]) == ("hold", ["capacity-short"])


def _well() -> ServiceState:
    """The service at home, with every endpoint seen to be well."""
    states = tuple(EndpointState(each, Health.HEALTHY, "", 0.5, None, proven=True) for each in (EU, US))
    views = HOME.views
    for vantage in VANTAGES:
        said = Report(HOME.slice.service.id, vantage.id, 0, vantage.id, 1, 1, 1, False, states)
        views = fold(views, said, now=NOW)
    return replace(HOME, views=views)
