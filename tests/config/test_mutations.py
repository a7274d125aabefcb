"""Any change whatever to a good topology file is either taken or answered with mistakes that carry their places."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orchestrator.config import Mistakes, digest, dump, findings, parse, restore
from orchestrator.config.example import EXAMPLE
from providers.probes.question import Wording

Trail = tuple[str | int, ...]
BASE: Any = YAML(typ="safe", pure=True).load(EXAMPLE)


def _walk(value: Any, trail: Trail = ()) -> Iterator[Trail]:
    yield trail
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _walk(inner, (*trail, key))


def _at(value: Any, trail: Trail) -> Any:
    for key in trail:
        value = value[key]
    return value


TRAILS = tuple(_walk(BASE))
FIELDS = sorted(
    {str(trail[-1]) for trail in TRAILS if trail and isinstance(trail[-1], str)}
    | {"freeze", "automation", "runbooks", "from", "to", "days", "zone", "reason", "unplanned", "off", "with"}
    | {"simulates_hosts", "shards", "as_name", "sni", "host", "method", "jitter", "workload", "options", "cname", "<<"}
)
TEXTS = st.sampled_from(
    (
        *(
            "",
            " ",
            "~",
            "A",
            "us",
            "-us",
            "a" * 300,
            "\x1b[31mred",
            "a\u2028b",
            "\x00",
            "\ufeff",
            "é.example",
            "🙂",
            "\n",
        ),
        *("1e3s", "-1s", "0", "0s", "1d", "1 m", "\u0661s", "²", "9" * 20 + "d", "0x10", "0o17", "017", "2026-01-01"),
        *(
            "http://",
            "http://[",
            "http://[::1]:99999",
            "https://u:p@h",
            "tcp://h",
            "tcp://h:0",
            "http://\u2100.com",
            "/ü",
        ),
        *(
            "aws",
            "aws/us-east-1/a/b",
            "..",
            ".",
            "a..b",
            "2xx",
            "600",
            "1.2.3.4:53",
            "[::1]",
            "[::1]:²",
            "fe80::1%eth0",
        ),
        *("chat", "tcp", "http", "http-as-name", "cname", "local", "example.com", "example.com:²", "yes", "off"),
    )
)
VALUES = (
    TEXTS
    | st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(TRAILS).map(lambda trail: copy.deepcopy(_at(BASE, trail)))
    | st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2))
)


def _mutate(data: st.DataObject, value: Any) -> Any:
    """*value* with one node deleted, doubled, renamed, replaced or added."""
    trail = data.draw(st.sampled_from(tuple(_walk(value))))
    new = data.draw(VALUES)
    if not trail:
        return new
    inside, key = _at(value, trail[:-1]), trail[-1]
    match data.draw(st.sampled_from(("delete", "double", "rename", "replace", "add"))):
        case "delete":
            del inside[key]
        case "double" if isinstance(inside, list):
            inside.append(copy.deepcopy(inside[int(key)]))
        case "rename" if isinstance(inside, dict):
            inside[data.draw(st.sampled_from(FIELDS))] = inside.pop(key)
        case "add" if isinstance(inside, dict):
            inside[data.draw(st.sampled_from(FIELDS) | TEXTS)] = new
        case _:
            inside[key] = new
    return value


def _told_well(error: Mistakes) -> None:
    assert error.mistakes
    for mistake in error.mistakes:
        assert mistake.line >= 1
        assert mistake.column >= 1
        assert str(mistake).isprintable(), "one line, and nothing that steers a terminal"
        assert len(str(mistake)) < 1000


def _hold(text: str) -> None:
    """*text* is taken, and all that is asked of a topology works; or each mistake has a place, on one short line."""
    try:
        topology = parse(text, "f.yaml")
    except Mistakes as error:
        _told_well(error)
        return
    findings(topology)
    assert digest(restore(dump(topology))) == digest(topology)
    for service in topology.services:
        for endpoint in service.endpoints:
            for probe in endpoint.probes:
                Wording(probe, endpoint.url, service.name)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_change_of_values_is_taken_or_told(data: st.DataObject) -> None:
    """Fields deleted, doubled, renamed or given odd values never end in anything but mistakes with places."""
    value = copy.deepcopy(BASE)
    for _ in range(data.draw(st.integers(1, 3))):
        value = _mutate(data, value)
    out = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = data.draw(st.sampled_from((None, False, True)))
    writer.allow_unicode = data.draw(st.booleans())
    writer.dump(value, out)
    _hold(out.getvalue())


PIECES = st.sampled_from(
    (
        *(
            "\t",
            "\x00",
            "\ufeff",
            "\r",
            "\r\n",
            "\x85",
            "\u2028",
            "---\n",
            "...\n",
            "&a ",
            "*a",
            "<<: *a\n",
            "? ",
            "- ",
        ),
        *("!!int ", "!!null ", "!!python/object:os.system ", "!foo ", "!!binary ", "!!set ", "!!float x", "!!bool x"),
        *("[", "]", "{", "}", ":", " : ", ",", "'", '"', "|\n", ">+9", "#", "@", "`", "%YAML 1.1\n", "%TAG ! x\n"),
        *('"\\ud800"', '"\\x00"', "\\", "9" * 30, "1:30:00", "0x", "-.inf", ".nan", "1__0", "[[[[" * 100, "\U0001f600"),
    )
)


@given(st.integers(0, len(EXAMPLE)), st.integers(0, 40), PIECES | st.just(""))
@settings(max_examples=150, deadline=None)
@example(EXAMPLE.index("kind: http"), 10, "kind: {a: b}")
@example(EXAMPLE.index("kind: http"), 10, "kind: [http]")
@example(EXAMPLE.index("kind: http"), 4, '"a\\nb\\x1b[31m"')
@example(EXAMPLE.index("role: active"), 4, "x" * 5000)
def test_any_change_of_text_is_taken_or_told(where: int, cut: int, piece: str) -> None:
    """Characters cut out and YAML's own signs put in anywhere never end in anything but mistakes with places."""
    _hold(EXAMPLE[:where] + piece + EXAMPLE[where + cut :])


def test_a_kind_that_is_a_mapping_is_told(told) -> None:
    """A probe's kind that is a list or a mapping is a mistake, not a fault of the program."""
    for given_kind in ("[http]", "{a: b}"):
        (sentence,) = told(("path: /health", f"kind: {given_kind}"))
        assert "must be one of http, tcp, chat" in sentence


def test_thousands_of_regions_are_read_at_once() -> None:
    """A file with tens of thousands of regions, each twice, is answered in seconds, and no sentence lists them all."""
    regions = ", ".join(f"aws/r{number % 10_000}" for number in range(20_000))
    text = EXAMPLE.replace("regions: [aws/us-east-1, aws/eu-west-1", f"regions: [{regions}")
    with pytest.raises(Mistakes) as caught:
        parse(text, "f.yaml")
    assert max(len(str(mistake)) for mistake in caught.value.mistakes) < 1000
