"""What is found in a subscription of Azure, over HTTP to a server that lists, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest

from orchestrator.config import findings, parse
from orchestrator.config.drafting import drafted
from providers.azure.inventory import inventory
from providers.base import Forbidden
from providers.inventory import Inventory
from real.azure_places import PROFILE, app, profile
from wire.arm import GROUP, SUBSCRIPTION
from wire.arm_lists import Subscription


@pytest.fixture
def azure() -> Iterator[Subscription]:
    made = Subscription()
    made.start()
    yield made
    made.leave()


def run(azure: Subscription, name: str, region: str, host: str) -> None:
    body = deepcopy(app(mode="Single"))
    body["location"] = region
    body["properties"]["configuration"]["ingress"]["fqdn"] = host
    azure.add(f"{GROUP}/providers/Microsoft.App/containerApps/{name}", body)


async def looked(azure: Subscription, *regions: str) -> Inventory:
    return await inventory(SUBSCRIPTION, regions, endpoint=azure.url)


async def test_apps_behind_one_profile_are_one_service(azure: Subscription) -> None:
    """Apps of different names behind a weighted Traffic Manager profile are one service; the fence is to fill in."""
    run(azure, "chat-blue", "West Europe", "eu.example.net")
    run(azure, "llm", "eastus", "us.example.net")
    run(azure, "other", "eastus", "other.example.net")
    azure.add(PROFILE, profile("eu", "us"))
    found = await looked(azure)
    service = next(each for each in found.services if each.steering)
    assert [each.region for each in service.endpoints] == ["azure/eastus", "azure/westeurope"]
    draft = drafted(found, by="failover discover azure")
    topology = parse(draft.text, "draft.yaml")
    assert {each.severity for each in findings(topology)} <= {"warning"}
    (steered,) = [each for each in topology.services if each.steering]
    answers = {str(each.role): each.answer.values for each in steered.endpoints if each.answer}
    assert answers == {"active": ("eu",), "standby": ("us",)}
    assert any(".steering.options.fence: where the fence is kept" in each for each in draft.fill_in)


async def test_a_profile_alone_is_a_service(azure: Subscription) -> None:
    """A weighted profile whose endpoints are somewhere else becomes a draft with them."""
    azure.add(PROFILE, profile("eu", "us"))
    found = await looked(azure)
    (service,) = found.services
    assert service.own == ("eu.example.net", "us.example.net")
    parse(drafted(found, by="failover discover azure").text, "draft.yaml")


async def test_a_profile_that_does_not_weigh_is_told(azure: Subscription) -> None:
    """A profile with another routing method cannot be steered by weights, and the cure is said."""
    run(azure, "chat", "westeurope", "eu.example.net")
    body = profile("eu")
    body["properties"]["trafficRoutingMethod"] = "Priority"
    azure.add(PROFILE, body)
    found = await looked(azure)
    assert [each.steering for each in found.services] == [None]
    assert any("routes by 'Priority'" in each for each in found.remarks)


async def test_lists_are_read_to_their_end_and_by_region(azure: Subscription) -> None:
    """All pages count; a region that was not asked for does not."""
    for index in range(5):
        run(azure, f"app{index}", "West Europe" if index else "eastus", f"app{index}.example.net")
    assert len((await looked(azure)).services) == 5
    assert len((await looked(azure, "westeurope")).services) == 4


async def test_what_may_not_be_read_is_left_out(azure: Subscription) -> None:
    """Without a right on profiles the apps are found; without any, that is said."""
    run(azure, "chat", "westeurope", "eu.example.net")
    azure.kept.denied = {"trafficmanagerprofiles"}
    found = await looked(azure)
    assert [each.id for each in found.services] == ["chat"]
    (said,) = found.left_out
    assert "list the Traffic Manager profiles" in said
    azure.kept.denied.add("containerapps")
    with pytest.raises(Forbidden):
        await looked(azure)


async def test_looking_writes_nothing(azure: Subscription) -> None:
    """Every request is a GET."""
    run(azure, "chat", "westeurope", "eu.example.net")
    await looked(azure)
    assert {request.method for request in azure.seen} == {"GET"}
