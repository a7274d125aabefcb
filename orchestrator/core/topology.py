"""The topology: which services exist, where they can be served, how they are watched and steered.

Frozen values. ``orchestrator.config`` builds them from ``failover.yaml``; nothing else does, apart from tests.
Durations are seconds (float), weights are integers 0-100, collections are sorted tuples.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.orders import NO_ORDERS, Freeze, Orders
from orchestrator.core.signals import Effect

Weights = tuple[tuple[EndpointId, int], ...]
"""Share of traffic for every endpoint of a service, sorted by endpoint id, each 0-100."""


class Mode(StrEnum):
    """What the orchestrator may do by itself for one service."""

    OBSERVE = "observe"
    """Decide and record what would be done; write nothing. The default."""
    APPROVAL = "approval"
    """Decide, then ask a person."""
    AUTOMATIC = "automatic"
    """Decide and act, unless a rule says ask or hold."""
    MANUAL = "manual"
    """Watch only; people start every run."""


class Ungoverned(StrEnum):
    """What automation does while the governor, who counts what moves elsewhere, does not answer."""

    ASK = "ask"
    PROCEED = "proceed"


class Unanswered(StrEnum):
    """What it means that nobody has answered a question of a service in time."""

    HOLD = "hold"
    PROCEED = "proceed"
    """Do what mode ``automatic`` would do; where a safety rule asks, that is nothing."""


class Shares(StrEnum):
    """What spread of traffic a steering can express."""

    ONE = "one"
    """One endpoint at a time."""
    EQUAL = "equal"
    """A set of endpoints, evenly (plain DNS addresses)."""
    WEIGHTED = "weighted"


class Role(StrEnum):
    ACTIVE = "active"
    STANDBY = "standby"


class ProbeKind(StrEnum):
    HTTP = "http"
    TCP = "tcp"
    CHAT = "chat"
    """An OpenAI-compatible streaming chat completion, judged on its completed content."""


class Connection(StrEnum):
    KEPT_ALIVE = "kept-alive"
    FRESH = "fresh"


class SecretSource(StrEnum):
    ENV = "env"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is, never what it is. Resolved on the worker that uses it."""

    source: SecretSource
    name: str


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    value: str | Secret


