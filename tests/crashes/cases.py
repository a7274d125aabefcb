"""The crash matrix: which step, who dies, and what the world must look like afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HEAD = "apiVersion: failover/v1\nkind: Runbook\nmetadata: {name: @name@}\nsteps:\n"
STEER = "  - {id: steer, type: steer}\n"
HOME = HEAD.replace("@name@", "home") + STEER
DO, UNDO = "{url: '@hook@/do'}", "{url: '@hook@/back'}"
BACK = "  - {id: never, type: call, hook: {url: '@hook@/no'}, retry: 0, on_failure: rollback}\n"
"""A hook that says no once traffic has moved: everything before it is put back."""

WORKER, EVERYBODY, TEMPORAL = "worker", "all workers", "temporal"


@dataclass(frozen=True, slots=True)
class Story:
    """A runbook for a move from paris to ohio, and what it leaves."""

    steps: str
    crash: str
    """The step in which it happens."""
    writes: int = 1
    """Generations that the fence has gone up."""
    at: str = "ohio"
    """Where the traffic is in the end."""
    completed: bool = True
    ohio: int = 1
    """Replicas that ohio was told to have, in the end."""
    paris: int = 2
    calls: tuple[str, ...] = ()
    """Paths of the hooks that must have been asked, once each by their key."""
    inside: bool = False
    """The workflow itself carries the step out: only who decides can die in it."""


STORIES: dict[str, Story] = {
    "promote": Story("  - {id: promote, type: promote}\n" + STEER, "promote", ohio=2),
    "verify": Story("  - {id: verify, type: verify}\n" + STEER, "verify"),
    "steer": Story(STEER, "steer"),
    "stage": Story("  - {id: steer, type: steer, stages: [50], hold: 200ms}\n", "steer.50", writes=2),
    "analyse": Story(
        "  - {id: steer, type: steer, stages: [50], hold: 1s, analysis: {samples: 2, slower: 20}}\n",
        "steer.50.hold",
        writes=2,
    ),
    "converge": Story(STEER + "  - {id: converge, type: converge}\n", "converge"),
    "drain": Story(STEER + "  - {id: drain, type: drain, timeout: 10s}\n", "drain"),
    "fence": Story(STEER + "  - {id: fence, type: fence}\n", "fence", paris=0),
    "demote": Story(STEER + "  - {id: demote, type: demote, bake: 0s}\n", "demote", paris=1),
    "check": Story("  - {id: check, type: check, rules: [target-down]}\n" + STEER, "check"),
    "call": Story(f"  - {{id: call, type: call, hook: {DO}}}\n" + STEER, "call", calls=("do",)),
    "approve": Story("  - {id: yes, type: approve, timeout: 1m}\n" + STEER, "yes", inside=True),
    "wait": Story("  - {id: hold, type: wait, for: 1s}\n" + STEER, "hold", inside=True),
    "notify": Story("  - {id: say, type: notify, text: hello}\n" + STEER, "say", inside=True),
    "parallel": Story(
        "  - id: both\n    type: parallel\n    branches:\n"
        "      - [{id: one, type: verify}]\n      - [{id: two, type: verify}]\n" + STEER,
        "two",
    ),
    "undo-promote": Story(
        "  - {id: promote, type: promote}\n" + STEER + BACK,
        "promote-undo",
        writes=2,
        at="paris",
        completed=False,
    ),
    "undo-steer": Story(STEER + BACK, "steer-undo", writes=2, at="paris", completed=False),
    "undo-call": Story(
        f"  - {{id: call, type: call, hook: {DO}, back: {UNDO}}}\n" + STEER + BACK,
        "call-undo",
        writes=2,
        at="paris",
        completed=False,
        calls=("back", "do"),
    ),
}
"""By the kind of step."""


@dataclass(frozen=True, slots=True)
class Crash:
    """One case: in which story who dies when."""

    story: str
    who: str
    when: str

    def __str__(self) -> str:
        return f"{self.story}, {self.who} {self.when}"


def every() -> Iterator[Crash]:
    """The whole matrix."""
    for name, story in STORIES.items():
        if not story.inside:
            yield from (Crash(name, WORKER, when) for when in ("before", "during", "after"))
        yield Crash(name, EVERYBODY, "during")
        yield Crash(name, TEMPORAL, "during")


SHORT = (
    Crash("promote", WORKER, "after"),
    Crash("steer", WORKER, "during"),
    Crash("undo-steer", WORKER, "after"),
    Crash("drain", EVERYBODY, "during"),
    Crash("analyse", TEMPORAL, "during"),
)
"""What every test run tries."""


def book(name: str, hook: str) -> str:
    """The story's runbook as a file, with the address of the hooks."""
    return (HEAD + STORIES[name].steps).replace("@name@", name).replace("@hook@", hook)
