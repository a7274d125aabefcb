"""The quorum: many vantages become one verdict, and silence is neither health nor failure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core.building import EU, NOW, US, ago, endpoint, report, state, vantages, view
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core.health import Health
from orchestrator.core.names import Domain, EndpointId, VantageId, encloses
from orchestrator.core.quorum import Assessment, Report, Verdict, View, assess, fold, hear
from orchestrator.core.topology import Endpoint, Vantage

UP, SOFT, DOWN, UNKNOWN = Health.HEALTHY, Health.DEGRADED, Health.DOWN, Health.UNKNOWN
THREE = vantages("cloud/a", "cloud/b", "cloud/c")
FRESH_S = 3.0


def judge(*views: View, of: Endpoint | None = None, among: tuple[Vantage, ...] = THREE, **more: Any) -> Assessment:
    return assess(of or endpoint("eu"), views, among, now=NOW, fresh_s=FRESH_S, **more)


def says(*healths: Health | None, **changes: Any) -> tuple[View, ...]:
    """Vantages v1, v2 ... say this of eu; None: nothing was ever heard."""
    return tuple(view(f"v{i}", state("eu", h), **changes) for i, h in enumerate(healths, start=1) if h is not None)


# ------------------------------------------------------------------ the verdict


@pytest.mark.parametrize(
    ("opinions", "verdict"),
    [
        ((UP, UP, UP), Verdict.HEALTHY),
        ((UP, None, None), Verdict.HEALTHY),
        ((UP, UNKNOWN, UNKNOWN), Verdict.HEALTHY),
        ((UP, UP, SOFT), Verdict.HEALTHY),
        ((UP, SOFT, SOFT), Verdict.DEGRADED),
        ((SOFT, None, None), Verdict.DEGRADED),
        ((UP, UP, DOWN), Verdict.DEGRADED),
        ((UP, DOWN, None), Verdict.DEGRADED),
        ((UP, DOWN, DOWN), Verdict.DOWN),
        ((DOWN, DOWN, None), Verdict.DOWN),
        ((DOWN, DOWN, DOWN), Verdict.DOWN),
        ((DOWN, None, None), Verdict.UNKNOWN),
        ((DOWN, UNKNOWN, None), Verdict.UNKNOWN),
        ((DOWN, SOFT, None), Verdict.UNKNOWN),
        ((UNKNOWN, UNKNOWN, UNKNOWN), Verdict.UNKNOWN),
        ((None, None, None), Verdict.UNKNOWN),
    ],
)
def test_opinions_become_a_verdict(opinions: tuple[Health | None, ...], verdict: Verdict) -> None:
    """Down needs most of the configured vantages; a mix is degraded; too little is unknown."""
    assert judge(*says(*opinions)).verdict is verdict


def test_who_began_to_look_in_an_outage_borrows_the_last_good_answer() -> None:
    """Two vantages never saw it well; the third did and fell silent: the outage began after what it saw."""
    silent = view("v1", state("eu", UP, last_good_age_s=20.0), heard=ago(20))
    new = tuple(view(v, state("eu", DOWN, last_good_age_s=None, first_bad_age_s=4.0)) for v in ("v2", "v3"))
    found = judge(silent, *new)
    assert (found.verdict, found.last_good, found.first_bad) == (Verdict.DOWN, ago(20), ago(4))
    assert judge(*new).last_good is None


def test_one_vantage_alone_never_finds_anything_down() -> None:
    """A majority of one is no majority: at least two must see it."""
    assert judge(*says(DOWN), among=THREE[:1]).verdict is Verdict.UNKNOWN
    assert judge(*says(UP), among=THREE[:1]).verdict is Verdict.HEALTHY


def test_two_of_four_vantages_are_no_majority() -> None:
    """Half is not more than half."""
    four = vantages("cloud/a", "cloud/b", "cloud/c", "cloud/d")
    assert judge(*says(DOWN, DOWN), among=four).verdict is Verdict.UNKNOWN
    assert judge(*says(DOWN, DOWN, DOWN), among=four).verdict is Verdict.DOWN


def test_a_vantage_that_is_not_heard_from_has_no_vote() -> None:
    """What was said before the silence does not count: silence is neither health nor failure."""
    late = says(DOWN, DOWN, DOWN, heard=ago(FRESH_S + 0.1))
    assert judge(*late).verdict is Verdict.UNKNOWN
    assert judge(*hear(late, ((VantageId("v1"), NOW), (VantageId("v2"), NOW)))).verdict is Verdict.DOWN
    assert "silent: v1, v2, v3" in judge(*late).text


def test_a_vantage_is_fresh_to_the_second() -> None:
    """Heard exactly as long ago as is allowed, it votes."""
    assert judge(*says(DOWN, DOWN, heard=ago(FRESH_S))).verdict is Verdict.DOWN
    assert judge(*says(DOWN, DOWN, heard=ago(FRESH_S + 0.001))).verdict is Verdict.UNKNOWN


def test_an_isolated_vantage_loses_its_vote() -> None:
    """A vantage that suspects itself says nothing about others."""
    views = (*says(DOWN, DOWN)[:1], *says(DOWN, DOWN, isolated=True)[1:])
    found = judge(*views)
    assert found.verdict is Verdict.UNKNOWN
    assert "isolated: v2" in found.text


def test_a_vantage_in_the_endpoints_own_region_has_no_vote() -> None:
    """A region that is cut off sees itself healthy; those outside know better."""
    inside = replace(endpoint("eu"), region=Domain("cloud/a/z1"))
    assert judge(*says(UP, DOWN, DOWN), of=inside).verdict is Verdict.DOWN
    assert judge(*says(DOWN, DOWN, UP), of=inside).verdict is Verdict.DEGRADED
    assert judge(*says(UP), of=inside).verdict is Verdict.UNKNOWN
    assert "in its own region: v1" in judge(*says(UP), of=inside).text


def test_where_nobody_stands_outside_an_endpoint_is_watched_but_never_found_down() -> None:
    """With every vantage in one region, health can be told and an outage cannot."""
    near = vantages("cloud/eu", "cloud/eu")
    assert judge(*says(UP, UP), among=near).verdict is Verdict.HEALTHY
    found = judge(*says(DOWN, DOWN), among=near)
    assert found.verdict is Verdict.UNKNOWN
    assert "no vantage stands outside cloud/eu" in found.text


def test_vantages_on_one_machine_see_with_one_eye() -> None:
    """Three workers on one host are one vote, unless the world simulates its hosts."""
    views = says(DOWN, DOWN, DOWN, host="one")
    assert judge(*views).verdict is Verdict.UNKNOWN
    assert judge(*views, simulates_hosts=True).verdict is Verdict.DOWN
    assert judge(*says(UP, DOWN, host="one")).verdict is Verdict.DEGRADED


def test_a_vantage_that_is_not_configured_has_no_vote() -> None:
    """A prober that the topology no longer knows counts for nothing."""
    assert judge(*says(DOWN, DOWN, DOWN), among=THREE[:1]).verdict is Verdict.UNKNOWN


def test_the_text_names_the_vantages_and_what_they_saw() -> None:
    """A person reads from where it is seen so, why, and who says otherwise."""
    found = judge(*says(UP, DOWN, DOWN))
    assert found.text == "down from 2 of 3 vantages (v2, v3): http: refused; healthy from 1 of 3 vantages (v1)"
    assert judge(*says(UP, UP)).text == "healthy from 2 of 3 vantages (v1, v2); silent: v3"


def test_an_outage_is_timed_by_those_who_see_it() -> None:
    """Last good is the latest and first bad the earliest among the vantages that say down."""
    views = (
        view("v1", state("eu", UP, last_good_age_s=0.1)),
        view("v2", state("eu", DOWN, last_good_age_s=9.0, first_bad_age_s=8.0)),
        view("v3", state("eu", DOWN, last_good_age_s=7.0, first_bad_age_s=6.0)),
    )
    found = judge(*views)
    assert (found.last_good, found.first_bad) == (ago(7), ago(8))


def test_most_of_the_voters_must_have_seen_completions() -> None:
    """One vantage whose completion is still to come does not unmake the proof; most of them do."""
    done, fresh = state("eu", UP, proven=True), state("eu", UP)
    assert judge(view("v1", done), view("v2", done), view("v3", fresh)).proven
    assert not judge(view("v1", done), view("v2", fresh)).proven
    assert not judge().proven
    assert judge(view("v1", done), view("v2", state("eu", UNKNOWN))).proven


def test_what_is_degraded_may_be_proven_and_what_is_down_or_unknown_is_not() -> None:
    """A slow model that completes has completed; nothing that was said of a dead one is proof."""
    for health, verdict in ((SOFT, Verdict.DEGRADED), (DOWN, Verdict.DOWN)):
        seen = judge(*(view(f"v{n}", state("eu", health, proven=True)) for n in (1, 2, 3)))
        assert (seen.verdict, seen.proven) == (verdict, health is SOFT)
    assert not judge(view("v1", state("eu", DOWN, proven=True))).proven


def test_the_text_says_who_is_of_which_opinion_and_no_detail_of_what_is_well() -> None:
    """The worst comes first, each with its detail; a lone vantage's word is called unknown before anything else."""
    well, slow, dead = state("eu", UP, detail="http: fine"), state("eu", SOFT, detail="http: slow"), state("eu", DOWN)
    text = judge(view("v1", well), view("v2", slow), view("v3", dead)).text
    assert text == (
        "down from 1 of 3 vantages (v3): http: refused; degraded from 1 of 3 vantages (v2): http: slow; "
        "healthy from 1 of 3 vantages (v1)"
    )
    assert judge(view("v1", dead)).text.startswith(
        "unknown: too few vantages with a vote see it down; down from 1 of 3"
    )


