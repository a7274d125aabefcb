"""What an operator lives through at 2 AM: the stories of one night, side by side, with the words that are read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from orchestrator.core.quorum import Verdict
from orchestrator.core.record import RunStatus
from real.nightwatch import Night
from real.system import until

WHY = ("--reason", "the night shift", "--yes")


async def nobody_approves(night: Night) -> None:
    """The approver is absent: a lead is asked as well, then the runbook's answer to silence ends the run, unmoved."""
    run = await night.start("careful")
    assert (await night.over("careful", run)).status is RunStatus.UNDONE
    told = await night.type("show", run)
    assert "step ok waits for 1 yes from role oncall (olaf): failover approve" in told.out
    assert "step ok waits for 1 yes from role leads (lea): failover approve" in told.out
    assert (
        "ok: nobody of role oncall or leads answered in time; everything done was put back. "
        "Traffic was not moved: it goes to ohio."
    ) in told.out
    assert await night.answers("careful") == ("ohio",)
    # The same again with more patience, until the one who is on call has woken.
    run = await night.start("careful", "--set", "patience=2m")
    await night.waits("careful", run, "ok waits for a yes")
    seen = await night.type("status", "careful", "--json")
    (asks,) = seen.document["asks"]
    assert asks["text"] == "step ok needs 1 yes of role oncall, 0 given"
    approve, deny = asks["commands"]
    assert (approve, deny) == (f"failover approve {run} --step ok", f"failover deny {run} --step ok")
    no = await night.type(*approve.split()[1:], "--reason", "fine", by="zoe")
    assert no.status == 3
    assert "'zoe' is in none of the roles that are asked; those who may say yes: olaf" in no.err
    yes = await night.type(*approve.split()[1:], "--reason", "load is low", by="olaf")
    assert yes.err == f"Run {run}: ok approved by olaf: load is low."
    assert (await night.over("careful", run)).status is RunStatus.COMPLETED
    assert await night.answers("careful") == ("tokyo",)


async def capacity_is_refused(night: Night) -> None:
    """The first choice has no room: automation goes to the next region, and a person who insists reads why not."""
    record = await night.moved("full")
    night.left.set()
    assert (record.target, await night.answers("full")) == ("tokyo", ("tokyo",))
    refused = await night.type("run", "full", "--to", "ohio", *WHY)
    assert refused.status == 1
    assert "beta/ohio has room for 4 replicas, not for 9; ask for fewer" in refused.out
    assert "everything done was put back. Traffic was not moved: it goes to tokyo." in refused.out
    assert "failed and everything it had done was put back; see 'failover show full-" in refused.err
    past = await night.type("history", "--service", "full")
    assert past.out.count("region4 -> ohio undone") == past.out.count("region4 -> tokyo completed") == 1
    assert await night.answers("full") == ("tokyo",)
    assert await night.replicas("ohio") == 1


async def region5_dies(night: Night) -> None:
    """A region dies in the middle of two moves, and with it all that a third service had left."""
    async with night.clients("region5", 6):
        shift, undo = await asyncio.gather(night.start("shift"), night.start("undo"))
        await night.waits("undo", undo, "look")
        await until(lambda: night.answers("shift"), lambda found: found == ("ohio", "region5"), "the first half moved")
        await night.until("busy", lambda status: status.load is not None and status.load.in_flight >= 6, "it is busy")
        assert "requests in flight, " in (await night.type("status", "busy")).out
        await night.system.black_hole("region5", key="five")
    async with asyncio.TaskGroup() as stories:
        stories.create_task(load_does_not_fit(night))
        stories.create_task(target_dies_in_the_middle(night, shift))
        stories.create_task(undo_fails(night, undo))
        stories.create_task(everything_is_down(night))


async def target_dies_in_the_middle(night: Night, run: str) -> None:
    """Half of the traffic is moved when the target dies: the run takes all of it back, and says why."""
    assert (await night.over("shift", run)).status is RunStatus.UNDONE
    assert await night.answers("shift") == ("ohio",)
    told = await night.type("show", run)
    assert "Switchover of shift: ohio -> region5 failed, and everything it had done was put back" in told.out
    assert "region5 fell meanwhile (down from 2 of 2 vantages (east, north): " in told.out
    assert "and ohio is well; everything done was put back. Traffic goes to ohio again." in told.out


async def undo_fails(night: Night, run: str) -> None:
    """A no behind the steer, and the source is dead: the run halts, says how the world stands, and what helps."""
    await night.verdict("undo", "region5", Verdict.DOWN)
    no = await night.type("deny", run, "--step", "look", "--reason", "answers are odd")
    assert no.err == f"Run {run}: look denied by ada: answers are odd."
    assert (await night.over("undo", run)).status is RunStatus.HALTED
    told = await night.type("show", run)
    assert "failed and halted: it is left as it stands for a person" in told.out
    assert "the undo failed (steer: will not go back to region5, which is not healthy: " in told.out
    assert (
        "call a human. Traffic goes to region6. region6 is scaled to 2. Look first: failover explain undo; "
        "to go back once region5 is well: failover run undo --to region5."
    ) in told.out
    assert (await night.answers("undo"), await night.replicas("region6")) == (("region6",), 2)
    # Whoever looks next sees it, too, until somebody has.
    seen = await night.type("status", "undo")
    assert f"undo: halted: its last run, {run}, halted and left the world as it stands for a person" in seen.out
    look, too_early = await asyncio.gather(
        night.type("explain", "undo"), night.type("run", "undo", "--to", "region5", *WHY)
    )
    assert "undo would do nothing now: nothing that carries its traffic is down." in look.out
    assert too_early.status == 3
    assert "target-down mend it first endpoint 'region5' is down itself" in too_early.err
    night.read.set()
    await night.healed.wait()
    await night.verdict("undo", "region5", Verdict.HEALTHY)
    back = await night.start("undo", "--to", "region5", "--runbook", "switchover")
    assert (await night.over("undo", back)).status is RunStatus.COMPLETED
    assert await night.answers("undo") == ("region5",)


