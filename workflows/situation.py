"""What a service workflow makes of what it knows: situations, questions, records. Pure functions over its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from orchestrator.core import costs, load, signals, waiting
from orchestrator.core.decision import Decision, Go, Hold, Request, Situation, consider, decide
from orchestrator.core.errors import BadInput
from orchestrator.core.governing import Ledger, beside, weighed
from orchestrator.core.health import Health
from orchestrator.core.move import MoveKind, Objection, Trigger
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.quorum import Assessment, Verdict, assess, hear
from orchestrator.core.record import Record, RunStatus
from orchestrator.core.safety import about_routing
from orchestrator.core.steering import former
from orchestrator.core.targets import carried, needed
from orchestrator.core.topology import Role, Weights
from orchestrator.core.underway import still_against
from runbooks.plan import Plan
from runbooks.planner import Unplannable
from workflows import options, planning, questions, remembering
from workflows.aftermath import after_drill, after_run, awaits_end, fruitless, goes_elsewhere
from workflows.pretending import taken_for_down, taken_for_promoted
from workflows.wire import (
    Answered,
    EndpointBrief,
    Explanation,
    FailoverRequest,
    Heartbeats,
    LookRequest,
    PlanQuestion,
    Refusal,
    RunClosed,
    ServiceState,
    ServiceStatus,
    Slice,
    Started,
    StatusQuestion,
    run_workflow_id,
    shard_of,
)
from workflows.wire.service import Frozen

PREVIEW = RunId("preview")
"""The run of a plan that is only shown."""
KEPT_ANSWERS = 32
KEPT_RUNS = 5
"""Records a service carries with it; older ones are in the history store."""


def hearing(state: ServiceState, heartbeats: Heartbeats) -> ServiceState:
    """*state* with the probers' heartbeats taken in, and the load and the signals that they tell."""
    loads = load.taken_in(state.loads, heartbeats.loads, state.detected)
    # Levels: what no prober that is heard says any more is over.
    evidence = heartbeats.evidence if heartbeats.heard else state.evidence
    return replace(state, views=hear(state.views, heartbeats.heard), loads=loads, evidence=evidence)


def configured(state: ServiceState, piece: Slice) -> ServiceState:
    """*state* under a new revision: what a person said of the mode ends where the topology's changes."""
    before = state.slice.service
    return replace(
        state,
        slice=piece,
        mode=state.mode if piece.service.policy.mode is before.policy.mode else None,
        routing=state.routing if piece.service.steering == before.steering else None,
        former=former(state.routing, before.endpoints, piece.service.endpoints, state.former),
        retired=False,
    )


def assessments(state: ServiceState, now: datetime) -> tuple[Assessment, ...]:
    """The verdict on every endpoint of the service."""
    piece = state.slice
    found = tuple(
        assess(
            endpoint,
            state.views,
            piece.vantages,
            now=now,
            fresh_s=options.FRESH_S,
            simulates_hosts=piece.simulates_hosts,
        )
        for endpoint in piece.service.endpoints
    )
    return found if piece.drill is None else taken_for_promoted(found, piece.service, state.routing)


