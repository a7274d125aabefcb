"""The people of a history: they ask for moves, act on runs, edit the record and put things right; at random."""

from __future__ import annotations

from orchestrator.core.decision import Request
from orchestrator.core.move import MoveKind, Trigger
from orchestrator.core.safety import RULES, Yields
from orchestrator.core.steering import evenly
from runbooks.plan import Steer
from runbooks.progress import Event, StepState, advance, returning, switched
from runbooks.simulate.running import Run
from runbooks.simulate.serving import ServiceSide
from runbooks.simulate.setting import Setting
from runbooks.simulate.stage import Stage
from runbooks.simulate.world import World

TURN_S = 1.5
WHO = ("ann", "bob", "cat")
OVERRIDES = tuple(rule.name for rule in RULES if Yields.TO_ITS_NAME in {rule.planned, rule.unplanned})
KINDS = (*(MoveKind.SWITCHOVER, MoveKind.FAILOVER, MoveKind.FAILBACK) * 6, MoveKind.PREPARATION)
PATIENCE = 3
"""So often a person tries a step again once it is calm; then they give up."""


class People:
    """Takes turns; at each of them much, little or nothing happens."""

    def __init__(self, stage: Stage, world: World, setting: Setting, service: ServiceSide) -> None:
        self._stage = stage
        self._world = world
        self._setting = setting
        self._service = service
        self._asked = 0
        self._tried: dict[str, int] = {}
        stage.after(stage.between(0.0, TURN_S), self.turn)

    def turn(self) -> None:
        """What happens now that nobody has decided."""
        stage, faults = self._stage, self._setting.faults
        if stage.calm:
            stage.after(1.0, self.turn)
            self._settle()
            return
        stage.after(TURN_S * stage.between(0.3, 1.7), self.turn)
        if stage.chance(faults["endpoint"]):
            self._world.turn()
        if stage.chance(faults["clock"]):
            stage.skew_s += stage.between(-15.0, 15.0)
            stage.say("the server's clock is stepped, to {:+.1f} s", stage.skew_s)
            stage.count("clock stepped")
        if stage.chance(faults["hand"] * 0.4):
            self._world.hand()
        if stage.chance(faults["rival"] * 0.3):
            self._world.rival()
        if stage.chance(faults["person"]):
            self._ask()
        if stage.chance(0.3):
            self._mend()
        for run in tuple(self._service.runs.values()):
            if run.open and stage.chance(faults["act"]):
                self._act(run)
            if run.open and stage.chance(faults["end"] * 0.2):
                run.terminate()

    # ------------------------------------------------------------------ the service

    def _ask(self) -> None:
        """One person asks for a move, or two at once for opposite ones; or one says yes to what automation asks."""
        stage = self._stage
        for _ in range(2 if stage.chance(0.3) else 1):
            move = self._service.asked
            by = stage.pick(WHO)
            if move is not None and stage.chance(0.7):
                request = Request(move.kind, Trigger(by, "yes"), move.target)
            else:
                request = self._wish(by)
            self._asked += 1
            key = f"request-{self._asked}"
            stage.after(stage.between(0.0, 0.2), self._service.request, key, request)
            if stage.chance(self._setting.faults["twice"]):
                stage.after(stage.between(0.1, 5.0), self._service.request, key, request)

    def _wish(self, by: str) -> Request:
        """What one person wants: sensible more often than not."""
        stage = self._stage
        idle = tuple(name for name in self._world.sites if name not in self._world.carrying_since)
        sites = idle if idle and stage.chance(0.8) else tuple(self._world.sites)
        target = stage.pick(sites) if stage.chance(0.7) else None
        kind = stage.pick(KINDS)
        trigger = Trigger(by, "because", tuple(rule for rule in OVERRIDES if stage.chance(0.15)))
        if stage.chance(0.1):
            leaving = tuple(name for name in self._world.sites if name != target and stage.chance(0.5))
            return Request(kind, trigger, target, leaving=leaving)
        if stage.chance(0.1):
            chosen = tuple(name for name in self._world.sites if stage.chance(0.6)) or sites[:1]
            return Request(kind, trigger, after=evenly(self._setting.service.endpoints, chosen))
        return Request(kind, trigger, target)

    def _mend(self) -> None:
        """Somebody looks: holds are released, a record that was edited is adopted, automation is paused or resumed."""
        service, stage = self._service, self._stage
        if service.held and stage.chance(0.5):
            service.held = ()
        if stage.chance(0.3):
            service.acknowledged = stage.wall()
        if stage.chance(0.05):
            service.paused = None if service.paused else "maintenance"
        record = self._world.record
        ours = self._world.changes[-1].by != "hand" if self._world.changes else record.fence is not None
        if not ours and stage.chance(0.5) and (adopted := self._world.adopt()) is not None:
            service.routing = adopted
        service.think(due=True)

    # ------------------------------------------------------------------ runs, by the rules of ``workflows.acting``

    def _act(self, run: Run) -> None:
        stage, progress = self._stage, run.progress
        back = progress.aborted or returning(progress)
        what = stage.pick(("vote", "vote", "abort", "pause", "resume", "resume", "switch", "skip", "retry", "retry"))
        match what:
            case "vote":
                for step in tuple(run.ballots):
                    run.vote(step, stage.pick(WHO), yes=stage.chance(0.8))
                return
            case "abort" if not back:
                self._said(run, "aborts")
                run.stop("a person stops it")
                return
            case "pause" if not progress.paused:
                run.progress = advance(progress, "", Event.PAUSE, "a person waits")
            case "resume" if progress.paused:
                run.progress = advance(progress, "", Event.RESUME)
            case "switch" if _moves(run, planned=not progress.planned):
                run.switched = True
                run.progress = switched(run.plan, progress, planned=not progress.planned)
            case "skip" | "retry" if not back:
                if not self._step(run, retry=what == "retry"):
                    return
            case _:
                return
        self._said(run, what)
        run.go()

    def _said(self, run: Run, what: str) -> None:
        self._stage.say("a person acts on {}: {}", run.plan.run, what)
        self._stage.count(f"act {what}")

    def _step(self, run: Run, *, retry: bool) -> bool:
        """Skip a step, or have it tried again; whether there was one."""
        progress = run.progress
        states = {StepState.RUNNING, StepState.ASKING} | (set() if retry else {StepState.PENDING})
        able = [
            step
            for step in run.plan.taken(planned=progress.planned)
            if (progress.state(step.id) in states or (step.id in progress.fallen and step.on_failure == "ask"))
            and (retry or not isinstance(step.work, Steer))
        ]
        if not able:
            return False
        step = self._stage.pick(able)
        run.progress = advance(progress, step.id, Event.RETRY if retry else Event.SKIP, "a person says so")
        if not retry:
            run.let_pass.add(step.id)
        elif step.id in run.under_way:
            run.cancel(run.under_way[step.id])
        return True

    # ------------------------------------------------------------------ once it is calm

    def _settle(self) -> None:
        """Somebody answers every run that waits for a person."""
        for run in self._service.runs.values():
            if not run.open:
                continue
            if run.progress.paused:
                run.progress = advance(run.progress, "", Event.RESUME)
                run.go()
            elif run.hold is not None:
                tried = self._tried[run.plan.run] = self._tried.get(run.plan.run, 0) + 1
                step = run.hold.step
                if step is not None and tried <= PATIENCE and self._stage.rng.random() < 0.6:
                    self._said(run, "retry")
                    run.progress = advance(run.progress, step.id, Event.RETRY)
                    run.go()
                else:
                    self._said(run, "aborts")
                    run.stop("a person gives up")


def _moves(run: Run, *, planned: bool) -> bool:
    """Whether the run would still move traffic, or move none as before, once it is switched."""
    steers = [step for step in run.plan.steps if isinstance(step.work, Steer)]
    return not steers or any(step.when.holds(planned=planned) for step in steers)
