"""Revisions of the topology as their users see them: which there were, which were good, and what one said."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from temporalio.client import Client

from orchestrator.config import restore
from orchestrator.core.crashes import Memory
from orchestrator.core.names import ServiceId
from orchestrator.core.revisions import Judged, judged
from orchestrator.core.topology import Topology
from orchestrator.runtime.asking import Asking
from orchestrator.runtime.connection import ControlPlaneAway, NoSuch
from workflows.activities.documents import unpack
from workflows.wire import TOPOLOGY_ID, Past, StatusQuestion, service_id

NEVER = "no topology was ever applied: failover apply failover.yaml"
AT_ONCE = 32
"""Services that are asked at one time."""


class Revisions:
    """What a person can ask of the revisions. Raises ControlPlaneAway, NoSuch."""

    def __init__(self, client: Client) -> None:
        self._temporal = Asking(client)

    async def past(self) -> Past:
        """The revisions that are known, newest first; the first one is in force. NoSuch when there is none."""
        past = await self._temporal.query(TOPOLOGY_ID, "history", Past, missing=NEVER)
        if not past.revisions:
            raise NoSuch(NEVER)
        return past

    async def judged(self, topology: Topology, *, now: datetime | None = None) -> tuple[Judged, ...]:
        """Each revision that is known, newest first, and whether it is good. Every service of *topology* is asked.

        *topology* is the one in force: its bake time holds for all. Whoever does not answer counts as silent.
        """
        now = now if now is not None else datetime.now(UTC)
        past, names = await self.past(), [service.id for service in topology.services]
        places = asyncio.Semaphore(AT_ONCE)

        async def ask(service: ServiceId) -> Memory | None:
            async with places:
                return await self._memory(service, now)

        told = await asyncio.gather(*(ask(name) for name in names))
        memories = (*(each for each in told if each is not None), *past.gone)
        silent = tuple(name for name, each in zip(names, told, strict=True) if each is None)
        bake_s = topology.orders.bake_s
        return tuple(judged(each, memories, silent=silent, bake_s=bake_s, now=now) for each in past.revisions)

    async def document(self, number: int) -> Topology:
        """What revision *number* said. NoSuch when it is not known, or its document is not kept any more."""
        packed = await self._temporal.query(TOPOLOGY_ID, "document", str, number, missing=NEVER)
        if packed:
            return restore(unpack(packed))
        known = (await self.past()).revisions
        numbers = ", ".join(str(each.number) for each in known if each.kept)
        if any(each.number == number for each in known):
            raise NoSuch(
                f"what revision {number} said is not kept any more; the revisions {numbers} are, and any file can be "
                "put in force by failover apply"
            )
        raise NoSuch(f"there is no revision {number} any more, or never was; the revisions {numbers} can be had")

    async def _memory(self, service: ServiceId, now: datetime) -> Memory | None:
        """How a service has served; None: it does not say."""
        try:
            return await self._temporal.query(
                service_id(service), "memory", Memory, StatusQuestion(now), missing="gone", running=True
            )
        except (ControlPlaneAway, NoSuch):
            return None
