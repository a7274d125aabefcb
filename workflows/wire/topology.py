"""The topology as it travels: the owner's compare-and-set, and the slices that others get."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.core.orders import NO_ORDERS, Orders
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


@dataclass(frozen=True, slots=True)
class Applied:
    revision: int
    digest: str
    document: str = ""
    by: str = ""
    at: datetime | None = None


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
