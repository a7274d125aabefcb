"""Steering by a discovery file that Envoys follow: localities of a cluster, or weighted clusters of routes.

The file is fence and shares in one: it is compared and replaced under a lock, by renaming, which is what Envoy watches.
An Envoy takes it up in milliseconds and cuts no request that is under way.

- ``kind: endpoints`` weighs the localities of one cluster (EDS); each keeps the weights of its own endpoints. The
  cluster needs ``common_lb_config: {locality_weighted_lb_config: {}, healthy_panic_threshold: {value: 0},
  update_merge_window: 0s}``. Without the first it spreads traffic evenly whatever the file says. Without the second it
  gives traffic to all endpoints, weight or none, once half of them are unhealthy, as in the very failure that a move
  is made for. Without the third it takes up a change that comes within a second of another one a second late. Where
  the option ``admin`` names an Envoy without the first, writes are refused; without the second, adopting is.
- ``kind: routes`` weighs clusters in routes (RDS), each its own name, certificate and health: for managed models
  behind a gateway.
- The lock is one of this host. Envoys of other hosts follow the file through whatever ships it: a volume that all
  mount, or a job that copies it and renames the copy. A worker must run where the file is; let nothing else write it.
- ``answers`` is each Envoy's own word by its admin interface; without ``admin`` it is only what the file says.

Source: https://www.envoyproxy.io/docs/envoy/latest/start/quick-start/configuration-dynamic-filesystem and
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/locality_weight.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from orchestrator.core.errors import BadFence, BadInput
from orchestrator.core.steering import Landing, Routing, SteeringChange, landing, shares_in
from orchestrator.core.topology import Shares, SteeringSpec
from providers.base import ChangedOutside, ProviderError, Refused, ServerAnswer, Transient
from providers.documents.file import FileDocument
from providers.documents.settings import Settings
from providers.fenced import Overtaken, Sheet, answer_of
from providers.fencing import ahead, checked, expected, refusal
from providers.onprem.admin import Admin
from providers.onprem.discovery import Endpoints, Kind, Node, Page, Routes, page_of

log = structlog.get_logger()

WRR_LOCALITY = "envoy.load_balancing_policies.wrr_locality"
"""The load balancing policy that is nothing but localities by weight."""
TURNS = 5
"""How often a writer reads again because others wrote, before it says that the file is too busy."""


def file_of(path: str) -> FileDocument:
    """The discovery file at *path*. Raises BadInput for a path that is not whole."""
    if not path.startswith("/"):
        raise BadInput("say where the file is that Envoy follows: options: {file: /var/lib/envoy/chat.json}")
    return FileDocument(f"file:{path}", Settings(), "options.file")


class EnvoySteering:
    """The Steering of one discovery file."""

    shares = Shares.WEIGHTED

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for options that say nothing."""
        options = dict(spec.options)
        self.spec = spec
        self.kind = _kind(options)
        self._file = file_of(options.get("file", ""))
        self._admins = Admin.all(options.get("admin", ""))

    async def read(self) -> Routing:
        """What the file says. Raises NotFound, Forbidden, Refused, BadFence."""
        return (await self._stand())[2]

    async def write(self, change: SteeringChange) -> Routing:
        """Compare-and-set of fence and shares together. Idempotent by the fence's token.

        Raises StaleGeneration, ChangedOutside, Transient, Refused, and as ``read``.
        """
        wanted = checked(change, self.spec.name)
        for _ in range(TURNS):
            try:
                sheet, page, now = await self._stand()
            except BadFence as error:
                raise ChangedOutside(f"{error}; somebody wrote there by hand") from error
            verdict = landing(wanted, now)
            if verdict is Landing.OURS:
                return now
            if verdict is not Landing.NOT_YET:
                raise refusal(verdict, wanted, now, name=self.spec.name, at=self._file.at)
            if not expected(wanted, now.fence):
                raise ahead(now.fence, wanted, "of another history", name=self.spec.name, at=self._file.at)
            turned = self.kind.turned(page.resource, shares_in(wanted.answer))
            await self._object(page)
            try:
                await self._file.put(page.with_(turned, wanted.fence), tag=sheet.tag)
            except Overtaken:
                continue
            return Routing(wanted.answer, self.spec.ttl_s, wanted.fence)
        raise Transient(f"{self._file.at} keeps changing while it is written: others write there, too")

    async def answers(self) -> tuple[ServerAnswer, ...]:
        """What each Envoy follows by its own word. Never raises for one's silence."""
        try:
            _, page, now = await self._stand()
        except (ProviderError, BadFence) as error:
            return (ServerAnswer(self._file.at, None, str(error)),)
        if not self._admins:
            return (ServerAnswer(self._file.at, now.answer, None if now.answer else "it gives nobody traffic"),)
        return tuple(await asyncio.gather(*(self._answer_of(admin, page) for admin in self._admins)))

    async def _stand(self) -> tuple[Sheet, Page, Routing]:
        sheet = await self._file.read()
        page = page_of(sheet.text, self.kind, self._file.at)
        answer = answer_of(self.kind.targets(page.resource))
        return sheet, page, Routing(answer, self.spec.ttl_s, page.fence)

    async def _answer_of(self, admin: Admin, page: Page) -> ServerAnswer:
        name = _name(page)
        try:
            if isinstance(self.kind, Endpoints):
                found = await admin.endpoints(name)
                cluster = await admin.cluster(name)
                if cluster is not None:
                    _object_to_evenness(cluster, admin, name)
            else:
                found = await admin.routes(name)
            answer = answer_of(self.kind.targets(found)) if found is not None else None
        except ProviderError as error:
            return ServerAnswer(admin.url, None, str(error))
        return ServerAnswer(admin.url, answer, None if answer else f"it has nothing called '{name}' that gets traffic")

    async def _object(self, page: Page) -> None:
        """Raise Refused where an Envoy that answers would not do what the file says."""
        if not isinstance(self.kind, Endpoints):
            return
        name = _name(page)
        found = await asyncio.gather(*(admin.cluster(name) for admin in self._admins), return_exceptions=True)
        for admin, cluster in zip(self._admins, found, strict=True):
            # One that is away stops nobody: it follows the file when it is back.
            if isinstance(cluster, BaseException) or cluster is None:
                continue
            _object_to_evenness(cluster, admin, name)
            try:
                _object_to_panic(cluster, admin, name)
            except Refused as error:
                if page.fence is None:
                    raise
                # In an outage a move that may be taken back in part is better than none.
                log.warning("envoy.panics", reason=str(error))


