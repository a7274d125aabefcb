"""Canonical form: there and back exactly, stable digests, differences in the words of the file."""

from __future__ import annotations

import json
from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config import Change, difference, digest, dump, parse, restore
from orchestrator.config.example import EXAMPLE
from orchestrator.core import topology as core
from orchestrator.core.errors import BadInput
from orchestrator.core.names import Domain
from orchestrator.core.orders import Freeze, Limits, Orders, Pool, Span, Weekly

_text = st.text(max_size=12)
_seconds = st.floats(min_value=0, max_value=1e6, allow_nan=False)
_secrets = st.builds(core.Secret, st.sampled_from(core.SecretSource), _text)
_pairs = st.lists(st.tuples(_text, _text), max_size=3).map(tuple)
_counts = st.integers(min_value=0, max_value=10**9)
_maybe_text = st.none() | _text
_expects = st.builds(
    core.Expect,
    status=st.lists(_text, max_size=3).map(tuple),
    body=_maybe_text,
    json_path=_maybe_text,
    json_equals=_maybe_text,
    latency_s=st.none() | _seconds,
    certificate_days=st.none() | _counts,
)
_probes = st.builds(
    core.ProbeSpec,
    id=_text,
    kind=st.sampled_from(core.ProbeKind),
    interval_s=_seconds,
    timeout_s=_seconds,
    connection=st.sampled_from(core.Connection),
    as_name=st.booleans(),
    headers=st.lists(st.builds(core.Header, _text, _text | _secrets), max_size=3).map(tuple),
    host=_maybe_text,
    expect=_expects,
    model=_maybe_text,
    max_tokens=st.none() | _counts,
)
_answers = st.builds(core.Answer, _text, st.lists(_text, max_size=3).map(tuple))
_endpoints = st.builds(
    core.Endpoint,
    id=_text,
    url=_text,
    region=_text,
    role=st.sampled_from(core.Role),
    answer=st.none() | _answers,
    capacity=st.none() | _counts,
    workload=st.none() | st.builds(core.Workload, _text, _text, _counts, _counts, _pairs),
    probes=st.lists(_probes, max_size=2).map(tuple),
)
_steerings = st.builds(
    core.SteeringSpec,
    provider=_text,
    name=_text,
    zone=_text,
    ttl_s=_counts,
    primary=_text,
    servers=st.lists(_text, max_size=2).map(tuple),
    key=st.none() | st.builds(core.TsigKey, _text, _secrets, _text),
    options=_pairs,
)
_moments = st.datetimes(timezones=st.just(UTC))
_freezes = st.builds(
    Freeze,
    _text,
    st.builds(Span, _moments, _moments) | st.builds(Weekly, st.just((0, 6)), st.just(0), st.just(1440), _text),
    st.booleans(),
)
_policies = st.builds(
    core.Policy,
    mode=st.sampled_from(core.Mode),
    rto_s=_seconds,
    capacity=st.none() | _counts,
    residency=st.lists(_text, max_size=2).map(tuple),
    freezes=st.lists(_freezes, max_size=1).map(tuple),
    book_values=st.lists(st.tuples(_text, _pairs), max_size=2).map(tuple),
)
_services = st.builds(
    core.Service,
    id=_text,
    name=_text,
    endpoints=st.lists(_endpoints, max_size=2).map(tuple),
    steering=st.none() | _steerings,
    policy=_policies,
)
_notices = st.builds(
    core.Notify,
    st.sampled_from(core.NotifyKind),
    url=_maybe_text,
    command=st.lists(_text, max_size=2).map(tuple),
    secret=st.none() | _secrets,
)
_orders = st.builds(
    Orders,
    gate=_maybe_text,
    freezes=st.lists(_freezes, max_size=2).map(tuple),
    jurisdictions=_pairs,
    pools=st.lists(st.builds(Pool, _text, _counts), max_size=2).map(tuple),
    limits=st.builds(Limits, _counts, _counts, _counts),
)
_topologies = st.builds(
    core.Topology,
    regions=st.lists(_text, max_size=3).map(tuple),
    vantages=st.lists(st.builds(core.Vantage, _text, _text), max_size=2).map(tuple),
    services=st.lists(_services, max_size=2).map(tuple),
    notify=st.lists(_notices, max_size=2).map(tuple),
    simulates_hosts=st.booleans(),
    shards=_counts,
    roles=st.dictionaries(_text, st.lists(_text, max_size=2).map(tuple), max_size=2).map(lambda d: tuple(d.items())),
    books=_pairs,
    orders=_orders,
)


