"""From the parsed file to core values: defaults filled in, probes merged, probes under the service's name added."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from orchestrator.config import model
from orchestrator.core import topology as core
from orchestrator.core.names import Domain, EndpointId, ServiceId, VantageId
from orchestrator.core.orders import Limits, Orders, Pool
from orchestrator.core.topology import ProbeKind
from providers import registry
from providers.catalog import Part

AS_NAME = "-as-name"
"""What the ids of probes under the service's name end in."""


def build(file: model.File, books: tuple[tuple[str, str], ...] = ()) -> core.Topology:
    """The topology that *file* describes, with its own runbooks (file name and text)."""
    return core.Topology(
        regions=tuple(sorted(Domain(region) for region in file.regions)),
        vantages=tuple(
            core.Vantage(VantageId(each.id), Domain(each.region)) for each in sorted(file.vantages, key=lambda v: v.id)
        ),
        services=tuple(_service(each) for each in sorted(file.services, key=lambda s: s.id)),
        notify=tuple(_notify(each) for each in file.notify),
        simulates_hosts=file.simulates_hosts,
        shards=file.shards,
        roles=tuple((role, tuple(sorted(people))) for role, people in sorted(file.roles.items())),
        books=books,
        orders=_orders(file),
    )


def _orders(file: model.File) -> Orders:
    return Orders(
        gate=file.automation,
        freezes=tuple(each.window() for each in file.freeze),
        jurisdictions=tuple(sorted((Domain(domain), law) for domain, law in file.jurisdictions.items())),
        pools=tuple(Pool(name, each.capacity) for name, each in sorted(file.pools.items())),
        limits=Limits(file.limits.at_once, file.limits.per_domain, file.limits.change_guard),
        bake_s=file.bake,
    )


def _notify(given: model.Notify) -> core.Notify:
    if given.webhook is not None:
        return core.Notify(core.NotifyKind.WEBHOOK, url=given.webhook, secret=given.secret, timeout_s=given.timeout)
    return core.Notify(core.NotifyKind.EXEC, command=tuple(given.exec or ()), timeout_s=given.timeout)


def _service(given: model.Service) -> core.Service:
    steered = registry.entry(Part.STEERING, given.steering.provider) if given.steering else None
    weighs = steered is not None and bool(steered.target)
    return core.Service(
        id=ServiceId(given.id),
        name=given.name,
        endpoints=tuple(_endpoint(each, given, weighs=weighs) for each in sorted(given.endpoints, key=lambda e: e.id)),
        steering=_steering(given.steering, given.name) if given.steering else None,
        policy=_policy(given.policy),
        depends=tuple(sorted(ServiceId(each) for each in set(given.depends))),
    )


def _endpoint(given: model.Endpoint, service: model.Service, *, weighs: bool) -> core.Endpoint:
    return core.Endpoint(
        id=EndpointId(given.id),
        url=given.url,
        region=Domain(given.region),
        role=given.role,
        answer=_answer(given.answer, weighs=weighs) if given.answer else None,
        capacity=given.capacity,
        workload=_workload(given.workload) if given.workload else None,
        probes=_probes(given, service),
        pool=given.pool,
        signals=tuple(_signal(each) for each in sorted(given.signals, key=lambda s: s.id)),
        readiness=tuple(_readiness(each) for each in sorted(given.readiness, key=lambda r: r.id)),
    )


def _readiness(given: model.Readiness) -> core.ReadinessSpec:
    options = tuple(sorted(given.options.items()))
    return core.ReadinessSpec(given.id, given.provider, given.target, given.blocks, options, given.secret)


def _signal(given: model.Signal) -> core.SignalSpec:
    options = tuple(sorted(given.options.items()))
    return core.SignalSpec(given.id, given.provider, given.target, given.effect, options, given.secret)


def _answer(given: model.Answer, *, weighs: bool) -> core.Answer:
    if given.target is not None:
        return core.Answer("target", (given.target,))
    cname = given.cname + "." if given.cname is not None else None
    addresses = tuple(sorted(set(given.addresses or ())))
    if weighs:
        # A weighing steering counts each endpoint's records as one: its text is what the provider writes.
        return core.Answer("target", (cname or " ".join(addresses),))
    return core.Answer("cname", (cname,)) if cname is not None else core.Answer("addresses", addresses)


def _workload(given: model.Workload) -> core.Workload:
    options = tuple(sorted(given.options.items()))
    return core.Workload(given.provider, given.target, given.serving, given.standby, options)


def _steering(given: model.Steering, name: str) -> core.SteeringSpec:
    key, entry = given.key, registry.entry(Part.STEERING, given.provider)
    return core.SteeringSpec(
        provider=given.provider,
        name=name + ".",
        zone=given.zone + "." if given.zone else "",
        ttl_s=int(given.ttl or 0),
        primary=given.primary or "",
        servers=tuple(sorted(set(given.servers))),
        key=core.TsigKey(key.name + ".", key.secret, key.algorithm) if key else None,
        options=tuple(sorted(given.options.items())),
        shares=entry.shares,
        attempt_s=entry.attempt_s,
    )


