"""What the pages say, without a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any

from orchestrator.core.move import Objection, Trigger
from orchestrator.core.names import Domain, EndpointId, RunId, ServiceId
from orchestrator.core.quorum import Verdict
from orchestrator.core.record import Entry, Mark
from orchestrator.core.situation import Shift
from orchestrator.history import Store
from workflows.wire import RunState, Waiting
from workflows.wire.service import Frozen

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">'


def text_of(html: str) -> str:
    """What a person reads: no markup, single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


async def test_all_is_well_in_one_sentence(site: Any) -> None:
    """When nothing is wrong, the page says so first, and every service shows where its traffic is."""
    page = await site.client.get("/")
    assert page.status_code == 200
    words = text_of(page.text)
    assert "Everything is serving" in words
    assert words.index("Everything is serving") < words.index("Services")
    for name in ("chat", "embed", "rerank", "vision", "aws/us-east-1", "100 %", "as of"):
        assert name in words


async def test_what_is_wrong_comes_first(site: Any, world: Any, worlds: ModuleType) -> None:
    """The service whose traffic goes to a dead endpoint heads the page; the ones that are well come last."""
    now = worlds.utc_now()
    world.put(
        worlds.status("vision", now=now, verdicts={"us": Verdict.DOWN}),
        worlds.status("rerank", now=now, verdicts={"eu": Verdict.DOWN}),
    )
    page = await site.client.get("/")
    words = text_of(page.text)
    assert "vision is down" in words
    assert "2 of 4 services need a look" in words
    rows = re.findall(r'role="rowheader">.*?</svg> (\w+)', page.text, re.S)
    assert rows == ["vision", "rerank", "chat", "embed"]
    assert "down from 2 of 3 vantages (ap, eu): http: connect timed out" in words


async def test_a_question_comes_with_the_command_that_answers_it(site: Any, world: Any, worlds: ModuleType) -> None:
    """What waits for a person is shown with its reasons and the exact command."""
    world.services = worlds.failing(worlds.utc_now()).services
    words = text_of((await site.client.get("/")).text)
    assert "Waiting for you" in words
    assert "mode is approval: a person decides" in words
    assert "failover approve q1" in words
    assert "held: changed-outside the answer was edited by hand at generation 41 failover resume vision" in words


async def test_a_run_under_way_is_shown_against_its_objective(site: Any, world: Any, worlds: ModuleType) -> None:
    """A run in progress shows each step and how much of the objective is used up."""
    failing = worlds.failing(worlds.utc_now())
    world.services, world.records = failing.services, failing.records
    words = text_of((await site.client.get("/")).text)
    assert "Under way" in words
    assert re.search(r"chat: failover us → eu .* \d\.\d\d s of 30 s", words)
    assert re.search(r"converge \d\.\d\d s running drain waits", words)


async def test_a_run_that_waits_for_a_person_says_for_whom(site: Any, world: Any, worlds: ModuleType) -> None:
    """An approval, a hold and what people did stand on both pages, with the command that answers, escaped."""
    failing = worlds.failing(worlds.utc_now())
    (run,) = failing.records
    asks = Waiting("yes", "yes waits for a yes", ("sre",), ("bo",), 2)
    failing.states[run] = RunState((), planned=True, paused=f"paused by ada: {EVIL}", waiting=(asks,))
    said = Entry(worlds.utc_now(), Mark.ACT, f"yes approved by bo: {EVIL}", "yes")
    record = failing.records[run]
    failing.records[run] = replace(record, entries=(*record.entries, said))
    world.services, world.records, world.states = failing.services, failing.records, failing.states
    front = await site.client.get("/")
    words = text_of(front.text)
    assert "Waiting for you" in words
    assert "step yes needs 2 yes of role sre, 1 given (bo)" in words
    assert f"failover approve {run} --step yes" in words
    assert "yes approved by bo" in words
    page = await site.client.get(f"/runs/{run}")
    words = text_of(page.text)
    assert "waiting: step yes needs 2 yes of role sre, 1 given (bo)" in words
    for command in ("approve", "deny", "release"):
        assert f"failover {command} {run}" in words
    assert "<script>alert" not in front.text + page.text
    (chat,) = [
        each for each in (await site.client.get("/api/services")).json()["services"] if each["service"] == "chat"
    ]
    assert [each["command"] for each in chat["reasons"] if each["about"] == "waits"] == [
        f"failover release {run}",
        f"failover approve {run} --step yes",
    ]


async def test_what_stands_over_a_service_is_shown(site: Any, world: Any, worlds: ModuleType) -> None:
    """A move for a time, a freeze, the gate, and a run that nobody has looked at: each is said, and what needs you."""
    now = worlds.utc_now()
    before = ((EndpointId("eu"), 100), (EndpointId("us"), 0))
    world.services["chat"] = replace(
        world.services["chat"],
        shift=Shift(RunId("r1"), "ann", EVIL, now + timedelta(hours=2), before),
        unacknowledged=now - timedelta(minutes=1),
        freezes=(Frozen("the year ends", now + timedelta(hours=1)),),
        gate="the network is rebuilt",
    )
    front = await site.client.get("/")
    words = text_of(front.text)
    assert "chat asks for a decision" in words
    assert "Waiting for you" in words
    assert "automation waits until somebody has looked at its run" in words
    assert "failover ack chat" in words
    assert "then the service asks to go back to eu" in words
    assert "because: the year ends" in words
    assert "automation of all services is off (the network is rebuilt)" in words
    assert "<script>alert" not in front.text
    found = (await site.client.get("/api/services")).json()["services"]
    (chat,) = [each for each in found if each["service"] == "chat"]
    assert chat["shift"]["by"] == "ann"
    assert {"not acknowledged", "for a time", "freeze", "gate"} <= {each["about"] for each in chat["reasons"]}


