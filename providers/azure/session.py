"""The way to Azure Resource Manager (ARM): who calls, where, and one call at a time.

The pipeline client of ``azure-mgmt-core`` is used itself, not the models on top of it: those of azure-mgmt-resource
know no top-level ``etag`` and no ``sku`` of other services, turn a PATCH into their own idea of a resource, and poll
every 30 s for minutes. A routing needs the resource byte for byte and its ETag, and says by itself what it waits for.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

from azure.core import AzureClouds
from azure.core.pipeline.policies import HeadersPolicy, RequestIdPolicy, UserAgentPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.identity import AzureAuthorityHosts, DefaultAzureCredential
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
from azure.mgmt.core.tools import get_arm_endpoints

from orchestrator.core.errors import BadInput
from providers.azure.errors import Rejected, translate
from providers.base import Transient
from providers.calls import CALL_S, CONNECT_S, Line, line

CLOUDS = {
    "public": (AzureClouds.AZURE_PUBLIC_CLOUD, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD),
    "usgov": (AzureClouds.AZURE_US_GOVERNMENT, AzureAuthorityHosts.AZURE_GOVERNMENT),
    "china": (AzureClouds.AZURE_CHINA_CLOUD, AzureAuthorityHosts.AZURE_CHINA),
}
"""The clouds, and who signs in to them."""

POLL_S = (0.5, 2.0)
"""Between two looks at a long operation, where Azure says how long: that, within these bounds."""
FIRST_POLL_S = 0.1
"""Before the first look, where Azure says nothing; each further one is twice as long, up to the upper bound."""
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ID = re.compile(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/(?P<rest>[^/]+/.+?)/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reach:
    """Which Azure, and as whom."""

    cloud: str = "public"
    endpoint: str = ""
    """Another address of ARM: ``https://`` for a private one, ``http://`` on loopback for an emulator. Empty: the
    cloud's."""
    identity: str = ""
    """Client id of the user-assigned managed identity or of the workload identity; empty: what the environment says."""

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Reach:
        """Raises BadInput for a cloud that there is not, and for an address that credentials must not go to."""
        cloud, endpoint = options.get("cloud", "public"), options.get("endpoint", "").rstrip("/")
        if cloud not in CLOUDS:
            raise BadInput(f"option cloud says '{cloud}'; there are {', '.join(CLOUDS)}")
        if endpoint and not (endpoint.startswith("https://") or _plain(endpoint)):
            raise BadInput(
                f"option endpoint says '{endpoint}'; write https://..., or http:// on loopback for an emulator, "
                "which gets no credentials"
            )
        return cls(cloud, endpoint, options.get("identity", ""))

    @property
    def url(self) -> str:
        """The address of ARM, without a slash at its end."""
        return self.endpoint or str(get_arm_endpoints(CLOUDS[self.cloud][0])["resource_manager"]).rstrip("/")


def _plain(endpoint: str) -> bool:
    return endpoint.startswith("http://") and urlsplit(endpoint).hostname in _LOOPBACK


@dataclass(frozen=True, slots=True)
class Reply:
    """What ARM said."""

    status: int
    body: dict[str, Any]
    etag: str | None = None
    operation: str | None = None
    """Where a long operation says how it goes; None: it is done."""
    by_location: bool = False
    """It is the operation's *result* that is asked for: 202 until it is there."""
    wait_s: float | None = None
    """How long Azure asks to wait before the next look."""

    @property
    def properties(self) -> dict[str, Any]:
        """The resource's own properties."""
        found = self.body.get("properties")
        return found if isinstance(found, dict) else {}


