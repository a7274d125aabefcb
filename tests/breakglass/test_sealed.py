"""A sealed plan: whole, signed, and of no use once it was altered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.names import RunId
from orchestrator.runtime.breakglass.ahead import as_run
from orchestrator.runtime.breakglass.sealed import key_of, load, written
from real.glass import a_plan, a_sealed
from runbooks.plan import Steer

KEY = b"sixteen characters and more"


def put(folder: Path, document: object) -> Path:
    path = folder / "chat.plan.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


def test_a_sealed_plan_reads_back_as_it_was(tmp_path: Path) -> None:
    """The file needs nothing else: plan and service are the same values again."""
    sealed = a_sealed()
    assert load(put(tmp_path, written(sealed, KEY)), KEY) == sealed


@pytest.mark.parametrize("way", ["generation", "address", "person", "extra"])
def test_an_altered_plan_is_refused(tmp_path: Path, way: str) -> None:
    """Whatever is changed in the body after signing, the plan is not taken, with or without --unverified."""
    document = json.loads(written(a_sealed(), KEY))
    body = document["body"]
    match way:
        case "generation":
            body["plan"]["generation"] += 1
        case "address":
            body["plan"]["steps"][-1]["text"] = "nothing to see"
        case "person":
            body["by"] = "mallory"
        case "extra":
            body["more"] = 1
    path = put(tmp_path, document)
    for unverified in (False, True):
        with pytest.raises(BadInput, match=r"altered after it was signed"):
            load(path, KEY, unverified=unverified)


def test_layout_of_the_file_is_not_signed(tmp_path: Path) -> None:
    """An editor that only re-indents the file breaks nothing."""
    document = json.loads(written(a_sealed(), KEY))
    assert load(put(tmp_path, json.dumps(document, indent=7, sort_keys=True)), KEY) == a_sealed()


def test_without_the_key_a_person_must_say_so(tmp_path: Path) -> None:
    """A plan that is not signed, or whose key is elsewhere, is taken only by name; another key is told apart."""
    unsigned, signed = written(a_sealed(), None), written(a_sealed(), KEY)
    for text, key in ((unsigned, KEY), (unsigned, None), (signed, None)):
        path = put(tmp_path, text)
        with pytest.raises(BadInput, match=r"--unverified"):
            load(path, key)
        assert load(path, key, unverified=True) == a_sealed()
    with pytest.raises(BadInput, match=r"signed with another key"):
        load(put(tmp_path, signed), b"some other key of length")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"kind": "SealedPlan"}', "\x00", '{"kind": NaN}', "[" * 100_000, "kind: Topology"]
)
def test_what_is_no_plan_is_one_sentence(tmp_path: Path, text: str) -> None:
    """Any other file is refused with its name and the cure."""
    with pytest.raises(BadInput, match=r"chat\.plan\.json.*make"):
        load(put(tmp_path, text), KEY)


def test_a_plan_of_another_shape_names_the_place(tmp_path: Path) -> None:
    """A plan of another version is refused, and says where it is not understood."""
    document = json.loads(written(a_sealed(), None))
    del document["body"]["plan"]["target"]
    with pytest.raises(BadInput, match=r"plan\.target"):
        load(put(tmp_path, document), None, unverified=True)


def test_keys_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is too short or cannot be read is told without being shown."""
    monkeypatch.delenv("FAILOVER_PLAN_KEY", raising=False)
    assert key_of(None) is None
    monkeypatch.setenv("FAILOVER_PLAN_KEY", "sixteen characters and more\n")
    assert key_of(None) == KEY
    (tmp_path / "key").write_text("tooshort", encoding="utf-8")
    with pytest.raises(BadInput, match=r"has 8 characters") as short:
        key_of(tmp_path / "key")
    assert "tooshort" not in str(short.value)
    with pytest.raises(BadInput, match=r"No such file"):
        key_of(tmp_path / "none")


def test_a_staged_plan_under_a_new_id_expects_its_own_stages() -> None:
    """A plan that was previewed under another id names the run that carries it out, in every later stage too."""
    made = a_plan("canary-shift", run="chat-1", provider="local")
    assert len([step for step in made.steps if isinstance(step.work, Steer)]) > 1
    assert as_run(a_plan("canary-shift", run="preview", provider="local"), RunId("chat-1")) == made
