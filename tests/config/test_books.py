"""Own runbooks beside the topology file, roles, and the values that a service gives to its runbooks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.config import Change, Mistakes, difference, dump, load, restore
from orchestrator.core.topology import Topology
from runbooks.books import LIBRARY, Shelf
from runbooks.parse import read

SHIFT = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: slow-shift}
parameters:
  hold: {type: duration, default: 1m, description: how long each stage is held}
  stages: {type: percents, default: [10, 100]}
steps:
  - {id: steer, type: steer, when: planned, stages: {param: stages}, hold: {param: hold}}
"""
World = Callable[..., Path]


@pytest.fixture
def world(tmp_path: Path, base: str) -> World:
    """A topology file with ``runbooks: books``, changed by *old* and *new*, and the files in that directory."""

    def make(*changes: tuple[str, str], **books: str) -> Path:
        text = base.replace("regions:", "runbooks: books\nregions:", 1)
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / "books").mkdir(exist_ok=True)
        for name, content in books.items():
            (tmp_path / "books" / f"{name}.yaml").write_text(content, encoding="utf-8")
        path = tmp_path / "failover.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def _said(path: Path) -> list[str]:
    with pytest.raises(Mistakes) as caught:
        load(path)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def _uses(value: str) -> tuple[str, str]:
    return ("mode: observe", f"mode: observe\n      runbooks: {value}")


def _policy(topology: Topology) -> object:
    return topology.services[0].policy.book_values


def test_own_runbooks_travel_with_the_topology(world: World) -> None:
    """A runbook beside the file is carried as text, survives the store, and a service may name it."""
    topology = load(world(_uses("{planned: slow-shift}"), shift=SHIFT))
    assert topology.books == (("shift.yaml", SHIFT),)
    assert restore(dump(topology)) == topology
    shelf = Shelf(read(text, file) for file, text in topology.books)
    assert shelf.book(topology.services[0].policy.runbook_planned).name == "slow-shift"


def test_an_own_runbook_comes_before_the_library(world: World) -> None:
    """One of the same name stands in for the library's."""
    topology = load(world(shift=SHIFT.replace("slow-shift", "switchover")))
    shelf = Shelf(read(text, file) for file, text in topology.books)
    assert shelf.template("switchover").text == SHIFT.replace("slow-shift", "switchover")
    assert "switchover" in LIBRARY


def test_values_of_a_runbook_are_kept_as_text(world: World) -> None:
    """A service chooses values for its runbook's parameters, written as YAML or as a person types them."""
    given = _uses("{planned: {name: slow-shift, with: {hold: 30s, stages: [5, 50, 100]}}}")
    topology = load(world(given, shift=SHIFT))
    assert _policy(topology) == (("slow-shift", (("hold", "30s"), ("stages", "5,50,100"))),)
    assert topology.services[0].policy.runbook_planned == "slow-shift"
    assert _policy(load(world(_uses("{planned: {name: slow-shift}}"), shift=SHIFT))) == ()


def test_a_mistake_in_a_runbook_has_its_own_place(world: World) -> None:
    """What is wrong in an own runbook is told with that file, its line and its column, beside the topology's own."""
    bad = SHIFT.replace("type: steer, when: planned", "type: stear, when: planned")
    assert _said(world(("role: active", "role: acting"), shift=bad)) == [
        (
            "failover.yaml:18:15: services[chat].endpoints[us].role: must be one of active, standby, not 'acting'; "
            "correct it (did you mean 'active'?)"
        ),
        "books/shift.yaml:8:23: steps[steer].type: no step is of type 'stear' (did you mean 'steer'?)",
    ]


USES = [
    ("{planned: slow-shit}", "no runbook is called 'slow-shit'; correct it (did you mean 'slow-shift'?)"),
    (
        "{planned: {name: slow-shift, with: {hld: 30s}}}",
        "runbook 'slow-shift' has no such parameter; correct it (did you mean 'hold'?)",
    ),
    ("{planned: {name: slow-shift, with: {hold: soon}}}", "'soon' is not a duration; write one such as 30s, 1m30s"),
    ("{planned: {name: slow-shift, with: {stages: [50, 5]}}}", "'50,5' is no list of rising percents"),
    (
        "{planned: {name: slow-shift, with: {hold: 30s}}, back: {name: slow-shift, with: {hold: 1m}}}",
        "runbook 'slow-shift' gets other values above; give it the same ones wherever it is used",
    ),
    ("{planned: [slow-shift]}", "must be the name of a runbook, or {name: NAME, with: VALUES}, not a list; name one"),
    ("{planned: {with: {hold: 30s}}}", "is missing; add it (the name of a runbook"),
    ("{planned: {name: slow-shift, with: {hold: {a: 1}}}}", "must be text, a number, true or false, not a mapping"),
]


