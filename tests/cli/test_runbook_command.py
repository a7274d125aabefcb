"""Runbooks as files, without a control plane: list, show, lint, test, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MINE = """\
apiVersion: failover/v1
kind: Runbook
metadata:
  name: mine
description: Ask the other endpoint, then move.
parameters:
  passes: {type: integer, default: 2, description: Good answers in a row.}
steps:
  - {id: verify, type: verify, passes: {param: passes}}
  - {id: steer, type: steer}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A sound runbook in a directory of its own."""
    path = tmp_path / "books" / "mine.yaml"
    path.parent.mkdir()
    path.write_text(MINE, encoding="utf-8")
    return path


def test_the_library_is_listed(process: Any) -> None:
    """Names, parameters and purposes; the document has types, defaults and descriptions as well."""
    ended = process("runbook", "list")
    assert ended.status == 0
    assert "replicas (required)" in next(line for line in ended.out.splitlines() if line.startswith("scale-ahead"))
    books = {each["name"]: each for each in process("runbook", "list", "--json").document}
    assert len(books) == 8
    demote = next(each for each in books["switchover"]["parameters"] if each["name"] == "demote")
    assert (demote["type"], demote["default"], bool(demote["description"])) == ("boolean", False, True)


def test_own_runbooks_come_first(failover: Any, topology_file: Path, mine: Path) -> None:
    """A topology's own runbooks are listed with the library, and one of the same name takes its place."""
    mine.with_name("switchover.yaml").write_text(MINE.replace("name: mine", "name: switchover"), encoding="utf-8")
    topology_file.write_text(topology_file.read_text() + "runbooks: books\n")
    books = {each["name"]: each for each in failover("runbook", "list", "-t", str(topology_file), "--json").document}
    assert books["mine"]["description"] == "Ask the other endpoint, then move."
    assert books["switchover"]["description"] == books["mine"]["description"]
    assert books["failback"]["file"].startswith("runbooks/library/")


def test_a_runbook_is_shown_as_it_was_written(failover: Any, tmp_path: Path) -> None:
    """What is shown can be saved, changed and checked: comments and all."""
    ended = failover("runbook", "show", "switchover")
    assert ended.out.startswith("# The planned move")
    copy = tmp_path / "copy.yaml"
    copy.write_text(ended.out)
    assert failover("runbook", "lint", str(copy)).status == 0
    document = failover("runbook", "show", "switchover", "--json").document
    assert document["text"] == ended.out
    assert [step["id"] for step in document["steps"]][:2] == ["promote", "verify"]


def test_an_unknown_runbook_is_answered_with_the_nearest(failover: Any) -> None:
    """One sentence and exit status 2."""
    ended = failover("runbook", "show", "switchovr")
    assert ended.status == 2
    assert "did you mean 'switchover'?" in ended.err


def test_sound_files_are_called_valid(failover: Any, mine: Path) -> None:
    """A line for each file, and a document that says so."""
    assert failover("runbook", "lint", str(mine)).err.strip() == f"{mine} is valid."
    document = failover("runbook", "lint", str(mine), "--json").document
    assert document == {"files": [str(mine)], "valid": True, "mistakes": []}


def test_every_mistake_of_every_file_is_told_at_once(failover: Any, mine: Path) -> None:
    """Mistakes in a file, runbooks that it names and names that are taken: file, line, column, cure; exit status 2."""
    mine.write_text(MINE.replace("type: verify", "type: verifi"), encoding="utf-8")
    other = mine.with_name("other.yaml")
    other.write_text(
        MINE.replace("name: mine", "name: other").replace("passes: {param: passes}", "passes: {param: passes}")
        + "  - {id: after, type: runbook, runbook: scale-ahed}\n"
        + "  - {id: more, type: runbook, runbook: scale-ahead, with: {replica: 3}}\n",
        encoding="utf-8",
    )
    circle = mine.with_name("circle.yaml")
    circle.write_text(
        MINE.replace("name: mine", "name: circle") + "  - {id: self, type: runbook, runbook: circle}\n",
        encoding="utf-8",
    )
    twin = mine.with_name("twin.yaml")
    twin.write_text(other.read_text().split("  - {id: after")[0], encoding="utf-8")
    ended = failover("runbook", "lint", str(mine), str(other), str(twin), str(circle))
    assert ended.status == 2
    assert "6 mistakes to mend" in ended.err
    said = ended.out.splitlines()
    for at, words in (
        (f"{mine}:9:24: steps[verify].type", "did you mean 'verify'?"),
        (f"{other}:11:41: steps[after].runbook", "did you mean 'scale-ahead'?"),
        (f"{other}:12:60: steps[more].with.replica", "did you mean 'replicas'?"),
        (f"{other}:12:40: steps[more].runbook", "needs 'replicas'"),
        (f"{circle}:11:40: steps[self].runbook", "contains itself, by circle -> circle; break the circle"),
        (f"{twin}:4:9: metadata.name", "rename one"),
    ):
        assert any(line.startswith(f"error: {at}") and words in line for line in said), (at, said)
    document = failover("runbook", "lint", str(mine), "--json").document
    assert (document["valid"], document["mistakes"][0]["line"]) == (False, 9)


