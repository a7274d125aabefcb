"""What an account of AWS has that serves and steers: read only, page by page.

Rights: ``ecs:ListClusters``, ``ecs:ListServices``, ``ecs:DescribeServices``, ``autoscaling:DescribeAutoScalingGroups``,
``sagemaker:ListEndpoints``, ``sagemaker:DescribeEndpoint``, ``sagemaker:ListTags``,
``elasticloadbalancing:DescribeTargetGroups``, ``elasticloadbalancing:DescribeLoadBalancers``,
``elasticloadbalancing:DescribeListeners``, ``elasticloadbalancing:DescribeRules``, ``route53:ListHostedZones``,
``route53:ListResourceRecordSets``. What is not allowed is left out and said.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.session import Session  # type: ignore[import-untyped]  # the SDK ships no types

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Answer
from providers.aws.calling import Way
from providers.aws.errors import translate
from providers.aws.route53_sets import KINDS, RecordSet, plain, weighed
from providers.base import Refused
from providers.inventory import (
    FoundEndpoint,
    FoundSteering,
    FoundTarget,
    FoundWorkload,
    Inventory,
    Options,
    bare,
    tagged,
)
from providers.sweep import Sweep

_GLOBAL = "us-east-1"
"""What Route 53 is signed for."""
_KEPT_BY_OTHERS = ("AmazonECSManaged", "eks:", "k8s.io/", "kubernetes.io/", "elasticbeanstalk:", "aws:batch")
"""Beginnings of tags of groups that are machines of something else, which scales them itself."""
_AT_ONCE = 10
"""Services that one DescribeServices takes."""


@dataclass(frozen=True, slots=True)
class _Balancer:
    host: str
    alias: str
    """The target that an alias to it has."""
    internal: bool


@dataclass(frozen=True, slots=True)
class _Front:
    """The load balancer before a target group."""

    balancer: _Balancer | None
    scheme: str
    port: int | None
    health: str
    names: tuple[str, ...] = ()
    """Host names by which listener rules lead to it."""


@dataclass
class _Fronts:
    """Load balancers of a region."""

    by_group: dict[str, _Front] = field(default_factory=dict)


async def inventory(regions: tuple[str, ...] = (), *, profile: str = "", endpoint: str = "") -> Inventory:
    """What stands in *regions*; none given: the one of the profile, or of the environment.

    Raises BadInput where no region is known, and what ``errors.translate`` says where nothing at all could be read.
    """
    given = tuple(dict.fromkeys(regions)) or (await asyncio.to_thread(_default_region, profile),)
    sweep = Sweep()
    ways = [Way("ecs", region, profile, "", endpoint) for region in given]
    endpoints = [each for found in await asyncio.gather(*(_region(sweep, way) for way in ways)) for each in found]
    steerings = await sweep.part(_names(sweep, Way("route53", _GLOBAL, profile, "", endpoint)), ())
    looked = "ECS services, Auto Scaling groups and SageMaker endpoints in " + ", ".join(given)
    return sweep.ended(endpoints, steerings, f"{looked}, and the record sets of Route 53 that lead to them")


def _default_region(profile: str) -> str:
    try:
        found = Session(profile=profile or None).get_config_variable("region")
    except Exception as error:
        raise translate(error, "read the AWS configuration") from None
    if not found:
        raise BadInput(
            "no region is given, and the AWS configuration has none; add --region eu-west-1, repeat for more"
        )
    return str(found)


async def _region(sweep: Sweep, way: Way) -> list[FoundEndpoint]:
    fronts = await sweep.part(_fronts(sweep, way.to("elbv2")), _Fronts())
    found = await asyncio.gather(
        sweep.part(_ecs(way, fronts), []),
        sweep.part(_groups(way.to("autoscaling"), fronts), []),
        sweep.part(_sagemaker(sweep, way.to("sagemaker")), []),
    )
    return [each for part in found for each in part]


def _options(way: Way, **more: str) -> Options:
    own = {"region": way.region, "profile": way.profile, "endpoint": way.endpoint, **more}
    return tuple((name, value) for name, value in own.items() if value)


async def _pages(
    way: Way, what: str, operation: str, token: tuple[str, str], items: str, **arguments: Any
) -> AsyncIterator[Any]:
    """Every item of an operation's answers, whose page is asked for by *token*: the word sent, and the word got."""
    sent, got = token
    asked = dict(arguments)
    while True:
        reply = await way.read(f"{what} in {way.region}", operation, **asked)
        for each in reply.get(items, ()):
            yield each
        if not reply.get(got):
            return
        asked[sent] = reply[got]


