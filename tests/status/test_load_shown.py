"""The observed load where people and programs look for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any

from orchestrator.core.names import EndpointId
from orchestrator.core.targets import Load
from real.stage import until
from workflows.wire import ServiceStatus

US = EndpointId("us")


def loaded(worlds: ModuleType, name: str, **changes: Any) -> ServiceStatus:
    """Service *name* with 37 requests in flight at its active endpoint, seen 12 s ago."""
    now = worlds.utc_now()
    status: ServiceStatus = worlds.status(name, now=now, **changes)
    at = now - timedelta(seconds=12)
    briefs = (replace(each, in_flight=37, in_flight_at=at) if each.id == US else each for each in status.endpoints)
    return replace(status, endpoints=tuple(briefs), load=Load(37, at, (US,), whole=True))


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def shown(site: Any, wanted: Callable[[str], bool]) -> None:
    """The page comes to say what is *wanted*: it is made anew a moment after the world has changed."""
    await until(lambda: site.client.get("/"), lambda page: wanted(words(page.text)))


async def test_the_page_shows_what_is_in_flight(site: Any, world: Any, worlds: ModuleType) -> None:
    """Each service with the load that its traffic was seen to be, and when; what nobody can tell is left out."""
    status = loaded(worlds, "chat")
    world.put(status)
    page = words((await site.client.get("/")).text)
    assert status.load is not None
    assert page.count(" in flight at ") == 1
    assert f"37 in flight at {status.load.at:%H:%M:%S} UTC" in page
    world.put(replace(status, load=replace(status.load, whole=False)))
    await shown(site, lambda page: "at least 37 in flight at " in page)


async def test_a_crowd_shows_the_load_of_those_that_need_a_look(site: Any, world: Any, worlds: ModuleType) -> None:
    """Of forty services the one in trouble has its load on the page: the others would change it at every look."""
    world.put(*(loaded(worlds, f"quiet-{i}") for i in range(40)))
    assert " in flight at " not in words((await site.client.get("/")).text)
    world.put(replace(loaded(worlds, "chat"), paused="ann: maintenance"))
    await shown(site, lambda page: page.count(" in flight at ") == 1)


async def test_programs_read_the_load(site: Any, world: Any, worlds: ModuleType) -> None:
    """/api/services has it by service and by endpoint, with its time; /metrics by endpoint."""
    world.put(loaded(worlds, "chat"))
    body = (await site.client.get("/api/services")).json()
    (chat,) = (each for each in body["services"] if each["service"] == "chat")
    assert (chat["load"]["in_flight"], chat["load"]["endpoints"], chat["load"]["whole"]) == (37, ["us"], True)
    assert chat["load"]["at"].endswith("Z")
    assert {each["id"]: each["in_flight"] for each in chat["endpoints"]} == {"ap": None, "eu": None, "us": 37}
    metrics = (await site.client.get("/metrics")).text
    assert 'failover_endpoint_in_flight{service="chat",endpoint="us",region="aws/us-east-1"} 37\n' in metrics
    assert metrics.count("failover_endpoint_in_flight{") == 1