@st.composite
def views_and_vantages(draw: st.DrawFn) -> tuple[tuple[View, ...], tuple[Vantage, ...]]:
    """Up to five vantages, most of them outside, awake, on a host of their own, and most of them seeing it down."""
    outside = ["cloud/a", "cloud/b", "cloud", "other/eu"]
    configured = vantages(*draw(st.lists(st.sampled_from([*outside, "cloud/eu", "cloud/eu/z1"]), max_size=5)))
    views = []
    for number in range(1, len(configured) + 2):
        health = draw(st.sampled_from([DOWN, DOWN, DOWN, UP, SOFT, UNKNOWN, None]))
        if health is None:
            continue
        seen = view(f"v{number}", state("eu", health, proven=draw(st.booleans())))
        heard = ago(draw(st.sampled_from([0.0, 1.0, 2.9, -1.0, 3.1, 60.0])))
        host = draw(st.sampled_from([seen.host, seen.host, "shared"]))
        views.append(replace(seen, heard=heard, host=host, isolated=draw(st.sampled_from([False, False, True]))))
    return tuple(views), configured


def down_votes(views: tuple[View, ...], configured: tuple[Vantage, ...]) -> list[View]:
    """The views that may count for down, by the law's own words."""
    where = {vantage.id: vantage.region for vantage in configured}
    return [
        v
        for v in views
        if v.vantage in where
        and not encloses(Domain("cloud/eu"), where[v.vantage])
        and not v.isolated
        and (NOW - v.heard).total_seconds() <= FRESH_S
        and any(o.state.health is DOWN for o in v.opinions)
    ]


