"""An endpoint of Vertex AI: how it spreads requests over its deployed models, and the replicas of one of them.

Split and fence are set by one update, compared by the endpoint's etag. The endpoint has one place for a text of ours,
its description (labels hold 64 characters): the fence is one line of it, and what people wrote beside it stays.
(https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints)

Least right: aiplatform.endpoints.get, aiplatform.endpoints.update to steer, aiplatform.endpoints.deploy to scale.

Over REST: the typed client (google-cloud-aiplatform) brings a hundred megabytes for three calls.
"""

from __future__ import annotations

from urllib.parse import quote

import structlog

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import Routing, SteeringChange, decode, encode, shares_in, shares_of
from orchestrator.core.topology import Answer, SteeringSpec, Workload
from providers.base import Capacity, NoCapacity, NotFound, ProviderError, Refused, ServerAnswer, Transient
from providers.gcp.errors import Overtaken, shortage
from providers.gcp.session import Access, Json, required, rest
from providers.gcp.tagged import TaggedSteering

log = structlog.get_logger()

_FENCE = "failover/fence: "
"""How the fence's line of a description begins."""
_RESOURCES = ("dedicatedResources", "automaticResources")


class Endpoint:
    """One endpoint in a region. Whoever updates it judges Overtaken."""

    def __init__(self, project: str, region: str, endpoint: str, access: Access) -> None:
        self.at = f"Vertex AI endpoint {endpoint} in {region}"
        self._access = access
        self._line = access.line(f"Vertex AI in {region}")
        self._base = f"https://{region}-aiplatform.googleapis.com"
        names = (quote(each, safe="") for each in (project, region, endpoint))
        self._path = "/v1/projects/{}/locations/{}/endpoints/{}".format(*names)

    async def read(self) -> Json:
        """The endpoint as it stands. Raises Transient, NotFound, Unauthenticated, Forbidden."""
        return await self._line.read(
            f"read {self.at}",
            lambda: rest(self._base, self._access).call("GET", self._path, permission="aiplatform.endpoints.get"),
        )

    async def update(self, body: Json, mask: str) -> None:
        """Set the fields of *mask* where the etag still fits. Raises Overtaken, and as ``read``."""
        await self._line.write(
            f"update {self.at}",
            lambda: rest(self._base, self._access).call(
                "PATCH",
                self._path,
                permission="aiplatform.endpoints.update",
                query={"updateMask": mask},
                body=body,
            ),
        )

    async def mutate(self, deployed: Json, mask: str) -> None:
        """Have a deployed model changed; returns when that is accepted. Raises Overtaken, NoCapacity, as ``read``."""
        await self._line.write(
            f"scale a model of {self.at}",
            lambda: rest(self._base, self._access).call(
                "POST",
                f"{self._path}:mutateDeployedModel",
                permission="aiplatform.endpoints.deploy",
                body={"deployedModel": deployed, "updateMask": mask},
            ),
        )


class VertexSteering(TaggedSteering[Json]):
    """The Steering of one endpoint by its deployed models."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for a specification without its options. Credentials are looked for at use, not here."""
        project, region, name = required(spec.options, "project", "region", "vertex_endpoint", of="steering by vertex")
        self._endpoint = Endpoint(project, region, name, Access.of(spec.options))
        super().__init__(spec, self._endpoint.at, f"the description of {self._endpoint.at}")

    async def look(self) -> Json:
        """The endpoint as it stands."""
        return await self._endpoint.read()

    def routing(self, thing: Json) -> Routing:
        """The split, under the description's fence."""
        fences = [line for line in _lines(thing) if line.startswith(_FENCE)]
        if len(fences) > 1:
            raise BadFence(f"{self._fence} holds {len(fences)} fences, where one belongs")
        fence = decode(fences[0].removeprefix(_FENCE)) if fences else None
        return Routing(_answer(thing), self.spec.ttl_s, fence)

    async def send(self, thing: Json, change: SteeringChange) -> None:
        """One update of split and description, by the etag."""
        split = dict(shares_in(change.answer))
        missing = sorted(split.keys() - {str(each.get("id")) for each in thing.get("deployedModels") or ()})
        if missing:
            raise NotFound(f"{self.at} has no deployed model {', '.join(missing)}; mend the endpoint's target")
        others = [line for line in _lines(thing) if not line.startswith(_FENCE)]
        body = {
            "etag": thing.get("etag", ""),
            "trafficSplit": split,
            "description": "\n".join([*others, _FENCE + encode(change.fence)]),
        }
        await self._endpoint.update(body, "trafficSplit,description")

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """How the endpoint spreads requests. Never raises for its silence."""
        try:
            return (ServerAnswer(self.at, _answer(await self._endpoint.read())),)
        except ProviderError as error:
            return (ServerAnswer(self.at, None, str(error)),)


