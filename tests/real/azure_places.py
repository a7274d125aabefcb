"""Azure for the contracts: the providers' own pipeline over a socket, to a server that speaks ARM and keeps state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import shares_in, shares_of
from orchestrator.core.topology import Shares, SteeringSpec, Workload
from providers.azure.container_apps import ContainerAppsSteering, ContainerAppsWorkload
from providers.azure.drain import ManagedDrain
from providers.azure.machine_learning import MachineLearningSteering, MachineLearningWorkload
from providers.azure.traffic_manager import TrafficManagerSteering
from providers.base import DrainControl, Steering, WorkloadControl
from real.place import EU, US, ScaledPlace, SteeredPlace, Trouble
from wire.arm import GROUP, Arm, Body
from wire.arm_services import ContainerApps, Dns, MachineLearning, TrafficManager

NETWORK = f"{GROUP}/providers/Microsoft.Network"
ZONE = f"{NETWORK}/dnsZones/example.com"
FENCE = f"{ZONE}/TXT/_failover.chat"
PROFILE = f"{NETWORK}/trafficManagerProfiles/chat"
APP = f"{GROUP}/providers/Microsoft.App/containerApps/chat"
ENDPOINT = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/ai/onlineEndpoints/chat"


class AzurePlace:
    """A server with a zone for the fence, and what is steered or scaled."""

    cannot: frozenset[Trouble] = frozenset()

    def __init__(self) -> None:
        self.apps = ContainerApps()
        self.dns = Dns()
        self.arm = Arm(self.dns, TrafficManager(), self.apps, MachineLearning())
        self.arm.keep(ZONE, {"location": "global", "properties": {"nameServers": ["ns1-01.azure-dns.com."]}})

    async def open(self) -> None:
        self.arm.start()

    def close(self) -> None:
        self.arm.close()

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        self.arm.trouble(what, times=times)

    @property
    def effects(self) -> int:
        return self.arm.effects

    def properties(self, resource_id: str) -> Body:
        """What the server keeps, without asking it."""
        return self.arm.state.resources[resource_id.lower()].properties

    def _spec(self, provider: str, ttl_s: int, **options: str) -> SteeringSpec:
        given = {"endpoint": self.arm.url, "fence": FENCE, **options}
        ordered = tuple(sorted(given.items()))
        return SteeringSpec(provider, "chat.example.com.", "", ttl_s, "", options=ordered, shares=Shares.WEIGHTED)


def elsewhere(spec: SteeringSpec, option: str) -> SteeringSpec:
    """The same with *option* naming something that is not there."""
    options = dict(spec.options)
    options[option] = options[option].rsplit("/", 1)[0] + "/nothing"
    return replace(spec, options=tuple(sorted(options.items())))


class TrafficManagerPlace(AzurePlace):
    def __init__(self) -> None:
        super().__init__()
        self.targets: Mapping[EndpointId, str] = {EU: "paris", US: "ohio"}
        self.arm.keep(PROFILE, profile("paris", "ohio"))
        self.spec = self._spec("traffic-manager", 30, profile=PROFILE)

    def steering(self) -> Steering:
        return TrafficManagerSteering(self.spec)

    def missing(self) -> Steering:
        return TrafficManagerSteering(elsewhere(self.spec, "profile"))

    async def now(self) -> dict[str, int]:
        weights = {
            each["name"]: each["properties"]["weight"]
            for each in self.properties(PROFILE)["endpoints"]
            if each["properties"]["endpointStatus"] == "Enabled"
        }
        return dict(shares_in(shares_of(tuple(weights.items()))))

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        for each in self.properties(PROFILE)["endpoints"]:
            weight = shares.get(each["name"], 0)
            each["properties"]["endpointStatus"] = "Enabled" if weight else "Disabled"
            each["properties"]["weight"] = weight or 1


def profile(*endpoints: str) -> Body:
    """A weighted profile that gives all to the first of *endpoints*."""
    kind = "Microsoft.Network/trafficManagerProfiles/externalEndpoints"
    return {
        "location": "global",
        "tags": {"owner": "ai-platform"},
        "properties": {
            "profileStatus": "Enabled",
            "trafficRoutingMethod": "Weighted",
            "dnsConfig": {"relativeName": "chat", "fqdn": "chat.trafficmanager.net", "ttl": 30},
            "monitorConfig": {"profileMonitorStatus": "Online", "protocol": "HTTPS", "port": 443, "path": "/health"},
            "endpoints": [
                {
                    "id": f"{PROFILE}/externalEndpoints/{name}",
                    "name": name,
                    "type": kind,
                    "properties": {
                        "target": f"{name}.example.net",
                        "endpointStatus": "Disabled" if index else "Enabled",
                        "weight": 1,
                        "endpointMonitorStatus": "Online",
                    },
                }
                for index, name in enumerate(endpoints)
            ],
        },
    }


def app(*, mode: str, traffic: tuple[Body, ...] = (), suffix: str = "") -> Body:
    """A container app of two to four replicas."""
    template: Body = {
        "containers": [{"name": "server", "image": "vllm:1"}],
        "scale": {"minReplicas": 2, "maxReplicas": 4, "rules": [{"name": "http"}]},
    }
    ingress = {"external": True, "targetPort": 8000, "fqdn": "chat.example.net", "traffic": list(traffic)}
    return {
        "location": "westeurope",
        "properties": {
            "provisioningState": "Succeeded",
            "runningStatus": "Running",
            "configuration": {"activeRevisionsMode": mode, "ingress": ingress},
            "template": template | ({"revisionSuffix": suffix} if suffix else {}),
        },
    }


class ContainerAppsPlace(AzurePlace):
    """Two revisions of an app, one of them in the list of traffic."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: Mapping[EndpointId, str] = {EU: "chat--blue", US: "chat--green"}
        traffic = ({"revisionName": "chat--blue", "weight": 100},)
        self.apps.open(self.arm, APP, app(mode="Multiple", traffic=traffic), "chat--blue", "chat--green")
        self.spec = self._spec("container-apps", 0, app=APP, region="westeurope")

    def steering(self) -> Steering:
        return ContainerAppsSteering(self.spec)

    def missing(self) -> Steering:
        return ContainerAppsSteering(elsewhere(self.spec, "app"))

    async def now(self) -> dict[str, int]:
        return {each["revisionName"]: each["weight"] for each in self._ingress()["traffic"] if each["weight"]}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        self._ingress()["traffic"] = [{"revisionName": name, "weight": share} for name, share in shares.items()]

    def _ingress(self) -> Body:
        ingress: Body = self.properties(APP)["configuration"]["ingress"]
        return ingress


