"""What every steering says of its fence: refusals in one voice, and the one text that holds a fence with its shares."""

from __future__ import annotations

import json

from orchestrator.core.errors import BadFence, Unsteerable
from orchestrator.core.steering import (
    Fence,
    Landing,
    Routing,
    SteeringChange,
    decode,
    encode,
    serving,
    shares_in,
    shares_of,
)
from orchestrator.core.topology import Answer
from providers.base import ChangedOutside, Refused, StaleGeneration


def said(answer: Answer | None) -> str:
    """*answer* as a person would say it."""
    return ", ".join(answer.values) if answer and answer.values else "nothing"


def checked(change: SteeringChange, name: str) -> SteeringChange:
    """*change*, whose answer is shares. Raises Refused for a write that would leave *name* without an answer."""
    if not change.answer.values or not serving(change.weights):
        raise Refused(f"this write would leave {name} without an answer; give an endpoint a weight above 0")
    try:
        if change.answer.kind != "shares" or shares_of(shares_in(change.answer)) != change.answer:
            raise ValueError
        encode(change.fence)
    except ValueError:
        raise Refused(
            f"{name} is steered by shares, which '{said(change.answer)}' is not; apply the topology"
        ) from None
    except (BadFence, Unsteerable) as error:
        raise Refused(f"the fence of {name} cannot be written: {error}") from error
    return change


def ahead(fence: Fence | None, change: SteeringChange, how: str, *, name: str, at: str) -> StaleGeneration:
    """Somebody else wrote *how* ("first"). *at* is the place of the fence."""
    if fence is None:
        return StaleGeneration(
            f"the fence at {at} is gone, where generation {change.expects} was expected: adopt the service again"
        )
    return StaleGeneration(
        f"run {fence.run}, step {fence.step} wrote generation {fence.generation} of {name} {how}; "
        f"this write expected generation {change.expects}: plan again"
    )


def outside(change: SteeringChange, now: Routing, *, name: str) -> ChangedOutside:
    """Somebody edited the answer by hand: under our own write, or under the generation that the write expected."""
    ours = now.fence is not None and now.fence.token == change.fence.token
    meant = change.answer if ours else change.was
    return ChangedOutside(
        f"{name} answers {said(now.answer)} where generation {now.generation} left {said(meant)}: "
        "it was changed outside; put it back, or adopt it as it is"
    )


def refusal(verdict: Landing, change: SteeringChange, now: Routing, *, name: str, at: str) -> Refused:
    """Why *change* may not be written, for a verdict that says so."""
    match verdict:
        case Landing.SUPERSEDED:
            return ahead(now.fence, change, "after this write had landed", name=name, at=at)
        case Landing.STALE:
            return ahead(now.fence, change, "first", name=name, at=at)
        case Landing.CHANGED_OUTSIDE:
            return outside(change, now, name=name)
        case Landing.OURS | Landing.NOT_YET:
            raise ValueError(f"{verdict} refuses nothing")


def expected(change: SteeringChange, fence: Fence | None) -> bool:
    """Whether *fence* is the one that *change* replaces: by its generation and by its writer.

    A generation alone may be of another history: a record that was deleted and adopted anew.
    """
    if fence is None or not change.lineage:
        return change.expects == (fence.generation if fence else 0)
    return change.lineage[0] == (fence.generation, fence.token) and change.expects == fence.generation


def page(fence: Fence, answer: Answer) -> str:
    """The text of a routing document: the fence, and the shares it means, in percents by target."""
    return json.dumps({"failover": encode(fence), "shares": dict(shares_in(answer))}, indent=1, sort_keys=True) + "\n"


def page_in(text: str, at: str) -> tuple[Fence, Answer]:
    """Fence and shares of a routing document. Raises BadFence for a text that is none."""
    try:
        document = json.loads(text)
        return decode(str(document["failover"])), weighed(document["shares"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        shown = " ".join(text.split())[:80]
        raise BadFence(f"{at} holds '{shown}', which is no routing document: see who else writes there") from error


def weighed(shares: object) -> Answer:
    """The answer of a document's ``shares``, whole numbers by target. Raises ValueError for anything else."""
    if not isinstance(shares, dict) or not all(type(share) is int and share >= 0 for share in shares.values()):
        raise ValueError("shares are whole numbers by target")
    return shares_of(tuple(sorted(shares.items())))