# ------------------------------------------------------------------ load balancers


async def _fronts(sweep: Sweep, way: Way) -> _Fronts:
    balancers: dict[str, _Balancer] = {}
    page = ("Marker", "NextMarker")
    async for each in _pages(way, "list load balancers", "describe_load_balancers", page, "LoadBalancers"):
        if each.get("DNSName"):
            balancers[each["LoadBalancerArn"]] = _balancer(each)
    heard: dict[str, tuple[str, int | None]] = {}
    names: dict[str, tuple[str, ...]] = {}
    groups = [each async for each in _pages(way, "list target groups", "describe_target_groups", page, "TargetGroups")]
    for arn in sorted({arn for each in groups for arn in each.get("LoadBalancerArns", ())}):
        of = {"LoadBalancerArn": arn}
        reading = _pages(way, "list listeners", "describe_listeners", page, "Listeners", **of)
        listeners = [each async for each in reading]
        heard[arn] = _heard(listeners)
        by_rule = [str(each["ListenerArn"]) for each in listeners if each.get("Protocol") in {"HTTP", "HTTPS"}]
        names |= await sweep.part(_named(way, by_rule), {})
    found = _Fronts()
    for each in groups:
        arn = next(iter(each.get("LoadBalancerArns", ())), "")
        scheme, port = heard.get(arn, ("https", None))
        found.by_group[each["TargetGroupArn"]] = _Front(
            balancers.get(arn),
            scheme,
            port,
            str(each.get("HealthCheckPath") or ""),
            names.get(each["TargetGroupArn"], ()),
        )
    return found


def _balancer(each: Mapping[str, Any]) -> _Balancer:
    """An alias to an Application Load Balancer names it with ``dualstack.``, one to a Network Load Balancer does not
    (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-values-alias.html)."""
    host, zone = bare(each["DNSName"]), str(each.get("CanonicalHostedZoneId") or "")
    word = "alias46" if str(each.get("IpAddressType", "ipv4")).startswith("dualstack") else "alias"
    prefix = "dualstack." if each.get("Type") == "application" else ""
    return _Balancer(host, f"{word}:{zone}/{prefix}{host}." if zone else "", each.get("Scheme") == "internal")


async def _named(way: Way, listeners: list[str]) -> dict[str, tuple[str, ...]]:
    """The host names by which rules of these listeners lead to target groups. One that any name leads to has none."""
    found: dict[str, set[str]] = defaultdict(set)
    open_: set[str] = set()
    for arn in listeners:
        of = {"ListenerArn": arn}
        async for rule in _pages(way, "list listener rules", "describe_rules", ("Marker", "NextMarker"), "Rules", **of):
            hosts = _hosts(rule)
            for group in _forwards(rule):
                found[group] |= hosts
                open_ |= set() if hosts else {group}
    return {group: tuple(sorted(hosts)) for group, hosts in found.items() if group not in open_}


def _forwards(rule: Mapping[str, Any]) -> set[str]:
    """The target groups that a rule leads to."""
    found: set[str] = set()
    for action in rule.get("Actions", ()):
        groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or ()
        found |= {str(each["TargetGroupArn"]) for each in groups}
        found |= {str(action["TargetGroupArn"])} if action.get("TargetGroupArn") else set()
    return found


def _hosts(rule: Mapping[str, Any]) -> set[str]:
    """The host names that a rule is for; none: any."""
    found: set[str] = set()
    for each in rule.get("Conditions", ()):
        if each.get("Field") == "host-header":
            values = (each.get("HostHeaderConfig") or {}).get("Values") or each.get("Values") or ()
            found |= {bare(value) for value in values}
    return found