@dataclass(frozen=True, slots=True)
class Expect:
    """What a good answer looks like."""

    status: tuple[str, ...] = ("2xx",)
    """Status codes ("204") or classes ("2xx")."""
    body: str | None = None
    """Text that the body (HTTP) or the completed content (chat) must contain."""
    json_path: str | None = None
    """Dotted path into a JSON body: ``status`` or ``data.0.id``."""
    json_equals: str | None = None
    """What the value at *json_path* must be, as text; None: it only has to exist."""
    latency_s: float | None = None
    """An answer that is right but slower than this is ``degraded``, not down."""
    certificate_days: int | None = None
    """A certificate that expires within this many days is ``degraded``."""


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One question, asked of one endpoint from every vantage."""

    id: str
    kind: ProbeKind
    interval_s: float
    timeout_s: float
    """Covers the whole exchange: connect, TLS, request, last byte of the answer."""
    rise: int = 2
    fall: int = 3
    fast_confirm_s: float = 0.1
    """From start to start of re-probes after a refusal, reset or connect time-out; 0 turns fast confirm off."""
    jitter: float = 0.1
    """Fraction of the interval over which starts are spread."""
    connection: Connection = Connection.KEPT_ALIVE
    as_name: bool = False
    """Ask under the service's own name (Host, SNI, certificate) at this endpoint's address."""
    method: str = "GET"
    path: str = "/"
    headers: tuple[Header, ...] = ()
    host: str | None = None
    sni: str | None = None
    ca: str | None = None
    """File of PEM certificates to trust instead of the system's."""
    expect: Expect = Expect()
    model: str | None = None
    prompt: str | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What clients are given: what DNS says for a name, or how a weighing steering spreads traffic. Values sorted."""

    kind: str
    """``addresses`` (A and AAAA together) or ``cname``: what plain DNS says, of an endpoint or of the name.
    ``target``, of an endpoint alone: what a weighing steering calls it, one value.
    ``shares``, of the name alone: ``target=percent`` for each target with traffic; the percents sum to 100."""
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Workload:
    """The handle of what serves an endpoint, for promote, drain and demote."""

    provider: str
    """Name in ``providers.registry``: ``local``, later ``ecs``, ``cloud-run`` ..."""
    target: str
    """What the provider calls it."""
    serving: int = 1
    """Replicas while it carries traffic."""
    standby: int = 0
    """Replicas while it waits."""
    options: tuple[tuple[str, str], ...] = ()
    per_hour: float | None = None
    """What one replica costs an hour, by the price sheet; None: not known."""
    currency: str = ""


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """Outside evidence on one endpoint: where it is read, and what it does while it is active."""

    id: str
    provider: str
    """Name in ``providers.registry``: ``prometheus`` ..."""
    target: str
    """What is asked there: a query, the name of an alarm."""
    effect: Effect = Effect.NOTE
    options: tuple[tuple[str, str], ...] = ()
    secret: Secret | None = None
    """A token, where the source wants one."""


class Blocks(StrEnum):
    """Which moves an endpoint that is not ready holds up."""

    PLANNED = "planned"
    """Those that have time. An unplanned one goes on, and its record says what was found."""
    ALWAYS = "always"
    """Unplanned ones, too: what is missing would do more harm than the outage."""
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class ReadinessSpec:
    """State that must be there before traffic comes: model artifacts, a replica that has caught up."""

    id: str
    provider: str
    """Name in ``providers.registry``: ``replication-lag`` ..."""
    target: str
    """What is examined there: a query, an address."""
    blocks: Blocks = Blocks.PLANNED
    options: tuple[tuple[str, str], ...] = ()
    secret: Secret | None = None
    """A token, where it is asked with one."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    id: EndpointId
    url: str
    region: Domain
    role: Role
    answer: Answer | None = None
    capacity: int | None = None
    """Requests in flight that it can carry when promoted; None: unknown, which means ask."""
    workload: Workload | None = None
    probes: tuple[ProbeSpec, ...] = ()
    pool: str | None = None
    """The shared pool of hardware that it takes its capacity from, by name."""
    signals: tuple[SignalSpec, ...] = ()
    readiness: tuple[ReadinessSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A transaction key (RFC 8945)."""

    name: str
    secret: Secret
    algorithm: str = "hmac-sha256"


@dataclass(frozen=True, slots=True)
class SteeringSpec:
    """Where a service's traffic is steered, and with what right."""

    provider: str
    """Name in ``providers.registry``: ``rfc2136``, ``route53`` ..."""
    name: str
    """The name that moves, absolute with trailing dot."""
    zone: str
    """The DNS zone that holds it, absolute with trailing dot; empty where the provider steers no zone."""
    ttl_s: int
    """How long clients may keep an old answer; 0 where they keep none."""
    primary: str
    """``address:port`` of the server that takes updates; reads for the fence go here. Empty: the provider's own."""
    servers: tuple[str, ...] = ()
    """``address:port`` of every authoritative server that ``converge`` asks; empty: the primary alone."""
    key: TsigKey | None = None
    options: tuple[tuple[str, str], ...] = ()
    shares: Shares = Shares.EQUAL
    """What the provider can express: from its entry in the registry."""
    attempt_s: float = 2.0
    """How long one attempt at a write may take before another worker tries: from its entry, too."""

    @property
    def at(self) -> str:
        """Where it is read and written, for people."""
        return self.primary or self.provider


@dataclass(frozen=True, slots=True)
class Questions:
    """Whom a service asks before it moves traffic, and what comes of silence. The words are those of an approval."""

    role: str | None = None
    """None: anybody."""
    escalate: tuple[str, ...] = ()
    """Roles that are asked one after another, as well, when a time has passed."""
    timeout_s: float = 600.0
    """How long each is waited for."""
    on_timeout: Unanswered = Unanswered.HOLD


@dataclass(frozen=True, slots=True)
class Policy:
    mode: Mode = Mode.OBSERVE
    rto_s: float = 300.0
    prefer: tuple[EndpointId, ...] = ()
    """Targets in the order they are tried; those not named come after, by id."""
    capacity: int | None = None
    """Requests in flight that the service needs; None: unknown, which means ask."""
    confirm_s: float = 10.0
    """At least this long between the first failed probe and an automatic write."""
    cooldown_s: float = 300.0
    """After a run, the time in which no automatic run starts."""
    flap_window_s: float = 21600.0
    """Each further automatic run within this time doubles the cool-down."""
    acknowledge: bool = False
    """After an automatic run, automation waits until a person has said that they have seen it."""
    least: int = 1
    """Endpoints that serve after a move, at least."""
    residency: tuple[str, ...] = ()
    """Jurisdictions that its traffic may go to; empty: any. Sorted."""
    freezes: tuple[Freeze, ...] = ()
    """Besides those that hold for every service."""
    runbook_unplanned: str = "region-failover"
    runbook_planned: str = "switchover"
    runbook_back: str = "failback"
    tier: int = 3
    """In an evacuation 1 goes first."""
    without_governor: Ungoverned | None = None
    book_values: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    """Values for parameters, by runbook name: ``(("switchover", (("passes", "5"),)),)``; as text."""
    questions: Questions = Questions()


@dataclass(frozen=True, slots=True)
class Service:
    id: ServiceId
    name: str
    """The host name that clients call, without trailing dot."""
    endpoints: tuple[Endpoint, ...]
    steering: SteeringSpec | None = None
    policy: Policy = Policy()
    depends: tuple[ServiceId, ...] = ()
    """Services that must have moved before it when a region is evacuated; sorted."""

    def endpoint(self, endpoint: EndpointId) -> Endpoint:
        """The endpoint of that id; KeyError when there is none."""
        for candidate in self.endpoints:
            if candidate.id == endpoint:
                return candidate
        raise KeyError(endpoint)


@dataclass(frozen=True, slots=True)
class Vantage:
    id: VantageId
    region: Domain


class NotifyKind(StrEnum):
    WEBHOOK = "webhook"
    EXEC = "exec"


@dataclass(frozen=True, slots=True)
class Notify:
    """One way to tell people. It is off the failover path and can delay nothing."""

    kind: NotifyKind
    url: str | None = None
    command: tuple[str, ...] = ()
    secret: Secret | None = None
    """Signs webhooks: ``Failover-Signature: t=<unix>,v1=<hex hmac-sha256 of "<t>.<body>">``."""
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Topology:
    regions: tuple[Domain, ...]
    vantages: tuple[Vantage, ...]
    services: tuple[Service, ...]
    notify: tuple[Notify, ...] = ()
    simulates_hosts: bool = False
    """Vantages on one machine count apart. Only for a world that simulates machines."""
    shards: int = 1
    roles: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Named roles, and who is in them; sorted."""
    books: tuple[tuple[str, str], ...] = ()
    """Own runbooks: file name and text; sorted."""
    orders: Orders = NO_ORDERS
    """What holds for every service."""

    def service(self, service: ServiceId) -> Service:
        """The service of that id; KeyError when there is none."""
        for candidate in self.services:
            if candidate.id == service:
                return candidate
        raise KeyError(service)
