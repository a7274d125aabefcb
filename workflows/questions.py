"""A service's question to people: what it says and to whom, who may answer it, and what an answer does. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from orchestrator.core import safety
from orchestrator.core.decision import Ask, Decision, Go, Hold, Request, Situation, decide
from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import RunId
from orchestrator.core.questions import due_s, rounds, silent
from orchestrator.core.quorum import Assessment, Verdict
from orchestrator.core.record import Entry, Mark, Record
from orchestrator.core.topology import Mode, Policy, Unanswered
from orchestrator.core.waiting import at, spoken
from runbooks.plan import Approve, Asked
from workflows.acting import Ballot
from workflows.wire import Carry, Question, ServiceState, Slice
from workflows.wire.service import OF_QUESTIONS, QuestionAnswer

DENIED = "denied"
"""The reason of a hold after a person's no."""


def put(move: Move, reasons: tuple[Objection, ...], run: RunId, now: datetime) -> Question:
    """The question whether *move* shall be made."""
    return Question(OF_QUESTIONS + run, now, move.source, move.target, reasons, move)


def standing(state: ServiceState) -> Question | None:
    """The question that waits for an answer."""
    asked = state.question
    return asked if asked is not None and not asked.denied else None


def about(asked: Question | None, move: Move) -> bool:
    """Whether *asked* is about *move*."""
    return asked is not None and (asked.source, asked.target) == (move.source, move.target)


# ------------------------------------------------------------------ telling


def left_s(asked: Question, piece: Slice, now: datetime) -> float | None:
    """Seconds until people are told of it again, above 0; None: they are told no more."""
    due = due_s(piece.service.policy.questions, asked.told)
    return None if due is None else max(0.001, due - (now - asked.asked).total_seconds())


def telling(asked: Question, piece: Slice, now: datetime) -> tuple[str, str]:
    """Event and text of what people are told of it, for the time that ``told`` counts."""
    policy = piece.service.policy.questions
    what = f"{_what(asked, piece)}. {_answers(asked, piece)}"
    if asked.told == 1:
        whom = f"Asked: {_whom(piece, policy.role)}. " if policy.role is not None else ""
        return "question", f"{_what(asked, piece)}. {whom}{_answers(asked, piece)}"
    since = f"asked since {at(asked.asked)}"
    if not silent(policy, asked.told):
        also = rounds(policy)[asked.told - 1]
        waited = spoken((now - asked.asked).total_seconds())
        return "question-escalated", f"nobody has answered for {waited}; asked now: {_whom(piece, also)}. {what}"
    if not silent(policy, asked.told - 1):
        silence, says = _ballot(asked, piece).silence, _POLICY[policy.on_timeout]
        return "question-unanswered", f"{silence} ({since}), and the policy says {says}. {what}"
    last = "; this is the last reminder" if due_s(policy, asked.told) is None else ""
    return "question-unanswered", f"still no answer ({since}{last}). {what}"


_POLICY = {
    Unanswered.HOLD: "to hold: traffic stays where it is, and the question stands",
    Unanswered.PROCEED: "to proceed: traffic moves as in mode automatic, unless a safety rule asks or holds",
}


def _what(asked: Question, piece: Slice) -> str:
    because = "; ".join(reason.text for reason in asked.reasons)
    return f"{piece.service.id}: move traffic from {' and '.join(asked.source)} to {asked.target}? {because}"


def _answers(asked: Question, piece: Slice) -> str:
    """How to say yes and no."""
    return (
        f"To do it: failover approve {asked.id} --reason '...', or failover run {piece.service.id} --to {asked.target} "
        f"--reason '...'; to leave traffic where it is: failover deny {asked.id} --reason '...'"
    )


def _whom(piece: Slice, role: str | None) -> str:
    return "anybody" if role is None else f"role {role} ({', '.join(dict(piece.roles).get(role, ()))})"


def void(asked: Question, state: ServiceState, found: tuple[Assessment, ...]) -> str:
    """What people are told of a question that nobody has to answer any more."""
    away = [each for each in found if each.endpoint in asked.source and each.verdict is not Verdict.DOWN]
    seen = "; ".join(f"{each.endpoint} is {each.verdict} now: {each.text}" for each in away)
    why = seen or "; ".join(reason.text for reason in state.hold) or "the world has changed"
    return (
        f"{state.slice.service.id}: nobody has to answer {asked.id} any more (move traffic from "
        f"{' and '.join(asked.source)} to {asked.target}?). {why}"
    )


# ------------------------------------------------------------------ what comes of it


def decided(facts: Situation, asked: Question | None) -> Decision:
    """What the service does by itself: not what a person has said no to; and what silence allows.

    Silence never sets a safety rule aside: it is the yes that mode ``approval`` waits for, and no other.
    """
    decision = decide(facts)
    if asked is None or decision.move is None or not about(asked, decision.move) or isinstance(decision, Hold):
        return decision
    if asked.denied:
        text = f"{asked.denied}; to do it all the same: failover run {facts.service.id} --to {asked.target}"
        return Hold((Objection(DENIED, text), *(decision.reasons if isinstance(decision, Ask) else ())))
    if isinstance(decision, Ask) and _proceeds(asked, facts.service.policy):
        alone = decide(replace(facts, mode=Mode.AUTOMATIC))
        return alone if isinstance(alone, Go) and alone.move == decision.move else decision
    return decision


