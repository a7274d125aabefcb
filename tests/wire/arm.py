"""Azure Resource Manager on loopback: resources with state, ETags, long operations, and errors in ARM's shape.

What the services behind it do stands in ``arm_services``. Shapes and rules are those of the REST specifications of the
api-versions named there (github.com/Azure/azure-rest-api-specs); another api-version, a property that it does not
know, or a value that it does not allow is answered 400, as ARM does.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from real.place import Trouble
from real.saboteur import Mischief, Reply
from wire.http import Request, Wire

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/failover"
Body = dict[str, Any]


def reply(status: int, body: Body | None = None, **headers: str) -> Reply:
    head = (("content-type", "application/json"), *((name.replace("_", "-"), value) for name, value in headers.items()))
    return Reply(status, json.dumps(body).encode() if body is not None else b"", head)


class Rejection(Exception):
    """An error in ARM's shape, or *bare*, as some services give theirs."""

    def __init__(self, status: int, code: str, message: str, *, bare: bool = False) -> None:
        super().__init__(code)
        error = {"code": code, "message": message}
        self.reply = reply(status, error if bare else {"error": error})


def bad(message: str) -> Rejection:
    return Rejection(400, "BadRequest", message)


@dataclass
class Kept:
    """A resource as the server keeps it."""

    id: str
    body: Body
    etag: str = ""
    busy_until: float = 0.0
    """While an operation is under way."""

    @property
    def properties(self) -> Body:
        found: Body = self.body["properties"]
        return found

    @property
    def busy(self) -> bool:
        return time.monotonic() < self.busy_until


@dataclass(frozen=True)
class Target:
    """What a request is about: ``Microsoft.App/containerApps/revisions`` and the names along the way."""

    kind: str
    names: tuple[str, ...]
    id: str
    parent: str
    """The id of the resource above; empty for one of the first level."""
    page: str = ""
    """Which page of a collection."""


class Service:
    """One resource provider. Raises Rejection."""

    versions: ClassVar[Mapping[str, str]] = {}
    """api-version by the kind of the first level, lower-case."""

    def get(self, arm: Arm, at: Target) -> Body:
        raise NotImplementedError

    def put(self, arm: Arm, at: Target, body: Body, headers: Mapping[str, str]) -> Reply:
        raise Rejection(405, "MethodNotAllowed", "there is no PUT here")

    def patch(self, arm: Arm, at: Target, body: Body) -> Reply:
        raise Rejection(405, "MethodNotAllowed", "there is no PATCH here")


@dataclass
class Operation:
    until: float
    by_location: bool
    error: Body | None = None


@dataclass
class State:
    resources: dict[str, Kept] = field(default_factory=dict)
    """By id in lower case: ARM's ids know no case."""
    operations: dict[str, Operation] = field(default_factory=dict)