def _policy(given: model.Policy) -> core.Policy:
    return core.Policy(
        mode=given.mode,
        rto_s=given.rto,
        prefer=tuple(EndpointId(each) for each in given.prefer),
        capacity=given.capacity,
        confirm_s=given.confirm,
        cooldown_s=given.cooldown,
        flap_window_s=given.flap_window,
        acknowledge=given.acknowledge,
        least=given.serving.least,
        residency=tuple(sorted(set(given.residency))),
        freezes=tuple(each.window() for each in given.freeze),
        runbook_unplanned=given.runbooks.unplanned.name,
        runbook_planned=given.runbooks.planned.name,
        runbook_back=given.runbooks.back.name,
        tier=given.tier,
        without_governor=given.without_governor,
        book_values=_book_values(given.runbooks),
        questions=given.questions.asked(),
    )


def _book_values(given: model.Runbooks) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Values for parameters by runbook; where one stands twice with values, the file was checked to say the same."""
    values = {use.name: use.values for use in (given.unplanned, given.planned, given.back) if use.values}
    return tuple((name, tuple(sorted(given.items()))) for name, given in sorted(values.items()))


# ------------------------------------------------------------------ probes


def _probes(given: model.Endpoint, service: model.Service) -> tuple[core.ProbeSpec, ...]:
    """The service's probes changed by the endpoint's own, the default where there are none, and those as the name."""
    merged = {probe.id: probe for probe in service.probes}
    for own in given.probes:
        merged[own.id] = _over(merged[own.id], own) if own.id in merged else own
    parts = urlsplit(given.url)
    if not merged:
        kind = ProbeKind.TCP if parts.scheme == "tcp" else ProbeKind.HTTP
        merged = {kind.value: model.Probe(id=kind.value, kind=kind)}
    specs = [_spec(probe) for probe in merged.values()]
    if service.as_name and parts.scheme in {"http", "https"} and parts.hostname != service.name:
        specs += _as_name(specs, service.as_name)
    return tuple(sorted(specs, key=lambda spec: spec.id))


def _over(base: model.Probe, own: model.Probe) -> model.Probe:
    """*base* with the fields that *own* names."""
    return base.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def _spec(given: model.Probe) -> core.ProbeSpec:
    kind = given.kind or ProbeKind.HTTP
    chat = kind is ProbeKind.CHAT
    return core.ProbeSpec(
        id=given.id,
        kind=kind,
        interval_s=given.interval or (model.CHAT_INTERVAL_S if chat else model.HTTP_INTERVAL_S),
        timeout_s=given.timeout or (model.CHAT_TIMEOUT_S if chat else model.HTTP_TIMEOUT_S),
        rise=given.rise,
        fall=given.fall,
        fast_confirm_s=given.fast_confirm,
        jitter=float(given.jitter),
        connection=given.connection,
        method="POST" if chat else given.method,
        path=given.path or "/",
        headers=tuple(core.Header(name, value) for name, value in sorted(given.headers.items())),
        host=given.host,
        sni=given.sni,
        ca=given.ca,
        expect=_expect(given.expect),
        model=given.model,
        prompt=given.prompt,
        max_tokens=given.max_tokens,
    )


def _expect(given: model.Expect) -> core.Expect:
    json = given.json_
    return core.Expect(
        status=tuple(sorted(set(given.status))),
        body=given.body,
        json_path=json.path if json else None,
        json_equals=json.equals if json else None,
        latency_s=given.latency,
        certificate_days=given.certificate_days,
    )


def _as_name(specs: list[core.ProbeSpec], interval_s: float) -> list[core.ProbeSpec]:
    """A calmer copy of each HTTP probe, asked under the service's name.

    Completions are not copied, since they cost money: where there is no HTTP probe, any answer below 500 shows
    that the endpoint takes the name and holds its certificate.
    """
    asking = [spec for spec in specs if spec.kind is ProbeKind.HTTP]
    if asking:
        return [_copied(spec, interval_s) for spec in asking]
    chat = next((spec for spec in specs if spec.kind is ProbeKind.CHAT), None)
    if chat is None:
        return []
    any_answer = core.Expect(status=("1xx", "2xx", "3xx", "4xx"), certificate_days=chat.expect.certificate_days)
    plain = core.ProbeSpec(chat.id, ProbeKind.HTTP, interval_s, model.HTTP_TIMEOUT_S, ca=chat.ca, expect=any_answer)
    return [_copied(plain, interval_s)]


def _copied(spec: core.ProbeSpec, interval_s: float) -> core.ProbeSpec:
    calmer = max(interval_s, spec.interval_s)
    # One good answer is enough: at this pace a second one would keep a healed endpoint down for half a minute more.
    return replace(spec, id=spec.id + AS_NAME, interval_s=calmer, rise=1, as_name=True, host=None, sni=None)
