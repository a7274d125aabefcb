"""failover topology history and restore: which revision was good, and the way back to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.core.crashes import Crash, Memory
from orchestrator.core.names import EndpointId, ServiceId
from orchestrator.core.topology import Topology

WHY = ("--reason", "chat has lost its standby")


def smaller(topology: Topology) -> Topology:
    """The same without ap in every service."""
    return replace(
        topology,
        services=tuple(replace(each, endpoints=each.endpoints[1:]) for each in topology.services),
    )


@pytest.fixture
def worse(plane: Any, fake: Any) -> Any:
    """Revision 1 served well for an hour; then bob applied revision 2, and chat crashed under it."""
    plane._put(smaller(plane.current), "bob", "ap is not needed")
    began = fake.at(2 * 3600 + 600)
    crash = Crash(began, began + timedelta(minutes=5), "eu was down from 2 of 3 vantages", EndpointId("eu"))
    plane.revisions.memories = [Memory(ServiceId("chat"), (crash,)), Memory(ServiceId("embed"))]
    return plane


def test_the_history_says_who_why_and_which_was_good(worse: Any, failover: Any) -> None:
    """Newest first: when, by whom, why, and whether every service served well; as a table and as a document."""
    lines = failover("topology", "history").out.splitlines()
    assert "2 (in force)" in lines[1]
    assert "bob" in lines[1]
    assert "ap is not needed" in lines[1]
    assert "no: chat: eu was down from 2 of 3 vantages (at 2026-03-01 14:10:00Z)" in lines[1]
    assert "yes: it served well to its end, 1h in force" in lines[2]
    newest, first = failover("topology", "history", "--json").document
    assert (newest["revision"], newest["by"], newest["reason"], newest["good"]) == (2, "bob", "ap is not needed", False)
    assert (newest["in_force"], newest["until"], newest["kept"]) == (True, None, True)
    assert (first["good"], first["in_force"], first["since"]) == (True, False, "2026-03-01T13:00:00Z")


def test_restore_goes_back_to_the_newest_good_one(worse: Any, failover: Any) -> None:
    """It shows what changes, and puts the old document in force as a new revision, with who and why."""
    good = worse.revisions.texts[1]
    ended = failover("topology", "restore", *WHY, "--yes")
    assert ended.status == 0
    assert "+  services[chat].endpoints[ap]" in ended.out
    assert "What revision 1 said is in force as revision 3. Your file says what it said before" in ended.err
    assert (worse.revision, worse.current) == (3, good)
    newest = failover("topology", "history", "--json").document[0]
    assert (newest["by"], newest["reason"]) == ("ada", "back to revision 1: chat has lost its standby")


def test_a_person_is_asked_before_anything_changes(worse: Any, asked: Any) -> None:
    """The question names both revisions; a no changes nothing and ends with 130."""
    ended = asked("topology", "restore", typed="it crashed\nn\n")
    assert ended.status == 130
    assert "Put what revision 1 said in force again, as revision 3? [y/N]" in ended.err
    assert worse.revision == 2


def test_a_dry_run_says_what_it_would_do(worse: Any, failover: Any) -> None:
    """The document has the revision, the difference and why it is good; nothing is changed, and no reason is needed."""
    document = failover("topology", "restore", "--dry-run", "--json").document
    assert (document["restored"], document["applied"], document["revision"], document["good"]) == (1, False, 2, True)
    assert {change["kind"] for change in document["changes"]} == {"added"}
    assert document["warnings"] == []
    assert worse.revision == 2


def test_without_a_good_one_it_is_refused(plane: Any, failover: Any, fake: Any) -> None:
    """The refusal says why the others are not good and how to name one all the same; exit status 3."""
    plane._put(smaller(plane.current))
    crash = Crash(fake.at(2 * 3600 - 60), fake.at(3 * 3600), "eu was down", EndpointId("eu"))
    plane.revisions.memories = [Memory(ServiceId("chat"), (crash,))]
    ended = failover("topology", "restore", *WHY, "--yes")
    assert ended.status == 3
    assert "no revision but the one in force is known to be good (revision 1: chat: eu was down" in ended.err
    assert "name one with --revision N" in ended.err
    named = failover("topology", "restore", "--revision", "1", *WHY, "--yes")
    assert named.status == 0
    assert "warning: revision 1 is not known to be good: chat: eu was down" in named.err
    assert plane.revision == 3


def test_a_revision_that_is_not_there(worse: Any, failover: Any) -> None:
    """An unknown number ends with 4 and names those there are; a revision in force already changes nothing."""
    ended = failover("topology", "restore", "--revision", "9", *WHY, "--yes")
    assert ended.status == 4
    assert "there are: 2, 1" in ended.err
    same = failover("topology", "restore", "--revision", "2", *WHY, "--yes")
    assert same.status == 0
    assert "Nothing was changed: revision 2, which is in force, says the same." in same.err
    assert worse.revision == 2


def test_traffic_at_an_endpoint_that_would_go_is_told(plane: Any, failover: Any, fake: Any) -> None:
    """Going back to a revision without the endpoint that carries the traffic warns, and says how to move it before."""
    before = plane.current
    plane.current = smaller(before)
    plane.revisions.texts[1] = plane.current
    plane._put(before)
    plane.entities["chat"].active = EndpointId("ap")
    document = failover("topology", "restore", "--revision", "1", *WHY, "--yes", "--json").document
    (warning,) = document["warnings"]
    assert warning.startswith("100 % of the traffic of chat goes to ap, which would be gone: it stays there, unwatched")
    assert warning.endswith("failover run chat")


def test_a_restore_needs_a_reason_and_a_yes(worse: Any, failover: Any) -> None:
    """Where nobody can be asked, each is named with exit status 2, and nothing is changed."""
    assert "--reason TEXT" in failover("topology", "restore", "--yes").err
    ended = failover("topology", "restore", *WHY)
    assert ended.status == 2
    assert "add --yes" in ended.err
    assert worse.revision == 2


def test_who_came_first_stands(worse: Any, failover: Any, fake: Any) -> None:
    """Somebody applies between the look and the yes: the restore is refused with 3, and theirs stands."""
    really = worse.apply

    async def overtaken(topology: Any, *, expects: int, by: str, reason: str) -> Any:
        worse.apply = really
        await really(fake.make_topology("other"), expects=expects, by="eve")
        return await really(topology, expects=expects, by=by, reason=reason)

    worse.apply = overtaken
    ended = failover("topology", "restore", *WHY, "--yes")
    assert ended.status == 3
    assert worse.current == fake.make_topology("other")
