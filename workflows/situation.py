"""What a service workflow makes of what it knows: situations, questions, records. Pure functions over its state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from orchestrator.core import lastgood
from orchestrator.core.decision import Decision, Go, Hold, Request, Situation, consider, decide
from orchestrator.core.errors import BadInput
from orchestrator.core.governing import Ledger, weighed
from orchestrator.core.health import Health
from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, encloses
from orchestrator.core.quorum import Assessment, Verdict, assess, hear
from orchestrator.core.record import Entry, Mark, Record, RunStatus
from orchestrator.core.safety import about_routing
from orchestrator.core.steering import shares_now
from orchestrator.core.topology import Weights
from orchestrator.core.underway import still_against
from runbooks.books import Shelf, template_of
from runbooks.model import Runbook, Value, steers
from runbooks.nesting import unnested
from runbooks.plan import Plan
from runbooks.planner import Ground, Unplannable, brief, plan
from workflows import options
from workflows.pretending import taken_for_down
from workflows.wire import (
    CONTROL_QUEUE,
    Carry,
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
    StatusQuestion,
    shard_of,
    steps_queue,
)

PREVIEW = RunId("preview")
"""The run of a plan that is only shown."""
RESTORE = "restore-last-good"
"""The runbook whose target is the last good routing."""
BAKE_S = 1800.0
"""How long a routing must serve well before it is good."""
ENOUGH_RUNS = 3
"""Fewer say nothing of what is usual."""
KEPT_RUNS = 5
"""Records a service carries with it; older ones are in the history store."""


def hearing(state: ServiceState, heartbeats: Heartbeats) -> ServiceState:
    """*state* with the probers' heartbeats taken in."""
    return replace(state, views=hear(state.views, heartbeats.heard))


def assessments(state: ServiceState, now: datetime) -> tuple[Assessment, ...]:
    """The verdict on every endpoint of the service."""
    piece = state.slice
    return tuple(
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
        acknowledged=state.acknowledged,
        shift=state.shift,
    )


def unread(state: ServiceState, asked: Request | None) -> bool:
    """Whether *asked* must wait for a routing that can be read: a planned move has time, and would end half done."""
    return bool(state.routing_error) and asked is not None and asked.kind is not MoveKind.FAILOVER


def concerning(state: ServiceState) -> bool:
    """Whether any vantage says anything but healthy of an endpoint: only then is there something to decide."""
    return any(
        opinion.state.health not in {Health.HEALTHY, Health.UNKNOWN} for v in state.views for opinion in v.opinions
    )


def weights_of(state: ServiceState) -> Weights | None:
    """The shares of traffic as the routing last read says them; None where the answer says something else."""
    return None if state.routing is None else shares_now(state.routing, state.slice.service.endpoints)


def shelf(state: ServiceState) -> Shelf:
    """The runbooks there are for the service."""
    return Shelf(template_of(data, file) for file, data in state.slice.books)


def book_for(state: ServiceState, kind: MoveKind, asked: Request | None = None) -> Runbook:
    """The runbook for a move of that kind: the one asked for, or the policy's. Raises Unplannable."""
    policy = state.slice.service.policy
    name = (asked.runbook if asked else None) or {
        MoveKind.FAILOVER: policy.runbook_unplanned,
        MoveKind.SWITCHOVER: policy.runbook_planned,
        MoveKind.FAILBACK: policy.runbook_back,
        MoveKind.PREPARATION: "promote-standby",
    }[kind]
    values: dict[str, Value] = dict(dict(policy.book_values).get(name, ()))
    try:
        return shelf(state).book(name, {**values, **dict(asked.values if asked else ())})
    except BadInput as error:
        raise Unplannable(str(error)) from error


def meant(state: ServiceState, asked: Request) -> Request:
    """*asked* in full: a preparation where its runbook moves no traffic, the last good weights where it restores them.

    Raises BadInput for a runbook that cannot be, and where nothing is known to be good.
    """
    if asked.runbook is None:
        return asked
    there = shelf(state)
    values: dict[str, Value] = dict(dict(state.slice.service.policy.book_values).get(asked.runbook, ()))
    book = unnested(there.book(asked.runbook, {**values, **dict(asked.values)}), there)
    if not steers(book.steps):
        return replace(asked, kind=MoveKind.PREPARATION)
    if asked.runbook != RESTORE or asked.after is not None:
        return asked
    if state.last_good is None:
        raise BadInput(
            f"no routing of service '{state.slice.service.id}' is known to have served well for "
            f"{BAKE_S / 60:g} minutes to its end; name a target with --to"
        )
    return replace(asked, after=state.last_good.weights)


def standing(state: ServiceState, found: tuple[Assessment, ...], now: datetime) -> ServiceState:
    """*state* with what is known of how well its routing serves; one that was replaced may be the last good."""
    weights = weights_of(state)
    if state.routing is None or weights is None:
        return state
    old, generation = state.standing, state.routing.generation
    good = state.last_good
    if old is not None and (old.generation, old.weights) != (generation, weights):
        good = lastgood.left(old, good, bake_s=BAKE_S, now=now)
    new = lastgood.seen(
        old, weights=weights, generation=generation, revision=state.slice.revision, found=found, now=now
    )
    return replace(state, standing=new, last_good=good)