class MachineLearningPlace(AzurePlace):
    """Two deployments of an online endpoint, one of them in its traffic."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: Mapping[EndpointId, str] = {EU: "blue", US: "green"}
        learning(self.arm)
        options = {"online_endpoint": ENDPOINT, "region": "westeurope"}
        self.spec = self._spec("azure-ml", 0, **options)

    def steering(self) -> Steering:
        return MachineLearningSteering(self.spec)

    def missing(self) -> Steering:
        return MachineLearningSteering(elsewhere(self.spec, "online_endpoint"))

    async def now(self) -> dict[str, int]:
        return {name: percent for name, percent in self.properties(ENDPOINT)["traffic"].items() if percent}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        self.properties(ENDPOINT)["traffic"] = dict(shares)


def learning(arm: Arm) -> None:
    """An online endpoint with all traffic at its deployment blue."""
    workspace = ENDPOINT.rsplit("/", 2)[0]
    arm.keep(workspace, {"location": "westeurope", "properties": {}})
    assigned = {f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/ai": {"principalId": "4711"}}
    arm.keep(
        ENDPOINT,
        {
            "location": "westeurope",
            "kind": "Managed",
            "identity": {"type": "UserAssigned", "principalId": "4711", "userAssignedIdentities": assigned},
            "properties": {
                "authMode": "Key",
                "provisioningState": "Succeeded",
                "scoringUri": "https://chat.westeurope.inference.ml.azure.com/score",
                "traffic": {"blue": 100},
            },
        },
    )
    for name in ("blue", "green"):
        sku = {"name": "Default", "capacity": 2}
        body = {"location": "westeurope", "sku": sku, "properties": {"instanceType": "Standard_NC24ads_A100_v4"}}
        arm.keep(f"{ENDPOINT}/deployments/{name}", body)


class ScaledAzurePlace(AzurePlace):
    provider = ""
    target = ""

    def __init__(self) -> None:
        super().__init__()
        self.arm.takes_s = 0.0
        options = (("endpoint", self.arm.url), ("region", "westeurope"))
        self.handle = Workload(self.provider, self.target, options=options)

    def drain(self) -> DrainControl | None:
        return ManagedDrain(self.handle)

    def elsewhere(self) -> Workload:
        return replace(self.handle, target=self.target.rsplit("/", 1)[0] + "/nothing")


class ScaledApp(ScaledAzurePlace):
    """An app with one active revision at a time, whose name was given."""

    provider, target = "container-apps", APP

    def __init__(self) -> None:
        super().__init__()
        self.apps.open(self.arm, APP, app(mode="Single", suffix="first"), "chat--first")

    def workload(self) -> WorkloadControl:
        return ContainerAppsWorkload(self.handle)

    def missing(self) -> WorkloadControl:
        return ContainerAppsWorkload(self.elsewhere())

    async def replicas(self) -> int:
        return int(self.properties(APP)["template"]["scale"]["minReplicas"])


class ScaledDeployment(ScaledAzurePlace):
    provider, target = "azure-ml", f"{ENDPOINT}/deployments/blue"

    def __init__(self) -> None:
        super().__init__()
        learning(self.arm)

    def workload(self) -> WorkloadControl:
        return MachineLearningWorkload(self.handle)

    def missing(self) -> WorkloadControl:
        return MachineLearningWorkload(self.elsewhere())

    async def replicas(self) -> int:
        return int(self.arm.state.resources[self.target.lower()].body["sku"]["capacity"])


STEERED: dict[str, Callable[[], SteeredPlace]] = {
    "traffic-manager": TrafficManagerPlace,
    "container-apps": ContainerAppsPlace,
    "azure-ml": MachineLearningPlace,
}
SCALED: dict[str, Callable[[], ScaledPlace]] = {"container-apps": ScaledApp, "azure-ml": ScaledDeployment}
