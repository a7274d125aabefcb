"""The shadow of a service, for the length of one drill: its workflow, those that watch it, and what they are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.names import EndpointId
    from orchestrator.core.rehearsal import Pretence
    from workflows import options
    from workflows.placed import call
    from workflows.wire import ServiceState, Slice, WatchState, service_id, shard_of, watch_id
    from workflows.wire.drill import CanaryTask, DrySeen, Told
    from workflows.wire.watching import Rehearsed

HEARD_WITHIN = timedelta(seconds=1.5)
"""From the word to the fault: by then every prober has asked, and all see it in the same moment."""
CANARY_WITHIN_S = 30.0
SETTLED_WITHIN = timedelta(seconds=60)
GONE_WITHIN_S = 10.0
SPARE = timedelta(minutes=30)
"""How long the shadow may live beyond the fault: it ends then by itself, even where its drill cannot end it."""


class NotBegun(Exception):
    """Why the rehearsal cannot begin, in words."""


class Shadow:
    """What stands in for a service. Nothing of it outlives the drill: its workflows are the drill's children."""

    def __init__(self, slice_: Slice, home: EndpointId, *, fault: str, max_s: float) -> None:
        self.slice = slice_
        self.home = home
        self._fault = fault
        self._max_s = max_s
        self._pretence: Pretence | None = None
        self._out = self._put = False
        self._children: list[tuple[workflow.ChildWorkflowHandle[object, object], str]] = []

    @property
    def told(self) -> Told:
        """What probers are to see."""
        return Told(None if self._out else self._pretence)

    @property
    def deadline(self) -> datetime:
        """When the fault ends by itself."""
        if self._pretence is None:
            raise RuntimeError("the fault was never put in")
        return self._pretence.until

    @property
    def begun(self) -> bool:
        """Whether there is something to let go of."""
        return bool(self._children)

    async def begin(self) -> str:
        """Start the service, put its canary at home, and start those that watch it. Raises NotBegun."""
        piece = self.slice
        service, shard = piece.service, shard_of(piece.service.id, piece.shards)
        # Its workflow is the lock: only one drill at a time writes a canary. Nobody is told that it has no record yet.
        await self._start("service", ServiceState(replace(piece, notify=())), service_id(service.id), "retire")
        self._put = True  # it may land though its answer is lost
        put = await call(options.CANARY, self._canary, DrySeen, CANARY_WITHIN_S)
        self._put = put.ok
        if not put.ok:
            raise NotBegun(put.text)
        await self._children[0][0].signal("configure", piece)
        rehearsed = Rehearsed(workflow.info().workflow_id, service, piece.revision)
        for vantage in piece.vantages:
            # Nobody is told of a vantage that does not answer: the drill says so itself.
            state = WatchState(vantage, shard, piece.shards, told_silent=True, rehearsed=rehearsed)
            await self._start("watch", state, watch_id(vantage.id, shard), "stop")
        return put.text

    @property
    def _canary(self) -> CanaryTask:
        return CanaryTask(self.slice.service, self.slice.drill or "", self.home)

    async def _start(self, kind: str, state: object, id_: str, farewell: str) -> None:
        try:
            handle = await workflow.start_child_workflow(
                kind,
                state,
                id=id_,
                task_timeout=options.TASK_TIMEOUT,
                execution_timeout=timedelta(seconds=self._max_s) + SPARE,
                parent_close_policy=workflow.ParentClosePolicy.TERMINATE,
            )
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            raise NotBegun(f"another drill rehearses the same ({id_} is there already)") from error
        self._children.append((handle, farewell))

    async def put_in(self) -> None:
        """Tell the probers to see the fault, from a moment on when all have heard."""
        since = workflow.now() + HEARD_WITHIN
        url = self.slice.service.endpoint(self.home).url
        until = since + timedelta(seconds=self._max_s)
        self._pretence = Pretence(self.slice.drill or "", url, self._fault, since, until)

    async def take_out(self) -> bool:
        """Tell them to see the truth again, for good; whether the fault had ended by itself before."""
        pretence, self._out = self._pretence, True
        return pretence is not None and workflow.now() >= pretence.until

    async def end(self) -> DrySeen:
        """Leave the canary at home, and let go of everything; whether it is there."""
        self._out = True
        seen = await self._settled() if self._put else DrySeen(True, "no canary was moved")
        for handle, farewell in self._children:
            try:
                await handle.signal(farewell)
            except FailureError:
                continue  # it is gone already
        # What does not end now is terminated with the drill.
        await workflow.wait([handle for handle, _ in self._children], timeout=GONE_WITHIN_S)
        return seen

    async def _settled(self) -> DrySeen:
        """Whether the canary is at home, once no run moves it any more."""
        try:
            seen: DrySeen = await workflow.execute_activity(
                options.SETTLE_SHADOW,
                self._canary,
                result_type=DrySeen,
                start_to_close_timeout=SETTLED_WITHIN,
                schedule_to_close_timeout=SETTLED_WITHIN * 3,
                heartbeat_timeout=timedelta(seconds=10),
                retry_policy=options.PATIENT,
            )
        except FailureError as error:
            return DrySeen(False, f"nobody could say whether the canary is at {self.home}: {error.cause or error}")
        return seen