def proceeds(asked: Question, piece: Slice) -> bool:
    """Whether nobody has answered *asked* in time, and the policy takes that for a yes."""
    return _proceeds(asked, piece.service.policy)


def _proceeds(asked: Question, policy: Policy) -> bool:
    return policy.questions.on_timeout is Unanswered.PROCEED and silent(policy.questions, asked.told)


def kept(asked: Question | None, held: Hold, found: tuple[Assessment, ...]) -> Question | None:
    """*asked* where it outlives a decision to hold: somebody said no to it, or nobody can say how its source is.

    Silence is no answer: an endpoint that nobody can see for a moment does not make people answer twice.
    """
    if asked is None:
        return None
    unseen = any(each.endpoint in asked.source and each.verdict is Verdict.UNKNOWN for each in found)
    no = any(each.rule == DENIED for each in held.reasons)
    return asked if no or unseen else None


def by_silence(facts: Situation, asked: Question | None, move: Move) -> str:
    """What is added to the reason of an automatic run that silence allowed; empty: it needed no yes."""
    if asked is None or not about(asked, move) or facts.mode is not Mode.APPROVAL:
        return ""
    return f"; nobody answered {asked.id} in time, and the policy says to proceed then"


def noted(carry: Carry, asked: Question | None, move: Move) -> Carry:
    """*carry* whose record says that people were asked about *move* first."""
    if asked is None or not about(asked, move):
        return carry
    why = "; ".join(reason.text for reason in asked.reasons)
    no = f"; {asked.denied}" if asked.denied else ""
    entry = Entry(asked.asked, Mark.NOTE, f"asked people ({asked.id}): {why}{no}")
    return replace(carry, entries=tuple(sorted((*carry.entries, entry), key=lambda each: each.at)))


# ------------------------------------------------------------------ answers


def refused(state: ServiceState, said: QuestionAnswer) -> str | None:
    """Why *said* cannot be taken, in a sentence with the cure; None: it can."""
    asked, service = state.question, state.slice.service.id
    if asked is None or asked.id != said.question or asked.denied:
        no = f"; {asked.denied} already" if asked is not None and asked.id == said.question else ""
        other = standing(state)
        cure = f"it asks now: {other.id}" if other is not None else f"look at: failover status {service}"
        return f"service '{service}' does not wait for an answer to {said.question}{no}; {cure}"
    if not said.by.strip() or not said.reason.strip():
        return f"to {'approve' if said.yes else 'deny'} needs a person and a reason: say who and why"
    return _ballot(asked, state.slice).barred(said.by, "")


def taken(state: ServiceState, said: QuestionAnswer) -> str | None:
    """What came of *said*, in words; None: it was not taken yet."""
    if state.question is not None and state.question.answered == said.id:
        return f"denied by {said.by}: {said.reason}"
    run = next((each.run for each in state.answered if each.request == said.id), None)
    return None if run is None else f"approved by {said.by}: {said.reason}; run {run} begins: failover show {run}"


def _ballot(asked: Question, piece: Slice) -> Ballot:
    """The question as an approval inside a run would be: one yes, of any of the roles that have been asked so far."""
    policy, people = piece.service.policy.questions, dict(piece.roles)
    roles = tuple(Asked(role, people.get(role, ()) if role is not None else ()) for role in rounds(policy))
    distinct = tuple(dict.fromkeys(roles[: asked.told]))
    return Ballot(Approve(roles, 1, policy.timeout_s, "abort"), distinct)


def request_of(asked: Question, said: QuestionAnswer) -> Request:
    """What the person who says yes asks for: the very move, with what the question told of set aside by their name."""
    rules = tuple(dict.fromkeys(each.rule for each in asked.reasons if each.rule in safety.NAMES))
    trigger = Trigger(said.by, f"{said.reason} (yes to {asked.id})", rules)
    move = asked.move
    if move is None:
        return Request(MoveKind.FAILOVER, trigger, asked.target)
    return Request(kind=move.kind, trigger=trigger, target=move.target, after=move.after)


def no_said(asked: Question, said: QuestionAnswer) -> Question:
    """*asked* once a person has said no."""
    return replace(asked, denied=f"{said.by} said no to {asked.id}: {said.reason}", answered=said.id)


def record_of_no(observed: Record, asked: Question, said: QuestionAnswer, now: datetime) -> Record:
    """*observed*, what would have been done, as the record of who said no, and why."""
    why = "; ".join(reason.text for reason in asked.reasons)
    entries = (
        *(each for each in observed.entries if each.mark not in {Mark.DECIDED, Mark.CLOSED}),
        Entry(asked.asked, Mark.NOTE, f"asked people ({asked.id}): {why}"),
        Entry(now, Mark.ACT, f"{asked.id} denied by {said.by}: {said.reason}"),
        Entry(now, Mark.CLOSED, f"nothing was written: {said.by} said no"),
    )
    trigger = Trigger(said.by, f"{said.reason} (no to {asked.id})")
    return replace(observed, trigger=trigger, entries=tuple(sorted(entries, key=lambda each: each.at)))