@settings(max_examples=500)
@given(world=views_and_vantages(), simulates=st.booleans())
def test_down_always_rests_on_a_majority_of_eyes_outside(world: tuple[Any, Any], simulates: bool) -> None:
    """Down means most of the configured vantages, at least two, fresh, outside, on hosts of their own."""
    views, configured = world
    if judge(*views, among=configured, simulates_hosts=simulates).verdict is Verdict.DOWN:
        votes = down_votes(views, configured)
        eyes = {v.vantage if simulates else v.host for v in votes}
        assert len(eyes) >= 2
        assert len(eyes) * 2 > len(configured)


@given(world=views_and_vantages(), data=st.data())
def test_silence_never_makes_anything_down_or_healthy_or_proven(world: tuple[Any, Any], data: st.DataObject) -> None:
    """When vantages fall silent a verdict may become unsure, and never worse or better than what was seen."""
    views, configured = world
    before = judge(*views, among=configured, simulates_hosts=True)
    quiet = data.draw(st.sets(st.integers(1, 6)))
    later = tuple(replace(v, heard=ago(99)) if int(v.vantage[1:]) in quiet else v for v in views)
    after = judge(*later, among=configured, simulates_hosts=True)
    if after.verdict is Verdict.DOWN:
        assert before.verdict is Verdict.DOWN
    if not any(v.heard >= ago(FRESH_S) for v in later):
        assert after.verdict is Verdict.UNKNOWN
        assert not after.proven


@given(world=views_and_vantages(), data=st.data())
def test_the_order_of_views_does_not_matter(world: tuple[Any, Any], data: st.DataObject) -> None:
    """A verdict depends on what is said, not on who was heard first."""
    views, configured = world
    shuffled = data.draw(st.permutations(views))
    assert judge(*shuffled, among=configured) == judge(*views, among=configured)


# ------------------------------------------------------------------ folding reports


def test_a_report_becomes_a_view_in_the_receivers_time() -> None:
    """Ages are subtracted from the receiver's clock; the prober's own clock does not matter."""
    (said,) = fold((), report("v1", 1, 1, state("eu", DOWN, last_good_age_s=9.0, first_bad_age_s=None)), now=NOW)
    assert (said.vantage, said.heard, said.opinions[0].last_good, said.opinions[0].first_bad) == (
        "v1",
        NOW,
        ago(9),
        None,
    )