def make_plan(
    state: ServiceState,
    move: Move,
    *,
    run: RunId,
    trigger: Trigger,
    objections: tuple[Objection, ...] = (),
    asked: Request | None = None,
    now: datetime | None = None,
) -> Plan:
    """The plan for *move* by the runbook asked for, or the service's own. Raises Unplannable."""
    service = state.slice.service
    moves = move.kind is not MoveKind.PREPARATION
    if moves and (service.steering is None or state.routing is None):
        raise Unplannable(f"service '{service.id}' has no steering that can be read, so nothing can be moved")
    since = min((at for endpoint, at in state.detected if endpoint in move.source), default=None)
    ground = Ground(
        service=service,
        routing=state.routing,
        revision=state.slice.revision,
        shelf=shelf(state),
        roles=state.slice.roles,
        usual=usual(state.last_runs),
        detection_s=(now - since).total_seconds() if now is not None and since is not None else 0.0,
    )
    return plan(move, ground, run=run, trigger=trigger, book=book_for(state, move.kind, asked), objections=objections)


def usual(records: tuple[Record, ...]) -> tuple[tuple[str, float], ...]:
    """How long each step has usually taken, in three quarters of the runs at least three of which there must be."""
    took: dict[str, list[float]] = {}
    for record in records:
        for entry in record.entries:
            if entry.mark is Mark.STEP_DONE and entry.step is not None and entry.seconds is not None:
                took.setdefault(entry.step, []).append(entry.seconds)
    return tuple(
        (step, round(sorted(each)[math.ceil(len(each) * 0.75) - 1], 1))
        for step, each in sorted(took.items())
        if len(each) >= ENOUGH_RUNS
    )


def carry(
    state: ServiceState,
    plan: Plan,
    move: Move,
    found: tuple[Assessment, ...],
    *,
    now: datetime,
    request: FailoverRequest | None,
) -> Carry:
    """What a run is given on its way: its plan, where its steps may run, and how its record begins."""
    return Carry(
        plan=plan,
        service=state.slice.service,
        queues=queues(state, move.failing),
        entries=opening(state, move, found, now, f"decided by {plan.trigger.by}: {plan.trigger.reason}"),
        notify=state.slice.notify,
        drill=request.drill if request else None,
    )


def look_request(state: ServiceState) -> LookRequest:
    """What a service reads before it decides."""
    piece = state.slice
    return LookRequest(
        service=piece.service.id,
        vantages=tuple(vantage.id for vantage in piece.vantages),
        shard=shard_of(piece.service.id, piece.shards),
        steering=piece.service.steering,
    )


def queues(state: ServiceState, failing: tuple[Domain, ...]) -> tuple[str, ...]:
    """Where steps may run, best first: workers outside the failing domains, lately heard first, then anybody."""
    heard = {view.vantage: view.heard for view in state.views}
    outside = [v for v in state.slice.vantages if not any(encloses(domain, v.region) for domain in failing)]
    outside.sort(key=lambda v: (-(heard[v.id].timestamp() if v.id in heard else 0.0), v.id))
    regions = dict.fromkeys(steps_queue(vantage.region) for vantage in outside)
    return (*regions, CONTROL_QUEUE)


def opening(
    state: ServiceState, move: Move, found: tuple[Assessment, ...], now: datetime, why: str
) -> tuple[Entry, ...]:
    """The first entries of a record: last good probe, detected, decided."""
    entries: list[Entry] = []
    if not move.planned:
        since = dict(state.detected)
        for each in found:
            if each.endpoint not in move.source or each.verdict is not Verdict.DOWN:
                continue
            if each.last_good is not None:
                entries.append(Entry(each.last_good, Mark.LAST_GOOD, f"last good probe of {each.endpoint}"))
            entries.append(Entry(since.get(each.endpoint, now), Mark.DETECTED, f"{each.endpoint} {each.text}"))
    entries.append(Entry(now, Mark.DECIDED, why))
    return tuple(sorted(entries, key=lambda entry: entry.at))


def observed(
    state: ServiceState,
    move: Move,
    reasons: tuple[Objection, ...],
    found: tuple[Assessment, ...],
    *,
    run: RunId,
    now: datetime,
) -> Record | None:
    """The record of what would have been done; None where it cannot be planned at all."""
    try:
        made = make_plan(state, move, run=run, trigger=Trigger("automatic", why(move, found)), objections=reasons)
    except Unplannable:
        return None
    entries = opening(state, move, found, now, "decided, and held: " + reasons[0].text)
    return Record(
        run=made.run,
        service=made.service,
        kind=made.kind,
        trigger=made.trigger,
        status=RunStatus.OBSERVED,
        started=now,
        objective_s=made.objective_s,
        source=made.source,
        target=made.target,
        before=made.before,
        after=made.after,
        revision=made.revision,
        generation=made.generation,
        runbook=made.runbook,
        steps=brief(made),
        objections=reasons,
        entries=(*entries, Entry(now, Mark.CLOSED, "nothing was written: this is what would have been done")),
        closed=now,
    )