@pytest.mark.parametrize(("uses", "told"), USES, ids=[told[:30] for _, told in USES])
def test_a_service_cannot_misuse_a_runbook(world: World, uses: str, told: str) -> None:
    """A runbook that is not there, or values that it does not take, are told where they stand."""
    (sentence,) = _said(world(_uses(uses), shift=SHIFT))
    assert sentence.startswith("failover.yaml:31:")
    assert told in sentence


def test_a_value_that_has_no_default_must_be_given(world: World) -> None:
    """Automation cannot be asked for a value in the middle of an outage."""
    (sentence,) = _said(world(_uses("{unplanned: slow-shift}"), shift=SHIFT.replace("default: 1m, ", "")))
    assert "runbook 'slow-shift' needs 'hold' (how long each stage is held); give it under with" in sentence


OUTER = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: outer}
steps:
  - {id: shift, type: runbook, runbook: slow-shift, with: {hold: 30s}}
"""


def test_nested_runbooks_are_looked_up(world: World) -> None:
    """A runbook that an own runbook calls must be there, take those values, and not call its caller."""
    assert load(world(outer=OUTER, shift=SHIFT)).books[0][0] == "outer.yaml"
    (missing,) = _said(world(outer=OUTER.replace("slow-shift", "fast-shift"), shift=SHIFT))
    assert missing.startswith("books/outer.yaml:5:41: steps[shift].runbook: no runbook is called 'fast-shift'")
    (unknown,) = _said(world(outer=OUTER.replace("hold: 30s", "held: 30s"), shift=SHIFT))
    assert unknown.startswith("books/outer.yaml:5:")
    assert "has no such parameter; correct it (did you mean 'hold'?)" in unknown
    (circle,) = _said(world(outer=OUTER.replace("slow-shift, with: {hold: 30s}", "outer"), shift=SHIFT))
    assert "contains itself" in circle


def test_what_nesting_brings_together_must_make_sense(world: World) -> None:
    """A steer beside the one of a nested runbook is told where the file is read, not when traffic has to move."""
    twice = f"{OUTER}  - {{id: again, type: steer, when: planned}}\n"
    (told,) = _said(world(outer=twice, shift=SHIFT))
    place = f"books/outer.yaml:{twice.count(chr(10))}:5: steps[again]"
    assert told.startswith(f"{place}: a second steer in planned moves, 'again' after 'shift.steer'")
    early = OUTER.replace("steps:\n", "steps:\n  - {id: drain, type: drain, when: planned}\n", 1)
    (told,) = _said(world(outer=early, shift=SHIFT))
    assert told.endswith("'drain' stands before 'shift.steer', when traffic has not moved; put it after")


def test_two_runbooks_of_one_name_are_told(world: World) -> None:
    """Nobody has to guess which of two files is meant."""
    assert _said(world(one=SHIFT, two=SHIFT)) == [
        "books/two.yaml:3:18: metadata.name: 'slow-shift' is the name of the runbook in one.yaml too; rename one"
    ]


def test_a_directory_that_cannot_be_used_is_told(world: World, tmp_path: Path) -> None:
    """A directory that is missing or too big, and a file that would be passed over, are each one sentence."""
    gone = world(("runbooks: books", "runbooks: gone"))
    (sentence,) = _said(gone)
    assert sentence.startswith("failover.yaml:3:11: runbooks: the runbooks cannot be read from ")
    assert sentence.endswith("(is no directory); name a directory beside this file")
    (sentence,) = _said(world(big="# " + "x" * 200_000))
    assert "are larger than 200 kB together; remove what is not used" in sentence
    (tmp_path / "books" / "big.yaml").unlink()
    (tmp_path / "books" / "shift.yml").write_text(SHIFT)
    assert _said(world()) == ["books/shift.yml: would not be read; name it shift.yaml"]


def test_what_is_no_runbook_is_left_alone(world: World, tmp_path: Path) -> None:
    """A README, hidden files and directories beside the runbooks do no harm."""
    path = world(shift=SHIFT)
    (tmp_path / "books" / "README.md").write_text("ours")
    (tmp_path / "books" / ".draft.yaml").write_text("{")
    (tmp_path / "books" / "old").mkdir()
    assert [name for name, _ in load(path).books] == ["shift.yaml"]


def test_a_changed_runbook_is_one_line_in_the_difference(world: World) -> None:
    """apply does not print a whole runbook."""
    before, after = load(world(shift=SHIFT)), load(world(shift=SHIFT.replace("1m", "2m")))
    (change,) = difference(before, after)
    assert isinstance(change, Change)
    assert (change.kind, change.path) == ("changed", "runbooks[shift.yaml]")
    assert change.after is not None
    assert change.after.startswith("8 lines, sha256 ")


# ------------------------------------------------------------------ roles


def _roles(given: str) -> tuple[str, str]:
    return ("runbooks: books", f"roles: {given}")


def test_roles_name_people(world: World) -> None:
    """Roles and who is in them, sorted, survive the store."""
    topology = load(world(_roles("{sre: [bob, alice@example.com], lead: [carol]}")))
    assert topology.roles == (("lead", ("carol",)), ("sre", ("alice@example.com", "bob")))
    assert restore(dump(topology)) == topology
    assert difference(load(world(_roles("{sre: [bob, alice@example.com]}"))), topology) == (
        Change("added", "roles[lead]", None, "carol"),
    )


ROLES = [
    ("{sre: []}", "failover.yaml:3:14: roles.sre: is empty; write at least one item"),
    (
        "{sre: bob}",
        "failover.yaml:3:14: roles.sre: must be a list, not 'bob'; begin each item with '- ' or write [a, b]",
    ),
    ("{sre: [bob, bob]}", "failover.yaml:3:20: roles.sre[1]: 'bob' stands here twice; remove one"),
    (
        "{Sre: [bob]}",
        (
            "failover.yaml:3:9: roles.Sre: 'Sre' cannot be an id; use 1 to 63 small letters, digits and hyphens, "
            "beginning with no hyphen"
        ),
    ),
    (
        "{sre: [' bob']}",
        (
            "failover.yaml:3:15: roles.sre[0]: ' bob' cannot name a person; write one line of at most 100 characters, "
            "like alice@example.com"
        ),
    ),
]


@pytest.mark.parametrize(("given", "told"), ROLES, ids=[given for given, _ in ROLES])
def test_a_role_that_cannot_be_is_told(world: World, given: str, told: str) -> None:
    """Roles without people, people twice and names that cannot be are told with their place."""
    assert _said(world(_roles(given))) == [told]


ASKING = """\
apiVersion: failover/v1
kind: Runbook
metadata: {name: asking}
parameters:
  who: {type: text, default: sre, description: who is asked}
