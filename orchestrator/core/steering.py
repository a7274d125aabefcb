"""Steering as values: the fence, the routing read beside it, and the answer that weights mean.

The fence stands in a TXT record at ``_failover.<name>``; a writer names the generation it replaces and the
server refuses it when the world has moved (RFC 2136, section 2.4.2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.errors import BadFence, Unsteerable
from orchestrator.core.names import EndpointId
from orchestrator.core.topology import Answer, Endpoint, Weights

LINEAGE = 4
"""How many past writes a fence remembers, so that an overtaken writer can tell *superseded* from *never landed*."""

_TOKEN = re.compile(r"[A-Za-z0-9._:/-]+")
"""What runs, steps and endpoint ids may be made of, so that a fence reads back as it was written."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Who wrote the answer last, and what it meant."""

    generation: int
    run: str
    step: str
    weights: Weights
    lineage: tuple[tuple[int, str], ...] = ()
    """Earlier ``(generation, token)`` pairs, newest first, at most LINEAGE."""

    @property
    def token(self) -> str:
        """The effect token of the write: ``run/step``."""
        return f"{self.run}/{self.step}"


@dataclass(frozen=True, slots=True)
class Routing:
    """Steering as it was read at the primary: answer, time to live, and the fence if there is one."""

    answer: Answer | None
    ttl_s: int
    fence: Fence | None = None

    @property
    def generation(self) -> int:
        """The generation to expect in the next write; 0 where no fence stands yet."""
        return self.fence.generation if self.fence else 0


@dataclass(frozen=True, slots=True)
class SteeringChange:
    """A compare-and-set: replace *expects* (generation and answer as read) by *weights*."""

    expects: int
    """Generation that must still stand; 0: no fence may stand."""
    was: Answer | None
    """The answer as it was read; it must still be exactly this."""
    weights: Weights
    answer: Answer
    run: str
    step: str
    lineage: tuple[tuple[int, str], ...] = ()

    @property
    def fence(self) -> Fence:
        """The fence this change leaves behind."""
        return Fence(self.expects + 1, self.run, self.step, self.weights, self.lineage)


def encode(fence: Fence) -> str:
    """The TXT value of *fence*: ``v=1 gen=42 run=... step=... w=eu:0,us:100 l=41:run/step``."""
    tokens = (token for _, token in fence.lineage)
    for part in (fence.run, fence.step, *tokens, *(endpoint for endpoint, _ in fence.weights)):
        if not _TOKEN.fullmatch(part):
            raise BadFence(f"'{part}' cannot stand in a fence: use letters, digits and . _ : / - only")
    weights = ",".join(f"{endpoint}:{weight}" for endpoint, weight in fence.weights)
    text = f"v=1 gen={fence.generation} run={fence.run} step={fence.step} w={weights}"
    if fence.lineage:
        text += " l=" + ",".join(f"{generation}:{token}" for generation, token in fence.lineage[:LINEAGE])
    return text


def decode(text: str) -> Fence:
    """Read a fence. Raises BadFence when the text is not one."""
    fields = dict(part.partition("=")[::2] for part in text.split())
    try:
        if fields["v"] != "1":
            raise BadFence(f"fence version {fields['v']} is newer than this program; upgrade it")
        weights = tuple(
            (EndpointId(name), int(weight))
            for name, _, weight in (pair.rpartition(":") for pair in fields["w"].split(",") if pair)
        )
        lineage = tuple(
            (int(generation), token)
            for generation, _, token in (pair.partition(":") for pair in fields.get("l", "").split(",") if pair)
        )
        fence = Fence(int(fields["gen"]), fields["run"], fields["step"], tuple(sorted(weights)), lineage)
    except (KeyError, ValueError) as error:
        raise BadFence(_foreign(text)) from error
    # A token that could not be written again would make the next fence unreadable.
    tokens = (fence.run, fence.step, *(token for _, token in lineage), *(endpoint for endpoint, _ in weights))
    sound = all(_TOKEN.fullmatch(token) for token in tokens) and all(0 <= weight <= 100 for _, weight in weights)
    if not sound or fence.generation < 1:
        raise BadFence(_foreign(text))
    return fence


def _foreign(text: str) -> str:
    return f"the fence record says '{text[:80]}', which this program did not write: see who else writes this name"