class Arm:
    """ARM, as one identity reaches one service of it. Raises what ``errors.translate`` makes of refusals."""

    def __init__(self, client: ARMPipelineClient[Any, Any], url: str, way: Line) -> None:
        self._client = client
        self._url = url
        self._line = way
        self._lock = threading.Lock()
        self._quiet_until: dict[str, float] = {}
        """By subscription: when reads may be sent again after Azure has asked for patience."""

    async def get(self, path: str, version: str, *, what: str, may: Collection[int] = ()) -> Reply:
        """Read *path*. A status in *may* is answered, not raised. *what* is said in errors: "read the zone x"."""
        return await self._line.read(what, lambda: self._patiently(path, version, may))

    async def every(self, path: str, version: str, *, what: str) -> tuple[dict[str, Any], ...]:
        """Every member of the collection at *path*, page by page."""
        reply = await self.get(path, version, what=what)
        found = list(reply.body.get("value") or ())
        while link := reply.body.get("nextLink"):
            reply = await self._line.read(what, partial(self._send, "GET", str(link), None))
            found += reply.body.get("value") or ()
        return tuple(found)

    async def put(
        self, path: str, version: str, body: Mapping[str, Any], *, what: str, etag: str | None = None, new: bool = False
    ) -> Reply:
        """Replace the resource. *etag*: only while it is the one that was read; *new*: only where none stands.

        Who was late is answered 412, not raised.
        """
        headers = {"If-None-Match": "*"} if new else {"If-Match": etag} if etag else {}
        return await self._line.write(what, lambda: self._send("PUT", path, version, body, headers, may=(412,)))

    async def patch(self, path: str, version: str, body: Mapping[str, Any], *, what: str) -> Reply:
        """Merge *body* into the resource (RFC 7396); a long operation is begun, not awaited."""
        return await self._line.write(what, lambda: self._send("PATCH", path, version, body))

    async def done(self, reply: Reply, *, what: str, within_s: float) -> None:
        """Wait until the long operation that *reply* began has ended well.

        Raises Transient where it takes longer than *within_s*: it goes on without us.
        """
        clock = asyncio.get_running_loop().time
        until, pause_s = clock() + within_s, FIRST_POLL_S
        while (at := reply.operation) is not None:
            wait_s = pause_s if reply.wait_s is None else min(max(reply.wait_s, POLL_S[0]), POLL_S[1])
            if clock() + wait_s > until:
                raise Transient(f"Azure is still at it after {within_s:g} s: {what}; it goes on, look again")
            await asyncio.sleep(wait_s)
            pause_s = min(2 * pause_s, POLL_S[1])
            look = self._look(at, by_location=reply.by_location)
            reply = await self._line.read(what, look, within_s=max(until - clock(), POLL_S[0]))

    def _look(self, at: str, *, by_location: bool) -> Callable[[], Reply]:
        def look() -> Reply:
            reply = self._send("GET", at, None)
            state = "" if by_location else str(reply.body.get("status") or "").lower()
            if state in {"failed", "canceled", "cancelled"}:
                raise Rejected(0, reply.body)
            over = reply.status != 202 if by_location else state == "succeeded"
            return Reply(reply.status, reply.body, None, None if over else at, by_location, reply.wait_s)

        return look

    def _patiently(self, path: str, version: str, may: Collection[int]) -> Reply:
        """A read, not sent while Azure has asked this subscription for patience: it would count, and be refused."""
        subscription = path.lower().split("/")[2]
        with self._lock:
            left_s = self._quiet_until.get(subscription, 0.0) - time.monotonic()
        if left_s > 0:
            raise Rejected(429, {}, round(left_s, 1))
        try:
            return self._send("GET", path, version, may=may)
        except Rejected as error:
            if error.status == 429 and error.wait_s:
                with self._lock:
                    self._quiet_until[subscription] = time.monotonic() + min(error.wait_s, CALL_S)
            raise

    def _send(
        self,
        method: str,
        path: str,
        version: str | None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        may: Collection[int] = (),
    ) -> Reply:
        """One request, once. Blocking. Raises Rejected, and what the transport raises."""
        if "://" in path:
            # Where a header sends us: the token is for ARM, and goes nowhere else.
            at = urlsplit(path)
            path = f"{at.path}?{at.query}"
        url = self._url + path
        params = {"api-version": version} if version else None
        request = HttpRequest(method, url, params=params, json=body, headers=dict(headers or {}))
        response = self._client.send_request(request)
        status, head = response.status_code, response.headers
        wait_s = _seconds(head.get("Retry-After"))
        if status >= 300 and status not in may:  # a redirect would take the token elsewhere, too
            raise Rejected(status, _document(response.text(), strict=False), wait_s)
        document = _document(response.text(), strict=True)
        polled, location = head.get("Azure-AsyncOperation"), head.get("Location")
        etag = document.get("etag") or head.get("ETag")
        operation = (polled or (location if status == 202 else None)) if method != "GET" else None
        return Reply(status, document, etag, operation, polled is None, wait_s)


def _document(text: str, *, strict: bool) -> dict[str, Any]:
    """The JSON object that *text* is; an empty one where there is none. Raises ValueError for text that is none."""
    try:
        found = json.loads(text) if text.strip() else {}
    except ValueError:
        if strict:
            raise
        return {}
    return found if isinstance(found, dict) else {}


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


@cache
def arm(service: str, reach: Reach) -> Arm:
    """The one client of *service* ("Azure DNS", "Azure Container Apps in westeurope") with this reach."""
    where = f" at {urlsplit(reach.endpoint).netloc}" if reach.endpoint else ""
    client: ARMPipelineClient[Any, Any] = ARMPipelineClient(
        reach.url,
        # Neither a retry policy, as the line tries again, nor one that registers resource providers or logs.
        policies=[
            RequestIdPolicy(),
            HeadersPolicy({"Accept": "application/json"}),
            UserAgentPolicy("failover-orchestrator"),
            *_signing(reach),
        ],
        transport=RequestsTransport(
            connection_timeout=CONNECT_S, read_timeout=CALL_S, use_env_settings=not _plain(reach.endpoint)
        ),
    )
    return Arm(client, reach.url, line(service + where, translate))


def _signing(reach: Reach) -> tuple[ARMChallengeAuthenticationPolicy, ...]:
    if _plain(reach.endpoint):
        return ()  # an emulator: a token must not cross plain HTTP, and the SDK's own policy would refuse to send it
    cloud, authority = CLOUDS[reach.cloud]
    credential = DefaultAzureCredential(
        authority=authority,
        managed_identity_client_id=reach.identity or None,
        workload_identity_client_id=reach.identity or None,
        # A worker is signed in by its environment, its identity or the Azure CLI; other tools of a desk only cost time.
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_developer_cli_credential=True,
        exclude_powershell_credential=True,
        process_timeout=int(CALL_S),
    )
    return (ARMChallengeAuthenticationPolicy(credential, *get_arm_endpoints(cloud)["credential_scopes"]),)


def resource(text: str, kind: str, *, option: str) -> str:
    """*text* as the id of a resource of *kind* (``Microsoft.App/containerApps``). Raises BadInput for another."""
    found = _ID.fullmatch(text)
    wanted, given = kind.lower().split("/"), found["rest"].lower().split("/") if found else []
    if [given[0], *given[1::2]] != wanted if given else True:
        namespace, *parts = kind.split("/")
        example = namespace + "".join(f"/{part}/NAME" for part in parts)
        raise BadInput(
            f"{option} says '{text}', which is no id of {kind}; write "
            f"/subscriptions/ID/resourceGroups/GROUP/providers/{example}"
        )
    return text.rstrip("/")


def name_of(resource_id: str) -> str:
    """The last part of a resource's id."""
    return resource_id.rsplit("/", 1)[-1]