def target_minded(move: Move, found: tuple[Assessment, ...]) -> EndpointId | None:
    """The target of *move*, if its fall would be news."""
    down = any(each.endpoint == move.target and each.verdict is Verdict.DOWN for each in found)
    return None if down else move.target


def target_doubted(state: ServiceState) -> bool:
    """Whether any vantage says of the target of the run in progress that it is down."""
    target = state.run.target if state.run is not None else None
    return target is not None and any(
        opinion.state.endpoint == target and opinion.state.health is Health.DOWN
        for view in state.views
        for opinion in view.opinions
    )


def target_fell(target: EndpointId, found: tuple[Assessment, ...]) -> str:
    """Why a run to *target* is in vain, where another endpoint is well; empty where it is not, or nothing is better."""
    down = next((each for each in found if each.endpoint == target and each.verdict is Verdict.DOWN), None)
    well = next((each.endpoint for each in found if each.verdict is Verdict.HEALTHY), None)
    return f"{target} fell meanwhile ({down.text}), and {well} is well" if down and well else ""


def remember(state: ServiceState, record: Record) -> ServiceState:
    """*state* with *record* among its last runs, newest first."""
    others = tuple(each for each in state.last_runs if each.run != record.run)
    return replace(state, last_runs=(record, *others)[:KEPT_RUNS])


def taken_in(state: ServiceState, closed: RunClosed) -> ServiceState:
    """*state* with a run in its record that somebody else carried out; a run that holds the service goes on holding it.

    Cool-down counts from it, and the routing that it left is known until it is read again.
    """
    ends = [at for at in (state.last_closed, closed.record.closed) if at is not None]
    before = state.routing.generation if state.routing is not None else -1
    newer = closed.routing is not None and closed.routing.generation > before
    state = replace(state, last_closed=max(ends, default=None), routing=closed.routing if newer else state.routing)
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
        question=state.question,
        held=state.held,
        hold=state.hold,
        last_runs=state.last_runs,
        last_good=state.last_good,
        shards=state.slice.shards,
        endpoints=tuple(
            EndpointBrief(e.id, e.region, e.role, e.url, weights.get(e.id, 0) if known else None)
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
        against = still_against(facts, question.under_way, by=by)
        return Explanation("hold" if against else "go", against)
    if question.request is None:
        decision: Decision = governed(decide, facts, question.ledger)
        decision = at_rest(decision, facts) if isinstance(decision, Hold) else decision
        trigger = Trigger("automatic", "the active endpoint is down")
    else:
        try:
            asked = meant(state, question.request)
        except BadInput as error:
            return Explanation("hold", (Objection("bad-runbook", str(error)),))
        decision = governed(lambda now: consider(now, asked), facts, question.ledger)
        trigger = asked.trigger
    reasons = decision.overridden if isinstance(decision, Go) else decision.reasons
    name = type(decision).__name__.lower()
    if decision.move is None:
        return Explanation(name, reasons)
    refused = isinstance(decision, Hold) and bool(reasons)
    try:
        made = make_plan(
            state,
            decision.move,
            run=PREVIEW,
            trigger=trigger,
            objections=reasons,
            asked=question.request,
            now=question.now,
        )
    except Unplannable as error:
        # What holds the move already says why: a plan for it need not exist.
        return Explanation("hold", reasons if refused else (*reasons, Objection("unplannable", str(error))))
    return Explanation(name, reasons, made)


def governed(choose: Callable[[Situation], Decision], facts: Situation, ledger: Ledger | None) -> Decision:
    """What *choose* comes to, also in the light of what the governor holds, where that is known."""
    return choose(facts) if ledger is None else weighed(choose, facts, ledger)


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


def asking(move: Move, reasons: tuple[Objection, ...]) -> str:
    """The question to people whether *move* shall be made, and how to say yes."""
    because = "; ".join(reason.text for reason in reasons)
    return (
        f"{move.service}: move traffic from {' and '.join(move.source)} to {move.target}? {because}. "
        f"To do it: failover run {move.service} --to {move.target} --reason '...'"
    )


def lost_run(state: ServiceState, run: RunId, status: str) -> Objection:
    """Why automation is held after a run that ended without a word."""
    return Objection(
        "run-lost",
        f"run {run} ended as {status.lower()} without closing its record: look at the routing, then "
        f"failover resume {state.slice.service.id}",
    )


def why(move: Move, found: tuple[Assessment, ...]) -> str:
    """The trigger's reason in words: what is wrong with the source."""
    return "; ".join(f"{each.endpoint} {each.text}" for each in found if each.endpoint in move.source)
