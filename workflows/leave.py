"""Leave to move, as a service asks it of the governor and gives it back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orchestrator.core import governing
    from orchestrator.core.decision import Decision, Go, Situation
    from orchestrator.core.easing import Return
    from orchestrator.core.governing import Needs, SlotAnswer, SlotRequest
    from orchestrator.core.move import Objection
    from orchestrator.core.names import Domain, RunId, ServiceId
    from workflows import options
    from workflows.wire import GOVERNOR_ID, run_workflow_id
    from workflows.wire.governor import GiveBack, News, Stand

SILENT = "governor-silent"


class Leave:
    """What one service has of the governor: asked before each run, given back after it."""

    def __init__(self) -> None:
        self._back: list[GiveBack] = []
        self._told: Needs = ()
        self._last: RunId | None = None

    async def settle(
        self,
        choose: Callable[[Situation], Decision],
        facts: Situation,
        run: RunId,
        evacuating: Domain | None = None,
    ) -> Decision:
        """What *choose* comes to once the governor was asked; a Go is granted, or goes without and says so.

        Where it refuses, *choose* sees why, and may find another move or a person's override.
        """
        decision = choose(facts)
        for _ in range(governing.CHOICES):
            if not isinstance(decision, Go) or not governing.asked_about(decision.move):
                return decision
            asked = governing.slot_request(
                decision.move, facts, run, run_workflow_id(facts.service.id, run), evacuating
            )
            answer = await _ask(replace(asked, aside=governing.aside(decision)))
            if isinstance(answer, Objection):
                return self._without(choose, facts, decision, answer, run)
            if answer.granted:
                return replace(decision, alongside=answer.alongside)
            facts = governing.told(facts, answer)
            decision = choose(facts)
        return decision if not isinstance(decision, Go) else self._without(choose, facts, decision, _CHANGING, run)

    def _without(
        self, choose: Callable[[Situation], Decision], facts: Situation, wanted: Go, silence: Objection, run: RunId
    ) -> Decision:
        """What comes of it where the governor does not answer: people go on, automation asks unless it may proceed."""
        decision = choose(replace(facts, crowd=(*facts.crowd, silence)))
        if not isinstance(decision, Go) and governing.may_proceed(wanted.move, facts):
            decision = Go(wanted.move, (*wanted.overridden, silence))
        if not isinstance(decision, Go):
            # It may have been granted all the same, and the answer lost.
            self.give_back(run)
        return decision

    def give_back(self, run: RunId, end: Return | None = None) -> None:
        """The run is over, never began, or has moved its traffic. Told with the next ``tell``; twice is once.

        *end* is what a failback says of the regions that it went into.
        """
        if run != self._last or end is not None:
            self._back.append(GiveBack(run, end))
        self._last = run

    @contextlib.contextmanager
    def kept(self, run: RunId) -> Iterator[None]:
        """While the run begins: where it cannot, what it was granted is given back."""
        try:
            yield
        except Exception:
            self.give_back(run)
            raise

    def owes(self, needs: Needs | None) -> bool:
        """Whether something is yet to be told, where the service takes *needs* of shared pools."""
        return bool(self._back) or (needs is not None and needs != self._told)

    async def tell(self, service: ServiceId, needs: Needs | None = None) -> None:
        """Tell the governor which runs are over, and what the service takes of shared pools where that is new.

        Where there is no governor, nobody is told: it asks after runs by itself.
        """
        governor = workflow.get_external_workflow_handle(GOVERNOR_ID)
        if not self.owes(needs):
            return
        new, back = needs if needs != self._told else None, tuple(self._back)
        self._told, self._back = self._told if new is None else new, []
        with contextlib.suppress(FailureError):
            await governor.signal("told", News(None if new is None else Stand(service, new), back))

    def forget(self) -> None:
        """The governor may be another one: tell it again what the service takes."""
        self._told = ()


_CHANGING = Objection(SILENT, "what moves elsewhere changed with every question to the governor; try again", asks=True)


async def _ask(request: SlotRequest) -> SlotAnswer | Objection:
    """The governor's answer; an objection where there is none in time."""
    try:
        # Local, though it writes: a frozen worker would keep an activity of the queue, and asking twice under one
        # token is asking once.
        answer: SlotAnswer = await workflow.execute_local_activity(
            options.ACQUIRE_SLOT,
            request,
            result_type=SlotAnswer,
            start_to_close_timeout=options.GOVERNOR_ANSWERS,
            schedule_to_close_timeout=options.GOVERNOR_ANSWERS,
            retry_policy=options.ONCE,
        )
    except FailureError as error:
        if is_cancelled_exception(error):
            raise
        return _silence(error)
    if not answer.granted and not answer.objections:
        return Objection(SILENT, "the governor was told already that this run is over; try again", asks=True)
    return answer


def _silence(error: FailureError) -> Objection:
    """Why nobody can say what else is on the move."""
    # A local activity raises its failure as it is, not as an ActivityError.
    cause = error if isinstance(error, ApplicationError) else error.cause
    if isinstance(cause, ApplicationError) and cause.type == "Refused":
        text = f"{cause.message} to say what else is on the move; make it anew with: failover apply"
    else:
        within = options.GOVERNOR_ANSWERS.total_seconds()
        text = f"the governor did not say within {within:g} s what else is on the move; look at: failover doctor"
    return Objection(SILENT, text, asks=True)