@given(_topologies)
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read_back_exactly(topology: core.Topology) -> None:
    """Any topology survives being stored and restored, and has one canonical text."""
    text = dump(topology)
    assert restore(text) == topology
    assert dump(restore(text)) == text
    assert text.isascii()


@given(_topologies, _topologies)
@settings(max_examples=30, deadline=None)
def test_equal_topologies_have_one_digest_and_no_difference(one: core.Topology, other: core.Topology) -> None:
    """Digests are equal exactly where topologies are; a difference never fails, whatever they hold."""
    assert (digest(one) == digest(other)) == (one == other)
    assert difference(one, restore(dump(one))) == ()
    difference(None, one)
    difference(one, other)


def test_a_file_is_read_back_exactly() -> None:
    """The example of the reference page survives the round trip."""
    topology = parse(EXAMPLE, "x")
    assert restore(dump(topology)) == topology


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"regions":1}', "[" * 100_000, "null"])
def test_a_damaged_store_is_one_sentence(text: str) -> None:
    """Text that is no stored topology is refused in one sentence."""
    with pytest.raises(BadInput, match="the stored topology cannot be read") as caught:
        restore(text)
    assert "\n" not in str(caught.value)


def test_an_unknown_enum_value_is_refused() -> None:
    """A mode that this program does not know is not taken for another one."""
    shape = json.loads(dump(parse(EXAMPLE, "x")))
    shape["services"][0]["policy"]["mode"] = "reckless"
    with pytest.raises(BadInput, match=r"policy\.mode"):
        restore(json.dumps(shape))


def test_a_change_is_told_in_the_words_of_the_file(base: str) -> None:
    """apply shows what changes by path, with durations as people write them."""
    text = base.replace("mode: observe", "mode: approval\n      rto: 1m30s\n      prefer: [eu]").replace(
        "path: /health", "path: /ready"
    )
    assert difference(parse(base, "x"), parse(text.replace("role: standby", "role: active"), "x")) == (
        Change("changed", "services[chat].endpoints[eu].probes[http-as-name].path", "/health", "/ready"),
        Change("changed", "services[chat].endpoints[eu].probes[http].path", "/health", "/ready"),
        Change("changed", "services[chat].endpoints[eu].role", "standby", "active"),
        Change("changed", "services[chat].endpoints[us].probes[http-as-name].path", "/health", "/ready"),
        Change("changed", "services[chat].endpoints[us].probes[http].path", "/health", "/ready"),
        Change("changed", "services[chat].policy.mode", "observe", "approval"),
        Change("added", "services[chat].policy.prefer", None, "eu"),
        Change("changed", "services[chat].policy.rto", "5m", "1m30s"),
    )


def test_parts_that_come_and_go_are_told_as_a_whole(base: str) -> None:
    """A service, an endpoint or a steering that is new or gone is one line."""
    new = parse(base, "x")
    assert difference(None, new) == (
        Change("added", "regions", None, "aws/us-east-1, onprem/fra1"),
        Change("added", "services[chat]", None, "chat.example.com at eu (standby), us (active); mode observe"),
        Change("added", "vantages[v1]", None, "aws/us-east-1"),
    )
    start = base.index("    steering:")
    bare = parse(base[:start] + base[base.index("    policy:") :], "x")
    steering = "rfc2136, zone example.com. at 192.0.2.53:53, ttl 10s"
    assert difference(new, bare) == (Change("removed", "services[chat].steering", steering, None),)


def test_a_secret_is_told_by_its_place(base: str) -> None:
    """A difference shows where a secret is, which is all that a topology knows."""
    old = base.replace("path: /health", "headers: {Authorization: {env: OLD}}")
    new = base.replace("path: /health", "headers: {Authorization: {env: NEW}}")
    change = difference(parse(old, "x"), parse(new, "x"))[0]
    assert (change.path.rpartition(".")[2], change.before, change.after) == (
        "headers[Authorization]",
        "{env: OLD}",
        "{env: NEW}",
    )


def test_regions_are_told(base: str) -> None:
    """A region more is a change of the list."""
    more = parse(base.replace("[aws/us-east-1, onprem/fra1]", "[aws/us-east-1, onprem/fra1, gcp/x]"), "x")
    assert Domain("gcp/x") in more.regions
    before = "aws/us-east-1, onprem/fra1"
    after = "aws/us-east-1, gcp/x, onprem/fra1"
    assert difference(parse(base, "x"), more) == (Change("changed", "regions", before, after),)
