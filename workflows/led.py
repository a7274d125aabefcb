"""A service that is led out of a lost region with others: it decides, a leader does the first steps. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.core import governing
from orchestrator.core.decision import Ask, Go, decide
from orchestrator.core.errors import BadInput
from orchestrator.core.governing import SlotRequest
from orchestrator.core.move import Trigger
from orchestrator.core.names import RunId
from orchestrator.core.quorum import fold
from runbooks.planner import Unplannable
from runbooks.progress import begin
from workflows import acting, planning, situation
from workflows.wire import Carry, RunAct, ServiceState, run_workflow_id
from workflows.wire.lost import LeadRequest, Led
from workflows.wire.run import HeadStart

OVER = timedelta(seconds=60)
"""Longer than a leader takes for its services, whatever becomes of it."""
SOON = "within a minute"


@dataclass(slots=True)
class Awaiting:
    """A run that waits for its leader."""

    carry: Carry
    until: datetime
    """It goes on then, if nothing was heard of its leader."""
    head: HeadStart | None = None
    """What its leader has done."""
    acts: tuple[RunAct, ...] = ()
    """What people have said of it meanwhile."""

    def carried(self) -> Carry:
        """What the run is given on its way."""
        return replace(self.carry, head=self.head, acts=self.acts)

    def in_vain(self) -> str:
        """What people who have acted on it are told where it never begins."""
        plan = self.carry.plan
        said = "; ".join(f"{each.kind} by {each.by}: {each.reason}" for each in self.acts)
        return (
            f"run {plan.run} never began, so nothing came of this: {said}. The service sees to its outage by itself; "
            f"to keep it from that: failover pause {plan.service}"
        )

    def take_in(self, act: RunAct, now: datetime) -> str:
        """What *act* will do once the run begins, which is soon now. Raises BadInput with the run's own sentence.

        The run does not begin before its leader must be over: it may be in the middle of the first write.
        """
        plan, progress = self.carry.plan, begin(self.carry.plan)
        before = self.acts if act not in self.acts else self.acts[: self.acts.index(act)]
        for each in before:
            progress, _ = acting.acted(plan, progress, {}, each)
        why = acting.refused(plan, progress, {}, act)
        if why is not None:
            raise BadInput(why)
        if act not in self.acts:
            self.acts = (*self.acts, act)
        self.until = min(self.until, now + OVER)
        said = acting.done(act, acting.subject(plan, progress, {}, act))
        return f"{said}. Its region is lost and others leave it, too: this is done as soon as the run begins, {SOON}"


def in_place_of(before: Awaiting | None, carry: Carry, until: datetime) -> Awaiting:
    """The run of *carry* waits in the place of the one *before*: what people have said of that one is said of it."""
    acts = before.acts if before is not None else ()
    return Awaiting(carry, min(until, before.until) if before is not None and acts else until, acts=acts)


def informed(state: ServiceState, asked: LeadRequest, now: datetime) -> ServiceState:
    """*state* with what the vantages say in *asked*."""
    for report in asked.reports:
        state = replace(state, views=fold(state.views, report, now=now))
    return situation.hearing(state, asked.heartbeats)


def led(state: ServiceState, asked: LeadRequest, run: RunId, now: datetime) -> tuple[ServiceState, Led, Ask | None]:
    """*state* held by *run*, which waits for its leader; or as it was, and why nobody is to be led.

    The question to people, where the governor has refused a choice and there is no other: it need not be asked again.
    Where the governor refused the run before, it is let go, and another one is chosen in the light of that. What is
    known of the routing is taken for true: a write on a routing that has changed is refused by the fence.
    """
    held = state.run
    if held is not None and held.run != asked.instead:
        return state, Led(run=held.run, text=f"run {held.run} is under way"), None
    state = replace(state, run=None)
    if asked.instead is not None and held is None:
        return state, Led(text=f"run {asked.instead} is over"), None
    found = situation.assessments(state, now)
    state = situation.standing(situation.detecting(state, found, now), found, now)
    facts = situation.situation(state, found, now)
    if asked.refused is not None:
        facts = governing.told(facts, asked.refused)
    decision = decide(facts)
    if not isinstance(decision, Go):
        text = "; ".join(each.text for each in decision.reasons) or "nothing is to be moved"
        return state, Led(text=text), decision if asked.refused is not None and isinstance(decision, Ask) else None
    trigger = Trigger("automatic", planning.why(decision.move, found))
    try:
        carry = planning.start_of(state, decision, trigger, found, run=run, request=None, now=now)
    except Unplannable as error:
        return state, Led(text=str(error)), None
    carry = replace(carry, one_of_many=True)
    workflow = run_workflow_id(carry.plan.service, run)
    active = planning.holding(state, carry, decision.move, found)
    slot: SlotRequest = replace(
        governing.slot_request(decision.move, facts, run, workflow, asked.domain),
        aside=governing.aside(decision),
        calls=False,
    )
    answer = Led(run, carry, slot, may_proceed=governing.may_proceed(decision.move, facts))
    return replace(state, run=active, hold=(), question=None), answer, None