def next_lineage(fence: Fence | None) -> tuple[tuple[int, str], ...]:
    """The lineage that the write after *fence* carries."""
    return () if fence is None else ((fence.generation, fence.token), *fence.lineage)[:LINEAGE]


def full(endpoints: tuple[Endpoint, ...], target: EndpointId) -> Weights:
    """All traffic to *target*, nothing to the others."""
    return evenly(endpoints, (target,))


def evenly(endpoints: tuple[Endpoint, ...], chosen: tuple[EndpointId, ...]) -> Weights:
    """The same share for each of *chosen*, nothing to the others; the first of them takes the rest of 100."""
    inside = [endpoint.id for endpoint in endpoints if endpoint.id in chosen]
    share, rest = divmod(100, len(inside)) if inside else (0, 0)
    given = {endpoint: share + (rest if index == 0 else 0) for index, endpoint in enumerate(inside)}
    return tuple(sorted((endpoint.id, given.get(endpoint.id, 0)) for endpoint in endpoints))


def serving(weights: Weights) -> tuple[EndpointId, ...]:
    """The endpoints that get traffic."""
    return tuple(endpoint for endpoint, weight in weights if weight > 0)


def answer_for(endpoints: tuple[Endpoint, ...], weights: Weights) -> Answer:
    """What DNS must say for *weights*. Raises Unsteerable for an answer that is empty or cannot be said."""
    chosen = set(serving(weights))
    if not chosen:
        raise Unsteerable("all weights are 0, which would leave the name without an answer")
    answers: list[Answer] = []
    for endpoint in endpoints:
        if endpoint.id not in chosen:
            continue
        if endpoint.answer is None or not endpoint.answer.values:
            raise Unsteerable(f"endpoint '{endpoint.id}' has no answer: give it addresses or a cname")
        answers.append(endpoint.answer)
    if len(answers) != len(chosen):
        missing = sorted(chosen - {endpoint.id for endpoint in endpoints})
        raise Unsteerable(f"no endpoint is called {', '.join(missing)}")
    kinds = {answer.kind for answer in answers}
    if kinds == {"target"}:
        called = {each.id: each.answer.values[0] for each in endpoints if each.id in chosen and each.answer}
        return shares_of(tuple((called[name], weight) for name, weight in weights if weight > 0))
    if "target" in kinds:
        raise Unsteerable("a target and a DNS answer cannot share traffic: give all endpoints one kind of answer")
    if kinds == {"cname"} and len(answers) == 1:
        return answers[0]
    if "cname" in kinds:
        raise Unsteerable("a CNAME allows one endpoint at a time: send all traffic to one of them")
    return Answer("addresses", tuple(sorted({value for answer in answers for value in answer.values})))


def shares_of(weighed: tuple[tuple[str, int], ...]) -> Answer:
    """How traffic is spread over targets of such weights, in percents that sum to 100; no values where none is above 0.

    Providers count as they like (Route 53 to 255, Envoy to any sum): what they say is brought to percents by the
    largest remainder, so that the same spread always reads the same.
    """
    total = sum(weight for _, weight in weighed)
    if total <= 0:
        return Answer("shares", ())
    parts = {target: divmod(weight * 100, total) for target, weight in sorted(weighed) if weight > 0}
    rest = 100 - sum(whole for whole, _ in parts.values())
    # Who is nearest to one more gets it; then, by name, as nothing else may decide.
    favoured = sorted(parts, key=lambda target: (-parts[target][1], target))[:rest]
    percents = {target: whole + (target in favoured) for target, (whole, _) in parts.items()}
    return Answer("shares", tuple(sorted(f"{target}={percent}" for target, percent in percents.items() if percent)))


def shares_in(answer: Answer) -> tuple[tuple[str, int], ...]:
    """``(target, percent)`` of an answer of kind ``shares``, sorted by target. Raises ValueError for another text."""
    parted = (value.rpartition("=") for value in answer.values)
    return tuple(sorted((target, int(percent)) for target, _, percent in parted))


def sends_to(answer: Answer, own: Answer) -> bool:
    """Whether clients that are given *answer* come to the endpoint whose own answer is *own*."""
    if answer.kind == "shares":
        return bool({target for target, _ in shares_in(answer)} & set(own.values))
    return bool(set(answer.values) & set(own.values))


