"""LiteLLM proxies on one database, as far as steering speaks to them.

``GET /v1/model/info`` and ``PATCH /model/{id}/update`` as LiteLLM's source has them (model_management_endpoints.py): a
model of the config file cannot be patched; a proxy that is patched reloads all of its models from the database, and
another one keeps what it has in memory until it does.
"""

from __future__ import annotations

import copy
import json
from typing import Any
from urllib.parse import unquote

from real.saboteur import Reply
from wire.http import Request, Wire


def deployment(name: str, weight: float | None, *, model: str = "chat", stored: bool = True) -> dict[str, Any]:
    params: dict[str, Any] = {"model": f"bedrock/{name}", "aws_region_name": name}
    if weight is not None:
        params["weight"] = weight
    return {"model_name": model, "litellm_params": params, "model_info": {"id": name, "db_model": stored}}


class Database:
    """What the proxies share."""

    def __init__(self, *models: dict[str, Any]) -> None:
        self.models = list(models)


class LitellmProxy(Wire):
    def __init__(self, database: Database, *, stores: bool = True) -> None:
        super().__init__()
        handler: Any = self._server.RequestHandlerClass
        handler.do_PATCH = handler.do_GET
        self._database = database
        self._stores = stores
        self.reload()

    def reload(self) -> None:
        """As it does every half minute by itself."""
        self.models = copy.deepcopy(self._database.models)

    def answer(self, request: Request) -> Reply:
        if (request.method, request.path) == ("GET", "/v1/model/info"):
            return Reply(200, json.dumps({"data": self.models}).encode())
        parts = request.path.strip("/").split("/")
        if request.method == "PATCH" and parts[0] == "model" and parts[2] == "update":
            return self._patch(unquote(parts[1]), json.loads(request.body))
        return self._error(404, "Not Found")

    def _patch(self, name: str, body: dict[str, Any]) -> Reply:
        if not self._stores:
            return self._error(400, "Model updates only supported for DB-stored models")
        found = next((each for each in self._database.models if each["model_info"]["id"] == name), None)
        if found is None:
            return self._error(404, f"Model {name} not found on proxy.")
        if not found["model_info"]["db_model"]:
            return self._error(400, "Cannot edit config-based model. Store model in DB via /model/new first.")
        if found["litellm_params"]["weight"] != body["litellm_params"]["weight"]:
            self.effects += 1
        found["litellm_params"] |= body["litellm_params"]
        self.reload()
        return Reply(200, json.dumps({"model_id": name}).encode())

    def _error(self, status: int, message: str) -> Reply:
        return Reply(status, json.dumps({"error": {"message": message, "code": str(status)}}).encode())
