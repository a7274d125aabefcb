"""The engine on real sockets: what it says, when it asks again, and what it does not do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

import pytest
from prober.servers import HANGS, answers, says, site, streams, token

from orchestrator.core.health import EndpointState, Health
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.quorum import Seed, Seeded
from orchestrator.core.topology import Connection, ProbeKind, ProbeSpec, Role, Service, Workload
from orchestrator.prober import Pace, telling
from real.ports import free_port

if TYPE_CHECKING:
    from prober.conftest import Watch

Make = Callable[..., Service]
Spec = Callable[..., ProbeSpec]


def dead() -> str:
    return f"http://127.0.0.1:{free_port()}"


async def passing(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether *condition* comes true within *seconds*."""
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(0.005)
    return condition()


async def test_an_epoch_opens_with_one_snapshot_and_then_says_nothing(watch: Watch, service: Make) -> None:
    """A steady service is reported once, however often it is probed."""
    async with site(answers()) as good, site(answers()) as other:
        watch.begin(service(a=good.url, b=other.url))
        await watch.until(a=Health.HEALTHY, b=Health.HEALTHY)
        assert await passing(45, lambda: len(good.asked) >= 8)
        (report,) = watch.reports
        assert (report.vantage, report.shard, report.epoch, report.seq) == ("v1", 0, 7, 1)
        assert (report.host, report.revision, report.isolated) == ("here", 3, False)
        assert [state.proven for state in report.states] == [True, True]
        assert good.connections == 1
        assert watch.ticks >= 2


async def test_a_killed_server_is_known_down_before_its_next_probe_is_due(
    watch: Watch, service: Make, spec: Spec
) -> None:
    """The lost idle connection starts the re-probes; nobody waits for the interval."""
    slow_interval = spec(interval_s=2.0, timeout_s=1.0)
    async with site(answers()) as server, site(answers()) as other:
        watch.begin(service(a=(server.url, slow_interval), b=(other.url, slow_interval)))
        await watch.until(a=Health.HEALTHY, b=Health.HEALTHY)
        killed = perf_counter()
        server.kill()
        latest = await watch.until(a=Health.DOWN)
        took = perf_counter() - killed
        assert took < 1.5  # its next slot is later still
        assert latest["a"].detail == "http: connection refused"
        assert latest["a"].first_bad_age_s is not None
        assert latest["a"].first_bad_age_s <= took
        assert [report.seq for report in watch.reports] == [1, 2]
        await server.start()
        await watch.until(a=Health.HEALTHY)
        assert perf_counter() - killed < 15


async def test_a_frozen_server_takes_no_longer_than_its_time(watch: Watch, service: Make, spec: Spec) -> None:
    """The doubt whether only the connection is dead is settled within the probe's own time."""
    async with site(answers()) as server, site(answers()) as other:
        watch.begin(service(a=(server.url, spec(fall=1, timeout_s=2.0)), b=other.url))
        await watch.until(a=Health.HEALTHY)
        server.behave = HANGS
        frozen = perf_counter()
        latest = await watch.until(a=Health.DOWN)
        assert perf_counter() - frozen < 0.1 * 1.1 + 2.0 + 0.8
        assert latest["a"].detail == "http: no answer in 2 s"


async def test_a_slot_spent_on_waiting_is_made_up_for(watch: Watch, service: Make, spec: Spec) -> None:
    """An endpoint that hangs for its whole interval is down after three intervals, not after five."""
    long = spec(interval_s=1.0, timeout_s=1.0, jitter=0.0)
    async with site(answers()) as server, site(answers()) as other:
        watch.begin(service(a=(server.url, long), b=(other.url, long)))
        await watch.until(a=Health.HEALTHY, b=Health.HEALTHY)
        server.behave = HANGS
        frozen = perf_counter()
        await watch.until(a=Health.DOWN)
        assert perf_counter() - frozen < 4 * 1.0 + 0.8


async def test_a_dead_connection_alone_is_no_failure(watch: Watch, service: Make, spec: Spec) -> None:
    """When only the kept-alive connection is dead, even a fall of one does not call the endpoint down."""

    async def behave(server, reader, writer, asked) -> None:  # type: ignore[no-untyped-def]  # a Behaviour
        how = HANGS if asked.connection == 1 and len(server.asked) > 2 else answers()
        await how(server, reader, writer, asked)

    async with site(behave) as server:
        watch.begin(service(a=(server.url, spec(fall=1, timeout_s=2.0))))
        assert await passing(45, lambda: len(server.asked) > 10)
        assert server.connections >= 2
        assert [state.health for report in watch.reports for state in report.states] == [Health.HEALTHY]


