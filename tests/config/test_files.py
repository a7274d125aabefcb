"""Files that are no YAML at all, and YAML that tries to do harm."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from orchestrator.config import Mistakes, load, parse
from orchestrator.config.document import compose
from orchestrator.core.errors import BadInput


def _said(path: Path) -> str:
    with pytest.raises(Mistakes) as caught:
        load(path)
    return str(caught.value).replace(str(path), "FILE")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path where nothing is gets one sentence."""
    assert _said(tmp_path / "none.yaml") == (
        "FILE: there is no such file; check the path, or write one with 'failover init'"
    )


def test_a_directory_is_named(tmp_path: Path) -> None:
    """A directory in place of a file gets one sentence."""
    assert _said(tmp_path) == "FILE: is a directory; name the YAML file in it"


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    """A file with nothing in it, or only comments, gets one sentence."""
    path = tmp_path / "empty.yaml"
    for text in ("", "\n\n", "# nothing yet\n"):
        path.write_text(text, encoding="utf-8")
        assert _said(path) == "FILE:1:1: the file is empty; write one with 'failover init'"


def test_bytes_that_are_no_text_are_named_with_their_place(tmp_path: Path) -> None:
    """A file in another encoding is answered with the place of the first wrong byte."""
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"apiVersion: failover/v1\nkind: \xe9t\xe9\n")
    assert _said(path) == "FILE:2:7: byte 0xe9 is not UTF-8 text; save the file as UTF-8"


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path, base: str) -> None:
    """A file saved by an editor that puts a byte order mark first is read."""
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + base.encode())
    assert load(path) == parse(base, "x")


def test_a_list_at_the_top_is_named() -> None:
    """A file that is a list, or plain text, is told what belongs there."""
    for text, shown in (("- a\n", "a list"), ("hello\n", "'hello'"), ("42\n", "42")):
        with pytest.raises(Mistakes) as caught:
            parse(text, "f.yaml")
        sentence = f"f.yaml:1:1: must be a mapping of fields, not {shown}; write 'name: value' lines under it"
        assert str(caught.value) == sentence


def test_anchors_that_multiply_are_stopped() -> None:
    """A small file whose anchors expand to millions of values is refused quickly, in one sentence."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    names = "abcdefgh"
    lines += [f"{new}: &{new} [{', '.join(['*' + old] * 10)}]" for old, new in itertools.pairwise(names)]
    with pytest.raises(Mistakes, match="anchors expand to more than 100,000 values here; write them out, or use fewer"):
        parse("\n".join(lines), "f.yaml")


def test_anchors_that_multiply_by_merging_are_stopped() -> None:
    """The same through merge keys."""
    lines = ["a: &a {x: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}"]
    names = "abcdefgh"
    for old, new in itertools.pairwise(names):
        copies = ", ".join(f"k{number}: {{<<: *{old}}}" for number in range(10))
        lines.append(f"{new}: &{new} {{{copies}}}")
    with pytest.raises(Mistakes, match="anchors expand"):
        parse("\n".join(lines), "f.yaml")


def test_an_anchor_in_itself_is_stopped() -> None:
    """A value that contains itself is refused."""
    for text in ("a: &a [*a]", "a: &a {b: *a}", "a: &a {<<: *a}"):
        with pytest.raises(Mistakes, match="an anchor contains itself; remove the alias"):
            parse(text, "f.yaml")


def test_nesting_without_end_is_stopped() -> None:
    """A file of thousands of brackets is refused in one sentence."""
    with pytest.raises(Mistakes, match="nested too deeply"):
        parse("[" * 1_200, "f.yaml")


def test_tags_build_nothing() -> None:
    """A tag that would build an object is a mistake, and nothing is built."""
    document = compose("a: !!python/object/apply:os.system ['true']\n", "f.yaml")
    assert document.data == {"a": ["true"]}
    assert len(document.slips) == 1


def test_words_of_old_yaml_are_text() -> None:
    """``yes``, ``off`` and ``1:30`` are text, as YAML 1.2 has it."""
    assert compose("a: [yes, off, 1:30, true, 0x10, 1_000, 2001-01-01, ~]", "f").data == {
        "a": ["yes", "off", "1:30", True, 16, 1000, "2001-01-01", None]
    }


def test_anchors_and_merge_keys_share_settings(base: str) -> None:
    """Fields taken over by ``<<`` count as written there; the mapping's own win."""
    text = base.replace("      - id: eu\n", "      - <<: &own {capacity: 7}\n        id: eu\n")
    text = text.replace("        role: active\n", "        role: active\n        <<: {capacity: 9}\n")
    us, eu = reversed(parse(text, "x").services[0].endpoints)
    assert (us.capacity, eu.capacity) == (9, 7)


def test_a_merged_mistake_is_placed_where_it_stands() -> None:
    """A mistake in a merged mapping points at the anchor's own line."""
    document = compose("base: &b\n  x: 1\nuse:\n  <<: *b\n", "f.yaml")
    assert str(document.mistake(("use", "x"), "wrong; mend it")) == "f.yaml:2:6: use.x: wrong; mend it"


def test_mistakes_are_bad_input(base: str) -> None:
    """Callers that know only BadInput catch mistakes too, with one line per mistake."""
    with pytest.raises(BadInput) as caught:
        parse(base.replace("observe", "x").replace("/health", "h"), "f.yaml")
    assert len(str(caught.value).splitlines()) == 2
