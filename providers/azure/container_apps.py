"""Azure Container Apps: replicas of an app, and the spread of traffic over its revisions.

A change of the template makes a new revision; with one active revision at a time the old one serves until the new one
is ready: https://learn.microsoft.com/azure/container-apps/revisions. A change of the traffic makes none. Both are
PATCHes (JSON merge patch) that go on after their 202. An app has no ETag, so the fence of its traffic stands in a
document (``txt``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from orchestrator.core.topology import SteeringSpec, Workload
from providers.azure.session import Arm, Reach, arm, name_of, resource
from providers.azure.txt import fence_of
from providers.base import Capacity, NoCapacity, NotFound, Refused
from providers.fenced import FencedDial, Targets

KIND = "Microsoft.App/containerApps"
VERSION = "2025-01-01"
"""The first that tells whether an app is stopped."""
MOST = 10
"""Replicas where the app says no maximum: https://learn.microsoft.com/azure/container-apps/scale-app."""
TURN_S = 6.0
"""How long a change of the traffic is waited for. It goes on afterwards, and the next attempt finds it done."""
LATEST = "latest"
"""What the entry is called that follows the newest revision, where it has no label."""


class App:
    """One container app."""

    def __init__(self, app_id: str, options: Mapping[str, str], *, option: str) -> None:
        """Raises BadInput for an id that is no container app's."""
        region = options.get("region", "")
        self.id = resource(app_id, KIND, option=option)
        self.name = name_of(self.id)
        self.arm: Arm = arm(f"Azure Container Apps in {region}", Reach.of(options))

    async def get(self) -> dict[str, Any]:
        """Its properties."""
        return (await self.arm.get(self.id, VERSION, what=f"read the container app {self.name}")).properties

    async def active(self) -> tuple[str, ...]:
        """Its active revisions by name, sorted."""
        what = f"read the revisions of the container app {self.name}"
        found = await self.arm.every(f"{self.id}/revisions", VERSION, what=what)
        return tuple(sorted(str(each["name"]) for each in found if (each.get("properties") or {}).get("active")))

    async def ready(self, revision: str) -> int:
        """Replicas of *revision* that run and whose containers are all ready."""
        what = f"read the replicas of the revision {revision} of the container app {self.name}"
        reply = await self.arm.get(f"{self.id}/revisions/{revision}/replicas", VERSION, what=what, may=(404,))
        return sum(_ready(each.get("properties") or {}) for each in reply.body.get("value") or ())


def _ready(replica: Mapping[str, Any]) -> bool:
    containers = replica.get("containers") or ()
    return replica.get("runningState") == "Running" and all(each.get("ready") for each in containers)


def _mode(properties: Mapping[str, Any]) -> str:
    return str((properties.get("configuration") or {}).get("activeRevisionsMode") or "Single")


def _stopped(properties: Mapping[str, Any]) -> bool:
    return properties.get("runningStatus") == "Stopped"


