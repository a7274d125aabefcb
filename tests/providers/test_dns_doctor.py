"""The doctor's look at a steering, against real name servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from orchestrator.core.topology import Answer
from providers.dns.doctor import Finding, examine, least_grant
from real.bind import Bind
from real.nameserver import NameServer
from real.steering import EU, NAME, BindWorld, KnotWorld, PowerDnsWorld, change

FENCE = f"_failover.{NAME}"
AnyWorld = BindWorld | KnotWorld | PowerDnsWorld


EVERY_SERVER = pytest.mark.parametrize(
    "world",
    [(made, kind) for made in (BindWorld, KnotWorld, PowerDnsWorld) for kind in ("addresses", "cname")],
    indirect=True,
    ids=lambda case: f"{case[0].__name__}-{case[1]}",
)


@pytest.fixture(params=[(BindWorld, "addresses"), (BindWorld, "cname")], ids=["addresses", "cname"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[AnyWorld]:
    kind_of_world, kind = request.param
    made = kind_of_world(kind)
    try:
        await made.open()
        yield made
    finally:
        made.close()


def by_check(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


async def snapshot(server: NameServer) -> list[tuple[str, ...]]:
    names = ((server.zone, "SOA"), (NAME, "A"), (NAME, "AAAA"), (NAME, "CNAME"), (FENCE, "TXT"))
    return [await server.ask(name, kind) for name, kind in names]


@EVERY_SERVER
async def test_a_live_name_that_is_not_adopted_has_no_fault_and_one_advice(world: AnyWorld) -> None:
    """Before adoption everything can be checked, the write included, and nothing in the zone changes."""
    before = await snapshot(world.server)
    found = by_check(await examine(world.spec))
    assert await snapshot(world.server) == before
    assert {check for check, finding in found.items() if finding.ok is False} == set()
    assert (found["fence"].ok, found["test-write"].ok, found["grant"].ok, found["key"].ok) == (None, True, True, True)
    assert "adopt" in found["fence"].cure


@EVERY_SERVER
async def test_an_adopted_name_is_well_and_the_test_write_changes_nothing(world: AnyWorld) -> None:
    """Under a fence the test write leaves it as it stands: not even the serial moves."""
    steering = world.steering()
    await steering.write(change(await steering.read(), EU, world.home, run="adopt", step="adopt"))
    before = await snapshot(world.server)
    found = by_check(await examine(world.spec))
    assert await snapshot(world.server) == before
    assert [found[check].ok for check in ("server", "zone", "key", "answer", "fence", "grant", "test-write")] == [
        True
    ] * 7
    assert "generation 1, written by run adopt" in found["fence"].text


async def test_missing_grants_are_named_one_by_one(world: BindWorld) -> None:
    """A key that lacks a right is told which, with the lines to add."""
    world.server.stop()
    world.server.policy = (f"grant {{key}} name {NAME} A;",)
    await world.server.start()
    found = by_check(await examine(world.spec))
    assert (found["grant"].ok, found["test-write"].ok) == (False, False)
    assert "AAAA, CNAME" in found["grant"].text
    assert least_grant(world.spec) in found["grant"].cure
    assert FENCE in found["test-write"].text


async def test_the_least_grant_is_what_bind_takes(world: BindWorld) -> None:
    """The lines that are printed are accepted by a real named, and are enough."""
    world.server.stop()
    world.server.policy = (least_grant(world.spec),)
    await world.server.start()
    found = by_check(await examine(world.spec))
    assert (found["grant"].ok, found["test-write"].ok) == (True, True)


async def test_a_wrong_secret_is_a_fault_of_the_key(world: BindWorld) -> None:
    """The server's refusal of the signature is told without the secret, and nothing is tried with that key."""
    secret = "d3JvbmctYnV0LWJhc2U2NC1zZWNyZXQ="
    found = await examine(replace(world.spec, key=world.key(secret=secret)))
    assert by_check(found)["key"].ok is False
    assert "BADSIG" in by_check(found)["key"].text
    assert secret not in str(found)
    assert "test-write" not in by_check(found)


async def test_a_secret_that_is_no_base64_leaves_the_rest_of_the_look(world: BindWorld) -> None:
    """What can be seen without the key is still looked at."""
    found = by_check(await examine(replace(world.spec, key=world.key(secret="%%%"))))
    assert (found["key"].ok, found["zone"].ok, found["answer"].ok) == (False, True, True)


async def test_a_server_that_is_away_is_one_fault(world: BindWorld) -> None:
    """A stopped server is named, and what follows from it is not listed as faults."""
    world.kill()
    faults = [finding for finding in await examine(world.spec) if finding.ok is False]
    assert [finding.check for finding in faults] == ["server"]
    assert world.spec.primary in faults[0].text


async def test_a_zone_that_is_not_there_is_a_fault(world: BindWorld) -> None:
    """A wrong zone is found before any write is tried."""
    found = by_check(await examine(replace(world.spec, zone="elsewhere.", name="chat.elsewhere.")))
    assert found["zone"].ok is False
    assert "test-write" not in found


async def test_a_foreign_text_at_the_fence_is_a_fault(world: BindWorld) -> None:
    """A TXT that is no fence is named with the cure, and not overwritten."""
    world.server.stop()
    world.server.policy = ("grant {key} zonesub ANY;",)
    await world.server.start()
    await world.server.edit(FENCE, "TXT", '"v=spf1 -all"')
    found = by_check(await examine(world.spec))
    assert found["fence"].ok is False
    assert await world.server.ask(FENCE, "TXT") == ("v=spf1 -all",)


async def test_a_server_that_disagrees_or_is_away_is_named(world: BindWorld) -> None:
    """Each listed server is compared with the primary."""
    async with Bind(records=("chat 5 A 127.0.9.9",)) as other:
        found = by_check(await examine(replace(world.spec, servers=(world.spec.primary, other.at, "127.0.0.1:9"))))
    assert found[f"server {other.at}"].ok is False
    assert "127.0.9.9" in found[f"server {other.at}"].text
    assert found["server 127.0.0.1:9"].ok is False


async def test_a_time_to_live_other_than_wanted_is_advice(world: BindWorld) -> None:
    """A TTL that caches will still hold for long is told before the first move, not after."""
    found = by_check(await examine(replace(world.spec, ttl_s=1)))
    assert found["answer"].ok is None
    assert "TTL of 5 s, not 1 s" in found["answer"].text


async def test_a_steering_without_a_key_and_a_broken_spec_are_findings(world: BindWorld) -> None:
    """The doctor never raises for what is wrong."""
    assert by_check(await examine(replace(world.spec, key=None)))["key"].ok is False
    assert by_check(await examine(replace(world.spec, zone="other.")))["spec"].ok is False


async def test_a_name_parked_on_a_trial_value_is_not_touched() -> None:
    """Even an answer that happens to be the value deleted in the trial stays."""
    world = BindWorld()
    world.server.records = ("chat 5 A 192.0.2.254", "chat 5 AAAA 2001:db8::fe")
    try:
        await world.open()
        found = by_check(await examine(world.spec))
        assert found["grant"].ok is True
        assert await world.now() == Answer("addresses", ("192.0.2.254", "2001:db8::fe"))
    finally:
        world.close()
