"""The dry drill: what would be done, and whether all that it needs is there. Nothing is put in or written."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.names import EndpointId, RunId
    from orchestrator.core.topology import Service
    from runbooks.plan import Plan, Step, Verify
    from workflows import options
    from workflows.phases import Phases
    from workflows.placed import call
    from workflows.wire import DrillRequest, StepResult, StepTask
    from workflows.wire.drill import DryDecision, DryQuestion, DrySeen, GovernorQuestion

ASKED_WITHIN_S = 15.0


async def ask_only(request: DrillRequest, phases: Phases) -> tuple[str, str]:
    """The verdict and its text; the phases tell what was found."""
    phases.begin("decide", "asking what would be done")
    question = DryQuestion(request.service, request.target)
    decision = await call(options.DRY_DECIDE, question, DryDecision, ASKED_WITHIN_S)
    phases.end(ok=decision.ok, text=decision.text)
    plan, service = decision.plan, decision.service
    phases.report = replace(
        phases.report,
        target=decision.target or phases.report.target,
        objective_s=service.policy.rto_s if service else 0.0,
    )
    if plan is None or service is None:
        return "failed", decision.text
    asked = GovernorQuestion(service.id, plan.kind, plan.source, plan.target, plan.after)
    governor = await read(phases, "governor", options.GOVERNOR_SAYS, asked)
    capacity = await read(phases, "capacity", options.DRY_CAPACITY, plan)
    colds = capacity.colds or ((plan.target,) if capacity.cold else ())
    target = await _prove(phases, plan, service, colds)
    steering = await read(phases, "steering", options.DRY_STEERING, service)
    wrong = [each.text for each in (decision, governor, capacity, target, steering) if not each.ok]
    if wrong:
        return "failed", "; ".join(wrong)
    # A figure that nobody has measured yet fails no drill.
    slow = plan.predicted_s > plan.objective_s
    beyond = ": above it, and a drill with a fault would measure it" if slow else ""
    took = f"about {plan.predicted_s:.0f} s from the decision on, objective {plan.objective_s:g} s{beyond}"
    if colds:
        cold = (
            f"{' and '.join(colds)} {'is' if len(colds) == 1 else 'are'} cold, and promotion and proof were not tried"
        )
        return "partial", f"passed in part only: {cold}; it would take {took}"
    return "passed", f"{plan.target} is ready; it would take {took}"


async def _prove(phases: Phases, plan: Plan, service: Service, colds: tuple[EndpointId, ...]) -> DrySeen:
    """Ask each endpoint that would begin to get traffic, as the plan's verify steps would."""
    seen = [
        await _prove_one(phases, service, step, step.work.place.endpoint, cold=step.work.place.endpoint in colds)
        for step in plan.taken(planned=plan.planned)
        if isinstance(step.work, Verify)
    ]
    if not seen:
        return DrySeen(True, "the plan verifies nothing")
    return DrySeen(all(each.ok for each in seen), "; ".join(each.text for each in seen if not each.ok))


async def _prove_one(phases: Phases, service: Service, step: Step, name: EndpointId, *, cold: bool) -> DrySeen:
    phases.begin("target", step.text)
    if cold:
        seen = DrySeen(True, f"{name} is cold: it is asked only once it is promoted")
    else:
        run = RunId(f"drill-{phases.report.id}")
        task = StepTask(service.id, service.name, run, step.id, step.work, step.timeout_s, target=name)
        try:
            result = await call(options.STEP_ACTIVITY, task, StepResult, step.timeout_s + 2, once=True)
            seen = DrySeen(True, result.text)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            seen = DrySeen(False, str(getattr(error.cause, "message", error)))
    phases.end(ok=seen.ok, text=seen.text)
    return seen


async def read(phases: Phases, phase: str, activity: str, argument: object) -> DrySeen:
    """What *activity* finds, as a phase of the drill."""
    phases.begin(phase, "reading")
    seen = await call(activity, argument, DrySeen, ASKED_WITHIN_S)
    phases.end(ok=seen.ok, text=seen.text)
    return seen
