"""Breaking the glass by command: what is refused and how, what people are asked, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestrator.core.steering import serving
from orchestrator.runtime.breakglass.sealed import Sealed, keep, written
from real.glass import KEY, Site
from runbooks.plan import Approve, Asked, Plan, Step, Verify

RUN = ("break-glass", "run", "chat.plan.json", "--yes", "--unverified")
PLAN = ("break-glass", "plan", "failover.yaml", "chat", "--to", "ohio", "--reason", "paris is gone, Temporal with it")
Shell = Callable[..., Any]


async def put(site: Site, change: Callable[[Plan], Plan] = lambda plan: plan) -> Sealed:
    """A plan in ``chat.plan.json``, which nobody has signed."""
    sealed = await site.sealed()
    sealed = replace(sealed, plan=change(sealed.plan))
    await asyncio.to_thread(keep, site.folder / "chat.plan.json", written(sealed, None))
    return sealed


def first(plan: Plan, work: Approve, **more: Any) -> Plan:
    """*plan* with a step before all others that asks people."""
    asking = Step("ask", work, 60.0, 1, "rollback", "wait until somebody says yes", **more)
    steps = tuple(replace(step, after=step.after or ("ask",)) for step in plan.steps)
    return replace(plan, steps=(asking, *steps))


async def carried_by(site: Site) -> tuple[str, ...]:
    fence = (await site.routing()).fence
    assert fence is not None
    return serving(fence.weights)


async def test_traffic_moves_without_temporal(site: Site, failover: Shell) -> None:
    """Plan and run need the topology file, the name server and the places, and say what nobody could be asked."""
    made = await failover(*PLAN, FAILOVER_PLAN_KEY=KEY)
    assert made.status == 0, made.err
    assert "switchover of chat from paris to ohio" in made.out
    assert "paris: answers as seen from here" in made.err
    assert "it is at generation 1, by run adopt-1" in made.err
    assert "whether a run holds the service (one-run-at-a-time)" in made.err
    assert "no quorum has confirmed" in made.err
    done = await failover("break-glass", "run", "chat.plan.json", "--yes", FAILOVER_PLAN_KEY=KEY)
    assert done.status == 0, done.err
    assert made.out.strip() in done.out
    assert "closed: switchover of chat is complete. Traffic goes to ohio." in done.out
    assert await carried_by(site) == ("ohio",)
    again = await failover("break-glass", "run", "chat.plan.json", "--yes", FAILOVER_PLAN_KEY=KEY)
    assert again.status == 0
    late = await failover("break-glass", "abort", "chat.plan.json", "--yes", "--unverified", "--reason", "no")
    assert (late.status, "is complete, so there is nothing to stop" in late.err) == (2, True)
    assert (await site.routing()).generation == 2
    refused = await failover(*PLAN)
    assert (refused.status, "already-there" in refused.err) == (3, True)


async def test_a_plan_that_was_altered_is_not_carried_out(site: Site, failover: Shell) -> None:
    """A signature that does not fit ends with 2 and one sentence, and nothing was touched."""
    assert (await failover(*PLAN, FAILOVER_PLAN_KEY=KEY)).status == 0
    path = site.folder / "chat.plan.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["body"]["plan"]["steps"][0]["work"]["replicas"] = 3
    path.write_text(json.dumps(document), encoding="utf-8")
    ended = await failover(*RUN, FAILOVER_PLAN_KEY=KEY)
    assert (ended.status, ended.out) == (2, "")
    assert "chat.plan.json was altered after it was signed" in ended.err
    assert await site.scalings() == []


async def test_nobody_to_ask_and_no_yes(site: Site, failover: Shell) -> None:
    """Without a terminal and without --yes nothing begins; a person who says no leaves no journal."""
    await put(site)
    ended = await failover("break-glass", "run", "chat.plan.json", "--unverified")
    assert (ended.status, "add --yes" in ended.err) == (2, True)
    said_no = await failover("break-glass", "run", "chat.plan.json", "--unverified", typed="n\n")
    assert (said_no.status, "nothing was started" in said_no.err) == (130, True)
    assert list((site.folder / "journals").iterdir()) == []


async def test_a_world_that_has_moved_refuses_the_plan_before_anything_is_begun(site: Site, failover: Shell) -> None:
    """Exit status 3, who is ahead, how to plan again; no replica was started for it."""
    await put(site)
    await site.write("tokyo")
    ended = await failover(*RUN)
    assert ended.status == 3
    assert "has changed since this plan was made: it is at generation 2, by run somebody-2, step s" in ended.err
    assert "failover break-glass plan failover.yaml chat --to ohio" in ended.err
    assert await site.scalings() == []
    assert await carried_by(site) == ("tokyo",)


async def test_a_rival_in_the_middle_stops_the_run_as_stale(site: Site, failover: Shell) -> None:
    """Somebody who writes while the target is made ready is not overwritten: exit status 3, and the record says so."""
    await site.world.pace("ohio", load_s=3.0)
    await put(site)
    run = asyncio.create_task(failover(*RUN))
    async with asyncio.timeout(45):
        while ("ohio", 2) not in await site.scalings():  # noqa: ASYNC110  another process does it
            await asyncio.sleep(0.02)
    await site.write("tokyo", "rival")
    ended = await run
    assert ended.status == 3
    assert "closed: somebody else is ahead" in ended.out
    assert "stopped by the fence" in ended.err
    assert await carried_by(site) == ("tokyo",)


async def test_a_target_that_does_not_serve_is_given_back(site: Site, failover: Shell) -> None:
    """A proof that fails ends with 1: what was scaled is put back, and traffic stays where it was."""

    def hasty(plan: Plan) -> Plan:
        steps = (replace(s, timeout_s=0.5, attempts=1) if isinstance(s.work, Verify) else s for s in plan.steps)
        return replace(plan, steps=tuple(steps))

    await put(site, hasty)
    await site.world.inject("health-lies", "ohio", key="hollow")
    ended = await failover(*RUN)
    assert ended.status == 1
    assert "everything done was put back. Traffic was not moved" in ended.out
    assert await site.scalings() == [("ohio", 2), ("ohio", 1)]
    assert await carried_by(site) == ("paris",)


async def test_an_outage_is_an_unplanned_move(site: Site, failover: Shell) -> None:
    """A source that does not answer from here is not drained, and the move has no way back."""
    await site.world.inject("region-blackhole", "paris", key="hole")
    made = await failover(*PLAN)
    assert made.status == 0, made.err
    assert "paris: is down as seen from here: health: " in made.err
    assert "failover of chat from paris to ohio" in made.out
    done = await failover(*RUN)
    assert done.status == 0, done.err
    assert "drain" not in done.out
    assert await carried_by(site) == ("ohio",)


async def test_a_target_that_is_down_is_refused_when_planning(site: Site, failover: Shell) -> None:
    """The safety rules that can be asked from here are asked: exit status 3, each with its name."""
    await site.world.inject("process-kill", "ohio", key="dead")
    ended = await failover(*PLAN)
    assert ended.status == 3
    assert "ohio: is down as seen from here" in ended.err
    assert "target-down" in ended.err
    assert not (site.folder / "chat.plan.json").exists()


MISTAKES: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("plan", "failover.yaml", "chatt", "--to", "ohio", "--reason", "x"), 4, "did you mean 'chat'?"),
    (("plan", "failover.yaml", "chat", "--to", "mars", "--reason", "x"), 2, "no endpoint is called 'mars'"),
    (("plan", "failover.yaml", "chat", "--to", "ohio"), 2, "a reason is needed"),
    (("plan", "none.yaml", "chat", "--reason", "x"), 2, "none.yaml"),
    (("run", "none.json", "--yes"), 2, "none.json: No such file"),
    (("run", "failover.yaml", "--yes"), 2, "no sealed plan"),
    (("abort", "chat.plan.json", "--yes", "--unverified", "--reason", "x"), 2, "was never begun"),
    (("take-in", "journals/none.journal"), 2, "there is no journal"),
    (("run", "chat.plan.json", "--yes", "--key-file", "none.key"), 2, "the plan key none.key"),
)


async def test_every_mistake_is_one_sentence(site: Site, failover: Shell) -> None:
    """What is wrong, where, and the cure; no traceback, and nothing begun."""
    await put(site)
    for words, status, said in MISTAKES:
        ended = await failover("break-glass", *words)
        assert (ended.status, ended.out) == (status, ""), words
        assert said in ended.err, words
        assert len(ended.err.strip().splitlines()) == 1, words
    assert await site.scalings() == []


async def test_a_name_server_that_is_away_stops_it_before_anything_is_begun(site: Site, failover: Shell) -> None:
    """What cannot be read must not be replaced: planning is refused (3), running fails (1)."""
    await put(site)
    site.dns.freeze()
    planned = await failover(*PLAN, "--out", "other.json")
    ran = await failover(*RUN)
    site.dns.thaw()
    assert (planned.status, "routing-unknown" in planned.err) == (3, True)
    assert ran.status == 1
    assert site.dns.at in ran.err
    assert await site.scalings() == []


async def test_approvals_are_asked_at_the_terminal(site: Site, failover: Shell) -> None:
    """Each name counts once and must be in the role; a no puts back what was done."""
    work = Approve((Asked("oncall", ("bob", "cyd")),), 2, 60.0, "abort")
    await put(site, lambda plan: first(plan, work))
    plain = ("break-glass", "run", "chat.plan.json", "--yes", "--unverified")
    ended = await failover(*plain)
    assert (ended.status, "step ask" in ended.err, "--approve NAME" in ended.err) == (2, True, True)
    ended = await failover(*plain, typed="eve\nbob\nbob\ncyd\n")
    assert ended.status == 0, ended.err
    assert "'eve' is in none of the roles" in ended.err
    assert "'bob' has said yes already" in ended.err
    assert "approved by bob and cyd" in ended.out
    await site.home()
    await put(site, lambda plan: first(plan, work))
    ended = await failover(*plain, typed="bob\n\n")
    assert ended.status == 1
    assert "ada said no" in ended.out
    assert await carried_by(site) == ("paris",)


async def test_approvals_given_beforehand(site: Site, failover: Shell) -> None:
    """--approve says yes for people who said it elsewhere, and only for those who may."""
    work = Approve((Asked("oncall", ("bob",)),), 1, 60.0, "abort")
    await put(site, lambda plan: first(plan, work))
    barred = await failover(*RUN, "--approve", "eve")
    assert barred.status == 2
    assert "give --approve NAME; 'eve' is in none of the roles" in barred.err
    ended = await failover(*RUN, "--approve", "bob")
    assert ended.status == 0, ended.err
    assert "approved by bob" in ended.out
    again = await failover(*RUN, "--approve", "bob")
    assert (again.status, "That run is over: nothing is done again." in again.err) == (0, True)


async def test_a_person_decides_what_becomes_of_a_step_without_an_answer(site: Site, failover: Shell) -> None:
    """Where a step asks after its failure, nobody there leaves a journal to go on with; then retry, or skip."""

    def asks(plan: Plan) -> Plan:
        steps = (
            replace(s, timeout_s=0.4, attempts=1, on_failure="ask") if isinstance(s.work, Verify) else s
            for s in plan.steps
        )
        return replace(plan, steps=tuple(steps))

    await put(site, asks)
    await site.world.inject("health-lies", "ohio", key="hollow")
    ended = await failover(*RUN)
    assert ended.status == 1
    assert "step verify needs a person" in ended.err
    assert "--decide" in ended.err
    ended = await failover(*RUN, "--decide", "retry")
    assert ended.status == 1
    assert "verify to be tried again by ada" in ended.out
    assert await carried_by(site) == ("paris",)
    await site.world.clear("hollow")
    ended = await failover(*RUN, typed="what?\nskip\n")
    assert ended.status == 0, ended.err
    assert "one of these words is needed" in ended.err
    assert "verify skipped by ada: decided at the terminal" in ended.out
    assert await carried_by(site) == ("ohio",)


async def test_ctrl_c_leaves_a_journal_that_goes_on(site: Site) -> None:
    """Interrupted while a promotion is under way: 130, how to go on and how to go back; a second one waits its turn."""
    await site.world.pace("ohio", load_s=300.0)
    sealed = await put(site)
    process = await site.start(*RUN)
    async with asyncio.timeout(45):
        while ("ohio", 2) not in await site.scalings():  # noqa: ASYNC110  another process does it
            await asyncio.sleep(0.02)
    rival = await site.failover(*RUN)
    assert (rival.status, "another process carries out this journal's plan" in rival.err) == (2, True)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert b"to go on: failover break-glass run chat.plan.json" in err
    assert b"to put it back: failover break-glass abort chat.plan.json" in err
    journal = str(site.folder / "journals" / f"{sealed.plan.run}.journal")
    shown = await site.failover("break-glass", "show", journal)
    assert shown.status == 0, shown.err
    assert "Switchover of chat: paris -> ohio" in shown.out
    document = json.loads((await site.failover("break-glass", "show", journal, "--json")).out)
    assert (document["run"], document["status"]) == (sealed.plan.run, "running")
    early = await site.failover("break-glass", "take-in", journal)
    assert (early.status, "has not ended; go on with it" in early.err) == (2, True)
    back = await site.failover("break-glass", "abort", *RUN[2:], "--reason", "false alarm")
    assert back.status == 1
    assert await site.scalings() == [("ohio", 2), ("ohio", 1)]
    assert await carried_by(site) == ("paris",)
    away = await site.failover("break-glass", "take-in", journal)
    assert (away.status, "127.0.0.1:9" in away.err) == (5, True)