class VertexWorkload:
    """WorkloadControl of one deployed model: its minimum of replicas."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle without its options, or whose target is no ``endpoint/model``."""
        project, region = required(handle.options, "project", "region", of=f"the workload {handle.target} of vertex")
        endpoint, _, self._model = handle.target.partition("/")
        if not endpoint or not self._model:
            raise BadInput(f"workload {handle.target} of vertex is no endpoint/model; write both ids, with a slash")
        self._endpoint = Endpoint(project, region, endpoint, Access.of(handle.options))

    async def read(self) -> Capacity:
        """Raises Transient, NotFound, Unauthenticated, Forbidden; NoCapacity where Vertex AI has found no room since it
        accepted the level."""
        deployed, kind = await self._deployed()
        now = self._capacity(deployed, kind)
        short = shortage(str((deployed.get("status") or {}).get("message", ""))) if now.ready < now.desired else ""
        if short:
            raise NoCapacity(f"model {self._model} at {self._endpoint.at} found no room: {short}; choose another place")
        return now

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Set the minimum and return when Vertex AI has accepted it.

        Raises NoCapacity above the model's maximum and for a quota, Refused for 0, Transient while another change of
        the model is under way, and as ``read``.
        """
        deployed, kind = await self._deployed()
        now = self._capacity(deployed, kind)
        if now.desired == replicas:
            return now
        if replicas < 1:
            raise Refused(
                f"Vertex AI keeps at least 1 replica of model {self._model} at {self._endpoint.at}; "
                "let it stand by with 1, or undeploy it by hand"
            )
        if now.limit is not None and replicas > now.limit:
            raise NoCapacity(
                f"model {self._model} at {self._endpoint.at} may have at most {now.limit} replicas, and {replicas} are "
                "asked for; raise its maximum, or choose another target"
            )
        try:
            body = {"id": self._model, kind: {"minReplicaCount": replicas}}
            await self._endpoint.mutate(body, f"{kind}.minReplicaCount")
        except Overtaken as error:
            raise Transient(f"{error}; another change of it is under way, try again") from None
        log.info("workload.scaled", target=f"{self._endpoint.at}/{self._model}", replicas=replicas, key=key)
        return Capacity(replicas, min(now.ready, replicas), now.limit)

    async def _deployed(self) -> tuple[Json, str]:
        """The deployed model, and which of its fields has its replicas."""
        endpoint = await self._endpoint.read()
        for each in endpoint.get("deployedModels") or ():
            if str(each.get("id")) == self._model:
                return each, next((kind for kind in _RESOURCES if kind in each), _RESOURCES[0])
        raise NotFound(f"{self._endpoint.at} has no deployed model {self._model}; mend the workload's target")

    def _capacity(self, deployed: Json, kind: str) -> Capacity:
        resources = deployed.get(kind) or {}
        limit = resources.get("maxReplicaCount")
        # Without a status nobody knows: none is ready.
        ready = (deployed.get("status") or {}).get("availableReplicaCount", 0)
        return Capacity(int(resources.get("minReplicaCount", 0)), int(ready), None if limit is None else int(limit))


def _lines(endpoint: Json) -> list[str]:
    return str(endpoint.get("description") or "").splitlines()


def _answer(endpoint: Json) -> Answer | None:
    """The shares of the split; None where the endpoint takes no traffic."""
    split = tuple(sorted((str(name), int(share)) for name, share in (endpoint.get("trafficSplit") or {}).items()))
    answer = shares_of(split)
    return answer if answer.values else None
