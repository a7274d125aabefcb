"""What there is for Azure.

Azure Resource Manager itself is in every region, but it sends whatever changes or reads a resource through the region
of the resource's *group*: that one must stand, also for what is global, and whatever region the resource serves in.
"""

from __future__ import annotations

from orchestrator.core.topology import Shares
from providers.azure.catalog_signals import SIGNAL_ENTRIES
from providers.catalog import Entry, Option, Part, Plane
from providers.documents.catalog import FENCE, FENCE_PLANE

_REACH = (
    Option("identity", "client id of the managed or workload identity to be"),
    Option("cloud", "`public` (left out), `usgov` or `china`"),
    Option("endpoint", "another address of Azure Resource Manager; plain http, on loopback alone, gets no credentials"),
    Option("group_region", "region of the resource group, so that its loss is known to be the control plane's"),
)
_FENCE = (
    Option(
        "fence",
        "where the fence is kept: the id of a TXT record set of Azure DNS (`/subscriptions/...`), or as of a document: "
        "`azblob:`, `s3:`, `gs:`, `https:`, `file:`",
        required=True,
    ),
    *(option for option in FENCE if option.name != "fence"),
)
_REGION = Option("region", "where it runs: `westeurope`", required=True)
_METRICS = Option("metrics", "URL of the page of metrics that counts requests in flight")
_GROUP = Plane(
    "all",
    "azure/{group_region}",
    "https://learn.microsoft.com/azure/azure-resource-manager/management/overview",
)
_APPS = Plane("all", "azure/{region}", "https://learn.microsoft.com/azure/reliability/reliability-container-apps")
_LEARNING = Plane(
    "all",
    "azure/{region}",
    "https://learn.microsoft.com/azure/machine-learning/how-to-high-availability-machine-learning",
)
_PROVEN = "a server of ours that keeps to ARM's published specifications"
_PACE_S = 2.0
"""Between two looks: a look is several calls, and ARM counts them for a whole subscription and identity."""
_ATTEMPT_S = 18.0
"""A change of the traffic is waited for, between the reads and writes of the fence."""


def _drain(name: str, service: str) -> Entry:
    return Entry(
        name,
        Part.DRAIN,
        "providers.azure.drain:ManagedDrain",
        f"Lets requests finish: {service} needs to be told nothing, and counts nothing in flight.",
        (_REGION, _METRICS, *_REACH),
        planes=(Plane("in_flight", "", "the model server, at the option metrics"),),
        extra="azure",
        proven="a page of metrics",
    )


ENTRIES: tuple[Entry, ...] = (
    Entry(
        "azure-dns",
        Part.STEERING,
        "providers.azure.dns:AzureDnsSteering",
        "The addresses, or the CNAME, of one name in a public or private zone; the fence is their metadata.",
        (
            Option("zone_id", "the zone's id: `/subscriptions/.../dnsZones/example.com`", required=True),
            *_REACH,
        ),
        planes=(_GROUP,),
        shares=Shares.EQUAL,
        needs=("zone", "ttl"),
        takes=("servers",),
        extra="azure",
        watch_s=30.0,
        proven=_PROVEN,
    ),
    Entry(
        "traffic-manager",
        Part.STEERING,
        "providers.azure.traffic_manager:TrafficManagerSteering",
        "The weights of a weighted Traffic Manager profile, the fence in a document.",
        (
            Option("profile", "the profile's id: `/subscriptions/.../trafficManagerProfiles/chat`", required=True),
            *_FENCE,
            *_REACH,
        ),
        planes=(_GROUP, FENCE_PLANE),
        shares=Shares.WEIGHTED,
        target="the name of the endpoint in the profile",
        needs=("ttl",),
        extra="azure",
        proven=_PROVEN,
    ),
    Entry(
        "container-apps",
        Part.STEERING,
        "providers.azure.container_apps:ContainerAppsSteering",
        "How a container app spreads requests over its revisions, the fence in a document.",
        (
            Option("app", "the app's id: `/subscriptions/.../Microsoft.App/containerApps/chat`", required=True),
            _REGION,
            *_FENCE,
            *_REACH,
        ),
        planes=(_APPS, _GROUP, FENCE_PLANE),
        shares=Shares.WEIGHTED,
        target="the revision's label, or its name where it has none: `chat--blue`",
        extra="azure",
        pace_s=_PACE_S,
        attempt_s=_ATTEMPT_S,
        proven=_PROVEN,
    ),
    Entry(
        "container-apps",
        Part.WORKLOAD,
        "providers.azure.container_apps:ContainerAppsWorkload",
        "The least replicas of a container app that has one active revision at a time.",
        (_REGION, *_REACH),
        planes=(_APPS, _GROUP),
        target="the app's id",
        extra="azure",
        pace_s=_PACE_S,
        proven=_PROVEN,
    ),
    _drain("container-apps", "Container Apps"),
    Entry(
        "azure-ml",
        Part.STEERING,
        "providers.azure.machine_learning:MachineLearningSteering",
        "How an online endpoint of Azure Machine Learning spreads requests over deployments; the fence is a document.",
        (
            Option("online_endpoint", "the endpoint's id: `/subscriptions/.../onlineEndpoints/chat`", required=True),
            _REGION,
            *_FENCE,
            *_REACH,
        ),
        planes=(_LEARNING, _GROUP, FENCE_PLANE),
        shares=Shares.WEIGHTED,
        target="the name of the deployment",
        extra="azure",
        pace_s=_PACE_S,
        attempt_s=_ATTEMPT_S,
        proven=_PROVEN,
    ),
    Entry(
        "azure-ml",
        Part.WORKLOAD,
        "providers.azure.machine_learning:MachineLearningWorkload",
        "The instances of a deployment of an online endpoint of Azure Machine Learning, one at least.",
        (_REGION, *_REACH),
        planes=(_LEARNING, _GROUP),
        target="the deployment's id",
        extra="azure",
        pace_s=_PACE_S,
        proven=_PROVEN,
    ),
    _drain("azure-ml", "Azure Machine Learning"),
    *SIGNAL_ENTRIES,
)