async def test_refusals_are_confirmed_fast_and_errors_are_not(watch: Watch, service: Make, spec: Spec) -> None:
    """Three refusals take milliseconds; three errors take three intervals, for an answer may be only late or shed."""
    patient = spec(interval_s=0.4, timeout_s=0.3)
    async with site(answers(500)) as broken, site(answers()) as good:
        began = perf_counter()
        watch.begin(service(refusing=(dead(), patient), erring=(broken.url, patient), fine=good.url))
        await watch.until(refusing=Health.DOWN)
        assert len(broken.asked) < 3
        latest = await watch.until(erring=Health.DOWN)
        assert perf_counter() - began > 0.7
        assert latest["erring"].detail == "http: status 500"
        assert len(broken.asked) == 3


async def test_fast_confirm_can_be_turned_off(watch: Watch, service: Make, spec: Spec) -> None:
    """With a pause of 0 every probe waits for its slot."""
    async with site(answers()) as good:
        began = perf_counter()
        watch.begin(service(a=(dead(), spec(fast_confirm_s=0.0, fall=4)), b=good.url))
        await watch.until(a=Health.DOWN)
        assert perf_counter() - began > 0.25


async def test_overload_is_degraded_and_never_down(watch: Watch, service: Make) -> None:
    """429 for ever is not death."""
    async with site(answers(429)) as server:
        watch.begin(service(a=server.url))
        latest = await watch.until(a=Health.DEGRADED)
        assert await passing(45, lambda: len(server.asked) > 8)
        assert latest["a"].detail == "http: status 429"
        assert {state.health for report in watch.reports for state in report.states} <= {
            Health.UNKNOWN,
            Health.DEGRADED,
        }


async def test_a_slow_endpoint_is_never_asked_twice_at_once(watch: Watch, service: Make, spec: Spec) -> None:
    """Slots that come while an answer is awaited are skipped, not queued, and the fast neighbour does not notice."""
    under_way = most = 0

    async def behave(server, reader, writer, asked) -> None:  # type: ignore[no-untyped-def]  # a Behaviour
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.35)
        under_way -= 1
        await answers()(server, reader, writer, asked)

    async with site(behave) as slow, site(answers()) as quick:
        began = perf_counter()
        engine = watch.begin(service(a=(slow.url, spec(timeout_s=10.0)), b=quick.url))
        assert await passing(45, lambda: len(quick.asked) >= 12)
        assert most == 1
        assert len(slow.asked) <= (perf_counter() - began) / 0.35 + 1
        assert engine.lateness().missed >= 4


async def test_starts_do_not_drift(watch: Watch, service: Make, spec: Spec) -> None:
    """Twenty starts at 50 ms take one second, though every answer takes a while."""
    times: list[float] = []

    async def behave(server, reader, writer, asked) -> None:  # type: ignore[no-untyped-def]  # a Behaviour
        times.append(perf_counter())
        await asyncio.sleep(0.02)
        await answers()(server, reader, writer, asked)

    async with site(behave) as server:
        engine = watch.begin(service(a=(server.url, spec(interval_s=0.05, jitter=0.0))))

        def on_time() -> bool:
            """Of some twenty: a busy machine misses a start, or is late with the first or the last of others."""
            return any(abs(end - begin - 1.0) < 0.04 for begin, end in zip(times, times[20:], strict=False))

        assert await passing(45, on_time)
        late = engine.lateness()
        assert late.count > 20
        assert late.p50_s < 0.05


async def test_few_new_connections_at_a_time_and_kept_ones_do_not_wait(watch: Watch, service: Make, spec: Spec) -> None:
    """Hanging endpoints fill the places for new connections; endpoints on kept-alive connections go on."""
    fresh = spec(connection=Connection.FRESH, timeout_s=0.3)
    async with site(answers()) as good, site(HANGS) as hung:
        watch.begin(service(good=good.url, name="good"), pace=Pace(tick_s=0.01, concurrency=2, opening_s=5.0))
        await watch.until(service="good", good=Health.HEALTHY)
        assert watch.engine is not None
        many = {f"h{number}": (hung.url, fresh) for number in range(8)}
        watch.engine.configure((service(good=good.url, name="good"), service(**many)), 4)
        before = len(good.asked)
        most = 0

        def enough() -> bool:
            nonlocal most
            most = max(most, len(hung.writers))
            return len(hung.asked) > 2 and len(good.asked) - before >= 6

        assert await passing(45, enough)
        assert most <= 2
        # In turn with eight that hang, it would have been asked an eighth as often as they.
        assert len(hung.asked) < 4 * (len(good.asked) - before)


