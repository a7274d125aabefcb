"""One locality of a cluster, or one cluster, at Envoy: drained, and let in or kept out by the file of endpoints.

The handle's target is ``cluster/locality`` (``chat/eu``, ``chat/aws/us-east-1``), or ``cluster`` where there is nothing
to do but to count what is in flight. A locality of one's own servers has no replicas to scale: here it has one, whose
endpoints may serve or are called ``UNHEALTHY``. So ``fence`` keeps it from serving whatever it does itself.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Workload
from providers.base import Capacity, NoCapacity, NotFound, Transient
from providers.documents.file import FileDocument
from providers.fenced import Overtaken
from providers.onprem.admin import Admin
from providers.onprem.discovery import (
    Endpoints,
    Node,
    Page,
    first,
    keep_out,
    kept_out,
    let_in,
    locality,
    mark_draining,
    page_of,
    unmark_draining,
)
from providers.onprem.envoy import TURNS, file_of


class EnvoyFile:
    """The endpoints of *target* in the discovery file."""

    def __init__(self, file: FileDocument, target: str) -> None:
        self._file = file
        self._target = target

    async def read(self) -> list[Node]:
        """The groups of endpoints that are meant. Raises Transient, NotFound, Forbidden, Refused."""
        sheet = await self._file.read()
        return self._meant(page_of(sheet.text, Endpoints(), self._file.at).resource)

    async def set(self, change: Callable[[Node], None]) -> list[Node]:
        """Let *change* do what it does to each group, and replace the file where that is anything. Raises as ``read``.

        Fence and weights stay: what is marked here is no steering.
        """
        for _ in range(TURNS):
            sheet = await self._file.read()
            page: Page = page_of(sheet.text, Endpoints(), self._file.at)
            resource = copy.deepcopy(page.resource)
            groups = self._meant(resource)
            for group in groups:
                change(group)
            if resource == page.resource:
                return groups
            try:
                await self._file.put(page.with_(resource), tag=sheet.tag)
            except Overtaken:
                continue
            return groups
        raise Transient(f"{self._file.at} keeps changing while it is written: others write there, too")

    def _meant(self, resource: Node) -> list[Node]:
        name = resource.get("cluster_name", "")
        here = [group for group in first(resource) if self._target in {name, f"{name}/{locality(group)}"}]
        if not here:
            raise NotFound(f"{self._file.at} has no '{self._target}', being of cluster {name}: mend the target")
        return here


class EnvoyDrain:
    """DrainControl by Envoy's admin interface, and by the file of endpoints where one is named.

    A locality without weight takes nothing new, and is left as it is. The endpoints of one with a weight, as where
    something else steers before Envoy, are marked ``DRAINING`` in the file; what a person marked otherwise stays.
    """

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle without the option admin."""
        options = dict(handle.options)
        self._target = handle.target
        self._admins = _admins(options)
        self._file = EnvoyFile(file_of(options["file"]), handle.target) if options.get("file") else None

    async def begin(self, *, key: str) -> None:
        """Mark the endpoints of a locality that has a weight. Raises Transient, NotFound, Forbidden, Refused."""
        if self._file is not None:
            await self._file.set(lambda group: mark_draining(group) if group.get("load_balancing_weight") else None)

    async def in_flight(self) -> int | None:
        """Requests at the endpoints, of all Envoys that answer. Raises Transient where none does, NotFound."""
        counts = await asyncio.gather(
            *(admin.in_flight(self._target) for admin in self._admins), return_exceptions=True
        )
        found = [count for count in counts if isinstance(count, int)]
        for count in counts:
            if isinstance(count, BaseException) and (not found or not isinstance(count, Transient)):
                raise count
        return sum(found)

    async def end(self, *, key: str) -> None:
        """Take the marks off. Raises as ``begin``."""
        if self._file is not None:
            await self._file.set(unmark_draining)


class EnvoyWorkload:
    """WorkloadControl: one replica, which is let in or kept out. Both are levels, so that no key needs keeping."""

    def __init__(self, handle: Workload) -> None:
        """Raises BadInput for a handle without file or admin."""
        options = dict(handle.options)
        self._target = handle.target
        self._admins = _admins(options)
        self._file = EnvoyFile(file_of(options.get("file", "")), handle.target)

    async def read(self) -> Capacity:
        """Desired: whether the file lets any endpoint serve; ready: whether each Envoy has one that it finds well.

        Of one that is kept out, ready is 1 until every Envoy has heard of it. Raises Transient where an Envoy is away,
        NotFound, Forbidden, Refused.
        """
        return await self._capacity(await self._file.read())

    async def scale(self, replicas: int, *, key: str) -> Capacity:
        """0: no endpoint may serve; 1: all may, where none could or some drained.

        Raises NoCapacity for more, and as ``read``.
        """
        if replicas > 1:
            raise NoCapacity(f"{self._target} is one locality, and {replicas} were asked for: write serving: 1")
        return await self._capacity(await self._file.set(let_in if replicas else keep_out))

    async def _capacity(self, groups: list[Node]) -> Capacity:
        wanted = not all(kept_out(group) for group in groups)
        # Who has not heard of it yet may still send traffic there; who is away, too.
        heard = await asyncio.gather(*(admin.serves(self._target, well=wanted) for admin in self._admins))
        return Capacity(int(wanted), int(all(heard) if wanted else any(heard)), limit=1)


def _admins(options: dict[str, str]) -> tuple[Admin, ...]:
    found = Admin.all(options.get("admin", ""))
    if not found:
        raise BadInput("say where Envoy tells what it does: options: {admin: 'http://127.0.0.1:9901'}")
    return found
