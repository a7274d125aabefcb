"""The shape of ``failover.yaml``: pydantic models at the parsing border, whose docstrings are the reference page.

Names are small words joined by underscores; ``apiVersion`` alone follows the convention of its kind of file.
"""

# ruff: noqa: RUF012  pydantic gives each object its own copy of a default

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from orchestrator.config import fields as f
from orchestrator.config import moments as m
from orchestrator.config.orders import Freeze, Limits, Pool, Questions, Serving
from orchestrator.config.part import Part
from orchestrator.core.signals import Effect
from orchestrator.core.topology import Blocks, Connection, Mode

API_VERSION = "failover/v1"
KIND = "Topology"

HTTP_INTERVAL_S = 2.0
HTTP_TIMEOUT_S = 1.5
CHAT_INTERVAL_S = 60.0
"""Completions cost money."""
CHAT_TIMEOUT_S = 30.0


class JsonExpect(Part):
    """A value that a JSON answer must hold."""

    path: f.Text
    """Dotted path into the document: `status` or `data.0.id`."""
    equals: f.Scalar | None = None
    """What the value must be, compared as text; left out, it only has to exist."""


class Expect(Part):
    """What a good answer looks like."""

    status: Annotated[list[f.Status], Field(min_length=1, max_length=20)] = ["2xx"]
    """Status codes (`204`) or classes (`2xx`) that are good. HTTP probes."""
    body: f.Text | None = None
    """Text that the body (http) or the completed content (chat) must contain."""
    json_: JsonExpect | None = Field(default=None, alias="json")
    """A value that the JSON body must hold. HTTP probes."""
    latency: f.Latency | None = None
    """An answer that is right but slower than this is `degraded`, not down."""
    certificate_days: Annotated[int, Field(ge=1, le=365)] | None = None
    """A certificate that expires within this many days makes the endpoint `degraded`."""


class Probe(Part):
    """One question to an endpoint, asked from every vantage.

    An endpoint's probe with the id of one of its service's probes takes that one's fields and replaces those it names.
    """

    id: f.Id
    """Unique among the probes of an endpoint."""
    kind: f.KindName | None = None
    """`http` (the default), `tcp` (a connection, nothing more) or `chat` (an OpenAI-compatible completion)."""
    interval: f.Interval | None = None
    """From one start to the next: 100ms to 1d. Default 2s for http and tcp, 60s for chat (completions cost money)."""
    timeout: f.Timeout | None = None
    """Covers the whole exchange: 10ms to 10m. Default 1.5s for http and tcp, 30s for chat."""
    rise: Annotated[int, Field(ge=1, le=100)] = 2
    """Good answers in a row before what was down counts as healthy."""
    fall: Annotated[int, Field(ge=1, le=100)] = 3
    """Failures in a row before it counts as down."""
    fast_confirm: f.FastConfirm = 0.1
    """From start to start of re-probes after a refusal, a reset or a connect time-out: 20ms to 1m, or `off`."""
    jitter: Annotated[float, Field(ge=0, le=0.5, strict=False, allow_inf_nan=False)] = 0.1
    """Fraction of the interval over which starts are spread: 0 to 0.5."""
    connection: f.ConnectionName = Connection.KEPT_ALIVE
    """`kept-alive` asks over one connection, `fresh` opens one for each question."""
    method: Literal["GET", "HEAD", "OPTIONS"] = "GET"
    """HTTP probes."""
    path: f.UrlPath | None = None
    """HTTP: joined to the endpoint's URL. Default `/`. Chat: default `/v1/chat/completions`."""
    headers: Annotated[dict[f.HeaderName, f.HeaderValue], Field(max_length=50)] = {}
    """Header names and values. A value that is a secret is `{env: NAME}` or `{file: PATH}` and holds all of it."""
    host: f.HostHeader | None = None
    """Host header, where it differs from the URL's."""
    sni: f.HostName | None = None
    """TLS server name, where it differs from the URL's host."""
    ca: f.Text | None = None
    """File of PEM certificates to trust instead of the system's."""
    expect: Expect = Field(default_factory=Expect)
    """What a good answer looks like."""
    model: f.Text | None = None
    """The model to ask. Chat probes must name it."""
    prompt: f.Text | None = None
    """What a chat probe says; left out: a few words."""
    max_tokens: Annotated[int, Field(ge=1, le=4096)] | None = None
    """The longest completion a chat probe asks for; left out: a few tokens."""


