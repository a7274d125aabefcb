"""The price sheet: what a replica costs an hour, by provider, region and target. A file beside the topology."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from orchestrator.config import fields as f
from orchestrator.config.checking import check
from orchestrator.config.document import Document, compose, read_text
from orchestrator.config.mistakes import Mistake, Mistakes
from orchestrator.config.part import Part
from orchestrator.core.names import Domain, encloses
from orchestrator.core.topology import Endpoint, Topology


class Price(Part):
    """What one replica costs an hour, where everything that is given fits. The first that fits counts."""

    provider: f.Text | None = None
    """Name of the workload's provider; left out: any."""
    region: f.DomainName | None = None
    """A failure domain that the endpoint stands in; left out: any."""
    target: f.Text | None = None
    """The workload's target, with `*` for any letters; left out: any."""
    per_hour: Annotated[float, Field(ge=0, le=1_000_000)]
    """Of one replica, in the sheet's currency."""


class Sheet(Part):
    """A price sheet."""

    api_version: Literal["failover/v1"] = Field(alias="apiVersion")
    """The version of this format."""
    kind: Literal["Prices"]
    """What this file is."""
    currency: f.Text
    """In which prices are given: `USD`."""
    prices: Annotated[list[Price], Field(min_length=1, max_length=1000)]
    """From the narrowest to the widest."""


def checked_prices(document: Document, beside: Path) -> tuple[Sheet | None, tuple[Mistake, ...]]:
    """The sheet that *document* names, looked for in *beside*, and what is wrong with it, at places of its own file."""
    named = document.data.get("prices") if isinstance(document.data, dict) else None
    if not isinstance(named, str) or not named:
        return None, ()
    path = beside / named
    try:
        sheet = compose(read_text(path), str(path))
    except Mistakes as error:
        return None, error.mistakes
    read, mistakes = check(Sheet, sheet)
    return read, (*sheet.slips, *mistakes)


def priced(topology: Topology, sheet: Sheet | None) -> Topology:
    """*topology* with the price of each workload that the sheet knows."""
    if sheet is None:
        return topology
    services = tuple(
        replace(each, endpoints=tuple(_priced(endpoint, sheet) for endpoint in each.endpoints))
        for each in topology.services
    )
    return replace(topology, services=services)


def _priced(endpoint: Endpoint, sheet: Sheet) -> Endpoint:
    workload = endpoint.workload
    if workload is None:
        return endpoint
    for price in sheet.prices:
        if (
            price.provider in {None, workload.provider}
            and (price.region is None or encloses(Domain(price.region), endpoint.region))
            and (price.target is None or fnmatchcase(workload.target, price.target))
        ):
            return replace(endpoint, workload=replace(workload, per_hour=price.per_hour, currency=sheet.currency))
    return endpoint
