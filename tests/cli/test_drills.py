"""Fire drills from the command line."""

from __future__ import annotations

from typing import Any

from workflows.wire.service import Frozen


def test_a_drill_is_followed_to_its_verdict(failover: Any) -> None:
    """'drill run --wait' shows each phase and ends with 0 when the drill passed."""
    ended = failover("drill", "run", "region-blackhole", "chat", "--wait")
    assert ended.status == 0
    for words in ("steady ok in 1.00 s", "failback ok", "passed", "Recovered in 12.0 s of 60.0 s, detected in 1.40 s"):
        assert words in ended.out


def test_a_drill_that_did_not_pass_ends_with_1(failover: Any, plane: Any) -> None:
    """Failed and inconclusive drills end with 1; the document is whole all the same."""
    for verdict in ("failed", "inconclusive"):
        plane.drill_verdict = verdict
        ended = failover("drill", "run", "region-blackhole", "chat", "--wait", "--json")
        assert ended.status == 1
        assert ended.document["verdict"] == verdict
        assert len(ended.document["phases"]) == 6


def test_a_drill_can_be_left_alone(failover: Any) -> None:
    """Without --wait the drill's id is printed, and 'drill show' finds it."""
    ended = failover("drill", "run", "process-kill", "chat", "--json")
    assert ended.status == 0
    drill = ended.document["id"]
    assert failover("drill", "show", "chat", drill, "--json").document["id"] == drill
    assert failover("drill", "show", "chat", "d-nothing").status == 4


def test_where_no_fault_goes_in_none_need_be_named(failover: Any, plane: Any) -> None:
    """'drill run SERVICE --level synthetic' is enough; what really goes in is named, what is misspelt corrected."""
    ended = failover("drill", "run", "chat", "--level", "synthetic", "--target", "eu", "--json")
    assert ended.status == 0
    assert (ended.document["service"], ended.document["level"]) == ("chat", "synthetic")
    assert ended.document["fault"] == "region-blackhole"
    shown = failover("drill", "show", "chat", ended.document["id"])
    assert "region-blackhole (synthetic) at eu of chat" in shown.out
    ended = failover("drill", "run", "process-kill", "chat", "--level", "dry", "--json")
    assert (ended.document["fault"], ended.document["level"]) == ("process-kill", "dry")
    ended = failover("drill", "run", "chat")
    assert ended.status == 2
    assert "there is no fault 'chat'" in ended.err
    ended = failover("drill", "run", "proces-kill", "chat", "--level", "synthetic")
    assert ended.status == 2
    assert "did you mean 'process-kill'?" in ended.err
    words = ("--cron", "0 9 * * 2", "--fault", "region-blackhole", "--service", "chat", "--level", "synthetic")
    assert failover("drill", "schedule", "tuesday", *words).status == 0
    assert plane.schedules["tuesday"].request.level == "synthetic"
    assert "region-blackhole (synthetic)" in failover("drill", "list").out


def test_no_drill_begins_in_a_freeze_window(failover: Any, plane: Any, fake: Any) -> None:
    """A drill that moves something is refused with the freeze's reason (3); a dry or overridden one is not."""
    plane.entities["chat"].more = {"freezes": (Frozen("the year ends", fake.at(3600)),)}
    for level in ("fault", "synthetic"):
        ended = failover("drill", "run", "region-blackhole", "chat", "--level", level)
        assert (ended.status, ended.out) == (3, "")
        assert "no drill begins until 2026-03-01T13:00:00Z, because: the year ends" in ended.err
    assert plane.drills == {}
    assert failover("drill", "run", "region-blackhole", "chat", "--level", "dry").status == 0
    words = ("drill", "run", "region-blackhole", "chat", "--override")
    assert failover(*words, "freeze").status == 2, "nobody says why"
    assert failover(*words, "residency", "--reason", "x").status == 2
    assert failover(*words, "freeze", "--reason", "the new standby is in").status == 0


def test_the_service_is_needed_where_there_are_several(failover: Any, fake: Any) -> None:
    """With one service it need not be named; with two it must be."""
    ended = failover("drill", "run", "region-blackhole")
    assert ended.status == 2
    assert "chat, embed" in ended.err
    failover.plane = fake.FakeControlPlane("chat")
    assert failover("drill", "run", "region-blackhole").status == 0


def test_drills_are_scheduled_paused_and_removed(failover: Any, plane: Any) -> None:
    """A schedule is listed with its next run, rests when paused, and is gone when removed."""
    words = ("--cron", "0 9 * * 2", "--fault", "region-blackhole", "--service", "chat")
    assert failover("drill", "schedule", "tuesday", *words).status == 0
    assert plane.schedules["tuesday"].request.id == ""
    listed = failover("drill", "list").out
    assert "tuesday" in listed
    assert "2026-03-03T09:00:00Z" in listed
    assert failover("drill", "pause", "tuesday", "--reason", "release").status == 0
    assert failover("drill", "list", "--json").document["schedules"][0]["paused"] is True
    assert failover("drill", "resume", "tuesday", "--reason", "released").status == 0
    ended = failover("drill", "unschedule", "tusday")
    assert ended.status == 4
    assert "did you mean 'tuesday'?" in ended.err
    assert failover("drill", "unschedule", "tuesday").status == 0
    assert plane.schedules == {}


def test_a_schedule_is_checked(failover: Any, plane: Any) -> None:
    """A cron that is none, an unknown fault or service are refused before anything is stored."""
    rest = ("--fault", "region-blackhole", "--service", "chat")
    assert failover("drill", "schedule", "x", "--cron", "weekly", *rest).status == 2
    assert failover("drill", "schedule", "x", "--cron", "0 9 * * 2", "--fault", "rain", "--service", "chat").status == 2
    nobody = ("--fault", "region-blackhole", "--service", "chatt")
    assert failover("drill", "schedule", "x", "--cron", "0 9 * * 2", *nobody).status == 4
    assert plane.schedules == {}


def test_a_drill_is_ended_by_a_person(failover: Any) -> None:
    """'drill abort' ends it with who and why; one that is over is refused (3), one that there is not is 4."""
    drill = failover("drill", "run", "region-blackhole", "chat", "--json").document["id"]
    assert failover("drill", "abort", "chat", drill).status == 2, "nobody says why"
    assert failover("drill", "abort", "chat", drill, "--reason", "a real incident").status == 0
    shown = failover("drill", "show", "chat", drill, "--json").document
    assert (shown["verdict"], shown["text"].partition(" ")[2]) == ("inconclusive", "ended the drill: a real incident")
    assert failover("drill", "abort", "chat", drill, "--reason", "again").status == 3
    assert failover("drill", "abort", "chat", "d-none", "--reason", "x").status == 4


def test_a_schedule_of_what_puts_no_fault_in_names_none(failover: Any, plane: Any) -> None:
    """'drill schedule NAME --level dry' needs no --fault; where one really goes in it is asked for."""
    rest = ("--cron", "0 9 * * 2", "--service", "chat")
    assert failover("drill", "schedule", "daily", *rest, "--level", "dry").status == 0
    assert plane.schedules["daily"].request.fault == "region-blackhole"
    ended = failover("drill", "schedule", "other", *rest)
    assert ended.status == 2
    assert "name the fault that goes in" in ended.err