class Answer(Part):
    """What clients are given when an endpoint serves: addresses, one CNAME, or a target of a weighing steering."""

    addresses: Annotated[list[f.Address], Field(min_length=1, max_length=100)] | None = None
    """IPv4 and IPv6 addresses."""
    cname: f.HostName | None = None
    """The one name that the service's name becomes an alias of. In plain DNS one endpoint at a time is active then."""
    target: f.Text | None = None
    """What the steering provider calls the endpoint, where it is neither addresses nor a name."""

    @model_validator(mode="before")
    @classmethod
    def _either(cls, value: object) -> object:
        if isinstance(value, list):
            return {"addresses": value}
        if not isinstance(value, dict):
            f.say(f"must be a list of IP addresses or {{cname: NAME}}, not {f.quoted(value)}; write one of them")
        kinds = {"addresses": "addresses", "cname": "a cname", "target": "a target"}
        given = [words for kind, words in kinds.items() if kind in value]
        if len(given) > 1:
            f.say(f"{given[0]} and {given[1]} cannot stand in one answer; keep one of them")
        if not value or (set(value) <= kinds.keys() and not any(value.values())):
            f.say("is empty; write a list of IP addresses or {cname: NAME}")
        return value


class Workload(Part):
    """The handle of what serves an endpoint, for promote, drain and demote."""

    provider: f.Text
    """Name of a workload provider."""
    target: f.Text
    """What the provider calls it."""
    serving: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Replicas while it carries traffic."""
    standby: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Replicas while it waits."""
    options: dict[str, f.Scalar] = {}
    """Settings of the provider. No secrets."""


class Signal(Part):
    """Outside evidence on an endpoint: an alarm, a notice that its machine goes away. It never says that it works."""

    id: f.Id
    """Unique within the endpoint."""
    provider: f.Text
    """Name of a provider of signals, as `failover providers` lists them: `prometheus`."""
    target: f.Text
    """What is asked there: a query, the name of an alarm."""
    effect: f.EffectName = Effect.NOTE
    """While it is active: `note` tells it beside the verdict; `doubt` moves no traffic to the endpoint without asking;
    `drain` does the same, and moves traffic away by a planned move, as the service's mode allows."""
    options: dict[str, f.Scalar] = {}
    """Settings of the provider. No secrets."""
    secret: f.SecretPointer | None = None
    """The token that the source wants, `{env: NAME}` or `{file: PATH}`."""


class Readiness(Part):
    """State that must be there before traffic comes: model artifacts, a replica that has caught up."""

    id: f.Id
    """Unique within the endpoint."""
    provider: f.Text
    """Name of a provider of readiness, as `failover providers` lists them: `replication-lag`, `artifacts`."""
    target: f.Text
    """What is examined: a query, an address."""
    blocks: f.BlocksName = Blocks.PLANNED
    """Which moves wait for it: `planned` ones; `always`, unplanned ones too; `never`: it is told only."""
    options: dict[str, f.Scalar] = {}
    """Settings of the provider. No secrets."""
    secret: f.SecretPointer | None = None
    """The token that it is asked with, `{env: NAME}` or `{file: PATH}`."""


class Endpoint(Part):
    """One place that can serve a service."""

    id: f.Id
    """Unique within the service. Stands in the fence."""
    url: f.Url
    """Its own address, never the name that moves: `https://`, `http://`, or `tcp://host:port`."""
    answer: Answer | None = None
    """What clients are given when it serves: `[192.0.2.1, 2001:db8::1]`, `{cname: us.chat.example.com}`, or
    `{target: NAME}` where the steering provider has its own names."""
    region: f.DomainName
    """The region (or a zone in it) where it stands, from the list of regions."""
    role: f.RoleName
    """`active` or `standby`."""
    capacity: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Requests in flight that it can carry when promoted; left out: unknown, which means ask a person."""
    pool: f.Id | None = None
    """The pool that it takes its capacity from, where it shares hardware with other endpoints."""
    workload: Workload | None = None
    """What to scale and drain; left out: it runs at full capacity by itself."""
    probes: list[Probe] = []
    """Probes of this endpoint alone, and changes to the service's probes by id."""
    signals: Annotated[list[Signal], Field(max_length=20)] = []
    """Outside evidence on it."""
    readiness: Annotated[list[Readiness], Field(max_length=20)] = []
    """What is examined when a move verifies it, before traffic comes."""


