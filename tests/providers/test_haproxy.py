"""What is special to HAProxy: several side by side, states beside weights, and streams that outlive a move."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Workload
from providers.base import ChangedOutside, Forbidden, NoCapacity, NotFound, Refused, Transient
from providers.onprem import runtime
from providers.onprem.haproxy import HaproxySteering
from providers.onprem.haproxy_server import HaproxyDrain, HaproxyWorkload
from providers.onprem.runtime import translate
from real.haproxy import BACKEND, Haproxy
from real.onprem_places import HaproxyPlace
from real.place import EU, US, Trouble, change
from real.stage import until
from real.streams import Upstream, stream

SERVERS = {"paris": "127.0.0.1:9 weight 100", "ohio": "127.0.0.1:9 weight 0"}
CLIENTS = 100


@pytest.fixture
async def place() -> AsyncIterator[HaproxyPlace]:
    made = HaproxyPlace()
    try:
        await made.open()
        yield made
    finally:
        made.close()


@contextmanager
def beside(place: HaproxyPlace, *, keeps: bool = False) -> Iterator[tuple[Haproxy, HaproxySteering]]:
    """Another HAProxy beside the place's own, and the steering of both."""
    with Haproxy(SERVERS, keeps=keeps) as other:
        yield other, HaproxySteering(place.specified(f"{place.relay.at}, {other.at}"))


def handle(place: HaproxyPlace, server: str = "paris") -> Workload:
    return Workload("haproxy", f"{BACKEND}/{server}", options=(("sockets", place.relay.at),))


async def to_ohio(place: HaproxyPlace, steering: HaproxySteering) -> None:
    await steering.write(change(place, await steering.read(), 0, 100))


async def test_a_planned_move_under_streams_cuts_none() -> None:
    """A hundred streams that began before the move end whole; who asks after it is served by the target."""
    async with AsyncExitStack() as stack:
        paris, ohio = [await stack.enter_async_context(Upstream(name)) for name in ("paris", "ohio")]
        place = HaproxyPlace({"paris": f"{paris.at} weight 100", "ohio": f"{ohio.at} weight 0"})
        stack.callback(place.close)
        await place.open()
        steering, drain = HaproxySteering(place.spec), HaproxyDrain(handle(place))
        streams = [asyncio.create_task(stream(place.proxy.url)) for _ in range(CLIENTS)]
        await paris.serving(CLIENTS)
        await to_ohio(place, steering)
        late = await asyncio.gather(*(stream(place.proxy.url, tokens=1) for _ in range(20)))
        await drain.begin(key="run-1/drain")
        counted = await drain.in_flight()
        told = await asyncio.gather(*streams)
        await until(drain.in_flight, lambda left: left == 0)
    assert {each.server for each in late} == {"ohio"}
    assert counted == CLIENTS
    assert [each.whole for each in told].count(False) == 0
    assert {each.server for each in told} == {"paris"}


async def test_of_a_pair_that_is_dead_by_half_the_other_moves(place: HaproxyPlace) -> None:
    """A dead HAProxy holds up nobody, and is named."""
    with beside(place) as (other, both):
        other.kill()
        await to_ohio(place, both)
        assert await place.now() == {"ohio": 100}
        here, away = await both.answers()
        assert here.answer is not None
        assert (away.server, away.answer) == (other.at, None)
        assert "nobody listens there" in (away.error or "")


