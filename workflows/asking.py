"""The question that a service puts to people: told, told again while nobody answers, answered, void."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from orchestrator.core.move import Move, Objection
    from orchestrator.core.names import RunId
    from workflows import planning, questions, situation
    from workflows.holding import Holding
    from workflows.wire import Publication, Question
    from workflows.wire.service import OF_QUESTIONS, QuestionAnswer


class Asking(Holding):
    """The part of a service's workflow that is about the question which waits for people."""

    def _ask(self, move: Move, reasons: tuple[Objection, ...]) -> None:
        """Put the question to people, once per target."""
        self._state = replace(self._state, hold=reasons)
        if not questions.about(self._state.question, move):
            asked = questions.put(move, reasons, self._run_id(), workflow.now())
            self._state = replace(self._state, question=asked)
            self._tell(*questions.telling(asked, self._state.slice, workflow.now()))

    async def _remind(self) -> None:
        """For ever: tell people again of a question that nobody answers, and that it is void once it is.

        Timers decide when, never the clock: a replay might read it otherwise by a hair.
        """
        while True:
            await workflow.wait_condition(lambda: questions.standing(self._state) is not None)
            asked = questions.standing(self._state)
            while asked is not None:
                if await self._answered_in_time(asked):
                    self._say_void(asked)
                    asked = None
                else:
                    asked = self._tell_again(asked)

    async def _answered_in_time(self, asked: Question) -> bool:
        """Whether *asked* waits for nobody any more before people must be told of it again."""
        left = questions.left_s(asked, self._state.slice, workflow.now())

        def over() -> bool:
            now = questions.standing(self._state)
            return now is None or now.id != asked.id

        try:
            await workflow.wait_condition(over, timeout=None if left is None else timedelta(seconds=left))
        except TimeoutError:
            return over()
        return True

    def _tell_again(self, asked: Question) -> Question:
        asked = replace(asked, told=asked.told + 1)
        self._state = replace(self._state, question=asked)
        self._tell(*questions.telling(asked, self._state.slice, workflow.now()))
        if questions.proceeds(asked, self._state.slice):
            self._news = True
        return asked

    def _say_void(self, asked: Question) -> None:
        """Say that nobody has to answer any more. A run, another question or somebody's no has told so itself."""
        if self._state.run is None and self._state.question is None and not self._state.retired:
            found = situation.assessments(self._state, workflow.now())
            self._tell("question-void", questions.void(asked, self._state, found))

    def _must_take(self, said: QuestionAnswer) -> Question:
        """The question that *said* answers. Raises ApplicationError where it cannot."""
        asked, why = self._state.question, questions.refused(self._state, said)
        if asked is None or asked.id != said.question:
            raise ApplicationError(why or "", type="NoQuestion")
        if why is not None:
            raise ApplicationError(why, type="Refused")
        return asked

    def _deny(self, asked: Question, said: QuestionAnswer) -> None:
        """Keep that a person said no: nothing is done by itself, or asked again, until the world has changed."""
        asked, now = questions.no_said(asked, said), workflow.now()
        self._state = replace(self._state, question=asked)
        if asked.move is not None:
            run, found = RunId(asked.id.removeprefix(OF_QUESTIONS)), situation.assessments(self._state, now)
            observed = planning.observed(self._state, asked.move, asked.reasons, found, run=run, now=now)
            if observed is not None:
                record = questions.record_of_no(observed, asked, said, now)
                self._state = situation.remember(self._state, record)
                self._heralds.send(Publication(record=record))
        self._tell("question-denied", f"{self._state.slice.service.id}: {asked.denied}; traffic stays where it is")
        self._news = True
