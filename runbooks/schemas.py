"""The shape of a runbook file: pydantic models at the parsing border, whose docstrings are the reference page."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from orchestrator.config import fields as f
from orchestrator.core.topology import Header
from runbooks.fields import Again, Budget, Count, Given, Name, Percent, Seconds, Stages
from runbooks.model import (
    DEFAULTS,
    ApproveTask,
    BookStep,
    CallTask,
    CheckTask,
    ConvergeTask,
    DemoteTask,
    DrainTask,
    FenceTask,
    NotifyTask,
    ParallelTask,
    ParameterType,
    PromoteTask,
    RunbookTask,
    SteerTask,
    Task,
    VerifyTask,
    WaitTask,
)
from runbooks.plan import Analysis, Hook, OnFailure, OnSilence, OnUnweighable, When


class Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StepSchema(Schema):
    id: Name
    """Unique in the runbook."""
    timeout: Budget | None = None
    """For all attempts together."""
    retry: Again | None = None
    """How often it is tried again after the first attempt."""
    when: When = When.ALWAYS
    """`planned`: only while the source still serves; `unplanned`: only while it is down; `always`."""
    on_failure: OnFailure | None = None
    """`rollback` puts back what was done; `halt` stops and calls a person; `continue` notes it and goes on;
    `ask` waits for a person, who says retry, skip or abort."""
    expected: Seconds | None = None
    """How long it usually takes; left out: as measured in earlier runs. Much longer is told as stuck."""
    undo: StrictBool = True
    """`false`: what it did stays when the run is put back."""
    enabled: StrictBool = True
    """`false`: the step stands here for people to switch on, and is in no plan."""

    def task(self) -> Task:
        raise NotImplementedError

    def step(self) -> BookStep:
        """The step as a frozen value, with the defaults of its type."""
        task = self.task()
        usual = DEFAULTS[task.type]
        return BookStep(
            id=self.id,
            task=task,
            timeout_s=usual.timeout_s if self.timeout is None else self.timeout,
            attempts=usual.attempts if self.retry is None else self.retry + 1,
            on_failure=usual.on_failure if self.on_failure is None else self.on_failure,
            when=self.when,
            enabled=self.enabled,
            undo=self.undo,
            expected_s=self.expected,
        )


class PromoteStep(StepSchema):
    """Scale the target up before it gets traffic, wait until it is ready. Its undo returns the replicas it had.

    Where several endpoints begin to get traffic, each is scaled, side by side (`promote-us`, `promote-ap`). Left out of
    the plan where there is no workload.
    """

    type: Literal["promote"]
    replicas: Annotated[StrictInt, Field(ge=1)] | None = None
    """Of the target; left out, and for the others: the workload's `serving`."""

    def task(self) -> Task:
        return PromoteTask(self.replicas)


class VerifyStep(StepSchema):
    """Ask the target until it has answered well several times in a row, by completed inferences where it is a model.

    Where several endpoints begin to get traffic, each is asked, once it is scaled.
    """

    type: Literal["verify"]
    passes: Count = VerifyTask().passes
    """Good answers in a row."""
    vantages: Count = VerifyTask().vantages
    """From how many places at once; each must see them."""

    def task(self) -> Task:
        return VerifyTask(self.passes, self.vantages)


class AnalysisSchema(Schema):
    """What the target's answers must look like beside the source's before it gets more traffic."""

    samples: Annotated[StrictInt, Field(ge=1, le=1000)] = Analysis().samples
    """Answers asked of each while a stage holds. Fewer are no data, and no data is never a pass."""
    max_errors: Percent = Analysis().max_errors
    """Percent of the target's answers that may fail."""
    slower: Annotated[float, Field(ge=1, le=100)] = Analysis().slower
    """The target's median first token may take this many times the source's, and 100 ms more."""
    first_token: Seconds | None = None
    """The longest median first token, whatever the source's is."""

    def value(self) -> Analysis:
        return Analysis(self.samples, self.max_errors, self.slower, self.first_token)


class SteerStep(StepSchema):
    """Move the weights by compare-and-set: at once, or by stages. Its undo goes back to the weights there were."""

    type: Literal["steer"]
    stages: Stages | None = None
    """Percents of the move, rising; 100 comes last. Left out: at once. The steering must be able to weigh."""
    unweighable: OnUnweighable = SteerTask().unweighable
    """Where the steering cannot weigh: `refuse` makes no plan, `at-once` moves everything in one write and says so."""
    hold: Seconds = SteerTask().hold_s
    """How long each stage but the last stands before the next."""
    analysis: AnalysisSchema | None = None
    """What must hold before the next stage: pass goes on, fail goes back, no clear answer asks a person."""
    jitter: Seconds = SteerTask().jitter_s
    """Where other services move to the same region, or nobody waits for it: it begins up to so much later, and each
    hold is up to so much longer (never doubled), so that not all steer in one second. The plan says the seconds."""

    def task(self) -> Task:
        analysis = self.analysis.value() if self.analysis else None
        return SteerTask(self.stages or (), self.hold, analysis, self.unweighable, self.jitter)


class ConvergeStep(StepSchema):
    """Wait until every authoritative server gives the new answer, then one old TTL for the caches."""

    type: Literal["converge"]

    def task(self) -> Task:
        return ConvergeTask()


class DrainStep(StepSchema):
    """Let requests in flight finish at the source, for as long as its timeout. Left out where nothing can tell."""

    type: Literal["drain"]

    def task(self) -> Task:
        return DrainTask()


class FenceStep(StepSchema):
    """Keep the old endpoint from serving: its workload is scaled to nothing, and read back. There is no undo."""

    type: Literal["fence"]

    def task(self) -> Task:
        return FenceTask()