def detecting(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> ServiceState:
    """*state* with the moment each endpoint was first found down."""
    before = dict(state.detected)
    down = [each.endpoint for each in found if each.verdict is Verdict.DOWN]
    return replace(state, detected=tuple(sorted((endpoint, before.get(endpoint, now)) for endpoint in down)))


def situation(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> Situation:
    """Everything a decision may look at."""
    return Situation(
        service=state.slice.service,
        assessments=found,
        routing=state.routing,
        mode=state.mode or state.slice.service.policy.mode,
        now=now,
        paused=state.paused,
        run=state.run.run if state.run else None,
        last_closed=state.last_closed,
        held=state.held,
        revision=state.slice.revision,
        orders=state.slice.orders,
        automatic=state.automatic,
        former=state.former,
        acknowledged=state.acknowledged,
        shift=state.shift,
        fruitless=fruitless(state.last_runs, now),
        observed=load.remembered(state.loads, state.detected, now=now),
        evidence=signals.remembered(state.evidence, now=now),
    )


def unread(state: ServiceState, asked: Request | None) -> bool:
    """Whether *asked* must wait for a routing that can be read: a planned move has time, and would end half done."""
    return bool(state.routing_error) and asked is not None and asked.kind is not MoveKind.FAILOVER


def concerning(state: ServiceState) -> bool:
    """Whether any vantage says anything but healthy of an endpoint: only then is there something to decide."""
    return any(
        opinion.state.health not in {Health.HEALTHY, Health.UNKNOWN} for v in state.views for opinion in v.opinions
    )


def unsettled(state: ServiceState) -> bool:
    """Whether there may be something to decide by and by, though no news comes."""
    leave = any(each.effect is signals.Effect.DRAIN for each in state.evidence)
    return concerning(state) or bool(state.hold) or awaits_end(state) or leave


def weights_of(state: ServiceState) -> Weights | None:
    """The shares of traffic as the routing last read says them; None where the answer says something else."""
    return remembering.weights(state)


def standing(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> ServiceState:
    """*state* with what is known of how well it serves, after a look that *found* how its endpoints are."""
    return remembering.stood(remembering.looked(state, found, now), found, now)


def look_request(state: ServiceState) -> LookRequest:
    """What a service reads before it decides."""
    piece = state.slice
    return LookRequest(
        service=piece.service.id,
        vantages=tuple(vantage.id for vantage in piece.vantages),
        shard=shard_of(piece.service.id, piece.shards),
        steering=piece.service.steering,
    )


def target_doubted(state: ServiceState) -> bool:
    """Whether any vantage says of an endpoint that the run in progress sends traffic to that it is down."""
    targets = _targets(state)
    return bool(targets) and any(
        opinion.state.endpoint in targets and opinion.state.health is Health.DOWN
        for view in state.views
        for opinion in view.opinions
    )


def _targets(state: ServiceState) -> tuple[EndpointId, ...]:
    """The endpoints that the run in progress gives traffic to, and whose fall would be news."""
    run = state.run
    return () if run is None else (*((run.target,) if run.target is not None else ()), *run.beside)


def target_fell(target: EndpointId, found: tuple[Assessment, ...]) -> str:
    """Why a run to *target* is in vain, where another endpoint is well; empty where it is not, or nothing is better."""
    down = next((each for each in found if each.endpoint == target and each.verdict is Verdict.DOWN), None)
    well = next((each.endpoint for each in found if each.verdict is Verdict.HEALTHY), None)
    return f"{target} fell meanwhile ({down.text}), and {well} is well" if down and well else ""


def prepares(state: ServiceState) -> bool:
    """Whether the run that holds the service only makes something ready."""
    return state.run is not None and state.run.kind is MoveKind.PREPARATION


def without_run(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> Situation:
    """What a decision would see if no run held the service."""
    return replace(situation(state, found, now), run=None)


def news_for_run(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> tuple[str, str]:
    """The signal that the run in progress must get now, and why; empty texts: none."""
    if prepares(state):
        decision = decide(without_run(state, found, now))
        if isinstance(decision, Go):
            text = "; ".join(f"{each.endpoint} {each.text}" for each in found if each.endpoint in decision.move.source)
            return "give_way", text
    fell = next((fell for each in _targets(state) if (fell := target_fell(each, found))), "")
    return ("target_fell", fell) if fell else ("", "")


def remember(state: ServiceState, record: Record) -> ServiceState:
    """*state* with *record* among its last runs, newest first."""
    others = tuple(each for each in state.last_runs if each.run != record.run)
    return replace(state, last_runs=(record, *others)[:KEPT_RUNS])


def closed(state: ServiceState, last: RunClosed, *, stopped: bool, now: datetime) -> ServiceState:
    """*state* after its run, free again. Cool-down counts from here, unless traffic stands where it stood."""
    # A plan that came too late has moved nothing and is made again at once; the second in a row cools down.
    again = last.status is RunStatus.STALE and not last_was_stale(state)
    # One that was stopped for its target's fall has moved nothing either, and the next one goes elsewhere.
    again |= stopped and last.status in {RunStatus.UNDONE, RunStatus.ABORTED}
    # A preparation has moved nothing: what fails after it is met at once.
    again |= last.record.kind is MoveKind.PREPARATION
    again |= goes_elsewhere(state, last.record, now)
    last_closed = state.last_closed if again else now
    state = remembering.ran(after_run(state, last, now=now, in_vain=again), last.record, now)
    state = replace(remember(state, last.record), run=None, routing=last.routing, last_closed=last_closed, told=())
    return after_drill(state, last.record)


def taken_in(state: ServiceState, closed: RunClosed) -> ServiceState:
    """*state* with a run in its record that somebody else carried out; a run that holds the service goes on holding it.

    Cool-down counts from it, and the routing that it left is known until it is read again.
    """
    ends = [at for at in (state.last_closed, closed.record.closed) if at is not None]
    before = state.routing.generation if state.routing is not None else -1
    newer = closed.routing is not None and closed.routing.generation > before
    state = replace(state, last_closed=max(ends, default=None), routing=closed.routing if newer else state.routing)
    if newer and state.run is None:
        state = after_run(state, closed, now=closed.record.closed or closed.record.started)
        state = remembering.ran(state, closed.record, now=closed.record.closed or closed.record.started)
    return remember(state, closed.record)


def last_was_stale(state: ServiceState) -> bool:
    """Whether the last run but those only observed was refused by the fence."""
    done = (record.status for record in state.last_runs if record.status is not RunStatus.OBSERVED)
    return next(done, None) is RunStatus.STALE


def status(state: ServiceState, question: StatusQuestion) -> ServiceStatus:
    """All that a page needs to know of the service now."""
    state = hearing(state, question.heartbeats)
    service = state.slice.service
    weights = dict(weights_of(state) or ())
    known = weights_of(state) is not None
    facts = situation(state, (), question.now)
    seen = {each.endpoint: each for each in facts.observed}
    return ServiceStatus(
        service=service.id,
        name=service.name,
        revision=state.slice.revision,
        mode=state.mode or service.policy.mode,
        as_of=question.now,
        assessments=assessments(state, question.now),
        views=state.views,
        routing=state.routing,
        paused=state.paused,
        run=state.run.run if state.run else None,
        run_started_by=state.run.by if state.run else None,
        question=questions.standing(state),
        held=state.held,
        hold=state.hold,
        last_runs=state.last_runs,
        last_good=state.last_good,
        shards=state.slice.shards,
        shift=state.shift,
        unacknowledged=waiting.unacknowledged(facts),
        acknowledged=state.acknowledged,
        freezes=tuple(Frozen(each.reason, until, each.unplanned) for each, until in waiting.freezes_now(facts)),
        gate=state.slice.orders.gate,
        load=carried(facts),
        cost=costs.told(service, tuple(each for each in facts.carrying if not _at_home(facts, each))),
        endpoints=tuple(
            EndpointBrief(
                e.id,
                e.region,
                e.role,
                e.url,
                weights.get(e.id, 0) if known else None,
                in_flight=seen[e.id].in_flight if e.id in seen else None,
                in_flight_at=seen[e.id].at if e.id in seen else None,
                signals=signals.said(signals.against(facts.evidence, e.id, *signals.Effect)),
            )
            for e in service.endpoints
        ),
    )


def preview(state: ServiceState, question: PlanQuestion) -> Explanation:
    """What would come of the question's request, or of the orchestrator's own decision, and why."""
    state = replace(hearing(state, question.look.heartbeats), routing_error=question.look.routing_error)
    if question.look.routing is not None or unread(state, question.request):
        state = replace(state, routing=question.look.routing)
    found = taken_for_down(assessments(state, question.now), question.down)
    facts = situation(state, found, question.now)
    if question.under_way is not None:
        by = state.run.by if state.run is not None and state.run.run == question.under_way.run else "automatic"
        if question.ledger is not None:
            facts = beside(facts, question.under_way.move, question.ledger)
        against = still_against(facts, question.under_way, by=by)
        return Explanation("hold" if against else "go", against)
    if question.request is None:
        decision: Decision = governed(lambda now: questions.decided(now, state.question), facts, question.ledger)
        decision = at_rest(decision, facts) if isinstance(decision, Hold) else decision
        away = decision.move is None or decision.move.kind is MoveKind.FAILOVER
        trigger = Trigger("automatic", "the active endpoint is down" if away else "traffic is to go home")
    else:
        try:
            asked = planning.meant(state, question.request)
        except BadInput as error:
            return Explanation("hold", (planning.not_meant(error),))
        decision = governed(lambda now: consider(now, asked), facts, question.ledger)
        trigger = asked.trigger
    reasons = decision.overridden if isinstance(decision, Go) else decision.reasons
    name = type(decision).__name__.lower()
    if decision.move is None:
        return Explanation(name, reasons)
    refused = isinstance(decision, Hold) and bool(reasons)
    try:
        made = planning.make_plan(
            state,
            decision.move,
            run=PREVIEW,
            trigger=trigger,
            objections=reasons,
            asked=question.request,
            now=question.now,
            crowded=isinstance(decision, Go) and planning.crowded(decision, trigger, question.request),
        )
    except Unplannable as error:
        # What holds the move already says why: a plan for it need not exist.
        return Explanation("hold", reasons if refused else (*reasons, Objection("unplannable", str(error))))
    load = needed(facts).text
    if load and decision.move.kind is not MoveKind.PREPARATION:
        made = replace(made, remarks=(*made.remarks, load))
    return Explanation(name, reasons, made)


def _at_home(facts: Situation, endpoint: EndpointId) -> bool:
    found = facts.endpoint(endpoint)
    return found is not None and found.role is Role.ACTIVE


def governed(choose: Callable[[Situation], Decision], facts: Situation, ledger: Ledger | None) -> Decision:
    """What *choose* comes to, also in the light of what the governor holds, where that is known."""
    return choose(facts) if ledger is None else weighed(choose, facts, ledger)


def answered(state: ServiceState, asked: FailoverRequest) -> Started | None:
    """The answer that the same request got before; None: it is new."""
    given = next((each for each in state.answered if each.request == asked.id), None)
    return Started(given.run, given.workflow) if given is not None else None


def answering(state: ServiceState, asked: FailoverRequest, plan: Plan) -> tuple[ServiceState, Started]:
    """*state* with the answer kept for the request's retry, and the answer."""
    workflow = run_workflow_id(plan.service, plan.run)
    kept = (*state.answered, Answered(asked.id, plan.run, workflow))[-KEPT_ANSWERS:]
    return replace(state, answered=kept), Started(plan.run, workflow)


def refusal(state: ServiceState, reasons: tuple[Objection, ...]) -> Refusal:
    """Why no run came of a request, and which run is in the way."""
    run = state.run
    return Refusal(reasons, held_by=run.run if run else None, started_by=run.by if run else None)


def at_rest(decision: Hold, facts: Situation) -> Hold:
    """*decision*, and what is wrong with the record itself, although nothing has to be moved now."""
    if facts.dead:
        return decision
    said = {reason.rule for reason in decision.reasons}
    more = tuple(reason for reason in about_routing(facts) if reason.rule not in said)
    return replace(decision, reasons=(*more, *decision.reasons))


def wants_telling(decision: Hold) -> tuple[str, str] | None:
    """Key and text of what people must be told of a hold; None for what passes by itself."""
    if any(reason.rule == "confirm" for reason in decision.reasons):
        return None
    rules = [reason for reason in decision.reasons if reason.rule not in {"degraded", "one-run-at-a-time"}]
    if not rules:
        return None
    return ",".join(sorted({reason.rule for reason in rules})), "; ".join(reason.text for reason in rules)


def lost_run(state: ServiceState, run: RunId, status: str) -> Objection:
    """Why automation is held after a run that ended without a word."""
    return Objection(
        "run-lost",
        f"run {run} ended as {status.lower()} without closing its record: look at the routing, then "
        f"failover resume {state.slice.service.id}",
    )