class Arm(Wire):
    """The server. ``effects`` counts the writes that have changed something."""

    def __init__(self, *services: Service) -> None:
        super().__init__()
        handler: Any = self._server.RequestHandlerClass  # one class for each server
        handler.do_PATCH = handler.do_GET
        self.state = State()
        self._services = services
        self._numbers = itertools.count(1)
        self.takes_s = 0.02
        """How long a long operation takes."""
        self.starts_s = 0.02
        """How long new replicas take."""
        self.fails_next: Body | None = None
        """The error with which the next long operation ends."""

    def answer(self, request: Request) -> Reply:
        try:
            return self._answer(request)
        except Rejection as rejected:
            return rejected.reply

    def _answer(self, request: Request) -> Reply:
        url = urlsplit(request.path)
        path, query = unquote(url.path), parse_qs(url.query)
        if path in self.state.operations:
            return self._operation(path)
        version = query.get("api-version", [""])[0]
        if not version:
            raise Rejection(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
        at = replace(target(path), page=query.get("$skiptoken", [""])[0])
        service, allowed = self._service(at)
        if version != allowed:
            raise Rejection(400, "NoRegisteredProviderFound", f"No registered provider for version {version}.")
        if not at.id.lower().startswith(GROUP.lower() + "/"):
            raise Rejection(404, "ResourceGroupNotFound", "Resource group could not be found.")
        if at.parent and "/".join(at.id.lower().split("/")[:9]) not in self.state.resources:
            raise Rejection(404, "ParentResourceNotFound", "Can not perform requested operation on nested resource.")
        headers = {name.lower(): value for name, value in request.headers.items()}
        match request.method:
            case "GET":
                return reply(200, service.get(self, at))
            case "PUT":
                return service.put(self, at, json.loads(request.body), headers)
            case "PATCH":
                return service.patch(self, at, json.loads(request.body))
        raise Rejection(405, "MethodNotAllowed", f"there is no {request.method} here")

    def _service(self, at: Target) -> tuple[Service, str]:
        first = "/".join(at.kind.split("/")[:2]).lower()
        for each in self._services:
            if first in each.versions:
                return each, each.versions[first]
        raise Rejection(404, "InvalidResourceType", f"The resource type {at.kind} could not be found.")

    def _operation(self, path: str) -> Reply:
        operation = self.state.operations[path]
        over = time.monotonic() >= operation.until
        if operation.by_location:
            if over and operation.error:
                return reply(400, {"error": operation.error})
            return reply(200, {}) if over else reply(202, Location=self.url + path)
        if not over:
            return reply(200, {"status": "InProgress"})
        if operation.error:
            return reply(200, {"status": "Failed", "error": operation.error})
        return reply(200, {"status": "Succeeded"})

    # What services use.

    def kept(self, at: Target) -> Kept:
        """Raises the 404 of a resource that there is not."""
        found = self.state.resources.get(at.id.lower())
        if found is None:
            raise Rejection(404, "ResourceNotFound", f"The Resource '{at.id}' was not found.")
        return found

    def link(self, at: Target, page: str) -> str:
        """Where the next page of a collection is."""
        _, version = self._service(at)
        return f"{self.url}{at.id}?api-version={version}&$skiptoken={page}"

    def under(self, resource_id: str) -> list[Kept]:
        """The members of a collection, by its path."""
        prefix = resource_id.lower() + "/"
        return [kept for key, kept in self.state.resources.items() if key.rpartition("/")[0] + "/" == prefix]

    def keep(self, resource_id: str, body: Body) -> Kept:
        """Put a resource in the server's memory; its id, name and type are added."""
        at = target(resource_id)
        whole = {**body, "id": resource_id, "name": at.names[-1], "type": at.kind}
        made = self.state.resources[resource_id.lower()] = Kept(resource_id, whole, self.fresh())
        return made

    def fresh(self) -> str:
        """What no resource has had: an ETag, the end of a name."""
        return f"{next(self._numbers):08x}"

    def begin(self, kept: Kept, *, by_location: bool, status: int, body: Body | None = None) -> Reply:
        """A long operation on *kept*."""
        kept.busy_until = time.monotonic() + self.takes_s
        path = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Test/operationStatuses/{self.fresh()}"
        self.state.operations[path] = Operation(kept.busy_until, by_location, self.fails_next)
        self.fails_next = None
        name = "Location" if by_location else "Azure-AsyncOperation"
        return reply(status, body, **{name.replace("-", "_"): f"{self.url}{path}?api-version=2024-01-01"})

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        """Writes meet it; expired and forbidden credentials reads, too."""
        if what is Trouble.AWAY:
            self.leave()
            return
        lost = what is Trouble.LATE
        self.mischief.append(Mischief(_MEETS[what], times, None if lost else _REPLIES[what]))

    def lose(self, nth: int) -> None:
        """The *nth* write from now has its effect, and its answer is lost."""
        left = itertools.count(1)
        self.mischief.append(Mischief(lambda *request: _writes(*request) and next(left) == nth, 1))


def _writes(method: str, path: str, body: bytes) -> bool:
    return method != "GET"


def _everything(method: str, path: str, body: bytes) -> bool:
    return True


_MEETS = {
    Trouble.THROTTLED: _writes,
    Trouble.BROKEN: _writes,
    Trouble.LATE: _writes,
    Trouble.EXPIRED: _everything,
    Trouble.FORBIDDEN: _everything,
}
_REPLIES = {
    Trouble.THROTTLED: reply(
        429, {"error": {"code": "TooManyRequests", "message": "The request was throttled."}}, Retry_After="17"
    ),
    Trouble.BROKEN: reply(500, {"error": {"code": "InternalServerError", "message": "An unexpected error."}}),
    Trouble.EXPIRED: reply(
        401, {"error": {"code": "ExpiredAuthenticationToken", "message": "The access token expiry UTC time is past."}}
    ),
    Trouble.FORBIDDEN: reply(
        403,
        {
            "error": {
                "code": "AuthorizationFailed",
                "message": "The client '7f0c' with object id '7f0c' does not have authorization to perform action "
                f"'Microsoft.Network/thing/write' over scope '{GROUP}' or the scope is invalid.",
            }
        },
    ),
}


def target(path: str) -> Target:
    """Raises Rejection for a path that is no resource's."""
    words = path.strip("/").split("/")
    lower = [word.lower() for word in words]
    if len(words) < 8 or lower[0] != "subscriptions" or lower[2] != "resourcegroups" or lower[4] != "providers":
        raise Rejection(404, "InvalidResourceType", f"There is nothing at {path}.")
    types, names = words[6::2], words[7::2]
    parent = "/" + "/".join(words[: -1 if len(types) > len(names) else -2]) if len(types) > 1 else ""
    return Target("/".join([words[5], *types]), tuple(names), "/" + "/".join(words), parent)


def merged(into: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    out = dict(into) if isinstance(into, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = merged(out.get(name), value)
    return out


def only(given: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    """Raises the 400 of a property that the api-version does not know."""
    strange = sorted(given.keys() - known)
    if strange:
        raise bad(f"Could not find member '{strange[0]}' on object of type {where}.")