class DemoteStep(StepSchema):
    """Return the source to standby capacity, if it still has no traffic. There is no undo."""

    type: Literal["demote"]
    bake: Seconds = DemoteTask().bake_s
    """How long it is kept first."""

    def task(self) -> Task:
        return DemoteTask(self.bake)


class ApproveStep(StepSchema):
    """Wait for people to say yes. The timeout is how long each role is waited for."""

    type: Literal["approve"]
    role: f.Id | None = None
    """A role of the topology; left out: anybody."""
    people: Annotated[StrictInt, Field(ge=1, le=5)] = 1
    """Different persons. With two or more, whoever started the run is none of them."""
    escalate: tuple[f.Id, ...] = ()
    """Roles that are asked one after another, as well, when a timeout has passed."""
    on_timeout: OnSilence = "abort"
    """What silence means in the end: `abort` or `proceed`."""

    def task(self) -> Task:
        return ApproveTask(self.role, self.people, self.escalate, self.on_timeout)


class CheckStep(StepSchema):
    """Ask the safety rules once more, in the light of now."""

    type: Literal["check"]
    rules: tuple[str, ...] = ()
    """Names of rules; left out: all of them."""

    def task(self) -> Task:
        return CheckTask(self.rules)


class HookSchema(Schema):
    """An HTTP request. It carries `Idempotency-Key` and a JSON body with run, step, service, source and target."""

    url: f.WebhookUrl
    """Where it goes."""
    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    """How."""
    headers: Annotated[dict[f.HeaderName, f.HeaderValue], Field(max_length=50)] = {}
    """Header names and values. A secret is `{env: NAME}` or `{file: PATH}`."""
    data: Annotated[dict[str, f.Scalar], Field(max_length=50)] = {}
    """Further fields of the JSON body."""
    status: Annotated[tuple[f.Status, ...], Field(min_length=1, max_length=20)] = ("2xx",)
    """Answers that mean done. 429, 502, 503 and 504 are asked again; any other is a refusal."""

    def value(self) -> Hook:
        headers = tuple(Header(name, value) for name, value in sorted(self.headers.items()))
        return Hook(self.url, self.method, headers, tuple(sorted(self.data.items())), self.status)


class CallStep(StepSchema):
    """Ask an HTTP hook, with an idempotency key; the undo asks another one."""

    type: Literal["call"]
    hook: HookSchema
    """What is asked."""
    back: HookSchema | None = None
    """What takes it back; left out: nothing does."""

    def task(self) -> Task:
        return CallTask(self.hook.value(), self.back.value() if self.back else None)


class NotifyStep(StepSchema):
    """Tell people. Nothing waits for it."""

    type: Literal["notify"]
    text: f.Text
    """What they are told."""

    def task(self) -> Task:
        return NotifyTask(self.text)


class WaitStep(StepSchema):
    """Hold."""

    type: Literal["wait"]
    seconds: Seconds = Field(alias="for")
    """How long."""

    def task(self) -> Task:
        return WaitTask(self.seconds)


class ParallelStep(StepSchema):
    """Branches that run side by side; what comes after waits for all of them."""

    type: Literal["parallel"]
    branches: Annotated[tuple[tuple[AnyStep, ...], ...], Field(min_length=1, max_length=20)]
    """Lists of steps."""

    def task(self) -> Task:
        return ParallelTask(tuple(tuple(step.step() for step in branch) for branch in self.branches))


class RunbookStep(StepSchema):
    """The steps of another runbook, in place of this one."""

    type: Literal["runbook"]
    runbook: Name
    """Its name."""
    values: Annotated[dict[str, Given], Field(max_length=50)] = Field(default={}, alias="with")
    """Values for its parameters."""

    def task(self) -> Task:
        return RunbookTask(self.runbook, tuple(sorted(self.values.items())))


AnyStep = Annotated[
    PromoteStep
    | VerifyStep
    | SteerStep
    | ConvergeStep
    | DrainStep
    | FenceStep
    | DemoteStep
    | ApproveStep
    | CheckStep
    | CallStep
    | NotifyStep
    | WaitStep
    | ParallelStep
    | RunbookStep,
    Field(discriminator="type"),
]
STEPS: Mapping[str, type[StepSchema]] = MappingProxyType(
    {
        "promote": PromoteStep,
        "verify": VerifyStep,
        "steer": SteerStep,
        "converge": ConvergeStep,
        "drain": DrainStep,
        "fence": FenceStep,
        "demote": DemoteStep,
        "approve": ApproveStep,
        "check": CheckStep,
        "call": CallStep,
        "notify": NotifyStep,
        "wait": WaitStep,
        "parallel": ParallelStep,
        "runbook": RunbookStep,
    }
)


class ParameterSchema(Schema):
    """One value that a service, a caller or an outer runbook may choose. Used as `{param: NAME}`."""

    type: ParameterType
    """`duration`, `integer`, `number`, `percents`, `text` or `boolean`."""
    default: Any = None
    """Left out: it must be given."""
    description: str = ""
    """What it is for."""


class MetadataSchema(Schema):
    name: Name
    """What policies and people call it, whatever its file is called."""


class BookSchema(Schema):
    """A runbook: a template of typed steps, resolved against the topology into a plan."""

    apiVersion: Literal["failover/v1"]  # noqa: N815  the file's own field name
    """The version of this format."""
    kind: Literal["Runbook"]
    """What this file is."""
    metadata: MetadataSchema
    """Its name."""
    description: str = ""
    """What it is for, in a sentence."""
    parameters: dict[Name, ParameterSchema] = {}
    """Values that are chosen when it is used."""
    steps: tuple[AnyStep, ...]
    """What is done, in this order."""