@pytest.mark.parametrize("age", [float("inf"), float("nan"), 1e300])
def test_an_age_that_no_clock_measured_is_no_time(age: float) -> None:
    """A prober's broken figure does not stop the service from folding reports."""
    (said,) = fold((), report("v1", 1, 1, state("eu", DOWN, last_good_age_s=age)), now=NOW)
    assert said.opinions[0].last_good is None


def test_an_older_report_changes_nothing() -> None:
    """A report that was overtaken, or comes twice, is not taken in."""
    views = fold((), report("v1", 2, 5, state("eu", DOWN)), now=ago(5))
    for epoch, seq in ((2, 5), (2, 4), (1, 9)):
        assert fold(views, report("v1", epoch, seq, state("eu", UP)), now=NOW) == views
    assert fold(views, report("v1", 3, 1, state("eu", UP)), now=NOW) != views


def test_a_down_holds_until_the_new_epoch_has_an_opinion() -> None:
    """A prober that restarts does not forget an outage, and does not invent one."""
    views = fold((), report("v1", 1, 8, state("eu", DOWN), state("us", UP)), now=ago(5))
    views = fold(views, report("v1", 2, 1, state("eu", UNKNOWN), state("us", UNKNOWN)), now=ago(4))
    assert health_of(views) == {EU: DOWN, US: UNKNOWN}
    assert views[0].opinions[0].first_bad == ago(9)
    views = fold(views, report("v1", 2, 2, state("us", UP)), now=ago(3))
    assert health_of(views) == {EU: DOWN, US: UP}
    views = fold(views, report("v1", 2, 3, state("eu", UP), state("us", UP)), now=NOW)
    assert health_of(views) == {EU: UP, US: UP}


def test_an_endpoint_that_a_newer_topology_left_out_is_forgotten() -> None:
    """A down does not outlive its endpoint; a prober with an older topology forgets nothing."""
    views = fold((), report("v1", 1, 1, state("eu", DOWN), state("us", DOWN), revision=5), now=NOW)
    assert set(health_of(fold(views, report("v1", 2, 1, state("us", DOWN), revision=4), now=NOW))) == {EU, US}
    assert set(health_of(fold(views, report("v1", 1, 2, state("us", DOWN), revision=6), now=NOW))) == {US}


def health_of(views: tuple[View, ...]) -> dict[EndpointId, Health]:
    return {o.state.endpoint: o.state.health for v in views for o in v.opinions}


@st.composite
def histories(draw: st.DrawFn) -> list[Report]:
    """Reports as three probers send them, each with its own epochs and sequence."""
    sent = []
    for vantage in ("v1", "v2", "v3"):
        epoch, seq = 1, 0
        for _ in range(draw(st.integers(0, 5))):
            restarts = draw(st.booleans())
            epoch, seq = (epoch + 1, 1) if restarts else (epoch, seq + 1)
            states = [state(name, draw(st.sampled_from([UP, SOFT, DOWN]))) for name in ("eu", "us")]
            sent.append(report(vantage, epoch, seq, *states))
    return sent


@given(sent=histories(), data=st.data())
def test_reports_out_of_order_or_twice_end_in_the_same_views(sent: list[Report], data: st.DataObject) -> None:
    """Reports are levels: whatever way they travel, the newest word of each vantage stands."""
    views: tuple[View, ...] = ()
    for each in sent:
        views = fold(views, each, now=NOW)
    mixed: tuple[View, ...] = ()
    for each in data.draw(
        st.permutations(sent + data.draw(st.lists(st.sampled_from(sent), max_size=4)) if sent else [])
    ):
        mixed = fold(mixed, each, now=NOW)
    assert mixed == views
    assert [v.vantage for v in views] == sorted({r.vantage for r in sent})


def test_a_heartbeat_never_makes_a_view_older() -> None:
    """The server's stamp keeps a silent but living prober fresh, in any order of stamps."""
    views = (view("v1", heard=ago(2)), view("v2", heard=ago(2)))
    v1, v2, v9 = VantageId("v1"), VantageId("v2"), VantageId("v9")
    after = hear(views, ((v1, ago(1)), (v1, ago(50)), (v2, ago(9)), (v9, NOW)))
    assert [(v.vantage, v.heard) for v in after] == [(v1, ago(1)), (v2, ago(2))]
