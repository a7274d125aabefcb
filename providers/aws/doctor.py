"""What stands between a steering at AWS and its first write, found by asking and changing nothing.

The right to write record sets is tried by a batch that deletes a set which is not there: AWS asks for the right first,
and Route 53 then refuses the batch whole. This looks at control planes, too: it is for quiet days.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.topology import SteeringSpec
from providers.aws.calling import Reply, Way
from providers.aws.errors import translate
from providers.aws.recovery_arc import ArcSteering, ways
from providers.aws.recovery_switch import SwitchSteering
from providers.aws.route53 import REGION, Invalid, Route53Steering, invalid
from providers.aws.route53_sets import RecordSet, fence_set, plain
from providers.aws.session import expires
from providers.base import NotFound, ProviderError, Steering
from providers.dns.doctor import Finding
from providers.fencing import said

_SOON = timedelta(days=1)
"""Credentials that a person must renew are told of so long before."""
_ENDPOINTS = 5
"""So many a cluster of ARC has."""
_MAKERS: dict[str, Callable[[SteeringSpec], Steering]] = {
    "route53": Route53Steering,
    "route53-recovery": SwitchSteering,
    "arc": ArcSteering,
}


async def examine(spec: SteeringSpec) -> tuple[Finding, ...]:
    """Everything that can be told about *spec* without changing it. Never raises for what is wrong: that is a finding.

    It ends at the first trouble that hides the rest.
    """
    try:
        steering = _MAKERS[spec.provider](spec)
    except BadInput as error:
        return (Finding("spec", False, str(error), "mend the steering in the topology"),)
    found = [await _credentials(dict(spec.options))]
    try:
        found.append(await _routing(steering, spec))
        match steering:
            case Route53Steering():
                found += await _at_route53(steering)
            case ArcSteering():
                found += await _at_arc(spec)
            case _:
                found += await _at_switch(spec)
    except BadFence as error:
        found.append(Finding("fence", False, str(error), "delete what stands there, then adopt the service"))
    except ProviderError as error:
        found.append(Finding("api", False, str(error), "mend this first; what follows from it was not looked at"))
    return tuple(found)


async def _credentials(options: dict[str, str]) -> Finding:
    if any("http://" in value for name, value in options.items() if name in {"endpoint", "endpoints"}):
        return Finding("credentials", None, "the endpoint is plain http, which is given none")
    try:
        until = await asyncio.to_thread(lambda: expires(profile=options.get("profile", "")))
    except Exception as error:
        return Finding("credentials", False, str(translate(error, "find AWS credentials")), "nothing can be asked")
    if until is None:
        return Finding("credentials", True, "there are AWS credentials, and no person must renew them by a known day")
    left = until - datetime.now(UTC)
    text = f"the AWS credentials run out at {until:%Y-%m-%d %H:%M} UTC"
    if left < timedelta(0):
        return Finding("credentials", False, text, "renew them: aws sso login, or new keys")
    return Finding("credentials", None if left < _SOON else True, text, "renew them in time" if left < _SOON else "")


async def _routing(steering: Steering, spec: SteeringSpec) -> Finding:
    routing = await steering.read()
    by = f"generation {routing.fence.generation}, written by run {routing.fence.run}" if routing.fence else "no fence"
    text = f"{spec.name} is {said(routing.answer)}, under {by}"
    if routing.fence is None:
        return Finding("fence", None, text, "run 'failover adopt SERVICE'")
    return Finding("fence", True, text)


async def _at_route53(steering: Route53Steering) -> list[Finding]:
    spec, zone = steering.spec, steering.zone
    way = Way.of("route53", dict(spec.options), f"the steering of {spec.name}", region=REGION)
    hosted = await way.read(f"read zone {zone}", "get_hosted_zone", Id=zone)
    name = plain(hosted["HostedZone"]["Name"])
    if not (steering.name == name or steering.name.endswith(f".{name}")):
        text = f"zone {zone} is {name}, and {steering.name} is not in it"
        return [Finding("zone", False, text, "mend steering.options.zone_id")]
    found = [Finding("zone", True, f"{steering.name} is in zone {zone}, {name}")]
    named = hosted.get("DelegationSet", {}).get("NameServers", ())
    if named and not spec.servers:
        text = f"whether a change has come to the name servers of {name} is believed from the API"
        found.append(Finding("servers", None, text, f"name them in steering.servers: {', '.join(named)}"))
    sets = await steering.record_sets()
    watched = sorted({str(each["HealthCheckId"]) for each in sets if each.get("HealthCheckId")})
    if watched:
        text = (
            f"record sets of {steering.name} have health checks ({', '.join(watched)}): Route 53 moves traffic by them"
        )
        found.append(Finding("health-checks", None, text, "know that it answers by its own opinion beside the weights"))
    return [*found, *await _rights(way, steering, sets)]


async def _rights(way: Way, steering: Route53Steering, sets: tuple[RecordSet, ...]) -> list[Finding]:
    kind = str(sets[0]["Type"]) if sets else "A"
    absent: dict[str, RecordSet] = {
        "test-write": fence_set(steering.at, "nothing", 1),
        "grant": {"Name": steering.name, "Type": kind, "SetIdentifier": "failover-nothing", "Weight": 1, "TTL": 1}
        | {"ResourceRecords": [{"Value": {"A": "192.0.2.254", "AAAA": "2001:db8::fe"}.get(kind, "nobody.invalid.")}]},
    }
    return [await _right(way, steering, check, each) for check, each in sorted(absent.items())]


async def _right(way: Way, steering: Route53Steering, check: str, absent: RecordSet) -> Finding:
    batch = {
        "Comment": "failover doctor: a trial without effect",
        "Changes": [{"Action": "DELETE", "ResourceRecordSet": absent}],
    }
    what = f"{absent['Type']} of {plain(absent['Name'])}"
    try:
        await way.write(
            f"try to write {what}",
            "change_resource_record_sets",
            told=invalid,
            HostedZoneId=steering.zone,
            ChangeBatch=batch,
        )
    except Invalid:
        return Finding(check, True, f"the credentials may write {what}; nothing was changed")
    except ProviderError as error:
        return Finding(check, False, str(error), "allow route53:ChangeResourceRecordSets on the hosted zone")
    return Finding(
        check, None, f"{what} held just what a trial deletes; it is gone now", "see who wrote 'nothing' there"
    )


async def _at_arc(spec: SteeringSpec) -> list[Finding]:
    options = dict(spec.options)
    each = ways(options, f"the steering of {spec.name}")
    panel = options.get("control_panel", "")
    asked = await asyncio.gather(
        *(way.write("read the control panel", "list_routing_controls", ControlPanelArn=panel) for way in each),
        return_exceptions=True,
    )
    found = [
        Finding(f"endpoint {way.region}", not isinstance(said_, BaseException), _told(way, said_))
        for way, said_ in zip(each, asked, strict=True)
    ]
    if len(each) < _ENDPOINTS:
        text = f"{len(each)} of a cluster's {_ENDPOINTS} endpoints are named"
        found.append(Finding("endpoints", None, text, "name them all in steering.options.endpoints: any may be away"))
    return found


def _told(way: Way, answer: Reply | BaseException) -> str:
    if isinstance(answer, BaseException):
        return f"{answer}; a few may be away at a time, and are cycled for maintenance"
    return f"the cluster's endpoint in {way.region} answers, {len(answer['RoutingControls'])} controls"


async def _at_switch(spec: SteeringSpec) -> list[Finding]:
    options = dict(spec.options)
    zone = options.get("zone_id", "").rpartition("/")[2]
    if not zone:
        text = f"whether a health check of {spec.name} watches {options.get('switch')} is not known"
        return [
            Finding("records", None, text, "name the hosted zone in steering.options.zone_id: only doctor reads it")
        ]
    rights = {name: options.get(name, "") for name in ("profile", "role")}
    rights["endpoint"] = options.get("zone_endpoint", "")
    way = Way.of("route53", rights, f"the steering of {spec.name}", region=REGION)
    name = plain(spec.name)
    page = await way.read(
        f"read {name} in zone {zone}", "list_resource_record_sets", HostedZoneId=zone, StartRecordName=name
    )
    sets = [each for each in page["ResourceRecordSets"] if plain(each["Name"]) == name and each.get("Failover")]
    found = [_pair(name, sets)]
    for checked in sorted({str(each.get("HealthCheckId", "")) for each in sets if each["Failover"] == "PRIMARY"}):
        if not checked:
            text = f"the PRIMARY failover record of {name} has no health check: the switch moves nobody"
            found.append(
                Finding("health-check", False, text, "give it an inverted health check that fetches the switch")
            )
            continue
        try:
            reply = await way.read(f"read health check {checked}", "get_health_check", HealthCheckId=checked)
        except NotFound as error:
            found.append(Finding("health-check", False, str(error), "make it anew, and name it at the PRIMARY record"))
            continue
        found += _watching(checked, reply["HealthCheck"]["HealthCheckConfig"], options["switch"])
    return found


def _pair(name: str, sets: Iterable[RecordSet]) -> Finding:
    roles = {str(each["Failover"]) for each in sets}
    if roles == {"PRIMARY", "SECONDARY"}:
        return Finding("records", True, f"{name} has a PRIMARY and a SECONDARY failover record")
    text = f"{name} has {', '.join(sorted(roles)) or 'neither a PRIMARY nor a SECONDARY failover record'}"
    return Finding("records", False, text, "make the pair of failover records, both of one type")


def _watching(checked: str, config: Reply, switch: str) -> list[Finding]:
    """Whether the check fails where the switch is, and passes where it is not or nobody answers."""
    place = urlsplit(switch)
    fetched = f"{config.get('FullyQualifiedDomainName', '')}{config.get('ResourcePath', '')}"
    virtual = fetched.startswith(f"{place.netloc}.s3") and fetched.endswith(f".amazonaws.com{place.path}")
    by_path = fetched.startswith("s3") and fetched.endswith(f".amazonaws.com/{place.netloc}{place.path}")
    faults = [
        text
        for wrong, text in (
            (
                not config.get("Inverted"),
                "it is not inverted: it would take the primary out while the switch is *not* there",
            ),
            (
                config.get("Type") not in {"HTTP", "HTTPS"},
                f"it is of type {config.get('Type')}, and must fetch by HTTPS",
            ),
            (not (virtual or by_path), f"it fetches {fetched or 'nothing'}, which is not {switch}"),
            (bool(config.get("Disabled")), "it is disabled, and says the same whatever happens"),
        )
        if wrong
    ]
    if faults:
        cure = "mend the health check: HTTPS, inverted, on the switch's public address"
        return [Finding("health-check", False, f"health check {checked}: {fault}", cure) for fault in faults]
    waits_s = int(config.get("RequestInterval", 30)) * int(config.get("FailureThreshold", 3))
    text = f"health check {checked} watches {switch}; clients move about {waits_s} s after the switch, and a TTL later"
    return [Finding("health-check", True, text)]
