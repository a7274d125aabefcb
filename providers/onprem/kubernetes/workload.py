"""Replicas of a Deployment or a StatefulSet, with or without an autoscaler on it."""

from __future__ import annotations

import asyncio

from kubernetes.client import ApiClient

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Workload
from providers.base import Capacity, NoCapacity, Refused, Transient
from providers.onprem.kubernetes import shortage
from providers.onprem.kubernetes.cluster import cluster, target
from providers.onprem.kubernetes.quotas import most
from providers.onprem.kubernetes.standing import Standing, pods, set_least, set_replicas, standing

TAKEN_UP_S, LOOK_S = 1.0, 0.2
"""How long a controller is waited for that has not taken up what was just set, and how often it is looked for."""


class KubernetesWorkload:
    """WorkloadControl over the scale subresource.

    Under a HorizontalPodAutoscaler the level is its minimum: replicas set by hand would be undone by it within seconds.
    What it adds by load is its own. At none it rests, so that none stays none.
    """

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a target that is no workload, and options that say nothing."""
        self._target = target(handle)
        self._cluster = cluster(handle)
        self._serving = handle.serving
        node_wait = dict(handle.options).get("node_wait") or f"{shortage.NODE_WAIT_S:g}"
        if not node_wait.isdecimal():
            raise BadInput(f"node_wait of {self._target.said} is '{node_wait}'; write whole seconds: '60'")
        self._node_wait_s = float(node_wait)

    async def read(self) -> Capacity:
        """Replicas wanted and ready; the limit is an autoscaler's, or what quotas leave room for now.

        Raises NoCapacity where fewer are ready than the endpoint needs to serve, and that will last; Transient where
        the cluster's controllers have not taken up what was set; what ``errors.translate`` says.
        """
        now, room = await self._taken_up()
        limits = [each for each in (now.most, room) if each is not None]
        running = now.ready or (await self._running(now) if now.desired == 0 else 0)
        return Capacity(now.desired, running, min(limits, default=None))

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """Set the level; *key* is not needed, as setting it twice is setting it once.

        Raises NoCapacity for more than the autoscaler allows, Refused where something else writes the autoscaler,
        what ``errors.translate`` says.
        """
        now = await self._cluster.read(self._what("read"), lambda api: standing(api, self._target))
        holder = now.autoscaler
        if holder is not None and replicas > holder.most:
            raise NoCapacity(
                f"the autoscaler {holder.name} of {self._target.said} allows at most {holder.most} replicas, not "
                f"{replicas}; raise its maxReplicas, or choose another target"
            )
        if holder is not None and holder.keeper and replicas != now.desired:
            raise Refused(
                f"the autoscaler {holder.name} of {self._target.said} belongs to {holder.keeper}, which would undo "
                f"{replicas} replicas: set its minReplicaCount, or pause it, and try again"
            )
        what = self._what(f"set {replicas} replicas of")
        await self._cluster.write(what, lambda api: self._set(api, now, replicas))
        return Capacity(replicas, now.ready, now.most)

    def _set(self, api: ApiClient, now: Standing, replicas: int) -> None:
        holder = now.autoscaler
        if holder is None or not replicas:
            if now.replicas != replicas:
                set_replicas(api, self._target, replicas)
            return
        if holder.least != replicas:
            set_least(api, self._target, holder, replicas)
        if now.replicas < replicas:
            # It would itself, but only when it next looks (15 s), and at none it does not look at all.
            set_replicas(api, self._target, replicas)

    async def _taken_up(self) -> tuple[Standing, int | None]:
        """The standing, and what quotas leave room for, once the controllers have taken up what was set.

        Before, the status is of something else, and a failure that it tells of may be over.
        """
        until = asyncio.get_running_loop().time() + TAKEN_UP_S
        while True:
            now, room, why = await self._cluster.read(self._what("read"), self._look)
            if why is None and now.observed >= now.generation:
                return now, room
            if asyncio.get_running_loop().time() >= until:
                raise why or Transient(
                    f"the cluster's controllers have taken up generation {now.observed} of {self._target.said}, which "
                    f"is at {now.generation}: see whether kube-controller-manager runs"
                )
            await asyncio.sleep(LOOK_S)

    def _look(self, api: ApiClient) -> tuple[Standing, int | None, Refused | None]:
        now = standing(api, self._target)
        short = now.ready < min(now.desired, self._serving)
        why = shortage.why(api, self._target, now, self._node_wait_s) if short else None
        return now, most(api, self._target, now.pods, now.asks), why

    async def _running(self, now: Standing) -> int:
        """Pods that still run when none is wanted: while they go, they may serve, and no status counts them."""
        listed = await self._cluster.read(
            self._what("list the pods of"), lambda api: pods(api, self._target, now.selector)
        )
        return sum(1 for each in listed if each.status is not None and each.status.phase == "Running")

    def _what(self, verb: str) -> str:
        return f"{verb} {self._target.said}"
