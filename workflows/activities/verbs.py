"""What the steps of a plan do, whoever carries it out: an activity of the failover workflow, or break-glass.

Nothing here knows of Temporal. What goes wrong is raised as the provider's own error, whose name says what to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import assert_never

from orchestrator.core.move import Objection
from providers.base import ProbeClient, Refused
from runbooks.plan import (
    Analyse,
    Approve,
    Call,
    Check,
    Converge,
    Demote,
    Drain,
    FenceOff,
    Promote,
    Steer,
    Tell,
    Verify,
    Wait,
)
from workflows.activities import analysing, calling, capacity, proving, readying, traffic
from workflows.activities.pulse import Beat, Pulse
from workflows.wire import StepResult, StepTask

Weigh = Callable[[StepTask], Awaitable[tuple[Objection, ...]]]
"""Asks the safety rules about the run's move, in the light of now. Raises Transient where nobody can be asked."""


async def nobody_to_ask(task: StepTask) -> tuple[Objection, ...]:
    """For whoever cannot reach the service's workflow: no answer is no yes."""
    raise Refused(f"the safety rules cannot be asked about service '{task.service}' from here: decide by hand")


class Verbs:
    """Does steps and undoes them. Both are idempotent by ``task.key``, which is another one for an undo."""

    def __init__(self, probes: ProbeClient, beat: Beat, weigh: Weigh = nobody_to_ask) -> None:
        self._probes = probes
        self._beat = beat
        self._weigh = weigh

    async def do(self, task: StepTask) -> StepResult:  # noqa: PLR0911, PLR0912  one case for each kind of work
        """Do the step. Raises the errors of ``providers.base``, and BadInput."""
        pulse = Pulse(self._beat)
        match task.work:
            case Promote():
                return await capacity.promote(task.work, task, pulse)
            case Verify(place, passes, _, readiness):
                first = await readying.examine(place, readiness, task.kind, pulse)
                proved = await proving.verify(place, passes, task.timeout_s, self._probes, pulse)
                return replace(proved, text="; ".join(filter(None, (first, proved.text))))
            case Steer():
                return await traffic.steer(task.work, task, pulse)
            case Converge():
                return await traffic.converge(task.work, task, pulse)
            case Drain():
                return await capacity.drain(task.work, task, pulse)
            case FenceOff():
                return await capacity.fence_off(task.work, task, pulse)
            case Demote():
                return await capacity.demote(task.work, task, pulse)
            case Wait(seconds):
                await pulse.hold(min(seconds, task.timeout_s))
                return StepResult(text=f"held for {seconds:g} s")
            case Approve() | Tell():
                raise Refused(f"step {task.step} is about people, and whoever drives the run carries it out itself")
            case Analyse():
                return await analysing.analyse(task.work, task, self._probes, pulse)
            case Check(rules):
                against = await pulse.through(self._weigh(task))
                if against:
                    raise Refused("; ".join(f"{each.rule}: {each.text}" for each in against))
                return StepResult(text=f"nothing stands against it{': ' if rules else ''}{', '.join(rules)}")
            case Call(hook):
                return await calling.call(hook, task, pulse)
            case _:
                assert_never(task.work)

    async def undo(self, task: StepTask) -> StepResult:
        """Undo the step. Raises the same, UndoFailed among them."""
        pulse = Pulse(self._beat)
        match task.work:
            case Promote():
                return await capacity.give_back(task.work, task, pulse)
            case Steer():
                return await traffic.steer_back(task.work, task, self._probes, pulse)
            case Drain():
                return await capacity.undrain(task.work, task, pulse)
            case Call(back=back) if back is not None:
                return await calling.call(back, task, pulse)
            case (
                Verify()
                | Analyse()
                | Converge()
                | FenceOff()
                | Demote()
                | Approve()
                | Check()
                | Call()
                | Tell()
                | Wait()
            ):
                return StepResult(text="nothing to undo")
            case _:
                assert_never(task.work)