async def test_a_changed_topology_reaches_a_running_prober(watch: Watch, service: Make, spec: Spec) -> None:
    """What did not change keeps its state; a changed question keeps the opinion; a new place begins unknown."""
    async with site(answers()) as one, site(answers()) as two:
        engine = watch.begin(service(a=one.url, gone=dead(), b=dead()))
        await watch.until(a=Health.HEALTHY, b=Health.DOWN)
        engine.configure((service(a=one.url, b=(engine_url(watch, "b"), spec(path="/other")), c=two.url),), 4)
        latest = await watch.until(a=Health.HEALTHY, b=Health.DOWN, c=Health.HEALTHY)
        assert set(latest) == {"a", "b", "c"}
        assert watch.reports[-1].revision == 4
        assert one.connections == 1
        opened = len(watch.reports)
        engine.configure((service(a=two.url, b=two.url),), 5)
        await watch.until(a=Health.HEALTHY, b=Health.HEALTHY)
        assert all(state.health is not Health.DOWN for report in watch.reports[opened:] for state in report.states)
        asked = len(one.asked)
        await asyncio.sleep(0.25)
        assert len(one.asked) == asked


def engine_url(watch: Watch, endpoint: str) -> str:
    assert watch.engine is not None
    return watch.engine._services[ServiceId("chat")].endpoints[EndpointId(endpoint)].endpoint.url


async def test_a_seeded_down_holds_until_proved_otherwise(watch: Watch, service: Make, spec: Spec) -> None:
    """The first snapshot of an epoch already knows what the epoch before knew."""
    known = EndpointState(EndpointId("a"), Health.DOWN, "http: connection refused", 40.0, 30.0)
    other = EndpointState(EndpointId("b"), Health.DOWN, "http: connection refused", 40.0, 30.0)
    async with site(answers()) as server, site(answers()) as third:
        watch.begin(
            service(a=(server.url, spec(rise=3)), b=dead(), c=third.url),
            seed=Seed(2, (Seeded(ServiceId("chat"), known), Seeded(ServiceId("chat"), other))),
        )
        assert await passing(45, lambda: bool(watch.reports))
        first = {state.endpoint: state for state in watch.reports[0].states}
        assert first["b"].health is Health.DOWN
        assert first["b"].first_bad_age_s is not None
        assert first["b"].first_bad_age_s >= 30
        assert watch.engine is not None
        await watch.until(a=Health.HEALTHY)
        healths = [state.health for report in watch.reports for state in report.states if state.endpoint == "a"]
        assert set(healths) <= {Health.DOWN, Health.HEALTHY}
        beat = watch.engine.beat()
        assert beat.revision == 3
        assert [(seeded.service, seeded.state.endpoint) for seeded in beat.states] == [("chat", "b")]


async def test_a_flapping_endpoint_has_a_budget_and_the_last_word_comes(
    watch: Watch, service: Make, spec: Spec
) -> None:
    """After a burst of ten reports the eleventh waits, and says what is true by then."""
    turns = 0

    async def behave(server, reader, writer, asked) -> None:  # type: ignore[no-untyped-def]  # a Behaviour
        nonlocal turns
        turns += 1
        await answers(500 if turns % 2 else 200)(server, reader, writer, asked)

    flapping = spec(interval_s=0.02, timeout_s=0.01, rise=1, fall=1, fast_confirm_s=0.0)
    async with site(behave) as server, site(answers()) as other:
        engine = watch.begin(service(a=(server.url, flapping), b=other.url))
        assert await passing(15, lambda: turns > 60)
        assert len(watch.reports) <= 12
        server.behave = answers()
        watched = engine._services[ServiceId("chat")]
        watched.budget._at = monotonic() - 10  # ten seconds later
        await watch.until(a=Health.HEALTHY)


async def test_a_vantage_that_sees_regions_fail_together_suspects_itself(watch: Watch, service: Make) -> None:
    """Two of three regions down together: the report says isolated, for every service, and takes it back."""
    async with site(answers()) as one, site(answers()) as two, site(answers()) as three:
        watch.begin(service(a=one.url, b=two.url, c=three.url), service(name="other", c=three.url))
        await watch.until(a=Health.HEALTHY, b=Health.HEALTHY, c=Health.HEALTHY)
        await watch.until(service="other", c=Health.HEALTHY)
        one.kill()
        await watch.until(a=Health.DOWN)
        assert not watch.reports[-1].isolated
        two.kill()
        await watch.until(b=Health.DOWN)
        assert await passing(45, lambda: {r.service for r in watch.reports if r.isolated} == {"chat", "other"})
        await one.start()
        await watch.until(a=Health.HEALTHY)
        assert await passing(45, lambda: all(not last(watch, name).isolated for name in ("chat", "other")))


