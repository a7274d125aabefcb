"""The service of a history: ``workflows.service`` in small, pure form. It decides, and starts one run at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.core import decision as deciding
from orchestrator.core import quorum, safety
from orchestrator.core.decision import Ask, Decision, Go, Request, wait_s
from orchestrator.core.health import Health
from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import EndpointId, RunId
from orchestrator.core.quorum import Assessment, Report, Verdict, View
from orchestrator.core.record import RunStatus
from orchestrator.core.situation import Situation
from orchestrator.core.steering import Routing
from runbooks import planner
from runbooks.model import Runbook
from runbooks.plan import Plan
from runbooks.planner import Ground, Unplannable
from runbooks.simulate.facts import Began, Decided
from runbooks.simulate.hands import Hands
from runbooks.simulate.running import Run, Ties
from runbooks.simulate.setting import SHELF, Setting, books_for
from runbooks.simulate.stage import Stage
from runbooks.simulate.watching import Post, in_short
from runbooks.simulate.world import World

FRESH_S = 3.5
"""As ``workflows.options``."""
ASK_AFTER_S = 30.0
"""How often a service asks after the run that holds it."""
AGAIN_S = (1.0, 60.0)


@dataclass(frozen=True, slots=True)
class Active:
    """The run that holds the service."""

    run: RunId
    target: EndpointId | None
    """The endpoint whose fall would be news."""


class ServiceSide:
    """What the service knows, and what it does about it."""

    def __init__(self, stage: Stage, world: World, setting: Setting, posts: tuple[Post, ...]) -> None:
        self._stage = stage
        self._world = world
        self._setting = setting
        self._posts = posts
        self._faults: Mapping[str, float] = setting.faults
        self._hands = Hands(stage, world, setting.faults, self._against)
        self._busy = False
        self._queue: deque[Callable[[], None]] = deque()
        self._news = self._waking = False
        self._due = True
        self._pause_s = AGAIN_S[0]
        self._stopped: RunId | None = None
        self._last_status: RunStatus | None = None
        self._numbers = 0
        self.views: tuple[View, ...] = ()
        self.routing: Routing | None = None
        self.unread = False
        """The last attempt at reading the routing failed."""
        self.active: Active | None = None
        self.last_closed: datetime | None = None
        self.automatic: tuple[datetime, ...] = ()
        self.acknowledged: datetime | None = None
        self.held: tuple[Objection, ...] = ()
        self.paused: str | None = None
        self.asked: Move | None = None
        """The move that people are asked for."""
        self.answered: dict[str, RunId] = {}
        self.runs: dict[RunId, Run] = {}
        for post in posts:
            post.deliver = self.report
        stage.after(0.1, self.think)

    # ------------------------------------------------------------------ news

    def report(self, report: Report) -> None:
        """A report arrives."""
        stage = self._stage
        if stage.calm:
            return
        views = quorum.fold(self.views, report, now=stage.wall())
        if views == self.views:
            stage.count("report too old")
            return
        stage.say("service hears {} {}", report.vantage, _Report(report))
        self.views = views
        self.think()

    def closed(self, run: Run) -> None:
        """A run's last word arrives; twice perhaps, and perhaps late."""
        if self.active is None or self.active.run != run.plan.run or run.status is None:
            self._stage.count("last word of another run")
            return
        again = run.status is RunStatus.STALE and self._last_status is not RunStatus.STALE
        again |= run.plan.kind is MoveKind.PREPARATION
        again |= self._stopped == run.plan.run and run.status in {RunStatus.UNDONE, RunStatus.ABORTED}
        self._last_status = run.status
        self.last_closed = self.last_closed if again else self._stage.wall()
        if run.plan.trigger.by == "automatic" and not again:
            self.automatic = (*self.automatic, self._stage.wall())
        self.active, self.routing = None, run.routing
        self.think(due=True)

    # ------------------------------------------------------------------ deciding

    def think(self, *, due: bool = False) -> None:
        """There is news: look and decide, unless that is under way already."""
        self._due = self._due or due
        if self._stage.calm or self._news:
            return
        self._news = True
        self._locked(self._think)

    def _locked(self, work: Callable[[], None]) -> None:
        """One decision at a time: *work* begins when the one under way has ended."""
        self._queue.append(work)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        self._busy = bool(self._queue)
        if self._queue:
            self._queue.popleft()()

    def _think(self) -> None:
        self._news = False
        if self.active is not None:
            if self.active.target is not None and self._stopped != self.active.run and self._target_doubted():
                self._look(self._mind_target)
            else:
                self._next()
        elif self._due or self._concerning():
            self._due = False
            self._look(self._decide)
        else:
            self._next()

    def _concerning(self) -> bool:
        """Whether any vantage says anything but healthy of an endpoint: only then is there something to decide."""
        return any(
            opinion.state.health not in {Health.HEALTHY, Health.UNKNOWN}
            for view in self.views
            for opinion in view.opinions
        )

    def _look(self, then: Callable[[tuple[Assessment, ...]], None]) -> None:
        """Heartbeats and routing are read; reports may arrive meanwhile."""
        self._stage.after(0.02 + 0.1 * self._stage.rng.random(), self._looked, then)

    def _looked(self, then: Callable[[tuple[Assessment, ...]], None]) -> None:
        stage = self._stage
        heard = tuple((post.vantage.id, post.heard) for post in self._posts if post.heard is not None)
        self.views = quorum.hear(self.views, heard)
        self.unread = stage.chance(self._faults["unread"])
        if self.unread:
            stage.count("routing unread")
        else:
            self.routing = self._world.record
        then(self.assessments())
        self._next()

    def assessments(self) -> tuple[Assessment, ...]:
        """The verdict on every endpoint."""
        now = self._stage.wall()
        return tuple(
            quorum.assess(endpoint, self.views, self._setting.vantages, now=now, fresh_s=FRESH_S)
            for endpoint in self._setting.service.endpoints
        )

    def situation(self, found: tuple[Assessment, ...]) -> Situation:
        """Everything a decision may look at."""
        return Situation(
            service=self._setting.service,
            assessments=found,
            routing=self.routing,
            mode=self._setting.service.policy.mode,
            now=self._stage.wall(),
            paused=self.paused,
            run=self.active.run if self.active else None,
            last_closed=self.last_closed,
            held=self.held,
            revision=1,
            automatic=self.automatic,
            acknowledged=self.acknowledged,
        )

    def _decide(self, found: tuple[Assessment, ...]) -> None:
        if self.active is not None or self._stage.calm:
            return
        facts = self.situation(found)
        decision = deciding.decide(facts)
        self._told(facts, None, decision)
        self.asked = decision.move if isinstance(decision, Ask) else None
        if isinstance(decision, Go):
            self._start(decision.move, Trigger("automatic", "down"), decision.overridden, found, None)
        if self.active is None:
            self._wake(facts)

    def _wake(self, facts: Situation) -> None:
        """Look again while something is wrong and nothing is done."""
        if self._waking or not (facts.dead or any(a.verdict is not Verdict.HEALTHY for a in facts.assessments)):
            return
        soon = wait_s(facts)
        self._waking = True
        self._stage.after(self._pause_s if soon is None else max(0.05, min(soon, self._pause_s)), self._woken)
        self._pause_s = min(self._pause_s * 2, AGAIN_S[1])

    def _woken(self) -> None:
        self._waking = False
        self.think()

    def _told(self, facts: Situation, request: Request | None, decision: Decision) -> None:
        stage, name = self._stage, type(decision).__name__.lower()
        reasons = decision.overridden if isinstance(decision, Go) else decision.reasons
        who = f"{request.trigger.by}'s {request.kind}" if request else "automation"
        if reasons or isinstance(decision, Go) or request:
            stage.say("service: {}: {} {}", who, name, _Why(decision.move, reasons))
        stage.count(f"{'person' if request else 'automation'}: {name}")
        for rule in {reason.rule for reason in reasons}:
            stage.count(f"rule {rule}")
        stage.tell(Decided(facts, request, decision, self.views))

    # ------------------------------------------------------------------ runs

    def request(self, key: str, request: Request) -> None:
        """A person asks for a run. The same request may come twice."""
        self._locked(lambda: self._look(lambda found: self._consider(key, request, found)))

    def _consider(self, key: str, request: Request, found: tuple[Assessment, ...]) -> None:
        if key in self.answered or self._stage.calm:
            self._stage.count("request answered before")
            return
        facts = self.situation(found)
        if self.unread and request.kind is not MoveKind.FAILOVER:
            facts = replace(facts, routing=None)
        decision = deciding.consider(facts, request)
        self._told(facts, request, decision)
        if isinstance(decision, Go):
            self._start(decision.move, request.trigger, decision.overridden, found, key)

    def _start(
        self,
        move: Move,
        trigger: Trigger,
        overridden: tuple[Objection, ...],
        found: tuple[Assessment, ...],
        key: str | None,
    ) -> None:
        stage, service = self._stage, self._setting.service
        self._numbers += 1
        run = RunId(f"chat-{self._numbers}")
        book = self._book(move)
        ground = Ground(service, self.routing, 1, SHELF)
        try:
            plan = planner.plan(move, ground, run=run, trigger=trigger, book=book, objections=overridden)
        except Unplannable as error:
            stage.say("service: cannot plan it: {}", error)
            stage.count("unplannable")
            return
        down = any(each.endpoint == move.target and each.verdict is Verdict.DOWN for each in found)
        self.active, self.asked = Active(run, None if down else move.target), None
        if key is not None:
            self.answered[key] = run
        stage.say("service: run {} by {}: {} to {} by {}", run, trigger.by, move.kind, move.target, book.name)
        stage.count(f"run begun: {move.kind}")
        stage.tell(Began(plan))
        known, fresh = len(self._world.changes), self.routing == self._world.record
        # A run that writes nothing may begin on a record as a hand left it, and meet that hand in the end.
        edited = known > 0 and self._world.changes[-1].by == "hand"

        def overtaken() -> bool:
            return edited or not fresh or any(each.by != run for each in self._world.changes[known:])

        ties = Ties(self._recheck, overtaken, self._close)
        self.runs[run] = Run(stage, self._hands, plan, service, faults=self._faults, ties=ties)
        stage.after(ASK_AFTER_S, self._ask_after, self.active)

    def _book(self, move: Move) -> Runbook:
        return self._stage.pick(books_for(move.kind, self._setting.books))

    def _close(self, run: Run) -> None:
        """A run's last word is on its way."""
        self._stage.after(self._stage.between(0.01, 0.3), self.closed, run)
        if self._stage.chance(self._faults["twice"]):
            self._stage.after(self._stage.between(0.3, 20.0), self.closed, run)

    def _ask_after(self, active: Active) -> None:
        """Free the service where the run that holds it was ended from outside."""
        if self.active != active:
            return
        if self.runs[active.run].open:
            self._stage.after(ASK_AFTER_S, self._ask_after, active)
            return
        self._stage.say("service: {} ended without a word", active.run)
        lost = Objection("run-lost", f"run {active.run} ended without closing its record")
        self.active, self.routing = None, None
        self.last_closed, self.held = self._stage.wall(), (*self.held, lost)
        self.think(due=True)

    def _recheck(self, plan: Plan) -> str:
        verdicts = {each.endpoint: each.verdict for each in self.assessments()}
        well = plan.source and not plan.planned and all(verdicts[name] is Verdict.HEALTHY for name in plan.source)
        return "the source is healthy again" if well else ""

    def _target_doubted(self) -> bool:
        target = self.active.target if self.active else None
        return any(
            opinion.state.endpoint == target and opinion.state.health is Health.DOWN
            for view in self.views
            for opinion in view.opinions
        )

    def _mind_target(self, found: tuple[Assessment, ...]) -> None:
        active = self.active
        if active is None or active.target is None:
            return
        verdicts = {each.endpoint: each.verdict for each in found}
        if verdicts[active.target] is Verdict.DOWN and Verdict.HEALTHY in verdicts.values():
            self._stopped = active.run
            self._stage.count("target fell during the run")
            self._stage.after(0.02, self.runs[active.run].target_fell, f"{active.target} fell meanwhile")

    def _against(self) -> str:
        """What the safety rules say now of the run that holds the service."""
        active = self.active
        if active is None:
            return ""
        plan = self.runs[active.run].plan
        move = Move(plan.service, plan.kind, plan.source, plan.target, plan.after, plan.failing)
        facts = replace(self.situation(self.assessments()), run=None)
        against, _ = safety.before_person(safety.objections(move, facts), move, plan.trigger.overrides)
        return "; ".join(objection.rule for objection in against)


@dataclass(frozen=True, slots=True)
class _Why:
    move: Move | None
    reasons: tuple[Objection, ...]

    def __str__(self) -> str:
        where = f"to {self.move.target} " if self.move else ""
        return where + (f"({', '.join(reason.rule for reason in self.reasons)})" if self.reasons else "")


@dataclass(frozen=True, slots=True)
class _Report:
    report: Report

    def __str__(self) -> str:
        return in_short(self.report)
