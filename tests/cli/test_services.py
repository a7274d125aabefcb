"""Looking at services, and standing orders."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.core.move import Objection
from orchestrator.core.names import Domain, EndpointId
from orchestrator.core.quorum import Verdict
from orchestrator.core.targets import Load
from orchestrator.core.topology import Mode
from workflows.wire import EndpointBrief


def test_what_is_wrong_comes_first(failover: Any, plane: Any) -> None:
    """The service with an outage stands above the one that is well, and the headline counts it."""
    plane.entities["embed"].verdicts["eu"] = Verdict.DOWN
    ended = failover("status")
    assert ended.status == 0
    assert "1 of 2 services need a look" in ended.out
    assert ended.out.index("embed") < ended.out.index("chat")
    assert "down from 3 of 3 vantages" in ended.out
    assert "100 %" in ended.out


def test_all_well_is_said(failover: Any) -> None:
    """When nothing is wrong, the first line says so."""
    assert failover("status").out.startswith("All 2 services are well")


def test_a_record_that_cannot_be_read_is_not_well(failover: Any, plane: Any) -> None:
    """Every endpoint is healthy and nobody could move traffic: the headline does not say that all is well."""
    plane.entities["chat"].hold = (Objection("routing-unknown", "the primary 127.0.0.1:53 does not answer"),)
    ended = failover("status")
    assert ended.out.startswith("1 of 2 services need a look")
    assert "routing-unknown" in ended.out


def test_a_narrow_terminal_shows_everything_below_each_other(failover: Any, plane: Any) -> None:
    """At the width of a phone's terminal no column is squeezed away: one line per endpoint, and what is seen below."""
    plane.entities["embed"].verdicts["eu"] = Verdict.DOWN
    failover.env["COLUMNS"] = "40"
    lines = failover("status").out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 40
    at = next(n for n, line in enumerate(lines) if line.split()[:3] == ["eu", "down", "100"])
    assert lines[at + 1].strip() == "down from 3 of 3 vantages"
    assert lines.index(next(line for line in lines if line.startswith("embed"))) == at - 1


def test_status_is_one_document(failover: Any) -> None:
    """'status --json' prints every service with its as-of, in UTC."""
    document = failover("status", "--json").document
    assert [service["service"] for service in document["services"]] == ["chat", "embed"]
    assert document["as_of"].endswith("Z")
    assert document["services"][0]["routing"]["fence"]["generation"] == 41
    assert len(failover("status", "chat", "--json").document["services"]) == 1


def test_the_load_stands_beside_what_is_seen(failover: Any, plane: Any) -> None:
    """What the active endpoint has in flight, and how long ago that was seen; an idle standby's zero is left out."""
    (chat,) = failover("status", "chat", "--json").document["services"]
    assert chat["load"] is None
    at = datetime.now(UTC) - timedelta(seconds=40)
    plane.entities["chat"].more = {
        "endpoints": (
            EndpointBrief(EndpointId("eu"), Domain("alpha/paris"), "active", "http://eu", 100, 37, at),
            EndpointBrief(EndpointId("us"), Domain("beta/ohio"), "standby", "http://us", 0, 0, at),
        ),
        "load": Load(37, at, (EndpointId("eu"),), whole=True),
    }
    failover.env["COLUMNS"] = "200"
    shown = failover("status", "chat").out
    assert re.search(r"healthy from 3 of 3 vantages; 37 requests in flight, 4\d s ago", shown)
    assert shown.count("in flight") == 1
    (chat,) = failover("status", "chat", "--json").document["services"]
    assert (chat["load"]["in_flight"], chat["endpoints"][0]["in_flight"]) == (37, 37)


def test_nothing_is_watched_yet(fake: Any, failover: Any) -> None:
    """Before the first apply, status says what to do and ends with 0."""
    failover.plane = fake.FakeControlPlane()
    ended = failover("status")
    assert ended.status == 0
    assert "failover apply" in ended.err


def test_the_control_plane_is_away(failover: Any, plane: Any) -> None:
    """Reading commands end with 5 and one sentence when the control plane is away."""
    plane.away = True
    for words in (
        ("status",),
        ("status", "--json"),
        ("history",),
        ("show", "r1"),
        ("explain", "chat"),
        ("drill", "list"),
    ):
        ended = failover(*words)
        assert ended.status == 5, words
        assert ended.out == ""
        assert len(ended.err.strip().splitlines()) == 1
        assert "Temporal does not answer" in ended.err


def test_pause_and_resume(failover: Any, plane: Any) -> None:
    """A pause is kept with name and reason, shown by status, and lifted by resume."""
    assert failover("pause", "chat", "--reason", "maintenance").status == 0
    assert plane.entities["chat"].paused == "ada: maintenance"
    assert "paused: ada: maintenance" in failover("status").out
    assert failover("resume", "chat", "--reason", "done").status == 0
    assert plane.entities["chat"].paused is None
    assert failover("pause", "chat").status == 2


def test_automation_is_switched_on_by_a_person(failover: Any, asked: Any, plane: Any) -> None:
    """Mode automatic asks for a yes; other modes do not."""
    assert failover("mode", "chat", "automatic", "--reason", "x").status == 2
    assert asked("mode", "chat", "automatic", "--reason", "x", typed="no\n").status == 130
    assert plane.entities["chat"].mode is Mode.OBSERVE
    assert asked("mode", "chat", "automatic", "--reason", "x", typed="yes\n").status == 0
    assert plane.entities["chat"].mode is Mode.AUTOMATIC
    assert failover("mode", "chat", "manual", "--reason", "x").status == 0
    assert failover("mode", "chat", "magic", "--reason", "x").status == 2


def test_adopt_says_that_the_answer_stays(failover: Any) -> None:
    """'adopt' takes the record under the fence and shows the answer that still stands."""
    ended = failover("adopt", "chat")
    assert ended.status == 0
    assert "generation 42; the answer is still 10.0.0.1" in ended.err
    assert failover("adopt", "chat", "--json").document["answer"]["values"] == ["10.0.0.1"]


def test_global_options_reach_the_connection(failover: Any, plane: Any) -> None:
    """--address and --namespace win over Temporal's environment configuration."""
    failover("--address", "temporal:7233", "--namespace", "prod", "status")
    assert plane.addressed == [("temporal:7233", "prod")]


def test_watching_is_for_people(failover: Any) -> None:
    """--watch and --json together are a usage error."""
    assert failover("status", "--watch", "--json").status == 2


def test_a_person_says_that_they_have_seen_it(failover: Any, plane: Any) -> None:
    """'ack' is kept with who and why; a service that there is not ends with 4."""
    ended = failover("ack", "chat", "--reason", "a switch had died")
    assert ended.status == 0
    assert "Noted: ada has seen what automation did for 'chat'." in ended.err
    assert plane.entities["chat"].acknowledged == "ada: a switch had died"
    assert failover("ack", "chet", "--reason", "x").status == 4
