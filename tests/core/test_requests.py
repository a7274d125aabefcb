"""What a person may ask for besides a move to one place: to leave an endpoint, exact weights, a preparation."""

from __future__ import annotations

from dataclasses import replace

from core.building import AP, EU, US, ask_for, endpoint, rules, service, situation

from orchestrator.core.decision import Go, Hold, Request, Situation, consider
from orchestrator.core.move import Move, MoveKind, Objection
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.quorum import Verdict
from orchestrator.core.topology import Answer

WELL = {"eu": Verdict.HEALTHY}
AT_HOME = ((AP, 0), (EU, 100), (US, 0))


def went(facts: Situation, request: Request) -> Move:
    decision = consider(facts, request)
    assert isinstance(decision, Go), decision
    return decision.move


def reasons(facts: Situation, request: Request) -> tuple[Objection, ...]:
    decision = consider(facts, request)
    assert isinstance(decision, Hold), decision
    return decision.reasons


def leaving(*names: str, target: str | None = None, kind: MoveKind = MoveKind.SWITCHOVER) -> Request:
    return replace(ask_for(kind, target), leaving=tuple(EndpointId(name) for name in names))


def exactly(*weights: tuple[str, int], target: str | None = None) -> Request:
    after = tuple((EndpointId(name), weight) for name, weight in weights)
    return replace(ask_for(MoveKind.SWITCHOVER, target), after=after)


# ------------------------------------------------------------------ leaving


def test_traffic_leaves_one_endpoint_and_stays_at_the_others() -> None:
    """Who leaves eu leaves its share to the others that carry traffic, evenly."""
    move = went(situation(carrying=(AP, EU, US), verdicts=WELL), leaving("eu"))
    assert (move.source, move.after) == ((EU,), ((AP, 50), (EU, 0), (US, 50)))
    assert move.kind is MoveKind.SWITCHOVER


def test_a_named_target_takes_the_place_of_what_is_left() -> None:
    """With a target the others keep on, and the target joins them."""
    move = went(situation(carrying=(EU, US), verdicts=WELL), leaving("eu", target="ap"))
    assert (move.target, move.after) == (AP, ((AP, 50), (EU, 0), (US, 50)))


def test_the_only_endpoint_that_carries_is_left_for_the_best_other() -> None:
    """Where nobody else carries traffic, all of it goes to the target that the policy prefers."""
    chat = service(endpoint("ap"), endpoint("eu"), endpoint("us"), prefer=(US,))
    assert went(situation(chat, verdicts=WELL), leaving("eu")).after == ((AP, 0), (EU, 0), (US, 100))


def test_where_shares_cannot_be_said_one_endpoint_takes_all() -> None:
    """A CNAME names one endpoint at a time: the target takes everything."""
    names = ("ap", "eu", "us")
    chat = service(*(endpoint(name, answer=Answer("cname", (f"{name}.example.",))) for name in names))
    assert went(situation(chat, verdicts=WELL), leaving("eu", target="us")).after == ((AP, 0), (EU, 0), (US, 100))


def test_leaving_what_is_down_is_a_failover() -> None:
    """The kind of the move follows the facts, whatever was asked for."""
    move = went(situation(carrying=(AP, EU)), leaving("eu"))
    assert (move.kind, move.source, move.after) == (MoveKind.FAILOVER, (EU,), ((AP, 100), (EU, 0), (US, 0)))


def test_leaving_what_carries_nothing_changes_nothing() -> None:
    """An endpoint without traffic has nothing to leave, and the answer says so."""
    for request in (leaving("ap"), leaving("ap", "us"), leaving("ap", target="eu")):
        assert rules(reasons(situation(verdicts=WELL), request)) == ["already-there"]


def test_leaving_everything_or_the_target_is_refused() -> None:
    """There must be somewhere to go, and it is not where the traffic comes from."""
    assert rules(reasons(situation(verdicts=WELL), leaving("ap", "eu", "us"))) == ["no-target"]
    assert "contradiction" in rules(reasons(situation(verdicts=WELL), leaving("eu", target="eu")))
    (wrong,) = reasons(situation(verdicts=WELL), leaving("euu", target="us"))
    assert "did you mean 'eu'?" in wrong.text


# ------------------------------------------------------------------ exact weights


def test_weights_that_were_asked_for_are_what_the_move_ends_with() -> None:
    """Endpoints that are not named get nothing, and the target is where most goes."""
    move = went(situation(verdicts=WELL), exactly(("us", 60), ("ap", 40)))
    assert (move.target, move.source, move.after) == (US, (EU,), ((AP, 40), (EU, 0), (US, 60)))


def test_weights_that_cannot_be_meant_are_refused() -> None:
    """They sum to 100, and give something to the target."""
    facts = situation(verdicts=WELL)
    assert "bad-weights" in rules(reasons(facts, exactly(("us", 60), ("ap", 60))))
    assert "bad-weights" in rules(reasons(facts, exactly(("us", 100), target="ap")))
    assert "bad-weights" in rules(reasons(facts, exactly(("us", 101), ("ap", -1))))
    assert "no-such-endpoint" in rules(reasons(facts, exactly(("usa", 100))))


def test_weights_meet_the_same_rules_as_any_move() -> None:
    """A target that is down gets no traffic, however it is asked for."""
    facts = situation(verdicts=WELL | {"us": Verdict.DOWN})
    assert "target-down" in rules(reasons(facts, exactly(("us", 100))))


# ------------------------------------------------------------------ preparations


def test_a_preparation_moves_no_traffic() -> None:
    """It is about the best standby without traffic, and leaves the shares as they are."""
    move = went(situation(verdicts=WELL), ask_for(MoveKind.PREPARATION))
    assert (move.kind, move.source, move.target, move.after) == (MoveKind.PREPARATION, (), AP, AT_HOME)
    assert went(situation(), ask_for(MoveKind.PREPARATION, "us")).target == US


def test_a_preparation_meets_no_rule_about_traffic() -> None:
    """A standby is made ready though it is down, the record is not ours, or everything is down."""
    facts = situation(verdicts={"ap": Verdict.DOWN, "us": Verdict.UNKNOWN}, routing=None)
    assert went(facts, ask_for(MoveKind.PREPARATION, "ap")).target == AP


def test_a_preparation_waits_for_the_run_that_holds_the_service() -> None:
    """Two runs at once would undo each other, and the target must exist."""
    assert rules(reasons(situation(run=RunId("run-9")), ask_for(MoveKind.PREPARATION))) == ["one-run-at-a-time"]
    assert rules(reasons(situation(), ask_for(MoveKind.PREPARATION, "gone"))) == ["no-such-endpoint"]