def _heard(listeners: Iterable[Mapping[str, Any]]) -> tuple[str, int | None]:
    """Scheme and port by which clients come in: TLS before plain, the usual port before others."""
    ways = sorted(
        (not _is_tls(each), each.get("Port") not in {443, 80}, int(each.get("Port") or 0)) for each in listeners
    )
    if not ways:
        return "https", None
    open_, _, port = ways[0]
    scheme = "http" if open_ else "https"
    return scheme, None if port == {"http": 80, "https": 443}[scheme] else port


def _is_tls(listener: Mapping[str, Any]) -> bool:
    """A listener that ends TLS, or passes it on by the port that it usually has."""
    return listener.get("Protocol") in {"HTTPS", "TLS"} or (
        listener.get("Protocol") == "TCP" and listener.get("Port") == 443
    )


def _behind(front: _Front | None) -> dict[str, Any]:
    """What a load balancer tells of the endpoint behind it."""
    if front is None or front.balancer is None:
        return {"health": front.health if front else "", "notes": ("no load balancer of it was found",)}
    balancer = front.balancer
    internal = "its load balancer is internal: what probes it has to stand in its network"
    return {
        "hosts": (balancer.host,),
        "scheme": front.scheme,
        "port": front.port,
        "health": front.health,
        "names": front.names,
        "answer": Answer("target", (balancer.alias,)) if balancer.alias else None,
        "notes": (internal,) if balancer.internal else (),
    }


# ------------------------------------------------------------------ what serves


async def _ecs(way: Way, fronts: _Fronts) -> list[FoundEndpoint]:
    page = ("nextToken", "nextToken")
    found: list[FoundEndpoint] = []
    async for cluster in _pages(way, "list ECS clusters", "list_clusters", page, "clusterArns"):
        short = str(cluster).rpartition("/")[2]
        what = f"list the services of the ECS cluster {short}"
        names = [each async for each in _pages(way, what, "list_services", page, "serviceArns", cluster=cluster)]
        for start in range(0, len(names), _AT_ONCE):
            reply = await way.read(
                f"read services of the ECS cluster {short} in {way.region}",
                "describe_services",
                cluster=cluster,
                services=names[start : start + _AT_ONCE],
                include=["TAGS"],
            )
            found += [_task(way, short, each, fronts) for each in reply["services"] if each.get("status") == "ACTIVE"]
    return found


def _task(way: Way, cluster: str, service: Mapping[str, Any], fronts: _Fronts) -> FoundEndpoint:
    arns = [each["targetGroupArn"] for each in service.get("loadBalancers", ()) if each.get("targetGroupArn")]
    arn = next(iter(arns), "")
    name = str(service["serviceName"])
    return FoundEndpoint(
        name,
        f"aws/{way.region}",
        f"ECS service {cluster}/{name} in {way.region}",
        FoundWorkload("ecs", f"{cluster}/{name}", _options(way, target_group=arn), int(service.get("desiredCount", 0))),
        tag=tagged((each["key"], each.get("value", "")) for each in service.get("tags", ())),
        scope=cluster,
        **_behind(fronts.by_group.get(arn)),
    )


async def _groups(way: Way, fronts: _Fronts) -> list[FoundEndpoint]:
    page = ("NextToken", "NextToken")
    found: list[FoundEndpoint] = []
    what = "list Auto Scaling groups"
    async for each in _pages(way, what, "describe_auto_scaling_groups", page, "AutoScalingGroups"):
        tags = [(tag["Key"], tag.get("Value", "")) for tag in each.get("Tags", ())]
        if any(key.startswith(_KEPT_BY_OTHERS) for key, _ in tags):
            continue
        name, arn = str(each["AutoScalingGroupName"]), next(iter(each.get("TargetGroupARNs", ())), "")
        found.append(
            FoundEndpoint(
                name,
                f"aws/{way.region}",
                f"Auto Scaling group {name} in {way.region}",
                FoundWorkload("asg", name, _options(way, target_group=arn), int(each["DesiredCapacity"])),
                tag=tagged(tags),
                **_behind(fronts.by_group.get(arn)),
            )
        )
    return found