class ContainerAppsWorkload:
    """WorkloadControl of an app with one active revision: the level is ``minReplicas``, the limit ``maxReplicas``."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a target that is no container app's id."""
        self._app = App(handle.target, dict(handle.options), option="target")

    async def read(self) -> Capacity:
        """Raises Transient, NotFound.

        Ready are the replicas of the newest revision, or of the one that still serves in its stead, whichever are more:
        they serve together for a moment, and are never added up. An app that is left 0 replicas starts one by itself as
        soon as a request or an event comes, so it counts as 1 ready; only one that was stopped cannot serve.
        """
        return await self._capacity(await self._app.get())

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Ask for *replicas* and return at once. Raises Transient, NoCapacity, NotFound, Refused.

        Idempotent as a level is: where it stands already nothing is sent, and no revision is made.
        """
        properties = await self._app.get()
        now = await self._capacity(properties)
        if now.limit is not None and replicas > now.limit:
            raise NoCapacity(
                f"container app {self._app.name} may run {now.limit} replicas at the most (maxReplicas), "
                f"and {replicas} are asked for; raise it, or ask for fewer"
            )
        if replicas == now.desired:
            return now
        if _stopped(properties):
            raise Refused(f"container app {self._app.name} was stopped; start it: az containerapp start, and try again")
        if _mode(properties) != "Single":
            # The new revision would get no traffic, and the old one would keep its replicas.
            raise Refused(
                f"container app {self._app.name} has several active revisions, and a new level makes another one that "
                "gets no traffic; set its revision mode to Single"
            )
        template: dict[str, Any] = {"scale": {"minReplicas": replicas}}
        if (properties.get("template") or {}).get("revisionSuffix"):
            # A suffix that stands already makes no revision, and says nothing of it; without one Azure makes a name.
            template["revisionSuffix"] = None
        what = f"scale the container app {self._app.name} to {replicas} replicas"
        await self._app.arm.patch(self._app.id, VERSION, {"properties": {"template": template}}, what=what)
        return Capacity(replicas, now.ready, now.limit)

    async def _capacity(self, properties: Mapping[str, Any]) -> Capacity:
        scale = (properties.get("template") or {}).get("scale") or {}
        limit = int(scale.get("maxReplicas") or MOST)
        if _stopped(properties):
            return Capacity(0, 0, limit)
        names = {properties.get("latestRevisionName"), properties.get("latestReadyRevisionName")}
        counts = [await self._app.ready(str(name)) for name in sorted(filter(None, names))]
        desired, ready = int(scale.get("minReplicas") or 0), max(counts, default=0)
        wakes = bool((properties.get("configuration") or {}).get("ingress") or scale.get("rules"))
        return Capacity(desired, max(ready, int(wakes)) if desired == 0 else ready, limit)


class Ingress:
    """The traffic of an app with several active revisions, as a dial.

    A target is called by its label, or, where it has none, by its revision's name.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.at = f"ingress of the container app {app.name}"

    async def read(self) -> Targets:
        """Raises Transient, NotFound, Unauthenticated, Forbidden, Refused for an app whose traffic cannot be spread."""
        return tuple(sorted((_name(each), int(each.get("weight") or 0)) for each in await self._entries()))

    async def turn(self, targets: Targets) -> None:
        """One PATCH of the whole list; none where it is so already."""
        entries, wanted = await self._entries(), dict(targets)
        missing = sorted(wanted.keys() - {_name(each) for each in entries})
        if missing:
            known = ", ".join(sorted(map(_name, entries))) or "none"
            raise NotFound(
                f"container app {self._app.name} has no label or active revision {', '.join(missing)}; it has {known}"
            )
        if all(int(each.get("weight") or 0) == wanted.get(_name(each), 0) for each in entries):
            return
        turned = [
            each | {"weight": wanted.get(_name(each), 0)}
            for each in entries
            if "weight" in each or _name(each) in wanted
        ]
        what = f"set the traffic of the container app {self._app.name}"
        body = {"properties": {"configuration": {"ingress": {"traffic": turned}}}}
        begun = await self._app.arm.patch(self._app.id, VERSION, body, what=what)
        await self._app.arm.done(begun, what=what, within_s=TURN_S)

    async def _entries(self) -> list[dict[str, Any]]:
        """The traffic's list as it is, and an entry without a weight for each other active revision."""
        properties, active = await asyncio.gather(self._app.get(), self._app.active())
        ingress = (properties.get("configuration") or {}).get("ingress")
        if not ingress:
            raise Refused(f"container app {self._app.name} has no ingress, so there is no traffic to steer; enable it")
        if _mode(properties) != "Multiple":
            raise Refused(
                f"container app {self._app.name} has one active revision at a time; set its revision mode to Multiple"
            )
        listed = [dict(each) for each in ingress.get("traffic") or ()]
        named = {each.get("revisionName") for each in listed}
        return [*listed, *({"revisionName": name} for name in active if name not in named)]


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("label") or entry.get("revisionName") or LATEST)


class ContainerAppsSteering(FencedDial):
    """Steering by the traffic weights of an app's revisions, its fence in a document."""

    def __init__(self, spec: SteeringSpec) -> None:
        """Raises BadInput for options that name no app, or no place for the fence."""
        options = dict(spec.options)
        app = App(options.get("app", ""), options, option="option app")
        super().__init__(spec, Ingress(app), fence_of(spec, Reach.of(options)))