def _kind(options: dict[str, str]) -> Kind:
    match options.get("kind", "endpoints"):
        case "endpoints":
            return Endpoints()
        case "routes":
            return Routes(options.get("route", ""))
        case other:
            raise BadInput(f"kind must be endpoints or routes, not '{other}'")


def _name(page: Page) -> str:
    """What the resource is called: a cluster, or a route configuration."""
    return str(page.resource.get("cluster_name") or page.resource.get("name") or "")


def _object_to_evenness(cluster: Node, admin: Admin, name: str) -> None:
    """Raise Refused for a cluster that does not balance by the weights of its localities."""
    if not _weighs(cluster):
        raise Refused(
            f"cluster {name} of the Envoy at {admin.url} does not balance by the weights of localities: give it "
            "common_lb_config: {locality_weighted_lb_config: {}}"
        )


def _object_to_panic(cluster: Node, admin: Admin, name: str) -> None:
    """Raise Refused for a cluster that disregards weights once many of its endpoints are unhealthy."""
    threshold = cluster.get("common_lb_config", {}).get("healthy_panic_threshold")
    if threshold is None or float(threshold.get("value", 0)) > 0:
        raise Refused(
            f"cluster {name} of the Envoy at {admin.url} gives traffic to endpoints without weight, too, when many are "
            "unhealthy: give it common_lb_config: {healthy_panic_threshold: {value: 0}}"
        )


def _weighs(node: Any) -> bool:
    # The setting stands in the cluster, or in one of its load balancing policies, and each of those has its own shape.
    if isinstance(node, dict):
        return any(
            key == "locality_weighted_lb_config" or value == WRR_LOCALITY or _weighs(value)
            for key, value in node.items()
        )
    return isinstance(node, list) and any(_weighs(each) for each in node)