def last(watch: Watch, service: str):  # type: ignore[no-untyped-def]  # a Report
    return next(report for report in reversed(watch.reports) if report.service == service)


async def test_a_standby_that_is_meant_to_be_off_is_no_evidence(watch: Watch, service: Make) -> None:
    """A cold standby refuses by design: the active region's loss beside it is a loss, not isolation."""
    async with site(answers()) as one:
        made = service(a=one.url, cold=dead())
        active, cold = made.endpoints
        cold = replace(cold, role=Role.STANDBY, workload=Workload("local", "cold", serving=1, standby=0))
        watch.begin(replace(made, endpoints=(active, cold)))
        await watch.until(a=Health.HEALTHY, cold=Health.DOWN)
        one.kill()
        await watch.until(a=Health.DOWN)
        assert not watch.reports[-1].isolated


async def test_proof_takes_a_completion_and_few_are_bought(watch: Watch, service: Make, spec: Spec) -> None:
    """Health pages prove nothing for a model; a dead one is not asked again and again for money."""
    chat = spec(id="chat", kind=ProbeKind.CHAT, interval_s=30.0, timeout_s=1.0)
    async with site(streams(token("yes", "stop"))) as model, site(says(b"", then="close")) as broken:
        url = model.url
        watch.begin(service(a=(url, chat), b=(broken.url, chat)))
        latest = await watch.until(a=Health.HEALTHY, b=Health.DOWN)
        assert latest["a"].proven
        assert not latest["b"].proven
        await asyncio.sleep(0.3)
        assert len(model.asked) == 1
        assert len(broken.asked) <= 1 + 3


async def test_an_endpoint_that_cannot_be_asked_does_not_blind_the_others(watch: Watch, service: Make) -> None:
    """A url that makes no sense is logged and left out."""
    async with site(answers()) as good:
        watch.begin(service(a=good.url, b="nonsense"))
        latest = await watch.until(a=Health.HEALTHY)
        assert latest["b"].health is Health.UNKNOWN


async def test_present_says_what_is_true_now(watch: Watch, service: Make) -> None:
    """A report that was delayed is renewed, with the ages of now."""
    async with site(answers()) as server, site(answers()) as other:
        engine = watch.begin(service(a=server.url, b=other.url))
        await watch.until(a=Health.HEALTHY)
        first = watch.reports[0]
        server.kill()
        await watch.until(a=Health.DOWN)
        now = engine.present(first)
        assert now is not None
        assert now.seq == first.seq
        assert {state.endpoint: state.health for state in now.states} == {"a": Health.DOWN, "b": Health.HEALTHY}
        assert engine.present(replace(first, service=ServiceId("gone"))) is None


async def test_many_that_hang_delay_nobody_else(watch: Watch, service: Make, spec: Spec) -> None:
    """More endpoints hang than may be opened at once: those that work are asked on time all the same."""
    fresh = spec(connection=Connection.FRESH, interval_s=0.5, timeout_s=3.0)
    async with site(HANGS) as hung, site(answers()) as good:
        names = {f"h{number}": (hung.url, fresh) for number in range(12)}
        engine = watch.begin(
            service(**names),
            service(name="other", a=(good.url, fresh)),
            pace=Pace(tick_s=0.01, concurrency=4, opening_s=0.05),
        )
        assert await passing(45, lambda: len(hung.asked) >= 12)
        before = len(good.asked)
        assert await passing(45, lambda: len(good.asked) >= before + 3)
        assert engine.lateness().most_s < 1.5
        assert len(engine._opening) <= 16


async def test_an_endpoint_that_hangs_does_not_keep_the_others_unheard(
    watch: Watch, service: Make, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first snapshot does not wait for the whole of a long time-out."""
    monkeypatch.setattr(telling, "OPEN_WITHIN_S", 0.3)
    patient = spec(id="chat", kind=ProbeKind.CHAT, interval_s=60.0, timeout_s=60.0)
    async with site(HANGS) as hung:
        watch.begin(service(a=dead(), b=(hung.url, patient)))
        latest = await watch.until(a=Health.DOWN)
        assert latest["b"].health is Health.UNKNOWN
