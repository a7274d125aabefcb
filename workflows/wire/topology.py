"""The topology as it travels: the owner's compare-and-set, and the slices that others get."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.crashes import Memory
from orchestrator.core.orders import NO_ORDERS, Orders
from orchestrator.core.revisions import Revision
from orchestrator.core.topology import Notify, Service, Vantage


@dataclass(frozen=True, slots=True)
class Apply:
    """Replace the topology, if *expects* is still its revision.

    *document* is canonical JSON, compressed by zlib and in base64: a thousand services fit one payload.
    """

    expects: int
    digest: str
    document: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """The revisions that were in force before, as the topology's owner carries them on."""

    revisions: tuple[Revision, ...] = ()
    """Newest first, with their documents as far as they are kept."""
    gone: tuple[Memory, ...] = ()
    """How services had served that the topology does not have any more: there is nobody else to ask."""


NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class Applied:
    revision: int
    digest: str
    document: str = ""
    by: str = ""
    at: datetime | None = None
    reason: str = ""
    past: Past = NO_PAST
    """Only as the owner carries it on: whoever asks for the topology gets none of it."""


@dataclass(frozen=True, slots=True)
class Published:
    """What the publication of a topology brought home: how the services had served that are gone now."""

    gone: tuple[Memory, ...] = ()


@dataclass(frozen=True, slots=True)
class Replace:
    """What the publication of a topology needs: the one in force before, and the one to put in force."""

    before: Applied
    after: Applied


@dataclass(frozen=True, slots=True)
class Slice:
    """One service, as its workflow needs it."""

    revision: int
    service: Service
    vantages: tuple[Vantage, ...]
    notify: tuple[Notify, ...] = ()
    simulates_hosts: bool = False
    shards: int = 1
    roles: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Named roles, and who is in them."""
    books: tuple[tuple[str, str], ...] = ()
    """The topology's own runbooks: file name and data (JSON). They come before the library's."""
    orders: Orders = NO_ORDERS
    """What holds for every service: gate, freeze windows, jurisdictions, pools, limits."""
    drill: str | None = None
    """The drill that this service is there for; None: it is a real one."""
