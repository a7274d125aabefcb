"""What a subscription of Azure has that serves and steers: read only, page by page.

Rights: ``Microsoft.App/containerApps/read`` and ``Microsoft.Network/trafficManagerProfiles/read`` on the subscription,
which the role Reader has. What is not allowed is left out and said.
(https://learn.microsoft.com/rest/api/containerapps/container-apps/list-by-subscription,
https://learn.microsoft.com/rest/api/trafficmanager/profiles/list-by-subscription)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from orchestrator.core.topology import Answer
from providers.azure import container_apps, traffic_manager
from providers.azure.session import Reach, arm, name_of
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

Body = Mapping[str, Any]
_FENCE = (
    "where the fence is kept: the id of a TXT record set of Azure DNS (/subscriptions/...), or a document: azblob:, "
    "s3:, gs:, https:"
)


async def inventory(subscription: str, regions: tuple[str, ...] = (), *, endpoint: str = "") -> Inventory:
    """What *subscription* has in *regions*; none given: in every one.

    Raises BadInput for an endpoint that credentials must not go to, and what ``errors.translate`` says where nothing at
    all could be read.
    """
    reach = Reach.of({"endpoint": endpoint} if endpoint else {})
    options: Options = (("endpoint", endpoint),) if endpoint else ()
    root = f"/subscriptions/{subscription}/providers"
    sweep = Sweep()
    apps, profiles = await asyncio.gather(
        sweep.part(
            arm("Azure Container Apps", reach).every(
                f"{root}/{container_apps.KIND}",
                container_apps.VERSION,
                what=f"list the container apps of the subscription {subscription}",
            ),
            (),
        ),
        sweep.part(
            arm("Azure Traffic Manager", reach).every(
                f"{root}/{traffic_manager.KIND}",
                traffic_manager.VERSION,
                what=f"list the Traffic Manager profiles of the subscription {subscription}",
            ),
            (),
        ),
    )
    wanted = {_region(each) for each in regions}
    endpoints = [_app(each, options) for each in apps if not wanted or _region(each["location"]) in wanted]
    steerings = [_profile(each, options) for each in profiles if _weighs(each, sweep)]
    where = ", ".join(regions) if regions else "every region"
    looked = f"container apps of the subscription {subscription} in {where}, and its Traffic Manager profiles"
    return sweep.ended(endpoints, steerings, looked)


def _region(location: object) -> str:
    """``westeurope`` of "West Europe": the API gives either."""
    return str(location).lower().replace(" ", "")


def _app(app: Body, options: Options) -> FoundEndpoint:
    name, region, properties = str(app["name"]), _region(app["location"]), app.get("properties") or {}
    configuration = properties.get("configuration") or {}
    ingress = configuration.get("ingress") or {}
    scale = (properties.get("template") or {}).get("scale") or {}
    host = bare(str(ingress.get("fqdn") or ""))
    return FoundEndpoint(
        name,
        f"azure/{region}",
        f"container app {name} in {region}",
        FoundWorkload(
            "container-apps", str(app["id"]), (("region", region), *options), int(scale.get("minReplicas") or 0)
        ),
        hosts=(host,) if host else (),
        own=host,
        tag=tagged((app.get("tags") or {}).items()),
        notes=tuple(_notes(configuration, ingress)),
    )


def _notes(configuration: Body, ingress: Body) -> list[str]:
    found: list[str] = []
    if not ingress.get("fqdn"):
        found.append("it has no ingress, so nothing leads to it")
    elif not ingress.get("external"):
        found.append("its ingress is internal: what probes it has to stand in its network")
    custom = [bare(str(each["name"])) for each in ingress.get("customDomains") or () if each.get("name")]
    if custom:
        found.append(f"it also serves {', '.join(custom)}")
    if str(configuration.get("activeRevisionsMode") or "Single") != "Single":
        found.append("it has several active revisions: container-apps scales an app with one; see docs/providers.md")
    return found


def _weighs(profile: Body, sweep: Sweep) -> bool:
    method = str((profile.get("properties") or {}).get("trafficRoutingMethod"))
    if method != "Weighted":
        sweep.remarks.append(
            f"the Traffic Manager profile {profile.get('name')} routes by '{method}', which cannot be weighed: set its "
            "routing method to Weighted"
        )
    return method == "Weighted"


def _profile(profile: Body, options: Options) -> FoundSteering:
    properties = profile.get("properties") or {}
    dns = properties.get("dnsConfig") or {}
    name = str(profile.get("name") or name_of(str(profile["id"])))
    return FoundSteering(
        bare(str(dns.get("fqdn") or f"{dns.get('relativeName')}.trafficmanager.net")),
        "traffic-manager",
        f"the Traffic Manager profile {name}; clients may call a name of yours that is a CNAME to it",
        (("profile", str(profile["id"])), *options),
        tuple(_target(each) for each in properties.get("endpoints") or ()),
        int(dns.get("ttl") or 60),
        missing=(("fence", _FENCE),),
        alone=True,
    )


def _target(endpoint: Body) -> FoundTarget:
    properties = endpoint.get("properties") or {}
    name, host = str(endpoint["name"]), bare(str(properties.get("target") or ""))
    location = _region(properties.get("endpointLocation") or "")
    enabled = properties.get("endpointStatus", "Enabled") == "Enabled"
    return FoundTarget(
        Answer("target", (name,)),
        (host,) if host else (),
        int(properties.get("weight") or 1) if enabled else 0,
        f"endpoint {name} of the profile, {host or 'without a target'}",
        f"azure/{location}" if location else "",
    )
