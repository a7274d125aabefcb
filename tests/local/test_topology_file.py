"""The topology file that a world writes."""

from __future__ import annotations

from orchestrator.config.load import load, parse
from orchestrator.local.topology_file import topology_yaml
from orchestrator.local.world import World


async def test_the_topology_that_a_world_writes_is_valid(world: World) -> None:
    """failover.yaml of a world parses, and names every region with its workload and the world's DNS."""
    topology = load(world.topology)
    (service,) = topology.services
    assert topology.simulates_hosts
    assert sorted(vantage.region for vantage in topology.vantages) == ["alpha/paris", "beta/ohio", "onprem/tokyo"]
    assert [endpoint.id for endpoint in service.endpoints if endpoint.role == "active"] == ["paris"]
    assert service.steering is not None
    assert service.steering.primary == world.layout.dns
    assert {workload.options for e in service.endpoints if (workload := e.workload)} == {(("world", world.control),)}
    assert service.policy.mode == "automatic"
    weighted = parse(topology_yaml(world.layout, provider="local", interval="100ms", fall=2), "failover.yaml")
    steering = weighted.services[0].steering
    assert steering is not None
    assert dict(steering.options) == {place.id: place.address for place in world.layout.regions}
