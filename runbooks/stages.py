"""The traffic of a plan: one write that moves it, or several by stages, with what holds between them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.config.fields import spoken
from orchestrator.core.easing import RULE, jitter_s
from orchestrator.core.errors import BadFence
from orchestrator.core.move import MoveKind
from orchestrator.core.names import EndpointId
from orchestrator.core.steering import Routing, SteeringChange, encode, next_lineage, serving
from orchestrator.core.targets import coming
from orchestrator.core.topology import Weights
from runbooks.ground import Case, Unplannable, Unweighable, expressed
from runbooks.model import BookStep, SteerTask
from runbooks.plan import Analyse, Analysis, Check, Gainer, Place, Room, Steer, Step, Wait, When
from runbooks.printed import spread
from runbooks.resolve import place_of, step_of

MARGIN_S = 30.0
"""What an analysis may take beyond its hold: the answers it has asked for last."""

ASKED_S = 10.0
APART = ".apart"
"""How the id of the wait ends that keeps services apart."""


@dataclass(frozen=True, slots=True)
class _Stage:
    percent: int
    weights: Weights
    rooms: Mapping[EndpointId, Room]
    """What must be ready before it, where there are replicas to count."""


def staged(
    said: BookStep, task: SteerTask, case: Case, *, ready: frozenset[EndpointId] = frozenset()
) -> Iterator[Step]:
    """One write where the traffic moves at once; else a write for each stage, with what holds between them.

    *ready*: the endpoints for whose whole capacity a step before it has waited. Raises Unplannable.
    """
    yield from _apart(said, task, case)
    if not task.stages:
        yield _steer(said, case, case.move.after, case.routing)[0]
        return
    try:
        steps = tuple(_by_stages(said, task, case, ready=ready))
    except Unweighable:
        if task.unweighable == "refuse":
            raise
        step, _ = _steer(said, case, case.move.after, case.routing)
        why = f"{case.spec.provider} cannot weigh" if case.before else "where traffic goes now is no known share"
        steps = (replace(step, text=f"{step.text}, at once and not by stages: {why}"),)
    yield from steps


def _apart(said: BookStep, task: SteerTask, case: Case) -> Iterator[Step]:
    """The wait that keeps services apart which would all steer in one second, and a look at what came of others."""
    seconds = _jitter_s(case, "begin", task.jitter_s)
    if seconds:
        line = f"hold for {spoken(seconds)}: not all that move there steer in the same second"
        apart = replace(said, id=f"{said.id}{APART}", expected_s=seconds)
        yield step_of(apart, Wait(seconds), line, case, more_s=seconds)
        asked = replace(said, id=f"{said.id}.asked", timeout_s=ASKED_S)
        yield step_of(asked, Check((RULE,)), "see that none of them has had to turn back there meanwhile", case)


def _jitter_s(case: Case, part: str, longest_s: float) -> float:
    if not case.ground.crowded or not case.move.planned or longest_s <= 0:
        return 0.0
    # Not the run: a plan that is shown, or saved, has another one, and must be the plan that is carried out.
    return jitter_s(f"{case.service.id}/{case.generation}/{part}", longest_s)


def _by_stages(said: BookStep, task: SteerTask, case: Case, *, ready: frozenset[EndpointId]) -> Iterator[Step]:
    """The writes of the stages, and what holds between them. Raises Unweighable where they cannot be expressed."""
    if case.before is None:
        raise Unweighable(
            f"service '{case.service.id}' answers no known set of endpoints, so its traffic cannot move by stages"
        )
    stages: list[_Stage] = []
    stood, gainers = case.before, _gainers(case, case.before)
    for percent in dict.fromkeys((*task.stages, 100)):
        weights = partway(case.before, case.move.after, percent)
        if percent == 100 or weights != stood:  # else too few shares for so small a stage: a write would change nothing
            rooms = {name: room for name in gainers if (room := _room(case, name, percent, weights)) is not None}
            stages.append(_Stage(percent, weights, rooms))
        stood = weights
    rooms = {name: room for name, room in stages[0].rooms.items() if name not in ready}
    if rooms and case.move.kind is MoveKind.FAILBACK:
        yield _ready(said, case, rooms, stages[0].percent)
    standing = case.routing
    for stage, follows in zip(stages, (*stages[1:], None), strict=True):
        try:
            step, standing = _steer(replace(said, id=f"{said.id}.{stage.percent}"), case, stage.weights, standing)
        except Unweighable as error:
            raise Unweighable(f"step '{said.id}' cannot move by stages: {error}") from error
        yield step
        if follows is not None:
            yield _analyse(said, task, case, stage, _Looks(gainers, follows.rooms, follows.percent))


def _gainers(case: Case, before: Weights) -> tuple[EndpointId, ...]:
    """The target, and after it whoever else gets more traffic by the move: from the first stage on, all of them do."""
    old = dict(_scaled(before, sum(weight for _, weight in case.move.after)))
    more = (name for name, weight in case.move.after if weight > old.get(name, 0) and name != case.target.id)
    return (case.target.id, *more)


def _room(case: Case, name: EndpointId, percent: int, weights: Weights) -> Room | None:
    """What must be ready at *name* before it gets *weights*: its part of the whole that carries the whole.

    Where load or capacity are not known, its part of what it is to have in the end. None: it has no workload.
    """
    endpoint = case.service.endpoint(name)
    workload, whole = endpoint.workload, endpoint.capacity
    if workload is None or workload.serving < 1:
        return None
    need = dict(coming(weights, case.service)).get(name)
    if not whole or need is None:
        need, whole = dict(weights).get(name, 0), dict(case.move.after)[name]
    ready = -(-need * workload.serving // whole)
    return Room(workload, max(1, min(workload.serving, ready)), percent)


def _ready(said: BookStep, case: Case, rooms: Mapping[EndpointId, Room], percent: int) -> Step:
    """The look whether the first stage may come, where nobody has looked yet."""
    first, *others = (Gainer(place_of(name, case)[0], room) for name, room in rooms.items())
    count = _listed([f"{_replicas(room)} of {name}" for name, room in rooms.items()])
    line = f"see that {count} are ready, for {percent} %"
    usual = replace(said, id=f"{said.id}.ready", timeout_s=MARGIN_S)
    return step_of(usual, Analyse(first.place, None, 0.0, None, first.room, tuple(others)), line, case)


def _replicas(room: Room) -> str:
    return f"{room.ready} replica{'s' if room.ready != 1 else ''}"


def _listed(words: Sequence[str]) -> str:
    """``us``; ``us and ap``; ``us, ap and sa``."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def partway(before: Weights, after: Weights, percent: int) -> Weights:
    """The weights when *percent* of the move is made: each moves one way only, and the sum is that of *after*.

    Whoever gains has at least 1 in the first stage already, as far as there are shares to give.
    """
    if percent >= 100:
        return after
    total = sum(weight for _, weight in after)
    old = dict(_scaled(before, total))
    new = dict(after)
    gains = {name: new[name] - old.get(name, 0) for name in new if new[name] > old.get(name, 0)}
    losses = {name: old[name] - new.get(name, 0) for name in old if old[name] > new.get(name, 0)}
    moved = max(len(gains), (sum(gains.values()) * percent + 50) // 100)
    # Whoever has come least far is next: so nobody goes back from one stage to the next.
    given, taken = _in_turn(gains, moved, 0.0), _in_turn(losses, moved, 0.5)
    return tuple((name, old.get(name, 0) + given.get(name, 0) - taken.get(name, 0)) for name, _ in after)


def _in_turn(whole: Mapping[EndpointId, int], count: int, ahead: float) -> dict[EndpointId, int]:
    """*count* shares of *whole* one by one, each to whom it brings least far beyond what is due (a divisor method)."""
    parts = dict.fromkeys(whole, 0)
    for _ in range(min(count, sum(whole.values()))):
        able = [name for name in sorted(whole) if parts[name] < whole[name]]
        parts[min(able, key=lambda name: (parts[name] + ahead) / whole[name])] += 1
    return parts


def _scaled(weights: Weights, total: int) -> Weights:
    """*weights* as shares of *total*."""
    given = {name: weight for name, weight in weights if weight}
    if sum(given.values()) in {0, total}:
        return weights
    whole = sum(given.values())
    shares = {name: weight * total // whole for name, weight in given.items()}
    rest = sorted(given, key=lambda name: (-(given[name] * total % whole), name))[: total - sum(shares.values())]
    return tuple((name, shares.get(name, 0) + (name in rest)) for name, _ in weights)


def _steer(said: BookStep, case: Case, weights: Weights, standing: Routing) -> tuple[Step, Routing]:
    """The write that moves traffic from *standing* to *weights*, and the routing that it leaves."""
    spec = case.spec
    work = Steer(
        steering=spec,
        expects=standing.generation,
        was=standing.answer,
        weights=weights,
        answer=expressed(case.service, spec, weights),
        lineage=next_lineage(standing.fence),
        before=case.before,
        origin=case.routing.answer,
        stands=standing.fence,
    )
    change = SteeringChange(work.expects, work.was, work.weights, work.answer, case.run, said.id, work.lineage)
    try:
        encode(change.fence)
    except BadFence as error:
        raise Unplannable(f"run '{case.run}' cannot be fenced: {error}") from error
    stood = standing.fence.weights if standing is not case.routing and standing.fence else case.before
    origin = spread(stood) if stood else "an unknown answer"
    line = f"steer {spec.name} from {origin} to {spread(weights)}, generation {work.expects} -> {work.expects + 1}"
    back = f"steer {spec.name} back to {spread(case.before)}, at a new generation, if healthy then"
    step = step_of(said, work, line, case, back if case.returns else None)
    return step, Routing(work.answer, spec.ttl_s, change.fence)


@dataclass(frozen=True, slots=True)
class _Looks:
    """Whom the hold of a stage looks at, and what the next stage needs of them."""

    gainers: tuple[EndpointId, ...]
    rooms: Mapping[EndpointId, Room]
    percent: int
    """The next stage's."""

    @property
    def needs(self) -> str:
        """What the next stage needs, as the end of a sentence."""
        if not self.rooms:
            return ""
        alone = len(self.gainers) == 1
        count = [f"{_replicas(room)}{'' if alone else f' of {name}'}" for name, room in self.rooms.items()]
        return f"; {self.percent} % then needs {_listed(count)} ready"


def _analyse(said: BookStep, task: SteerTask, case: Case, stage: _Stage, looks: _Looks) -> Step:
    given = serving(stage.weights)
    # An endpoint that is down is no measure of another.
    serves = case.move.planned or said.when is When.PLANNED
    source = next((name for name in case.move.source if name in given and serves), None)
    target, *rest = (Gainer(place_of(name, case)[0], looks.rooms.get(name)) for name in looks.gainers)
    others = tuple(each for each in rest if task.analysis is not None or each.room is not None)
    beside = place_of(source, case)[0] if source is not None else None
    hold_s = task.hold_s + _jitter_s(case, f"{stage.percent}", min(task.jitter_s, task.hold_s))
    asked = beside if task.analysis else None
    work = Analyse(target.place, asked, hold_s, task.analysis, target.room, others)
    judged = _analysis(task.analysis, looks.gainers, beside)
    line = f"hold {stage.percent} % for {spoken(hold_s)}{judged}{looks.needs}"
    usual = replace(
        said,
        id=f"{said.id}.{stage.percent}.hold",
        timeout_s=MARGIN_S,
        expected_s=hold_s,
        on_failure="rollback" if said.on_failure == "continue" else said.on_failure,
    )
    return step_of(usual, work, line, case, more_s=hold_s)


def _analysis(analysis: Analysis | None, gainers: tuple[EndpointId, ...], beside: Place | None) -> str:
    if analysis is None:
        return ""
    who = f"{'each of ' if len(gainers) > 1 else ''}{_listed(gainers)}"
    first = f", first token within {spoken(analysis.first_token_s)}" if analysis.first_token_s is not None else ""
    than = f", at most {analysis.slower:g} times as slow as {beside.endpoint}" if beside else ""
    return (
        f", and go on only if {who} fails at most {analysis.max_errors:g} % of {analysis.samples} answers{than}{first}"
    )
