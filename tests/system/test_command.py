"""The command as a process against the whole product: statuses, refusals, and trouble with Temporal, DNS and names."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path

from orchestrator.core.steering import decode
from real.command import failover
from real.system import FENCE, NAME, PAIR, System


async def test_a_person_steers_and_is_refused_in_sentences(tmp_path: Path) -> None:
    """status, apply, run, failback and show work as processes; what is wrong is one sentence and its exit status."""
    async with System.start(tmp_path, vantages=None) as system:
        await system.steady()
        file = tmp_path / "failover.yaml"
        await asyncio.to_thread(file.write_text, system.text)
        seen = (await failover(system, "status", "--json")).document["services"][0]
        assert {each["verdict"] for each in seen["assessments"]} == {"healthy"}
        assert (await failover(system, "apply", str(file), "--yes", "--json")).document["applied"] is False

        ended = await failover(system, "run", "chat", "--to", "ohio", "--reason", "x", "--yes", "--wait")
        assert ended.status == 0, ended.err
        assert "switchover of chat is complete" in ended.out
        await system.moved_once(0.0)

        run = ("run", "chat", "--reason", "x", "--yes", "--to")
        refused = await failover(system, *run, "ohio")
        assert (refused.status, refused.out) == (3, "")
        assert "already-there" in refused.err
        refused = await failover(system, *run, "tokyo", "--override", "already-ther")
        assert (refused.status, refused.out) == (2, "")
        assert "no safety rule is called 'already-ther'; did you mean 'already-there'?" in " ".join(refused.err.split())
        for status, about, words in (
            (2, "no endpoint is called 'tokio'; did you mean 'tokyo'?", (*run, "tokio")),
            (2, "add --yes", ("run", "chat", "--reason", "x")),
            (4, "there is no service 'chatt'; did you mean 'chat'?", ("status", "chatt")),
            (4, "there is no run", ("show", "chat-20260101-000000-abcd")),
        ):
            ended = await failover(system, *words)
            assert (ended.status, ended.out) == (status, ""), ended
            assert about in ended.sentence
        await system.moved_once(0.0)


async def test_trouble_with_dns_is_a_sentence_and_nothing_half_done(tmp_path: Path) -> None:
    """A wrong key, a name server that is away: runs are refused, adopt and doctor fail, nothing is half done."""
    async with System.start(tmp_path, vantages=PAIR) as system:
        await system.steady()
        move = ("run", "chat", "--to", "tokyo", "--reason", "x", "--yes")
        key = Path(system.world.layout.key_file)
        await asyncio.to_thread(key.write_text, base64.b64encode(b"not the key of this server").decode())
        await _in_trouble(system, move, "refuses the signature of TSIG key 'failover-local.'")
        await asyncio.to_thread(key.write_text, system.dns.secret)
        system.dns.stop()
        await _in_trouble(system, move, "cannot be reached: connection refused")
        await system.dns.start()
        assert decode((await system.dns.ask(FENCE, "TXT"))[0]).generation == 1
        assert await system.dns.ask(NAME, "A") == system.answer("paris")
        assert (await system.world.endpoint("tokyo"))["desired"] == 1
        assert await system.runs() == []
        assert (await failover(system, *move)).status == 0, "the trouble is over"


async def _in_trouble(system: System, move: tuple[str, ...], why: str) -> None:
    """While the record cannot be written or read, every command says *why*, or where to look."""
    refused, adopted, doctor = await asyncio.gather(
        failover(system, *move), failover(system, "adopt", "chat"), failover(system, "doctor", "--dns")
    )
    assert (refused.status, refused.out) == (3, "")
    assert "routing-unknown" in refused.err
    assert "failover doctor --dns" in refused.err
    assert (adopted.status, adopted.out) == (1, "")
    assert why in adopted.sentence
    assert doctor.status == 1
    assert why in " ".join(doctor.out.split())
    assert "checks failed" in doctor.sentence


async def test_a_worker_for_a_vantage_that_is_not_there_says_so(tmp_path: Path) -> None:
    """A slip in --vantage probes nothing for ever: it is said at the start, with the nearest name."""
    async with System.start(tmp_path, vantages=PAIR) as system:
        vantage = next(iter(system.running.workers))
        slip = f"{vantage}x"
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).parent / "failover"), "worker", "--domain", "cloud/nowhere", "--vantage", slip),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "TEMPORAL_ADDRESS": system.running.temporal.address},
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(30):
                said = (await process.stderr.readline()).decode()
            assert said.startswith(f"warning: no vantage is called '{slip}'; did you mean '{vantage}'?")
            async with asyncio.timeout(30):
                while b"worker.started" not in (line := await process.stderr.readline()):
                    assert line, "the worker ended by itself"
        finally:
            process.terminate()
            async with asyncio.timeout(30):
                await process.communicate()
        assert process.returncode == 0


async def test_nobody_there_is_a_sentence(tmp_path: Path) -> None:
    """No worker, no Temporal, a name that does not resolve: one sentence each, with the right exit status."""
    async with System.start(tmp_path, vantages=PAIR) as system:
        await system.steady()
        home = system.world.url("paris")
        file = tmp_path / "failover.yaml"
        nowhere = home.replace(system.world.place("paris").address, "nowhere.invalid")
        await asyncio.to_thread(file.write_text, system.text.replace(home, nowhere))
        asked = await failover(system, "probe", "paris", "--file", str(file))
        assert asked.status == 1
        assert "nowhere.invalid" in asked.out
        assert "Traceback" not in asked.out + asked.err
        await asyncio.gather(*(system.kill(key) for key in system.running.workers))
        looked, moved = await asyncio.gather(
            failover(system, "status", "chat"), failover(system, "run", "chat", "--reason", "x", "--yes")
        )
        for ended in (looked, moved):
            assert (ended.status, ended.out) == (5, "")
            assert "worker" in ended.sentence
        await system.kill_temporal()
        ended = await failover(system, "status")
        assert (ended.status, ended.out) == (5, "")
        assert system.running.temporal.address in ended.sentence
        assert system.eye.told == (system.answer("paris"),)
