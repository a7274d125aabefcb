"""The turn of a drill: drills of one service, whatever their level, are held one after another."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.names import ServiceId
    from workflows import options
    from workflows.placed import call
    from workflows.wire.drill import Turn, WhoseTurn
    from workflows.wire.ids import turn_id

TRIES = 3
"""Who had the turn may just have ended."""
ASKED_WITHIN_S = 15.0


class Taken(Exception):
    """Another drill of the service is under way; in words, with the cure."""


@workflow.defn(name="turn")
class TurnWorkflow:
    """``drilling/<service>``: a child of the drill whose turn it is. Its id is the lock, and is gone with the drill."""

    @workflow.init
    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._over = False

    @workflow.run
    async def run(self, turn: Turn) -> None:
        await workflow.wait_condition(lambda: self._over)

    @workflow.signal
    def over(self) -> None:
        """The drill is done."""
        self._over = True

    @workflow.query
    def holder(self) -> Turn:
        """The drill whose turn it is."""
        return self._turn


Held = workflow.ChildWorkflowHandle[object, object]


async def take(turn: Turn) -> Held:
    """Begin the turn of a drill. Raises Taken."""
    for _ in range(TRIES):
        try:
            held: Held = await workflow.start_child_workflow(
                "turn",
                turn,
                id=turn_id(turn.service),
                task_timeout=options.TASK_TIMEOUT,
                parent_close_policy=workflow.ParentClosePolicy.TERMINATE,
            )
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
        else:
            return held
        holder = await whose(turn.service)
        if holder is not None:
            raise Taken(holder.text)
    raise Taken(f"other drills of service '{turn.service}' come and go; try again")


async def whose(service: ServiceId) -> Turn | None:
    """The drill that holds the turn of *service*; None: none does."""
    return (await call(options.WHOSE_TURN, service, WhoseTurn, ASKED_WITHIN_S)).turn


async def end(held: Held) -> None:
    """Let the next one begin. Returns when it can."""
    try:
        await held.signal("over")
        await held
    except FailureError:
        return  # it is gone already