def test_a_file_may_name_the_runbooks_beside_it(failover: Any, mine: Path) -> None:
    """A directory of runbooks is a whole: nobody has to list its files."""
    outer = mine.with_name("outer.yaml")
    outer.write_text(
        MINE.replace("name: mine", "name: outer").replace(
            "- {id: steer, type: steer}", "- {id: inner, type: runbook, runbook: mine, with: {passes: 5}}"
        ),
        encoding="utf-8",
    )
    assert failover("runbook", "lint", str(outer)).status == 0


def test_a_file_that_is_none(process: Any, tmp_path: Path) -> None:
    """A missing file and a directory are one sentence each."""
    for path in (tmp_path / "missing.yaml", tmp_path):
        ended = process("runbook", "lint", str(path))
        assert ended.status == 2
        assert str(path) in ended.out


def test_a_runbook_is_tried_without_a_control_plane(process: Any, topology_file: Path, mine: Path) -> None:
    """Both plans are printed, with the values given; nothing is asked of anybody."""
    words = ("runbook", "test", str(mine), "--service", "chat", "--topology", str(topology_file))
    ended = process(*words, "--set", "passes=4")
    assert ended.status == 0
    assert "switchover of chat from eu to us" in ended.out
    assert "failover of chat from eu to us" in ended.out
    assert ended.out.count("4 good answers in a row") == 2
    document = process(*words, "--json").document
    assert [each["kind"] for each in document["tried"]] == ["switchover", "failover"]
    assert [step["id"] for step in document["tried"][1]["plan"]["steps"]] == ["verify", "steer"]


def test_a_preparation_is_tried_as_one(failover: Any, topology_file: Path) -> None:
    """A runbook that steers nothing has one plan, in which no traffic moves."""
    ended = failover("runbook", "test", "promote-standby", "-s", "chat", "-t", str(topology_file), "--to", "us")
    assert ended.status == 0
    assert "preparation of chat at us; no traffic moves" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scale-ahead", "-s", "chat"), "needs a value for its parameter 'replicas'"),
        (("switchover", "-s", "chat", "--set", "pases=1"), "did you mean 'passes'?"),
        (("switchover", "-s", "chat", "--set", "passes"), "write --set name=value"),
        (("switchover", "-s", "chat", "--set", "passes=1", "--set", "passes=2"), "set twice"),
        (("switchover", "-s", "chat", "--set", "passes=0"), "0 is too small; write 1 or more"),
        (("switchover", "-s", "chta"), "no service 'chta'"),
        (("switchover", "-s", "chat", "--to", "mars"), "no endpoint 'mars'"),
        (("missing.yaml", "-s", "chat"), "there is no such file"),
        (("swichover", "-s", "chat"), "did you mean 'switchover'?"),
    ],
)
def test_what_cannot_be_planned_says_why(failover: Any, topology_file: Path, words: tuple[str, ...], said: str) -> None:
    """One sentence and exit status 2."""
    ended = failover("runbook", "test", *words, "-t", str(topology_file))
    assert ended.status == 2
    assert said in ended.err
    assert ended.out == ""


def test_each_kind_of_move_is_tried_by_itself(failover: Any, topology_file: Path) -> None:
    """What can be planned is shown, what cannot is said why, beside its kind in the document; exit status 2."""
    words = ("runbook", "test", "canary-shift", "-s", "chat", "-t", str(topology_file))
    ended = failover(*words)
    assert ended.status == 2
    assert ended.out.startswith("failover of chat from eu to us")
    assert "step 'shift' cannot move by stages" in ended.err
    ended = failover(*words, "--json")
    assert ended.status == 2
    planned, unplanned = ended.document["tried"]
    assert (planned["plan"], "cannot move by stages" in planned["why"]) == (None, True)
    assert [step["id"] for step in unplanned["plan"]["steps"]] == ["verify", "shift-at-once", "converge"]


def test_the_schema_is_a_json_schema(process: Any) -> None:
    """Editors get a JSON Schema on standard output and nothing else."""
    document = process("runbook", "schema").document
    assert document["$schema"].startswith("https://json-schema.org/")
    assert "ParallelStep" in document["$defs"]