async def load_does_not_fit(night: Night) -> None:
    """Two requests in flight are declared and six were seen: the standby carries four, so a person decides."""
    await night.until("busy", lambda status: status.question is not None, "it asks")
    seen = await night.type("status", "busy")
    said = re.search(
        r"endpoint 'region6' can carry 4 requests in flight and (\d+) would come to it \(observed (\d+) requests in "
        r"flight at [-0-9]+T[:0-9]+Z, 2 declared\); raise its capacity or shed load first",
        seen.out,
    )
    assert said is not None, seen.out
    assert said[1] == said[2]
    assert int(said[1]) >= 6
    assert await night.answers("busy") == ("region5",)
    yes, no, by_hand = (await night.type("status", "busy", "--json")).document["asks"][0]["commands"]
    assert by_hand == "failover run busy --to region6"
    question = yes.removeprefix("failover approve ")
    assert no == f"failover deny {question}"
    assert yes in seen.out
    said_yes = await night.type(*yes.split()[1:], "--reason", "better slow than gone", by="olaf")
    words = rf"Question {question}: approved by olaf: better slow than gone; run (\S+) begins: .*"
    begun = re.fullmatch(words, said_yes.err)
    assert begun is not None, said_yes
    record = await night.over("busy", begun[1])
    assert record.status is RunStatus.COMPLETED
    assert (record.trigger.by, record.trigger.overrides) == ("olaf", ("capacity-short",))
    assert f"asked people ({question}): endpoint 'region6' can carry 4" in str(record.entries)
    late = await night.type(*no.split()[1:], "--reason", "too slow", by="lea")
    assert late.status == 3
    assert f"service 'busy' does not wait for an answer to {question}" in late.err
    assert await night.answers("busy") == ("region6",)
    night.carried.set()


async def everything_is_down(night: Night) -> None:
    """No endpoint is known to work: routing stays, people are told, and the first that is back gets the traffic."""
    await night.until("dark", lambda status: "everything-down" in {each.rule for each in status.hold}, "all is dark")
    seen, refused = await asyncio.gather(night.type("status", "dark"), night.type("run", "dark", *WHY))
    assert (
        "dark: nothing is done (everything-down): no endpoint of service 'dark' is known to work (region4 down, "
        "region5 down), so routing stays as it is; look whether the vantages or the endpoints are at fault with: "
        "failover doctor"
    ) in seen.out
    assert refused.status == 3
    assert "Refused: nothing was started. everything-down you may override it no endpoint" in refused.err
    assert "target-down mend it first endpoint 'region4' is down itself" in refused.err
    assert await night.answers("dark") == ("region5",)
    await night.left.wait()
    await night.system.world.clear("four")
    record = await night.moved("dark")
    assert (record.trigger.by, await night.answers("dark")) == ("automatic", ("region4",))
    await asyncio.gather(night.read.wait(), night.carried.wait())
    await night.system.world.clear("five")
    night.healed.set()


async def region_flaps(night: Night) -> None:
    """A region falls, heals and falls again: automation does not chase it, says until when, and a person may act."""
    await night.system.black_hole("paris")
    assert (await night.moved("chat")).target == "ohio"
    await night.system.world.clear("fault")
    await night.verdict("chat", "paris", Verdict.HEALTHY)
    home = await night.type("failback", "chat", *WHY)
    assert home.status == 0, home
    assert "failback of chat is complete. Traffic goes to paris." in home.out
    await night.system.black_hole("paris", key="again")
    await night.until("chat", lambda status: "cool-down" in {each.rule for each in status.hold}, "automation waits")
    seen = await night.type("status", "chat")
    assert "paris alpha/paris down 100 %" in seen.out
    assert "chat: nothing is done (cool-down): the last run of service 'chat' closed " in seen.out
    assert "ago and automation waits 60 s; act by hand with: failover run chat" in seen.out
    assert await night.answers("chat") == ("paris",)
    by_hand = await night.type("run", "chat", *WHY)
    assert by_hand.status == 0, by_hand
    assert "failover of chat is complete. Traffic goes to ohio." in by_hand.out
    assert await night.answers("chat") == ("ohio",)


STORIES: tuple[Callable[[Night], Coroutine[None, None, None]], ...] = (
    nobody_approves,
    capacity_is_refused,
    region5_dies,
    region_flaps,
)


@pytest.mark.timeout(240)
async def test_what_an_operator_reads_at_two_in_the_morning(tmp_path: Path) -> None:
    """Approver absent, undo fails, target dies, no capacity, all down, flaps, too much load: words, world, ways out."""
    async with Night.begin(tmp_path) as night, asyncio.TaskGroup() as stories:
        await night.system.black_hole("region4", key="four")
        for story in STORIES:
            stories.create_task(story(night))
