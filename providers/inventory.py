"""What a cloud or a cluster has, as values. Pure: each cloud has a module that reads it (``providers.sweep``), and what
belongs together is told apart from that (``providers.belonging``)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.core.topology import Answer

Options = tuple[tuple[str, str], ...]

TAGS = ("failover-service", "service")
"""Tags, or labels, whose value names the service; the first wins. Case and separators do not count."""


@dataclass(frozen=True, slots=True)
class FoundWorkload:
    """What can be scaled, as a topology says it."""

    provider: str
    target: str
    options: Options
    replicas: int
    """That it is asked to have now."""


@dataclass(frozen=True, slots=True)
class FoundEndpoint:
    """Something that serves."""

    name: str
    """What it is called where it was found."""
    region: str
    """``cloud/region``."""
    says: str
    """It in a phrase: ``ECS service prod/chat in eu-west-1``."""
    workload: FoundWorkload | None = None
    hosts: tuple[str, ...] = ()
    """Names and addresses that lead to it, in small letters and without a trailing dot: its load balancer's."""
    names: tuple[str, ...] = ()
    """Host names, with stars perhaps, that it serves by the word of what stands before it: of an Ingress, of a rule.
    Empty: any."""
    own: str = ""
    """A host name for it alone, by which it knows itself: it has a certificate for it."""
    scheme: str = "https"
    port: int | None = None
    """Where it is not the scheme's own."""
    health: str = ""
    """The path by which its platform judges it."""
    answer: Answer | None = None
    """What a name that is steered would answer for it."""
    share: int | None = None
    """The weight that the name gives it now; None: no name that was found does."""
    tag: str = ""
    """The service that its tags name."""
    scope: str = ""
    """Where its name is unique: a cluster, a namespace."""
    notes: tuple[str, ...] = ()
    """What a person must know of it."""


@dataclass(frozen=True, slots=True)
class FoundTarget:
    """One answer of a name."""

    answer: Answer
    hosts: tuple[str, ...]
    """Where it leads."""
    weight: int = 1
    says: str = ""
    """It in a phrase, for one that leads to nothing else that was found."""
    region: str = ""
    """Where it says itself that it stands."""


@dataclass(frozen=True, slots=True)
class FoundSteering:
    """A name, and how its answers are spread."""

    name: str
    """In small letters, without a trailing dot."""
    provider: str
    says: str
    options: Options
    targets: tuple[FoundTarget, ...]
    ttl_s: int | None = None
    """None: its answers have none of their own."""
    missing: Options = ()
    """Options that nobody but a person can give, each with what it is."""
    alone: bool = False
    """It is a service even where nothing was found behind it."""


@dataclass(frozen=True, slots=True)
class FoundService:
    """What belongs together."""

    id: str
    name: str
    """The host name that clients call; empty: not known."""
    endpoints: tuple[FoundEndpoint, ...]
    because: str
    """Why these are one service."""
    steering: FoundSteering | None = None
    own: tuple[str, ...] = ()
    """For each endpoint a host name that leads to it alone; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found in one look."""

    services: tuple[FoundService, ...]
    looked_for: str
    """A phrase for people to whom nothing was found."""
    left_out: tuple[str, ...] = ()
    """What could not be read, and why."""
    remarks: tuple[str, ...] = ()
    """What was read, and cannot be in a topology as it is."""


def is_address(host: str) -> bool:
    """Whether *host* is an IP address, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def tagged(tags: Iterable[tuple[str, str]]) -> str:
    """The service that *tags* name; empty: none."""
    known = {slug(key): value.strip() for key, value in tags}
    return next((known[key] for key in TAGS if known.get(key)), "")


def slug(text: str) -> str:
    """*text* as an id of a topology; empty where nothing of it is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")


def bare(host: str) -> str:
    """A host name as it is compared here. AWS gives a load balancer two: its own, and one for both kinds of address
    (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/resource-record-sets-values-alias.html)."""
    return host.lower().rstrip(".").removeprefix("dualstack.")