async def test_a_closed_run_tells_its_story(site: Any) -> None:
    """A run's page shows every moment with its time, who asked, the weights before and after, and the measures."""
    page = await site.client.get("/runs/chat-20260228-0005")
    words = text_of(page.text)
    assert page.status_code == 200
    for said in (
        "recovered in 5.30 s, objective 30 s",
        "us 100 %",
        "eu 100 %",
        "drill:weekly-2026-02-28",
        "region-failover",
        "last good",
        "detected",
        "decided",
        "steered",
        "the primary took generation 42",
        "answer changed",
        "converged",
        "verified",
        "closed",
        "Time to detect 2.31 s",
        "Time to recover 5.30 s",
    ):
        assert said in words, said
    assert '<a id="to-drill" href="/drills/weekly-2026-02-28">' in page.text


async def test_an_overridden_objection_is_on_the_run(site: Any) -> None:
    """A rule that a person set aside is named with what it said, and a failed step and its undo are told."""
    words = text_of((await site.client.get("/runs/embed-20260228-0003")).text)
    for said in (
        "patching us tonight",
        "cooldown the last run closed 120 s ago",
        "steer failed",
        "generation 44 stands, 41 was expected",
        "undo promote",
        "refused by the fence",
        "not reached",
    ):
        assert said in words, said


async def test_a_drill_tells_its_phases(site: Any) -> None:
    """A drill's page shows its phases, its figures and the run it caused; where not all of it is real, it says so."""
    page = await site.client.get("/drills/weekly-2026-02-28")
    words = text_of(page.text)
    for said in ("passed", "steady-again", "Time to recover 5.30 s", "schedule weekly", "region-blackhole"):
        assert said in words
    assert 'href="/runs/chat-20260228-0005"' in page.text
    failed = text_of((await site.client.get("/drills/weekly-2026-02-21")).text)
    assert "failed: no run started" in failed
    assert "chat: synthetic drill region-blackhole at us" in failed
    assert "region-blackhole (synthetic) at us" in text_of((await site.client.get("/")).text)


async def test_names_from_outside_stay_text(site: Any, world: Any, worlds: ModuleType, store: Store) -> None:
    """A service, region, reason or error that holds markup is shown as text, on every page and in the stream."""
    now = worlds.utc_now()
    status = worlds.status("chat", now=now, verdicts={"us": Verdict.DOWN})
    first = replace(status.endpoints[0], region=Domain(EVIL))
    world.put(
        replace(
            status,
            service=ServiceId(EVIL),
            name=EVIL,
            paused=EVIL,
            held=(Objection(EVIL, EVIL),),
            assessments=tuple(replace(each, text=EVIL) for each in status.assessments),
            endpoints=(first, *status.endpoints[1:]),
        )
    )
    bad = worlds.record(began=now, run=EVIL, service=EVIL)
    entries = tuple(replace(entry, text=EVIL) for entry in bad.entries)
    store.publish_record(replace(bad, trigger=Trigger(EVIL, EVIL, (EVIL,)), runbook=EVIL, entries=entries))
    board = await site.client.get("/")
    address = re.search(r'<a id="run-1" href="([^"]+)"', board.text)
    assert address is not None
    run = await site.client.get(address[1])
    assert run.status_code == 200
    world.away = EVIL
    away = await site.client.get("/")
    for page in (board, run, away):
        assert "alert(1)" in page.text
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]


async def test_the_page_needs_nothing_from_elsewhere(site: Any) -> None:
    """Every asset comes from this server, may be kept for ever, and no style or script stands in the page."""
    page = await site.client.get("/")
    assets = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert len(assets) == 3
    for asset in assets:
        answer = await site.client.get(asset)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page.text)
    assert " style=" not in page.text
    assert "<style" not in page.text
    assert page.headers["cache-control"] == "no-store"


async def test_empty_teaches(site: Any, world: Any) -> None:
    """With no service yet, the page shows the commands that add one."""
    world.services.clear()
    words = text_of((await site.client.get("/")).text)
    assert "Nothing to watch yet" in words
    for command in ("failover init", "failover validate", "failover apply"):
        assert command in words


async def test_what_does_not_exist_is_a_sentence(site: Any) -> None:
    """An unknown run, drill or address is 404 with a sentence, as a page and as JSON; a write is 405."""
    for path in ("/runs/nobody", "/drills/nobody", "/nowhere"):
        page = await site.client.get(path)
        assert page.status_code == 404
        assert "Nothing is known by that name" in page.text
    answer = await site.client.get("/api/runs/nobody")
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("There is no such run")
    assert (await site.client.post("/")).status_code == 405
