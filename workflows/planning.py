"""From a decision to a plan and a run: which runbook, on what ground, and how the record begins. Pure."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

from orchestrator.core import costs, lastgood
from orchestrator.core.decision import Go, Request
from orchestrator.core.errors import BadInput
from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, encloses
from orchestrator.core.provoked import provoked_by
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.record import Entry, Mark, Record, RunStatus
from orchestrator.core.rehearsal import cold_standbys
from orchestrator.core.signals import Effect, Evidence, against, said
from orchestrator.core.steering import serving
from orchestrator.core.waiting import spoken
from runbooks.books import Shelf, template_of
from runbooks.compare import as_saved
from runbooks.model import Runbook, Value, steers
from runbooks.nesting import unnested
from runbooks.plan import Plan
from runbooks.planner import Ground, Unplannable, plan
from runbooks.printed import record_of
from runbooks.stages import APART
from workflows import remembering
from workflows.aftermath import shift_begun
from workflows.pretending import pretending
from workflows.wire import (
    CONTROL_QUEUE,
    ActiveRun,
    Carry,
    FailoverRequest,
    ServiceState,
    run_workflow_id,
    steps_queue,
)

RESTORE = "restore-last-good"
"""The runbook whose target is the last good routing."""
JITTER = "jitter"
"""The parameter of a runbook by which a person asks a failback to keep a distance."""
ENOUGH_RUNS = 3
"""Fewer say nothing of what is usual."""


class NothingGood(BadInput):
    """Nothing is known to go back to. The words of the request are right: it is refused, as by a rule."""


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

    Raises BadInput for a runbook that cannot be, and NothingGood where nothing is known to be good.
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
        raise NothingGood(
            f"no routing of service '{state.slice.service.id}' is known to have served well for "
            f"{spoken(state.slice.orders.bake_s)} to its end; name a target with --to"
        )
    known = tuple(each.id for each in state.slice.service.endpoints)
    if lost := lastgood.missing(state.last_good, known, revision=state.slice.revision):
        raise NothingGood(lost)
    return replace(asked, after=state.last_good.weights)


def not_meant(error: BadInput) -> Objection:
    """Why nothing comes of a request that ``meant`` could not make whole."""
    return Objection("no-last-good" if isinstance(error, NothingGood) else "bad-runbook", str(error))


def make_plan(
    state: ServiceState,
    move: Move,
    *,
    run: RunId,
    trigger: Trigger,
    objections: tuple[Objection, ...] = (),
    asked: Request | None = None,
    now: datetime | None = None,
    crowded: bool = False,
) -> Plan:
    """The plan for *move* by the runbook asked for, or the service's own. Raises Unplannable.

    *crowded*: it keeps a distance from other moves; see ``crowded``.
    """
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
        crowded=crowded,
    )
    made = plan(move, ground, run=run, trigger=trigger, book=book_for(state, move.kind, asked), objections=objections)
    gaining = tuple(each for each in serving(made.after) if each not in serving(made.before))
    cost = costs.told(service, gaining)
    made = replace(made, remarks=(*remarks(state, asked), *filter(None, (cost,))))
    return made if state.slice.drill is None else pretending(made, cold_standbys(service))


def remarks(state: ServiceState, asked: Request | None) -> tuple[str, ...]:
    """What whoever approves the plan of *asked* must know: the last good routing may be of another topology."""
    if asked is None or asked.runbook != RESTORE or asked.after is not None or state.last_good is None:
        return ()
    told = lastgood.elsewhere(state.last_good, remembering.ground(state))
    return (told,) if told else ()


def crowded(decided: Go, trigger: Trigger, asked: Request | None, saved: Plan | None = None) -> bool:
    """Whether a failback keeps a distance from others: there are some, nobody waits for it, or a person wants it to.

    One person who brings one service home waits for nothing. A plan that was *saved* keeps what it says.
    """
    if saved is not None:
        return any(step.id.endswith(APART) for step in saved.steps)
    wanted = asked is not None and JITTER in dict(asked.values)
    return decided.move.kind is MoveKind.FAILBACK and (decided.alongside > 0 or trigger.by == "automatic" or wanted)


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


def start_of(
    state: ServiceState,
    decided: Go,
    trigger: Trigger,
    found: tuple[Assessment, ...],
    *,
    run: RunId,
    request: FailoverRequest | None,
    now: datetime,
) -> Carry:
    """What the run of *decided* is given on its way. Raises Unplannable, WorldMoved."""
    asked = request.request if request else None
    made = make_plan(
        state,
        decided.move,
        run=run,
        trigger=trigger,
        objections=decided.overridden,
        asked=asked,
        now=now,
        crowded=crowded(decided, trigger, asked, request.saved if request else None),
    )
    if request is not None and request.saved is not None:
        made = as_saved(request.saved, made)
    return carry(state, made, decided.move, found, now=now, request=request)


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
        drill=request.drill if request else state.slice.drill or _provoked(state, move, found, now),
    )


def _provoked(state: ServiceState, move: Move, found: tuple[Assessment, ...], now: datetime) -> str | None:
    """The drill whose fault automation flees from."""
    return provoked_by(state.faulted, move, found, state.detected, now)


def holding(
    state: ServiceState, carry: Carry, move: Move, found: tuple[Assessment, ...], request: FailoverRequest | None = None
) -> ActiveRun:
    """The run of *carry*, as the service that it holds knows it."""
    plan = carry.plan
    return ActiveRun(
        plan.run,
        run_workflow_id(plan.service, plan.run),
        plan.trigger.by,
        request.id if request else "",
        target=minded(move.target, found),
        beside=beside(plan, found),
        kind=move.kind,
        shift=shift_begun(state, request.request if request else None, plan.run),
    )


def minded(endpoint: EndpointId, found: tuple[Assessment, ...]) -> EndpointId | None:
    """*endpoint*, if its fall would be news."""
    down = any(each.endpoint == endpoint and each.verdict is Verdict.DOWN for each in found)
    return None if down else endpoint


def beside(plan: Plan, found: tuple[Assessment, ...]) -> tuple[EndpointId, ...]:
    """The endpoints that begin to carry traffic with the target of *plan*, and whose fall would be news."""
    carried = {plan.target, *(name for name, weight in plan.before if weight)}
    begin = (name for name, weight in plan.after if weight and name not in carried)
    return tuple(name for name in begin if minded(name, found))


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
        made = make_plan(
            state, move, run=run, trigger=Trigger("automatic", why(move, found, state.evidence)), objections=reasons
        )
    except Unplannable:
        return None
    entries = opening(state, move, found, now, "decided, and held: " + reasons[0].text)
    closing = Entry(now, Mark.CLOSED, "nothing was written: this is what would have been done")
    return replace(record_of(made, now, (*entries, closing)), status=RunStatus.OBSERVED, closed=now)


def why(move: Move, found: tuple[Assessment, ...], evidence: tuple[Evidence, ...] = ()) -> str:
    """The trigger's reason in words: what is wrong with the source, and what signals say of it."""
    wrong = [f"{each.endpoint} {each.text}" for each in found if each.endpoint in move.source]
    signs = [(each, said(against(evidence, each, *Effect))) for each in move.source]
    return "; ".join((*wrong, *(f"{endpoint} {text}" for endpoint, text in signs if text)))
