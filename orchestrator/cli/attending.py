"""Attending to a break-glass run at the terminal: what it does is said here, and what it asks is asked here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Never

from orchestrator.cli.calls import now
from orchestrator.cli.commands.runs import plan_text
from orchestrator.cli.desk import Desk, who
from orchestrator.cli.errors import Detached, Failed, Objected
from orchestrator.cli.render.record import entry_line
from orchestrator.cli.render.text import age
from orchestrator.core.errors import BadInput
from orchestrator.core.record import Entry, Record, RunStatus
from orchestrator.runtime.breakglass import ahead
from orchestrator.runtime.breakglass.account import account, record
from orchestrator.runtime.breakglass.enactor import Asks, Closed, Enactor, Waits
from orchestrator.runtime.breakglass.journal import Journal, Opened
from orchestrator.runtime.breakglass.sealed import Sealed
from providers.probes import Probes
from runbooks.plan import Approve, Steer, Step
from workflows.acting import Ballot
from workflows.activities.pulse import Beat
from workflows.activities.verbs import Verbs


class Attendant:
    """One run, one terminal. *again* is the command that goes on with it."""

    def __init__(self, desk: Desk, sealed: Sealed, journal: Journal, again: str) -> None:
        self._desk = desk
        self._sealed = sealed
        self._journal = journal
        self._again = again
        self._abort = ""
        self._retried: set[str] = set()
        self.said_yes: tuple[str, ...] = ()
        """Who has said yes beforehand, to every step that asks."""
        self.decision = ""
        """What becomes of a step that ended without an answer, where nobody can be asked."""

    # ------------------------------------------------------------------ before it goes on

    def begin(self, *, yes: bool) -> None:
        """Check that the plan still fits, show it, ask, and open the journal. Raises StaleGeneration, BadInput."""
        desk, sealed = self._desk, self._sealed
        self._must_be_approvable()
        desk.wait(ahead.must_still_stand(sealed))
        desk.emit(plan_text(sealed.plan).rstrip("\n") + "\n")
        desk.say(f"Made {age(sealed.made, now())} by {sealed.by}.")
        for sentence in sealed.unasked:
            desk.say(f"note: {sentence}")
        if not desk.confirm("Carry this out from here, without the control plane?", yes=yes, undecided=""):
            raise Detached("nothing was started")
        self._journal.begin(Opened(datetime.now(UTC), who(), socket.gethostname(), sealed))
        desk.say(f"The journal is {self._journal.path}.")

    def resume(self, *, yes: bool, abort: str = "") -> None:
        """Show how far it has come, and ask whether to go on; with *abort*, whether to put it back."""
        desk, opened = self._desk, self._journal.opened
        assert opened is not None, "only what was begun is resumed"  # noqa: S101 - a fact about this program
        before = record(account(opened, self._journal.lines))
        for entry in before.entries:
            self._tell(before, entry)
        ended = any(noted.status is not None for noted in self._journal.lines)
        question = "Stop it, and put back what it has done?" if abort else "Go on with it?"
        if ended:
            desk.say("That run is over: nothing is done again.")
        elif not desk.confirm(question, yes=yes, undecided=""):
            raise Detached("it stays as it is")
        self._abort = abort

    def _must_be_approvable(self) -> None:
        """Raise BadInput for a plan that asks for a yes where nobody can be asked."""
        if self._desk.someone:
            return
        for step in self._sealed.plan.taken(planned=self._sealed.plan.planned):
            if isinstance(step.work, Approve) and not self._ballot(step.work).decided:
                barred = "".join(f"; {why}" for why in self._barred(step.work))
                raise BadInput(
                    f"step {step.id} ({step.text}) asks people, and nobody is here: give --approve NAME{barred}"
                )

    # ------------------------------------------------------------------ while it goes on

    def attend(self) -> None:
        """Go on to the end. Raises what the exit status says; after Ctrl-C the journal goes on where it was."""
        probes = self._desk.wait(_probes())
        sealed = self._sealed

        def doer(beat: Beat) -> Verbs:
            return Verbs(probes, beat, lambda task: ahead.weigh(sealed, probes, task))

        enactor = Enactor(self._journal, doer, self._tell)
        if self._abort:
            enactor.abort(who(), self._abort)
        try:
            while True:
                match self._desk.wait(enactor.go_on()):
                    case Closed(closed):
                        break
                    case Asks(step, work):
                        self._ask(enactor, step, work)
                    case Waits(step, text):
                        self._decide(enactor, step, text)
        except KeyboardInterrupt:
            raise Detached(
                f"interrupted; to go on: {self._again}; to put it back: {self._again.replace(' run ', ' abort ')}"
            ) from None
        finally:
            self._desk.wait(probes.close())
        self._settle(closed)

    def _tell(self, record: Record, entry: Entry) -> None:
        self._desk.out.print(entry_line(record, entry), soft_wrap=True)

    def _ballot(self, work: Approve) -> Ballot:
        ballot = Ballot(work, work.roles)
        for name in self.said_yes:
            if not ballot.decided and ballot.barred(name, self._sealed.plan.trigger.by) is None:
                ballot.yes.append(name)
        return ballot

    def _barred(self, work: Approve) -> Iterator[str]:
        """Why a yes that was given does not count, each in a phrase."""
        ballot = Ballot(work, work.roles)
        for name in self.said_yes:
            why = ballot.barred(name, self._sealed.plan.trigger.by)
            if why is None:
                ballot.yes.append(name)
            else:
                yield why

    def _ask(self, enactor: Enactor, step: Step, work: Approve) -> None:
        """Ask for a yes until there are enough, or somebody says no."""
        ballot = self._ballot(work)
        while not ballot.decided:
            if not self._desk.someone:
                raise Failed(f"step {step.id} asks people, and nobody is here: {self._again} --approve NAME")
            name = self._desk.ask(f"Step {step.id}: {step.text}.\nWho says yes? (a name; nothing means no)").strip()
            if not name:
                enactor.deny(step, f"{who()} said no")
                return
            why = ballot.barred(name, self._sealed.plan.trigger.by)
            if why is None:
                ballot.yes.append(name)
            else:
                self._desk.say(why)
        enactor.approve(step, f"approved by {' and '.join(ballot.yes)}, at the terminal of {who()}")

    def _decide(self, enactor: Enactor, step: Step, text: str) -> None:
        """Have a person say what becomes of a step that ended without an answer."""
        moves = isinstance(step.work, Steer)
        answer, why = self.decision, f"decided beforehand ({text})"
        if answer == "retry" and step.id in self._retried:
            answer = ""
        if self._desk.someone and not self.decision:
            self._desk.say(text)
            answer = self._desk.ask("retry or abort?" if moves else "retry, skip or abort?").strip().lower()
            why = "decided at the terminal"
        match answer:
            case "retry":
                self._retried.add(step.id)
                enactor.retry(step, who(), why)
            case "skip" if not moves:
                enactor.skip(step, who(), why)
            case "abort":
                enactor.abort(who(), why)
            case _ if self._desk.someone and not self.decision:
                self._desk.say("one of these words is needed")
            case _:
                self._nobody(text)

    def _nobody(self, text: str) -> Never:
        raise Failed(f"{text}; nobody is here to say so: {self._again} --decide retry, skip or abort")

    # ------------------------------------------------------------------ the end

    def _settle(self, record: Record) -> None:
        """Say what comes next. Raises what the status means for the exit status."""
        self._desk.say(f"When Temporal is back: failover break-glass take-in {self._journal.path}")
        match record.status:
            case RunStatus.COMPLETED if self._abort:
                raise Failed(f"run {record.run} had taken all its steps already: it is complete, nothing was put back")
            case RunStatus.COMPLETED:
                return
            case RunStatus.STALE:
                raise Objected(
                    f"run {record.run} was stopped by the fence: somebody else steered meanwhile; plan again"
                )
            case RunStatus.HALTED:
                ways = " or ".join(f"--to {endpoint}" for endpoint in (record.target, *record.source))
                raise Failed(
                    f"run {record.run} halted; its last line says how the world stands. To end it from here: failover "
                    f"break-glass take-over failover.yaml {record.service} {ways}"
                )
            case _:
                raise Failed(f"run {record.run} ended {record.status}; its last line says how the world stands")


async def _probes() -> Probes:
    """Made inside the event loop that it belongs to."""
    return Probes()