async def _sagemaker(sweep: Sweep, way: Way) -> list[FoundEndpoint]:
    page = ("NextToken", "NextToken")
    found: list[FoundEndpoint] = []
    async for each in _pages(way, "list SageMaker endpoints", "list_endpoints", page, "Endpoints"):
        name, arn = str(each["EndpointName"]), each["EndpointArn"]
        what = f"the SageMaker endpoint {name} in {way.region}"
        reading = way.read(f"read {what}", "describe_endpoint", EndpointName=name)
        reply = await sweep.part(reading, {})  # it may be gone by now
        tags = (await sweep.part(way.read(f"read the tags of {what}", "list_tags", ResourceArn=arn), {})).get(
            "Tags", ()
        )
        called = tagged((tag["Key"], tag["Value"]) for tag in tags)
        found += [_variant(way, name, variant, called) for variant in reply.get("ProductionVariants", ())]
    return found


def _variant(way: Way, endpoint: str, variant: Mapping[str, Any], tag: str) -> FoundEndpoint:
    name = str(variant["VariantName"])
    count = int(variant.get("DesiredInstanceCount") or variant.get("CurrentInstanceCount") or 0)
    return FoundEndpoint(
        endpoint,
        f"aws/{way.region}",
        f"SageMaker endpoint {endpoint}, variant {name}, in {way.region}",
        FoundWorkload("sagemaker", f"{endpoint}/{name}", _options(way), count),
        tag=tag,
        scope=name,
        notes=("SageMaker takes signed requests only: give the address of what signs them",),
    )


# ------------------------------------------------------------------ what steers


async def _names(sweep: Sweep, way: Way) -> tuple[FoundSteering, ...]:
    """Every name with an address or a cname, in every public zone."""
    found: list[FoundSteering] = []
    zones = _pages(way, "list the hosted zones", "list_hosted_zones", ("Marker", "NextMarker"), "HostedZones")
    for zone in [each async for each in zones]:
        if zone.get("Config", {}).get("PrivateZone"):
            sweep.remarks.append(f"the private zone {zone['Name'].rstrip('.')} was not looked at")
            continue
        names = await sweep.part(_record_sets(way, str(zone["Id"]).rpartition("/")[2], str(zone["Name"])), {})
        for name, sets in names.items():
            try:
                found.append(_steering(way, str(zone["Id"]).rpartition("/")[2], name, sets))
            except Refused as error:
                sweep.remarks.append(str(error))
    return tuple(found)


async def _record_sets(way: Way, zone: str, domain: str) -> dict[str, list[RecordSet]]:
    """The record sets of each name that has addresses or a cname."""
    found: dict[str, list[RecordSet]] = defaultdict(list)
    asked: dict[str, Any] = {"HostedZoneId": zone}
    while True:
        reply = await way.read(f"read the record sets of {domain.rstrip('.')}", "list_resource_record_sets", **asked)
        for each in reply["ResourceRecordSets"]:
            if each["Type"] in KINDS and "*" not in plain(each["Name"]):
                found[plain(each["Name"])].append(each)
        if not reply.get("IsTruncated"):
            return found
        asked = {"HostedZoneId": zone, "StartRecordName": reply["NextRecordName"]}
        asked["StartRecordType"] = reply["NextRecordType"]
        if reply.get("NextRecordIdentifier"):
            asked["StartRecordIdentifier"] = reply["NextRecordIdentifier"]


def _steering(way: Way, zone: str, name: str, sets: list[RecordSet]) -> FoundSteering:
    """Raises Refused for a name that is routed by something else than weights."""
    options = {"zone_id": zone, "profile": way.profile, "endpoint": way.endpoint}
    ttls = [int(each["TTL"]) for each in sets if each.get("TTL")]
    return FoundSteering(
        name.rstrip("."),
        "route53",
        f"the record sets of {name.rstrip('.')} in Route 53",
        tuple((key, value) for key, value in options.items() if value),
        tuple(_target(text, weight) for text, weight in weighed(sets)),
        min(ttls, default=60),
    )


def _target(text: str, weight: int) -> FoundTarget:
    if text.startswith(("alias:", "alias46:")):
        return FoundTarget(Answer("target", (text,)), (bare(text.partition("/")[2]),), weight)
    if text.endswith(".") and " " not in text:
        return FoundTarget(Answer("cname", (text,)), (bare(text),), weight)
    if "=" in text or "*" in text:
        return FoundTarget(Answer("target", (text,)), (), weight)
    return FoundTarget(Answer("addresses", tuple(text.split())), tuple(text.split()), weight)
