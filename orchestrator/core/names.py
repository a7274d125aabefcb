"""Names: stable string ids, and failure domains that nest as ``cloud/region/zone``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NewType

ServiceId = NewType("ServiceId", str)
EndpointId = NewType("EndpointId", str)
VantageId = NewType("VantageId", str)
RunId = NewType("RunId", str)
Domain = NewType("Domain", str)
"""A failure domain: ``cloud``, ``cloud/region`` or ``cloud/region/zone``. A region is a domain of two parts."""

SHADOW = ".drill"
"""Ends the id of a service that is there for a drill only. No topology can give such an id: it allows no dot."""


def shadow(service: ServiceId) -> ServiceId:
    """The id of the service that stands in for *service* in a drill."""
    return ServiceId(service + SHADOW)


def rehearses(service: ServiceId) -> bool:
    """Whether *service* is there for a drill only."""
    return service.endswith(SHADOW)


def encloses(outer: Domain, inner: Domain) -> bool:
    """Whether *inner* is *outer* or lies within it: ``aws`` encloses ``aws/us-east-1``."""
    return inner == outer or inner.startswith(outer + "/")


def region_of(domain: Domain) -> Domain:
    """The ``cloud/region`` of *domain*; a bare cloud stays as it is."""
    return Domain("/".join(domain.split("/")[:2]))


def cloud_of(domain: Domain) -> Domain:
    """The cloud that *domain* belongs to."""
    return Domain(domain.split("/", 1)[0])


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that *name* was most likely meant to be, or None when nothing is close."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return close[0] if close else None