class Key(Part):
    """A TSIG key (RFC 8945)."""

    name: f.HostName
    """The key's name, as the server knows it."""
    algorithm: Literal["hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    """The key's algorithm."""
    secret: f.SecretPointer
    """Where the key's base64 text is: `{env: NAME}` or `{file: PATH}`."""


class Steering(Part):
    """Where the traffic is steered, and with what right."""

    provider: f.Text
    """Name of a steering provider, as `failover providers` lists them: `rfc2136` for any standard name server."""
    zone: f.HostName | None = None
    """The zone that holds the service's name. Every DNS provider needs it."""
    ttl: f.Ttl | None = None
    """Time to live of the answer, in whole seconds: how long clients may keep an old answer. Every DNS provider needs
    it."""
    primary: f.Server | None = None
    """`address:port` of the server that takes updates; without a port, 53. Needed where a name server is written to."""
    servers: list[f.Server] = []
    """Every authoritative server, asked until all give the new answer; left out: the primary alone."""
    key: Key | None = None
    """The key that signs updates."""
    options: dict[str, f.Scalar] = {}
    """Settings of the provider. No secrets."""


class Book(Part):
    """A runbook by its name, or `{name: canary-shift, with: {hold: 30s}}`.

    The values hold wherever the service uses that runbook, unless a person gives others.
    """

    name: f.Text
    """The name of a runbook: one of your own, or one of the library."""
    values: Annotated[dict[str, f.BookValue], Field(max_length=50)] = Field(default={}, alias="with")
    """Values for its parameters, by name."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, dict):
            f.say(f"must be the name of a runbook, or {{name: NAME, with: VALUES}}, not {f.quoted(value)}; name one")
        return value


class Runbooks(Part):
    """The runbooks of a service, each by its name, or with values for its parameters."""

    unplanned: Book = Book(name="region-failover")
    """For a failover: the active endpoint is down."""
    planned: Book = Book(name="switchover")
    """For a move while everything is well."""
    back: Book = Book(name="failback")
    """For the way home."""


class Policy(Part):
    """What the orchestrator may do for a service, and how fast it has to be."""

    mode: f.ModeName = Mode.OBSERVE
    """`observe` decides and writes nothing; `approval` asks a person; `automatic` acts; `manual` only watches."""
    rto: f.Objective = 300.0
    """Recovery time objective, from the last good probe to clients served again: 1s to 1d."""
    prefer: list[f.Id] = []
    """Endpoints in the order in which they are tried as targets; the others come after, by id."""
    capacity: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Requests in flight that the service needs; where more were observed, those count. Left out: what was observed
    counts alone, and where nothing was, a person is asked."""
    confirm: f.Pause = 10.0
    """At least this long from the first failed probe to an automatic write: 0s to 1d."""
    cooldown: f.Pause = 300.0
    """After a run, the time in which no automatic run starts: 0s to 1d. It doubles with each further automatic run
    within `flap_window`, up to a day."""
    flap_window: f.Pause = 21600.0
    """How long an automatic run counts as one of several: 0s to 1d."""
    acknowledge: bool = False
    """After an automatic run, automation waits until somebody has said that they have seen it: `failover ack`."""
    serving: Serving = Field(default_factory=Serving)
    """How many endpoints have to serve."""
    residency: Annotated[list[f.Id], Field(max_length=50)] = []
    """The jurisdictions that its traffic may go to; left out: any. An endpoint whose jurisdiction is not known counts
    as outside."""
    freeze: Annotated[list[Freeze], Field(max_length=50)] = []
    """Freeze windows of this service, besides those of all services."""
    runbooks: Runbooks = Field(default_factory=Runbooks)
    """Which runbook is used for what."""
    tier: Annotated[int, Field(ge=1, le=9)] = 3
    """When a region is evacuated, services of tier 1 leave first."""
    without_governor: f.UngovernedName | None = None
    """While nobody can say what else is on the move, automation asks a person: `ask`, or moves all the same: `proceed`.
    Left out: it asks where the target stands in a shared pool, and moves where it does not."""
    questions: Questions = Field(default_factory=Questions)
    """Whom the service asks where automation may not decide, and what silence means."""


class Service(Part):
    """A model, or any API, that clients call by one name."""

    id: f.Id
    """Unique in the file. Stands in workflow ids."""
    name: f.HostName
    """The host name that clients call."""
    endpoints: Annotated[list[Endpoint], Field(min_length=1, max_length=100)]
    """The places that can serve it."""
    probes: list[Probe] = []
    """Probes of every endpoint; without any, and without any at an endpoint: http on `/`
    (a connection where the URL is `tcp://`)."""
    as_name: f.AsName = 30.0
    """Ask each endpoint also under the service's name (Host, SNI, certificate): `true` (every 30s, the default),
    `false`, or `{interval: 1m}`."""
    steering: Steering | None = None
    """Left out: the service is watched, and cannot be moved."""
    policy: Policy = Field(default_factory=Policy)
    """Left out: mode `observe` and the defaults."""
    depends: Annotated[list[f.Id], Field(max_length=100)] = []
    """Services that must have left before it when a region is evacuated."""


class Vantage(Part):
    """A place that probes are sent from; one prober fleet each."""

    id: f.Id
    """Unique in the file."""
    region: f.DomainName
    """The region (or a zone in it) where it stands, from the list of regions."""


class Notify(Part):
    """One way to tell people: a signed webhook or a command. It can delay no failover."""

    webhook: f.WebhookUrl | None = None
    """URL that gets a POST with JSON: `event`, `service`, `run`, `text`, `at`."""
    exec: Annotated[list[f.Text], Field(min_length=1, max_length=50)] | None = None
    """Command and arguments; it gets the JSON on standard input. No shell."""
    secret: f.SecretPointer | None = None
    """Signs the webhook, `{env: NAME}` or `{file: PATH}`: header
    `Failover-Signature: t=<unix time>,v1=<hex HMAC-SHA256 of "<t>.<body>">`."""
    timeout: f.TellTimeout = 5.0
    """How long telling may take: 100ms to 1m."""

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        if isinstance(value, dict):
            if (value.get("webhook") is None) == (value.get("exec") is None):
                f.say("needs either webhook or exec; write one of them")
            if "exec" in value and "secret" in value:
                f.say("secret signs webhooks; a command takes its secrets from its own environment, so remove it")
        return value


class File(Part):
    """A topology: which services exist, where they can be served, how they are watched and steered."""

    api_version: Literal["failover/v1"] = Field(alias="apiVersion")
    """The version of this format."""
    kind: Literal["Topology"]
    """What this file is."""
    regions: Annotated[list[f.DomainName], Field(min_length=1)]
    """The failure domains, as `cloud/region`. A loss of `aws` takes every `aws/...` with it."""
    simulates_hosts: bool = False
    """Vantages on one machine count apart. Only for a world that simulates machines."""
    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    """Into how many parts each vantage's probing is cut."""
    vantages: list[Vantage] = []
    """Where probes are sent from. Three or more in different regions let a majority decide."""
    notify: list[Notify] = []
    """Who is told, and how."""
    roles: Annotated[
        dict[f.Id, Annotated[list[f.Person], Field(min_length=1, max_length=200)]], Field(max_length=50)
    ] = {}
    """Who is in which role: `{sre: [alice, bob], lead: [carol]}`. Runbooks ask roles. A person is named as `failover`
    names whoever calls it: `$FAILOVER_USER`, else login@host."""
    prices: f.Text | None = None
    """A price sheet beside this file, by its name: plans and status say what readiness and a move cost."""
    runbooks: f.Text | None = None
    """A directory, beside this file, of your own runbooks (`*.yaml`). They come before the library's of the same name.
    200 kB at most, all together."""
    automation: m.Automation = None
    """`off`, or `{off: REASON}`: all automation asks a person instead of acting; `on` is the default."""
    freeze: Annotated[list[Freeze], Field(max_length=50)] = []
    """Freeze windows of all services."""
    jurisdictions: Annotated[dict[m.AnyDomain, f.Id], Field(max_length=1000)] = {}
    """Whose law holds where: `{aws/eu-central-1: eu, aws: us}`. The longest domain wins."""
    pools: Annotated[dict[f.Id, Pool], Field(max_length=1000)] = {}
    """Hardware that endpoints share, by name: `{h100-eu: {capacity: 64}}`."""
    limits: Limits = Field(default_factory=Limits)
    """How much may move at one time."""
    bake: f.Bake = 1800.0
    """How long a routing, or a revision of this file, must serve well before it is good to go back to: 1s to 7d."""
    services: list[Service] = []
    """The services."""