async def test_of_a_pair_that_is_frozen_by_half_the_other_moves(
    place: HaproxyPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An HAProxy that hangs costs the move of the other a grace, not its time-out."""
    monkeypatch.setattr(runtime, "ANSWER_S", 15.0)
    with beside(place) as (other, both):
        other.freeze()
        begun = time.perf_counter()
        await to_ohio(place, both)
        assert time.perf_counter() - begun < 12.0
        assert await place.now() == {"ohio": 100}


async def test_a_runtime_api_by_tcp_is_turned_like_one_by_a_path(place: HaproxyPlace) -> None:
    """What stands on another host is reached by address and port."""
    steering = HaproxySteering(place.specified(f"tcp:127.0.0.1:{place.proxy.remote}"))
    await to_ohio(place, steering)
    assert await place.now() == {"ohio": 100}
    (said,) = await steering.answers()
    assert (said.server, said.error) == (f"tcp:127.0.0.1:{place.proxy.remote}", None)
    place.proxy.kill()
    with pytest.raises(Transient, match=f"127.0.0.1:{place.proxy.remote}: nobody listens there"):
        await steering.read()


async def test_a_quorum_that_is_not_there_keeps_traffic_where_it_is(place: HaproxyPlace) -> None:
    """Where both must answer, one that is dead stops the move, and is named."""
    with beside(place) as (other, both):
        plan = change(place, await both.read(), 0, 100)
        other.kill()
        strict = HaproxySteering(replace(both.spec, options=(*both.spec.options, ("quorum", "2"))))
        with pytest.raises(Transient, match=str(other.socket)):
            await strict.write(plan)
        assert await place.now() == {"paris": 100}


async def test_one_that_comes_back_with_old_weights_is_told_by_name(place: HaproxyPlace) -> None:
    """HAProxy forgets at a restart: who disagrees is told as changed outside, with what each has."""
    with beside(place) as (other, both):
        await to_ohio(place, both)
        other.kill()
        other.start()
        plan = change(place, await HaproxySteering(place.spec).read(), 100, 0, run="run-2")
        with pytest.raises(ChangedOutside, match=rf"{other.at} has paris=100") as told:
            await both.write(plan)
        assert f"{place.relay.at} has ohio=100" in str(told.value)
        assert f"{other.at} has the weights of its configuration: was it restarted or reloaded?" in str(told.value)
        assert await place.now() == {"ohio": 100}


async def test_one_that_sends_traffic_nowhere_is_told_by_name(place: HaproxyPlace) -> None:
    """Of a pair, one whose servers are all drained by hand is no agreement with the other."""
    with beside(place) as (other, both):
        plan = change(place, await both.read(), 0, 100)
        other.say(f"set server {BACKEND}/paris state drain")
        with pytest.raises(ChangedOutside, match=rf"{other.at} has nothing"):
            await both.write(plan)
        assert await place.now() == {"paris": 100}


async def test_one_that_keeps_its_states_comes_back_as_it_was(place: HaproxyPlace) -> None:
    """With a file of states HAProxy comes back with the weights that it was given."""
    with beside(place, keeps=True) as (other, both):
        await to_ohio(place, both)
        other.save()
        other.kill()
        other.start()
        assert other.weights() == {"paris": 0, "ohio": 100}
        assert {each.answer for each in await both.answers()} == {(await both.read()).answer}


async def test_one_that_was_there_and_did_not_turn_is_turned_by_the_next_try(place: HaproxyPlace) -> None:
    """A pair of which one lost the command is no success: tried again, both have moved."""
    with beside(place) as (other, both):
        plan = change(place, await both.read(), 0, 100)
        place.trouble(Trouble.BROKEN)
        with pytest.raises(Transient, match="broke off"):
            await both.write(plan)
        assert (await place.now(), other.weights()) == ({"paris": 100}, {"paris": 0, "ohio": 100})
        await both.write(plan)
        assert (await place.now(), other.weights()) == ({"ohio": 100}, {"paris": 0, "ohio": 100})


async def test_who_gains_is_turned_up_before_who_loses_is_turned_down(place: HaproxyPlace) -> None:
    """An answer that is lost after the first command leaves traffic at both, never at nobody."""
    plan = change(place, await place.steering().read(), 0, 100)
    place.trouble(Trouble.LATE)
    with pytest.raises(Transient):
        await place.steering().write(plan)
    assert place.proxy.weights() == {"paris": 100, "ohio": 100}
    await place.steering().write(plan)
    assert place.proxy.weights() == {"paris": 0, "ohio": 100}


async def test_a_server_in_maintenance_is_no_target(place: HaproxyPlace) -> None:
    """A person's maintenance is respected, and said before anything is written."""
    place.proxy.say(f"set server {BACKEND}/ohio state maint")
    plan = change(place, await place.steering().read(), 0, 100)
    with pytest.raises(Refused, match="server ohio is in maintenance"):
        await place.steering().write(plan)
    assert (await place.now(), place.fence.exists()) == ({"paris": 100}, False)


async def test_a_backup_server_is_no_target() -> None:
    """A backup gets traffic by the others' checks only, and no weight changes that."""
    place = HaproxyPlace({"paris": "127.0.0.1:9 weight 100", "ohio": "127.0.0.1:9 weight 50 backup"})
    try:
        await place.open()
        routing = await place.steering().read()
        assert routing.answer is not None
        assert routing.answer.values == ("paris=100",)
        with pytest.raises(Refused, match="ohio is a backup"):
            await place.steering().write(change(place, routing, 0, 100))
    finally:
        place.close()


async def test_a_server_that_was_drained_takes_traffic_again_when_it_is_given_a_share(place: HaproxyPlace) -> None:
    """A drain is what a move leaves behind: the way home lifts it."""
    await to_ohio(place, HaproxySteering(place.spec))
    await HaproxyDrain(handle(place)).begin(key="run-1/drain")
    steering = place.steering()
    await steering.write(change(place, await steering.read(), 100, 0, run="run-2"))
    assert place.proxy.columns("srv_uweight", "srv_admin_state")["paris"] == ("100", "0")


async def test_weights_that_stand_still_are_refused_with_the_cure() -> None:
    """A static algorithm takes no weights: it is said how to mend it, and the old server goes on serving."""
    with Haproxy({"paris": "127.0.0.1:9 weight 100", "ohio": "127.0.0.1:9 weight 1"}, balance="static-rr") as proxy:
        place = HaproxyPlace()
        steering = HaproxySteering(place.specified(proxy.at))
        with pytest.raises(Refused, match="balance roundrobin"):
            await steering.write(change(place, await steering.read(), 0, 100))
        assert proxy.weights()["paris"] == 100
        place.close()


async def test_a_socket_for_looking_only_is_forbidden_before_anything_is_written(place: HaproxyPlace) -> None:
    """A runtime API below level admin serves to watch; who would move is told the word that is missing."""
    steering = HaproxySteering(place.specified(f"unix:{place.proxy.looking}"))
    plan = change(place, await steering.read(), 0, 100)
    with pytest.raises(Forbidden, match="level admin"):
        await steering.write(plan)
    assert not place.fence.exists()
    watched = Workload("haproxy", f"{BACKEND}/paris", options=(("sockets", f"unix:{place.proxy.looking}"),))
    assert (await HaproxyWorkload(watched).read()).ready == 1
    with pytest.raises(Forbidden, match="level admin"):
        await HaproxyDrain(watched).begin(key="run-1/drain")


def test_a_socket_that_may_not_be_opened_is_forbidden() -> None:
    """The worker's user is told the group that it needs."""
    assert isinstance(translate(PermissionError(), "read"), Forbidden)


async def test_a_target_that_is_no_server_is_not_found_and_nothing_is_written(place: HaproxyPlace) -> None:
    """A wrong name is told with the names that there are, before the fence is touched."""
    steering = place.steering()
    routing = await steering.read()
    place.targets = {EU: "paris", US: "ohyo"}
    with pytest.raises(NotFound, match=r"'ohyo' .* there are: ohio, paris"):
        await steering.write(change(place, routing, 0, 100))
    assert not place.fence.exists()


async def test_a_drain_lets_in_nobody_new_and_respects_maintenance(place: HaproxyPlace) -> None:
    """Begin and end are states of the server; one in maintenance stays there."""
    drain = HaproxyDrain(handle(place))
    states = []
    for act in (drain.begin, drain.begin, drain.end, drain.end):
        await act(key="run-1/drain")
        states.append(place.proxy.columns("srv_admin_state")["paris"])
    assert states == [("8",), ("8",), ("0",), ("0",)]
    place.proxy.say(f"set server {BACKEND}/paris state maint")
    await drain.begin(key="run-2/drain")
    await drain.end(key="run-2/drain")
    assert place.proxy.columns("srv_admin_state")["paris"] == ("1",)
    with pytest.raises(NotFound, match=r"'rome' .* there are: ohio, paris"):
        await HaproxyDrain(handle(place, "rome")).begin(key="run-1/drain")


async def test_a_server_is_kept_out_and_let_in_again(place: HaproxyPlace) -> None:
    """Fencing keeps a server from serving whatever it does itself; promoting lets it in."""
    work = HaproxyWorkload(handle(place))
    assert (await work.read()).desired == 1
    out = await work.scale(0, key="run-1/fence")
    assert (out.desired, out.ready, out.limit) == (0, 0, 1)
    assert place.proxy.weights()["paris"] == 0
    assert await work.read() == out
    back = await work.scale(1, key="run-2/promote")
    assert (back.desired, back.ready) == (1, 1)
    with pytest.raises(NoCapacity, match="serving: 1"):
        await work.scale(2, key="run-2/promote")


async def test_that_a_server_is_kept_out_is_not_believed_of_an_haproxy_that_is_away(place: HaproxyPlace) -> None:
    """Who cannot be asked may let it in: the others keep it out, and the step is told."""
    with Haproxy(SERVERS) as other:
        sockets = (("sockets", f"{place.relay.at},{other.at}"),)
        work = HaproxyWorkload(Workload("haproxy", f"{BACKEND}/paris", options=sockets))
        other.kill()
        with pytest.raises(Transient, match=str(other.socket)):
            await work.scale(0, key="run-1/fence")
        assert place.proxy.weights()["paris"] == 0
        with pytest.raises(Transient):
            await work.read()
        assert await HaproxyDrain(Workload("haproxy", f"{BACKEND}/paris", options=sockets)).in_flight() == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "which backend"),
        ({"backend": "chat"}, "where HAProxy's runtime API listens"),
        ({"backend": "chat; shutdown", "sockets": "unix:/a"}, "no backend of HAProxy"),
        ({"backend": "chat", "sockets": "/run/a.sock"}, "no socket of HAProxy"),
        ({"backend": "chat", "sockets": "unix:/a", "quorum": "2"}, "from 1 to 1"),
        ({"backend": "chat", "sockets": "unix:/a"}, "options.fence"),
    ],
)
def test_options_that_say_nothing_are_bad_input(options: dict[str, str], says: str) -> None:
    """What is missing or odd is said before anything is asked."""
    place = HaproxyPlace()
    place.close()
    with pytest.raises(BadInput, match=says):
        HaproxySteering(replace(place.spec, options=tuple(options.items())))
