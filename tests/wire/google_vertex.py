"""Vertex AI's endpoints as their REST API speaks.

Checked as Google does: an update with an etag that is no longer the endpoint's is ABORTED; a split sums to 100 and
names deployed models; a mutation names its fields, keeps at least one replica and at most the maximum; a quota is
RESOURCE_EXHAUSTED by Vertex AI's own sentence. Replicas come at once, or where ``slow`` is set with ``settle``.
"""

from __future__ import annotations

import copy
import threading
import uuid

from wire.google_rest import Json, Refusal, RestServer


class Vertex(RestServer):
    """The API on a port of loopback."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Json] = {}
        """By path, from ``projects``."""
        self.effects = 0
        self.slow = False
        self.gpu_quota = 6
        self.bodies: list[Json] = []
        """Of every write."""
        self.lock = threading.RLock()
        super().__init__()

    def deploy(self, path: str, *models: str) -> Json:
        """An endpoint with these models, all requests at the first, two replicas each and four allowed."""
        self.endpoints[path] = {
            "name": path,
            "displayName": "chat",
            "etag": _etag(),
            "deployedModels": [
                {
                    "id": each,
                    "model": "projects/acme/locations/europe-west4/models/1",
                    "dedicatedResources": {"minReplicaCount": 2, "maxReplicaCount": 4},
                    "status": {"availableReplicaCount": 2},
                }
                for each in models
            ],
            "trafficSplit": {models[0]: 100},
        }
        return self.endpoints[path]

    def console(self, path: str, **fields: object) -> None:
        """Change an endpoint as a person would."""
        with self.lock:
            self.endpoints[path] |= {**fields, "etag": _etag()}

    def settle(self) -> None:
        """Replicas are there."""
        with self.lock:
            for endpoint in self.endpoints.values():
                for model in endpoint["deployedModels"]:
                    resources = model.get("dedicatedResources") or model["automaticResources"]
                    model["status"] = {"availableReplicaCount": resources["minReplicaCount"]}

    def answer(self, method: str, path: list[str], query: dict[str, str], body: Json) -> Json:
        """The answer to one request. Raises Refusal."""
        name, _, verb = "/".join(path[1:]).partition(":")
        with self.lock:
            if name not in self.endpoints:
                raise Refusal(404, "NOT_FOUND", f"The Endpoint does not exist: {name}")
            endpoint = self.endpoints[name]
            if method == "PATCH":
                self._update(endpoint, body, query.get("updateMask", "").split(","))
            elif method == "POST" and verb == "mutateDeployedModel":
                self._mutate(endpoint, body)
                return {"name": f"{name}/operations/{uuid.uuid4().int}", "done": False}
            return copy.deepcopy(endpoint)

    def _update(self, endpoint: Json, body: Json, mask: list[str]) -> None:
        self.bodies.append(body)
        if body.get("etag") and body["etag"] != endpoint["etag"]:
            raise Refusal(409, "ABORTED", "Etag mismatch: the Endpoint was updated since it was read.")
        if unknown := [field for field in mask if field not in {"trafficSplit", "description", "labels"}]:
            raise Refusal(400, "INVALID_ARGUMENT", f"Field {unknown[0]} can't be updated.")
        wanted = {field: body.get(field) for field in mask}
        known = {model["id"] for model in endpoint["deployedModels"]}
        split = wanted.get("trafficSplit")
        if split is not None and (sum(split.values()) != 100 or not split.keys() <= known):
            raise Refusal(400, "INVALID_ARGUMENT", "Invalid traffic split: it must sum to 100 over deployed models.")
        if any(endpoint.get(field) != value for field, value in wanted.items()):
            self.effects += 1
        endpoint |= {**wanted, "etag": _etag()}

    def _mutate(self, endpoint: Json, body: Json) -> None:
        self.bodies.append(body)
        given, mask = body["deployedModel"], body["updateMask"].split(",")
        model = next((each for each in endpoint["deployedModels"] if each["id"] == given["id"]), None)
        if model is None:
            raise Refusal(400, "INVALID_ARGUMENT", f"There is no deployed model {given['id']}.")
        for path in mask:
            kind, _, field = path.partition(".")
            if kind not in model or field != "minReplicaCount":
                raise Refusal(400, "INVALID_ARGUMENT", f"Field {path} can't be mutated.")
            count = given[kind][field]
            if not 1 <= count <= model[kind]["maxReplicaCount"]:
                raise Refusal(400, "INVALID_ARGUMENT", f"min_replica_count {count} is out of range.")
            if count > self.gpu_quota:
                text = (
                    "The following quota metrics exceed quota limits: "
                    "aiplatform.googleapis.com/custom_model_serving_nvidia_l4_gpus"
                )
                raise Refusal(429, "RESOURCE_EXHAUSTED", text)
            self.effects += model[kind][field] != count
            model[kind][field] = count
        endpoint["etag"] = _etag()
        if not self.slow:
            self.settle()


def _etag() -> str:
    return uuid.uuid4().hex
