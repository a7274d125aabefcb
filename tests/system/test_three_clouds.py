"""One service across three clouds: each with its own SDK, over sockets, and one record of each move."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.record import Mark, RunStatus
from orchestrator.core.topology import Answer, Mode, Shares, SteeringSpec, Topology, Workload
from real.aws_places import EcsPlace
from real.azure_places import ScaledApp
from real.command import failover
from real.gcp_places import RunWorkloadPlace
from real.place import ScaledPlace
from real.system import NAME, PAIR, System, until
from wire.route53 import Route53, Zone, simple

CLOUDS = {"paris": EcsPlace, "ohio": RunWorkloadPlace, "tokyo": ScaledApp}


class Clouds:
    """A hosted zone of Route 53, and capacity at ECS, Cloud Run and Container Apps: two replicas each."""

    def __init__(self) -> None:
        self.dns = Route53()
        self.places: dict[str, ScaledPlace] = {name: make() for name, make in CLOUDS.items()}
        self.zone: Zone | None = None

    async def open(self) -> None:
        self.dns.start()
        await asyncio.gather(*(place.open() for place in self.places.values()))

    def close(self) -> None:
        self.dns.close()
        for place in self.places.values():
            place.close()

    def spread(self, topology: Topology) -> Topology:
        """The local world's service, with its capacity at the clouds and its name at Route 53."""
        chat = topology.services[0]
        assert chat.endpoints[0].answer is not None
        at = {each.id: each.answer.values[0] for each in chat.endpoints if each.answer is not None}
        self.zone = self.dns.zone("local.test.", simple(NAME, "A", at["paris"]))
        options = (("endpoint", self.dns.url), ("zone_id", self.zone.id))
        endpoints = tuple(
            replace(each, answer=Answer("target", (at[each.id],)), workload=self.handle(each.id))
            for each in chat.endpoints
        )
        steering = SteeringSpec("route53", NAME, "", 1, "", options=options, shares=Shares.WEIGHTED, attempt_s=12.0)
        policy = replace(chat.policy, mode=Mode.AUTOMATIC, prefer=("ohio", "tokyo"), cooldown_s=0.0)
        return replace(topology, services=(replace(chat, endpoints=endpoints, steering=steering, policy=policy),))

    def handle(self, endpoint: str) -> Workload:
        return replace(self.places[endpoint].handle, serving=3, standby=2)

    def answers(self) -> set[str]:
        """The addresses that the zone gives any weight."""
        assert self.zone is not None
        sets = [each for each in self.zone.at(NAME) if each["Type"] == "A" and int(each.get("Weight", 1)) > 0]
        return {record["Value"] for each in sets for record in each["ResourceRecords"]}


@pytest.fixture
def clouds() -> Iterator[Clouds]:
    made = Clouds()
    yield made
    made.close()


async def test_traffic_goes_from_aws_to_google_and_on_to_azure(tmp_path: Path, clouds: Clouds) -> None:
    """Home is at AWS and dies: the Cloud Run standby is scaled up and takes over by itself; then a person moves the
    service on to Container Apps. Each record tells each step, and each cloud was told each thing once."""
    await clouds.open()
    async with System.start(tmp_path, vantages=PAIR, change=clouds.spread) as system:
        await system.steady()
        assert clouds.answers() == set(system.answer("paris"))
        doctor = await failover(system, "doctor", "--dns")
        assert doctor.status == 0, doctor.out + doctor.err
        fault = time.monotonic()
        await system.black_hole("paris")
        record = await system.closed(await system.run())
        assert record.status is RunStatus.COMPLETED, record.entries
        assert clouds.answers() == set(system.answer("ohio"))
        assert await clouds.places["ohio"].replicas() == 3
        assert record.target == "ohio"
        texts = {entry.step: entry.text for entry in record.entries if entry.mark is Mark.STEP_DONE}
        assert "3 replicas ready" in texts["promote"]
        assert "at generation 2" in texts["steer"]
        assert time.monotonic() - fault < 60

        await until(system.status, lambda status: status.run is None, "the end of the first run")
        words = ("run", "chat", "--to", "tokyo", "--reason", "Google has told of a fault", "--yes", "--wait")
        ended = await failover(system, *words, within_s=90)
        assert ended.status == 0, (await failover(system, "show", (await system.runs())[0].rpartition("/")[2])).out
        assert clouds.answers() == set(system.answer("tokyo"))
        assert await clouds.places["tokyo"].replicas() == 3
        newest = (await system.runs())[0]
        shown = await failover(system, "show", newest.rpartition("/")[2])
        for word in ("promote", "verify", "steer", "converge", "Google has told of a fault", "generation 3"):
            assert word in shown.out, shown.out
        effects = {name: place.effects for name, place in clouds.places.items()}
        assert (effects["ohio"], effects["tokyo"]) == (1, 1), effects
        assert clouds.dns.effects == 3, "adopted, moved, and moved on"