steps:
  - {id: yes, type: approve, role: lead, people: 2, escalate: [boss]}
  - {id: steer, type: steer}
"""


def test_a_runbook_asks_people_who_are_there(world: World) -> None:
    """A role that an own runbook asks exists and has people enough; that is told before anybody waits for them."""
    asking = ASKING.replace("parameters:\n  who: {type: text, default: sre, description: who is asked}\n", "")
    roles = ("runbooks: books", "runbooks: books\nroles: {lead: [carol], sre: [alice, bob]}")
    few, nobody = _said(world(roles, asking=asking))
    assert few == (
        "books/asking.yaml:5:36: steps[yes].role: role 'lead' has 1 of the 2 people that must say yes; add people to it"
    )
    assert nobody == (
        "books/asking.yaml:5:64: steps[yes].escalate[0]: no role is called 'boss'; name its people under roles of the "
        "topology (there are: lead, sre)"
    )
    assert load(world(roles, asking=asking.replace("lead", "sre").replace("boss", "lead").replace("2", "1"))).books


def test_a_role_that_a_service_chooses_is_there(world: World) -> None:
    """Where the role is a value that the service gives, it is told at the service."""
    asking = ASKING.replace("role: lead, people: 2, escalate: [boss]", "role: {param: who}")
    roles = ("runbooks: books", "runbooks: books\nroles: {sre: [alice, bob]}")
    assert load(world(roles, _uses("{planned: asking}"), asking=asking)).books
    (sentence,) = _said(world(roles, _uses("{planned: {name: asking, with: {who: src}}}"), asking=asking))
    assert sentence == (
        "failover.yaml:32:34: services[chat].policy.runbooks.planned.name: step 'yes' of runbook 'asking': no role is "
        "called 'src'; name its people under roles of the topology (did you mean 'sre'?)"
    )


def test_anchors_do_not_hide_how_large_a_runbook_is(world: World) -> None:
    """A small file whose anchors expand to more than may travel is refused, too."""
    big = SHIFT.replace("name: slow-shift}", "name: slow-shift}\ndescription: short")
    lines = "".join(f"  - {{id: s{number}, type: notify, text: *long}}\n" for number in range(2000))
    text = big + f"  - {{id: first, type: notify, text: &long {'x' * 150}}}\n" + lines
    assert len(text) < 200_000
    (sentence,) = _said(world(big=text))
    assert "are larger than 200 kB together; remove what is not used" in sentence