def weights_in(answer: Answer | None, endpoints: tuple[Endpoint, ...]) -> Weights | None:
    """The weights that *answer* stands for, or None when it holds something that no endpoint explains.

    Plain DNS does not weigh: endpoints in the answer share 100 evenly (rounded down, the first takes the rest).
    """
    if answer is None:
        return None
    if answer.kind == "shares":
        said_shares = dict(shares_in(answer))
        known = {each.answer.values[0]: each.id for each in endpoints if each.answer and each.answer.kind == "target"}
        if not said_shares or not known.keys() >= said_shares.keys():
            return None
        given = {known[target]: percent for target, percent in said_shares.items()}
        return tuple(sorted((each.id, given.get(each.id, 0)) for each in endpoints))
    said = set(answer.values)
    inside = tuple(e.id for e in endpoints if _within(e, answer.kind, said))
    explained = {value for e in endpoints if e.id in inside and e.answer for value in e.answer.values}
    return evenly(endpoints, inside) if inside and explained == said else None


def _within(endpoint: Endpoint, kind: str, said: set[str]) -> bool:
    answer = endpoint.answer
    return answer is not None and answer.kind == kind and bool(answer.values) and said.issuperset(answer.values)


def stands(routing: Routing, endpoints: tuple[Endpoint, ...]) -> bool:
    """Whether the live answer is the one that the fence's weights mean; without a fence, never."""
    if routing.fence is None:
        return False
    try:
        return answer_for(endpoints, routing.fence.weights) == routing.answer
    except Unsteerable:
        return False


@dataclass(frozen=True, slots=True)
class Former:
    """An answer that a write of ours meant, though the topology has given its endpoints other answers since."""

    generation: int
    answer: Answer

    def holds(self, routing: Routing) -> bool:
        """Whether *routing* is still that write: the record waits for the next move, nobody has edited it by hand."""
        return routing.fence is not None and (routing.generation, routing.answer) == (self.generation, self.answer)


def former(
    routing: Routing | None, before: tuple[Endpoint, ...], after: tuple[Endpoint, ...], known: Former | None
) -> Former | None:
    """What is to be kept of *routing* when the endpoints *before* become those *after*; None: nothing.

    An endpoint that is gone is no endpoint with another answer: that traffic goes to it must be told.
    """
    if routing is None or routing.answer is None or routing.fence is None or stands(routing, after):
        return None
    if not {each.id for each in after}.issuperset(serving(routing.fence.weights)):
        return None
    ours = stands(routing, before) or (known is not None and known.holds(routing))
    return Former(routing.generation, routing.answer) if ours else None


def shares_now(routing: Routing, endpoints: tuple[Endpoint, ...], former: Former | None = None) -> Weights | None:
    """How traffic is spread: by the fence while the answer agrees with it, else by the answer that clients see.

    None when the answer is no known set of endpoints.
    """
    if routing.fence is not None and (stands(routing, endpoints) or (former is not None and former.holds(routing))):
        return routing.fence.weights
    return weights_in(routing.answer, endpoints)


class Landing(StrEnum):
    """What a refused or unanswered write turns out to be, once the world is read again."""

    OURS = "ours"
    """Our write stands: success."""
    SUPERSEDED = "superseded"
    """Our write landed and somebody wrote after it: halt."""
    STALE = "stale"
    """Somebody else took the generation that we expected: re-plan."""
    CHANGED_OUTSIDE = "changed-outside"
    """The generation we expected still stands, with another answer: a hand edit. Hold and tell."""
    NOT_YET = "not-yet"
    """Nothing has changed: the write did not land and may be sent again."""


def landing(change: SteeringChange, now: Routing) -> Landing:
    """Judge a write by what stands now. Pure: the caller has read *now* at the primary."""
    wanted = change.fence
    fence = now.fence
    if fence is not None and fence.token == wanted.token and fence.generation == wanted.generation:
        return Landing.OURS if now.answer == change.answer else Landing.CHANGED_OUTSIDE
    if fence is not None and (wanted.generation, wanted.token) in fence.lineage:
        return Landing.SUPERSEDED
    if now.generation != change.expects:
        return Landing.STALE
    return Landing.NOT_YET if now.answer == change.was else Landing.CHANGED_OUTSIDE
