"""A dry drill: what would be done, and whether all that it needs is there. Nothing is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from orchestrator.core.errors import FailoverError
from orchestrator.core.governing import Ledger
from orchestrator.core.move import Move, MoveKind
from orchestrator.core.names import EndpointId, ServiceId, region_of
from orchestrator.core.rehearsal import governor_says
from orchestrator.core.situation import Situation
from orchestrator.core.steering import stands
from orchestrator.core.topology import Service
from providers import registry
from runbooks.plan import Plan, Promote
from workflows import options
from workflows.activities.looking import Pulses, look, routing
from workflows.activities.translate import translated
from workflows.wire import GOVERNOR_ID, Explanation, LookRequest, PlanQuestion, Slice, service_id, shard_of
from workflows.wire.drill import DryDecision, DryQuestion, DrySeen, GovernorQuestion

LOOKING_S = 3.0
GOVERNOR_WITHIN = timedelta(seconds=3)
MODES = frozenset({"observe", "manual", "approval"})
"""What a mode says is no fault of the plan."""


class Dry:
    """Activities of a drill that only asks."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn(name=options.DRY_DECIDE)
    async def decide(self, question: DryQuestion) -> DryDecision:
        """Ask the service what it would do if the endpoint were down."""
        handle = self._client.get_workflow_handle(service_id(question.service))
        piece = await self._slice(question.service)
        service = piece.service
        seen = await look(
            Pulses(self._client),
            LookRequest(
                service.id,
                tuple(vantage.id for vantage in piece.vantages),
                shard_of(service.id, piece.shards),
                service.steering,
                budget_s=LOOKING_S,
            ),
        )
        routing = seen.routing
        carrying = [e for e, weight in (routing.fence.weights if routing and routing.fence else ()) if weight > 0]
        target = question.target or next(iter(carrying), None)
        if target is None:
            return DryDecision(
                False, f"nobody knows what carries the traffic: {seen.routing_error or 'adopt it first'}"
            )
        if carrying and target not in carrying:
            return DryDecision(False, f"'{target}' carries no traffic, {' and '.join(carrying)} does", target)
        asked = PlanQuestion(datetime.now(UTC), seen, ledger=await self._ledger(), down=(target,))
        found: Explanation = await handle.query("explain", asked, result_type=Explanation)
        against = [reason for reason in found.reasons if reason.rule not in MODES]
        why = "; ".join(f"{reason.rule}: {reason.text}" for reason in found.reasons)
        if found.plan is None:
            return DryDecision(False, f"nothing would be done: {why}", target, service)
        moved = f"the traffic would go to {found.plan.target}"
        ok = all(reason.asks for reason in against)
        said = f"{moved}{'' if not found.reasons else f' ({why})'}" if ok else f"{moved}, but {why}"
        return DryDecision(ok, said, target, service, found.plan)

    @activity.defn(name=options.GOVERNOR_SAYS)
    async def governor(self, question: GovernorQuestion) -> DrySeen:
        """Ask the governor what it would say to a move of the real service. It keeps no place and no room for it."""
        piece = await self._slice(question.service)
        service, now = piece.service, datetime.now(UTC)
        read, _ = await routing(service.steering, LOOKING_S)
        facts = Situation(service, (), read, service.policy.mode, now, orders=piece.orders)
        sources = [e for e in map(facts.endpoint, question.source) if e is not None]
        planned = question.kind is not MoveKind.FAILOVER
        failing = () if planned else tuple(sorted({region_of(endpoint.region) for endpoint in sources}))
        move = Move(service.id, question.kind, question.source, question.target, question.after, failing)
        return DrySeen(*governor_says(move, facts, await self._ledger()))

    async def _slice(self, service: ServiceId) -> Slice:
        try:
            piece: Slice = await self._client.get_workflow_handle(service_id(service)).query("slice", result_type=Slice)
        except RPCError as error:
            raise ApplicationError(f"service '{service}' is not there: {error.message}", type="NotFound") from error
        return piece

    async def _ledger(self) -> Ledger | None:
        """What the governor holds; None where it does not answer."""
        handle = self._client.get_workflow_handle(GOVERNOR_ID)
        try:
            ledger: Ledger = await handle.query("held", result_type=Ledger, rpc_timeout=GOVERNOR_WITHIN)
        except (RPCError, WorkflowQueryFailedError):
            return None
        return ledger

    @activity.defn(name=options.DRY_CAPACITY)
    async def capacity(self, plan: Plan) -> DrySeen:
        """Read what the plan would promote."""
        texts: list[str] = []
        ok, cold = True, list[EndpointId]()
        for work in [step.work for step in plan.steps if isinstance(step.work, Promote)]:
            with translated():
                now = await registry.workload(work.workload).read()
            ok = ok and (now.limit is None or now.limit >= work.replicas)
            limit = f", and {now.limit} is the most it may have" if now.limit is not None else ""
            texts.append(f"{work.endpoint} has {now.ready} of the {work.replicas} replicas it would get{limit}")
            cold += [work.endpoint] if now.ready == 0 else []
        alone = f"{plan.target} has no workload to scale: it runs at full capacity by itself"
        return DrySeen(ok, "; ".join(texts) or alone, cold=plan.target in cold, colds=tuple(cold))

    @activity.defn(name=options.DRY_STEERING)
    async def steering(self, service: Service) -> DrySeen:
        """Read the record at the primary, and ask every authoritative server."""
        if service.steering is None:
            return DrySeen(False, f"service '{service.id}' has no steering")
        steering = registry.steering(service.steering)
        try:
            now = await steering.read()
        except FailoverError as error:
            return DrySeen(False, str(error))
        answers = await steering.answers()
        silent = [f"{each.server}: {each.error}" for each in answers if each.error]
        behind = [each.server for each in answers if not each.error and each.answer != now.answer]
        wrong = [
            *([] if stands(now, service.endpoints) else ["the record is not what the fence says"]),
            *silent,
            *(f"{server} gives another answer than the primary" for server in behind),
        ]
        text = f"{len(answers) - len(silent)} of {len(answers)} servers answer, generation {now.generation} stands"
        return DrySeen(not wrong, "; ".join((text, *wrong)) + "; no write was tried (failover doctor --dns tries one)")
