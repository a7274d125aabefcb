"""Saying something to a run, or to a service that asks: by whom it is heard, wherever the run is now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from orchestrator.core.names import RunId, ServiceId
from orchestrator.core.record import Record
from orchestrator.runtime.asking import Asking, Begun, NotAsked
from orchestrator.runtime.connection import NoSuch, RefusedByRule
from workflows.wire import Acted, ActKind, RunAct, run_workflow_id, service_id
from workflows.wire.acts import EarlyAct
from workflows.wire.service import OF_QUESTIONS, QuestionAnswer


class StillToBegin(NoSuch):
    """The run is led out of a lost region with others, and its own workflow is yet to begin."""


class Acts:
    """What people do to runs under way, and what they answer. *record* reads a run's record."""

    def __init__(self, temporal: Asking, record: Callable[[RunId, ServiceId | None], Awaitable[Record]]) -> None:
        self._temporal = temporal
        self._record = record

    async def act(self, run: RunId, act: RunAct, service: ServiceId | None = None) -> Acted:
        """Say *act* to *run* of *service*, to the service where the run is still to begin, or to whoever asks.

        Raises RefusedByRule with the run's own sentence, also for a run that is closed.
        """
        answered = await self._answer(run, act) if act.kind in {ActKind.APPROVE, ActKind.DENY} else None
        if answered is not None:
            return answered
        try:
            return await self._said(run, act, service or owner_of(run))
        except NoSuch:
            # Temporal says of a closed run what it says of none.
            try:
                record = await self._record(run, service)
            except StillToBegin:
                return await self._early(run, act, service or owner_of(run))
        raise RefusedByRule(
            f"run {run} is {record.status}, and nothing can be done to it any more; read it with: failover show {run}"
        )

    async def _said(self, run: RunId, act: RunAct, service: ServiceId) -> Acted:
        workflow = run_workflow_id(service, run)
        return await self._temporal.update(workflow, "act", act, Acted, token=act.id, missing=no_run(run))

    async def _early(self, run: RunId, act: RunAct, service: ServiceId) -> Acted:
        """Leave *act* with the service, whose run waits for its leader; or with the run, where that has just begun."""
        try:
            return await self._temporal.update(service_id(service), "act_early", EarlyAct(run, act), Acted)
        except Begun:
            return await self._said(run, act, service)

    async def _answer(self, question: str, act: RunAct) -> Acted | None:
        """Answer the question of that id, which a service puts to people; None: it is the id of a run."""
        run = RunId(question.removeprefix(OF_QUESTIONS))
        if run == question:
            return None
        said = QuestionAnswer(act.id, question, act.kind is ActKind.APPROVE, act.by, act.reason)
        try:
            return await self._temporal.update(service_id(owner_of(run)), "answer", said, Acted, token=act.id)
        except NoSuch:
            return None
        except NotAsked:
            # A service may be named like a question: then it is a run of that one.
            try:
                await self._record(RunId(question), None)
            except NoSuch:
                pass
            else:
                return None
            raise


def no_run(run: RunId) -> str:
    return f"there is no run '{run}': failover history shows those there were"


def to_begin(run: RunId) -> str:
    return (
        f"run {run} is led out of a lost region together with others, and is still to begin, within minutes: until "
        "then failover status and failover evacuation show where its service stands; what is done to it now (failover "
        "abort, failover hold) is done as soon as it begins"
    )


def owner_of(run: RunId) -> ServiceId:
    """The service that *run* is of, by the run's id."""
    return ServiceId(run.rsplit("-", 3)[0])
