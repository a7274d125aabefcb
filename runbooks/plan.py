"""A plan: a runbook resolved against the topology. Immutable, with no choice left in it.

It carries everything its execution needs (addresses, fence, undo, budgets), so that the failover workflow and
break-glass carry out the same value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from orchestrator.core.move import MoveKind, Objection, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
from orchestrator.core.steering import Fence
from orchestrator.core.topology import Answer, Header, ProbeSpec, ReadinessSpec, SteeringSpec, Weights, Workload

OnFailure = Literal["rollback", "halt", "continue", "ask"]
"""``ask``: the run waits for a person, who says retry, skip or abort."""
OnSilence = Literal["abort", "proceed"]
"""What an approval that nobody answers means."""
OnUnweighable = Literal["refuse", "at-once"]
"""What a move by stages becomes where the steering cannot express them: no plan, or one write that says so."""


class When(StrEnum):
    """The moves that a step is part of."""

    PLANNED = "planned"
    UNPLANNED = "unplanned"
    ALWAYS = "always"

    def holds(self, *, planned: bool) -> bool:
        """Whether the step is part of a move that is (not) *planned*."""
        return self is When.ALWAYS or (self is When.PLANNED) == planned


@dataclass(frozen=True, slots=True)
class Place:
    """An endpoint as a step needs it: where it is and how it is asked."""

    endpoint: EndpointId
    url: str
    name: str
    """The service's host name, for probes *as the name*."""
    region: Domain
    probes: tuple[ProbeSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Promote:
    """Scale the target up (dark, before traffic), wait until it is ready, warm the model."""

    endpoint: EndpointId
    workload: Workload
    replicas: int
    was: int | None = None
    """Replicas before, for the undo; None: read when the step starts and recorded in its result."""
    kind: Literal["promote"] = "promote"


@dataclass(frozen=True, slots=True)
class Verify:
    """Require *passes* good answers in a row from the target: a completed inference where a chat probe exists."""

    place: Place
    passes: int
    vantages: int = 1
    """From how many places at once; each must see the answers."""
    readiness: tuple[ReadinessSpec, ...] = ()
    """What is examined first."""
    kind: Literal["verify"] = "verify"


@dataclass(frozen=True, slots=True)
class Steer:
    """Move the weights by compare-and-set. The fence and the answer to replace are in the plan."""

    steering: SteeringSpec
    expects: int
    was: Answer | None
    weights: Weights
    answer: Answer
    lineage: tuple[tuple[int, str], ...] = ()
    before: Weights | None = None
    """Weights to go back to; None where the old answer was no known set of endpoints.

    In a move by stages each stage goes back all the way, so that one write takes everything back.
    """
    origin: Answer | None = None
    """The answer that *before* means; None: *was*."""
    stands: Fence | None = None
    """The fence as it was read: a write made by hand names it to the letter."""
    kind: Literal["steer"] = "steer"


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the answers of the target must look like beside the source's before it gets more traffic."""

    samples: int = 10
    """Completions (or answers) asked of each while the stage holds; fewer are no data, and no data is no pass."""
    max_errors: float = 0.0
    """Percent of the target's that may fail."""
    slower: float = 2.0
    """The target's median first token may take this many times the source's, and 100 ms more."""
    first_token_s: float | None = None
    """The longest median first token, whatever the source's is."""


@dataclass(frozen=True, slots=True)
class Room:
    """What an endpoint must have ready before it gets more traffic: replicas may have come back only in part."""

    workload: Workload
    ready: int
    """Replicas."""
    percent: int
    """The stage of the move that needs them."""


@dataclass(frozen=True, slots=True)
class Gainer:
    """An endpoint that gets more traffic by a stage."""

    place: Place
    room: Room | None = None
    """What the stage after it needs there."""


@dataclass(frozen=True, slots=True)
class Analyse:
    """Hold *hold_s*; with *analysis*, ask target and source all the while, and judge; with *room*, look for that.

    *others* gain beside the target: they are asked, judged and looked at as it is, and the worst of all counts.
    """

    target: Place
    source: Place | None
    hold_s: float
    analysis: Analysis | None
    room: Room | None = None
    """What the stage after it needs."""
    others: tuple[Gainer, ...] = ()
    kind: Literal["analyse"] = "analyse"

    @property
    def gainers(self) -> tuple[Gainer, ...]:
        """All that gain, the target first."""
        return (Gainer(self.target, self.room), *self.others)


@dataclass(frozen=True, slots=True)
class Converge:
    """Ask every authoritative server until each gives *answer*; then hold for one TTL so that caches follow."""

    steering: SteeringSpec
    answer: Answer
    hold_s: float
    """Clients that obey the TTL have moved after this."""
    kind: Literal["converge"] = "converge"


@dataclass(frozen=True, slots=True)
class Drain:
    """Let requests in flight finish at the old endpoint, bounded by the step's timeout."""

    endpoint: EndpointId
    workload: Workload
    kind: Literal["drain"] = "drain"


@dataclass(frozen=True, slots=True)
class FenceOff:
    """Keep the old endpoint from serving: scaled to nothing, and read back. Only at weight 0 under our generation."""

    endpoint: EndpointId
    workload: Workload
    kind: Literal["fence"] = "fence"


@dataclass(frozen=True, slots=True)
class Demote:
    """Return the old endpoint to standby capacity. Only when the routing shows it at weight 0 under our generation."""

    endpoint: EndpointId
    workload: Workload
    replicas: int
    steering: SteeringSpec
    bake_s: float
    kind: Literal["demote"] = "demote"


@dataclass(frozen=True, slots=True)
class Asked:
    """A role that is asked for a yes, and who may give it."""

    role: str | None
    people: tuple[str, ...] = ()
    """Empty: anybody."""


@dataclass(frozen=True, slots=True)
class Approve:
    """Wait for a yes from *people* different persons; each role is waited for, one after another."""

    roles: tuple[Asked, ...]
    people: int
    patience_s: float
    on_timeout: OnSilence
    kind: Literal["approve"] = "approve"


@dataclass(frozen=True, slots=True)
class Check:
    """Ask the safety rules again, in the light of now; those that the run sets aside by name are not asked."""

    rules: tuple[str, ...] = ()
    """Empty: all."""
    kind: Literal["check"] = "check"


@dataclass(frozen=True, slots=True)
class Hook:
    """An HTTP request that carries the effect token as ``Idempotency-Key`` and says in JSON what it is about."""

    url: str
    method: str = "POST"
    headers: tuple[Header, ...] = ()
    data: tuple[tuple[str, str], ...] = ()
    """Further fields of the JSON body."""
    status: tuple[str, ...] = ("2xx",)
    """Answers that mean done."""


@dataclass(frozen=True, slots=True)
class Call:
    """Ask *hook*; its undo asks *back*."""

    hook: Hook
    back: Hook | None = None
    kind: Literal["call"] = "call"


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell people *text*; nothing waits for it."""

    text: str
    kind: Literal["notify"] = "notify"


@dataclass(frozen=True, slots=True)
class Wait:
    """Hold for *seconds*."""

    seconds: float
    kind: Literal["wait"] = "wait"


Work = Promote | Verify | Steer | Analyse | Converge | Drain | FenceOff | Demote | Approve | Check | Call | Tell | Wait


@dataclass(frozen=True, slots=True)
class Step:
    id: str
    work: Work
    timeout_s: float
    attempts: int
    on_failure: OnFailure
    text: str
    """What it does, in one line: what the approver reads and the golden tests compare."""
    undo: str | None = None
    """What its undo does, in one line; None: there is nothing to undo."""
    after: tuple[str, ...] = ()
    """Ids of the steps that must be over before it begins; empty: it may begin at once."""
    when: When = When.ALWAYS
    """The moves that it is part of: a person may switch a run from planned to unplanned, and back."""
    generation: int = 0
    """The generation that stands when it begins: an act that takes capacity away goes on under no other."""
    expected_s: float = 0.0
    """How long it usually takes; much longer is told as stuck."""


@dataclass(frozen=True, slots=True)
class Plan:
    run: RunId
    service: ServiceId
    kind: MoveKind
    trigger: Trigger
    runbook: str
    source: tuple[EndpointId, ...]
    target: EndpointId
    before: Weights
    after: Weights
    revision: int
    generation: int
    objective_s: float
    steps: tuple[Step, ...]
    failing: tuple[Domain, ...] = ()
    objections: tuple[Objection, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    """The runbook's parameters, as text."""
    detection_s: float = 0.0
    """How long the outage had lasted when this was decided, or usually lasts: part of the predicted recovery."""
    book: str = ""
    """The fingerprint of the runbook's steps as they stood, nested ones included: a saved plan is compared by it."""
    remarks: tuple[str, ...] = ()
    """What whoever approves it must know besides; it changes nothing."""

    @property
    def planned(self) -> bool:
        """Whether the source still serves."""
        return self.kind is not MoveKind.FAILOVER

    def taken(self, *, planned: bool) -> tuple[Step, ...]:
        """The steps that are part of it while it is (not) *planned*."""
        return tuple(step for step in self.steps if step.when.holds(planned=planned))

    @property
    def longest_s(self) -> float:
        """How long its steps may take at the very most: the longest way through them, by their timeouts."""
        ends: dict[str, float] = {}
        for step in self.steps:
            taken = step.when.holds(planned=self.planned)
            ends[step.id] = max((ends[each] for each in step.after), default=0.0) + (step.timeout_s if taken else 0.0)
        return max(ends.values(), default=0.0)

    @property
    def predicted_s(self) -> float:
        """How long it usually takes until clients are served: the longest way to the last steer or converge."""
        ends: dict[str, float] = {}
        served = 0.0
        for step in self.steps:
            taken = step.when.holds(planned=self.planned)
            ends[step.id] = max((ends[each] for each in step.after), default=0.0) + (step.expected_s if taken else 0.0)
            if taken and isinstance(step.work, Steer | Converge):
                served = max(served, ends[step.id])
        return served or max(ends.values(), default=0.0)
