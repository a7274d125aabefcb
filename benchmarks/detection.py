"""How long a dead endpoint is still answered: target killed or frozen -> the answer names the standby.

Ours (the whole product with three vantages; one vantage's probing alone) beside gdnsd, PowerDNS and HAProxy.

Each run starts the subject afresh beside two HTTP targets on loopback, lets it settle for a different part of its
interval, takes the active target away (SIGKILL: refused at once; SIGSTOP: connects, then silence) and polls the answer
every 5 ms. Peers that steer by DNS are asked by DNS; HAProxy, the reference that is no DNS, by its runtime socket.

    python benchmarks/detection.py --runs 7
    python benchmarks/detection.py --only gdnsd --runs 1 --json

Equal interval and failures are a matter of what a peer can be told: gdnsd takes no interval under 2 s, and PowerDNS 4.7
always acts on the first failure, so ours is measured at one failure too. Both take whole seconds as a timeout. Each
line of the table names what its subject was given.

Bar: with three vantages ours is faster than every peer that steers by DNS, killed and frozen, at equal failures and an
interval no longer than its. Ours takes timeouts in milliseconds and is measured at half a second too; the figure at the
peer's own timeout stands beside it. Exit status 1 when the bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
from ours import OneVantage, Ours, Product

ACTIVE, STANDBY = "127.0.91.1", "127.0.91.2"
NAME = "chat.example."
POLL_S = 0.005
GIVE_UP_S = 60.0

TARGET = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Well(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\\n")
    do_HEAD = do_OPTIONS = do_GET
    def log_message(self, *_):
        pass

ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Well).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Checking:
    """How a subject watches its targets."""

    interval_s: float
    failures: int
    timeout_s: float = 1


class Subject(ABC):
    """Something that watches two targets and answers with one of them. Started afresh for every run."""

    def __init__(self, checking: Checking) -> None:
        self.checking = checking

    @abstractmethod
    async def start(self, active: str, standby: str, port: int) -> None:
        """Watch both addresses (``/health`` on *port*) and answer *active* while it lives."""

    @abstractmethod
    async def answer(self) -> str | None:
        """The address that clients are sent to now; None when there is none."""

    @abstractmethod
    async def stop(self) -> None:
        """End everything that was started."""


async def by_dns(port: int) -> str | None:
    """What the name server at *port* answers, as a resolver asks it."""
    query = dns.message.make_query(NAME, "A", flags=0)
    try:
        reply = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=0.5, ignore_unexpected=True)
    except (dns.exception.DNSException, OSError):
        return None
    values = [rdata.to_text() for rrset in reply.answer for rdata in rrset]
    return values[0] if values else None


class Daemon(Subject):
    """A subject that is one process with a directory of its own."""

    def __init__(self, checking: Checking) -> None:
        super().__init__(checking)
        self.directory = Path(tempfile.mkdtemp(prefix="detection-"))
        self.port = free_port("127.0.0.1")
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *command: str) -> None:
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    async def answer(self) -> str | None:
        return await by_dns(self.port)

    async def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Gdnsd(Daemon):
    """gdnsd with simplefo and http_status. Its timeout must be whole seconds and below its interval: 2 s at least."""

    async def start(self, active: str, standby: str, port: int) -> None:
        watch = self.checking
        self.write(
            "zones/example", f"@ SOA ns hostmaster 1 60 60 60 1\n@ NS ns\nns A {active}\nchat 1 DYNA simplefo!chat\n"
        )
        self.write(
            "config",
            f"options => {{ listen => 127.0.0.1:{self.port}, run_dir => {self.directory}/run, "
            f"state_dir => {self.directory}/state, min_ttl => 1, zones_default_ttl => 1 }}\n"
            f"service_types => {{ well => {{ plugin => http_status, port => {port}, url_path => /health, "
            f"up_thresh => 1, ok_thresh => 1, down_thresh => {watch.failures}, interval => {watch.interval_s}, "
            f"timeout => {watch.timeout_s} }} }}\n"
            f"plugins => {{ simplefo => {{ chat => {{ service_types => well, primary => {active}, "
            f"secondary => {standby} }} }} }}\n",
        )
        self.run("gdnsd", "-c", str(self.directory), "start")


class PowerDns(Daemon):
    """PowerDNS with a Lua record, ``ifurlup``: it acts on the first failure."""

    async def start(self, active: str, standby: str, port: int) -> None:
        watch = self.checking
        groups = f"{{{{'{active}'}}, {{'{standby}'}}}}"
        rule = f"ifurlup('http://chat.example:{port}/health', {groups}, {{timeout='{watch.timeout_s}'}})"
        self.write("zone", f'$TTL 1\n@ SOA ns hostmaster 1 60 60 60 1\n@ NS ns\nns A {active}\nchat 1 LUA A "{rule}"\n')
        self.write("named.conf", f'zone "example" {{ type master; file "{self.directory}/zone"; }};\n')
        self.write(
            "pdns.conf",
            f"launch=bind\nbind-config={self.directory}/named.conf\nenable-lua-records=yes\n"
            f"lua-health-checks-interval={watch.interval_s}\nlocal-address=127.0.0.1\nlocal-port={self.port}\n"
            f"socket-dir={self.directory}\ncache-ttl=0\nquery-cache-ttl=0\nnegquery-cache-ttl=0\nguardian=no\ndaemon=no\n",
        )
        self.run("pdns_server", f"--config-dir={self.directory}")


class HaProxy(Daemon):
    """HAProxy with an active and a backup server: what its backend would use, by its runtime socket."""

    fastinter = ""

    async def start(self, active: str, standby: str, port: int) -> None:
        watch = self.checking
        check = f"check inter {watch.interval_s}s {self.fastinter} fall {watch.failures} rise 1"
        self.write(
            "haproxy.cfg",
            f"global\n  stats socket {self.directory}/socket mode 600\n"
            f"defaults\n  mode http\n  timeout connect {watch.timeout_s}s\n  timeout client 5s\n  timeout server 5s\n"
            f"  timeout check {watch.timeout_s}s\n"
            f"frontend chat\n  bind 127.0.0.1:{self.port}\n  default_backend chat\n"
            f"backend chat\n  option httpchk GET /health\n"
            f"  server active {active}:{port} {check}\n  server standby {standby}:{port} {check} backup\n",
        )
        self.run("haproxy", "-db", "-f", str(self.directory / "haproxy.cfg"))

    async def answer(self) -> str | None:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.directory / "socket"))
        except OSError:
            return None
        writer.write(b"show servers state chat\n")
        text = (await reader.read()).decode()
        writer.close()
        # Columns: be_id be_name srv_id srv_name srv_addr srv_op_state ...; operational state 0 is down.
        rows = [line.split() for line in text.splitlines() if line[:1].isdigit() and len(line.split()) > 6]
        return next((row[4] for row in rows if row[5] != "0"), None)


class HaProxyFast(HaProxy):
    """HAProxy that checks every 100 ms once a check has failed."""

    fastinter = "fastinter 100ms"


class OurSubject(Subject):
    """Ours, kept-alive as it probes unless told otherwise."""

    def __init__(self, checking: Checking, kind: type[Ours]) -> None:
        super().__init__(checking)
        self.ours = kind(interval_s=checking.interval_s, timeout_s=checking.timeout_s, failures=checking.failures)

    async def start(self, active: str, standby: str, port: int) -> None:
        await self.ours.start(active, standby, port)

    async def answer(self) -> str | None:
        return await by_dns(self.ours.port)

    async def timeline(self) -> list[tuple[str, float]]:
        return await self.ours.timeline()

    async def stop(self) -> None:
        await self.ours.stop()


SUBJECTS: dict[str, Callable[[int, int], Subject]] = {
    "ours": lambda interval_s, failures: OurSubject(Checking(interval_s, failures), Product),
    "ours-1-failure": lambda interval_s, _: OurSubject(Checking(interval_s, 1), Product),
    "ours-1-failure-0.5s": lambda interval_s, _: OurSubject(Checking(interval_s, 1, 0.5), Product),
    "one-vantage": lambda interval_s, failures: OurSubject(Checking(interval_s, failures), OneVantage),
    "one-vantage-1-failure": lambda interval_s, _: OurSubject(Checking(interval_s, 1), OneVantage),
    "gdnsd": lambda interval_s, failures: Gdnsd(Checking(max(2, interval_s), failures)),
    "powerdns-ifurlup": lambda interval_s, _: PowerDns(Checking(interval_s, 1)),
    "haproxy": lambda interval_s, failures: HaProxy(Checking(interval_s, failures)),
    "haproxy-fastinter": lambda interval_s, failures: HaProxyFast(Checking(interval_s, failures)),
}
"""Name -> subject, for a wanted interval (whole seconds) and failures. More join with one line each."""

OURS = ("ours", "ours-1-failure", "ours-1-failure-0.5s")
DNS_PEERS = ("gdnsd", "powerdns-ifurlup")
BINARIES = {"gdnsd": "gdnsd", "powerdns-ifurlup": "pdns_server", "haproxy": "haproxy", "haproxy-fastinter": "haproxy"}


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table; seconds."""

    subject: str
    fault: str
    interval_s: float
    failures: int
    timeout_s: float
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)


def verdicts(results: list[Result]) -> list[tuple[str, bool]]:
    """Each comparison that the bar asks for, in words, and whether it holds."""
    found = []
    for peer in (result for result in results if result.subject in DNS_PEERS):
        ours = [
            result
            for result in results
            if result.subject in OURS
            and (result.fault, result.failures) == (peer.fault, peer.failures)
            and result.interval_s <= peer.interval_s
        ]
        if not ours:
            continue
        best = min(ours, key=lambda result: result.timeout_s)
        text = f"{peer.fault} x {peer.failures}: {best.subject} {best.median_s:.2f} s, "
        text += f"{peer.subject} {peer.median_s:.2f} s"
        for other in (other for other in ours if other.timeout_s == peer.timeout_s and other is not best):
            text += f" (ours at the peer's timeout of {other.timeout_s:g} s: {other.median_s:.2f} s)"
        found.append((text, best.median_s < peer.median_s))
    return found


def free_port(*addresses: str) -> int:
    """A port that is free at every one of *addresses*, for TCP and UDP."""
    while True:
        with contextlib.ExitStack() as stack:
            probe = stack.enter_context(socket.socket())
            probe.bind((addresses[0], 0))
            port = int(probe.getsockname()[1])
            try:
                for address in addresses[1:]:
                    stack.enter_context(socket.socket()).bind((address, port))
                stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind((addresses[0], port))
            except OSError:
                continue
            return port


async def target(address: str, port: int) -> subprocess.Popen[bytes]:
    """An HTTP server at *address*, ready."""
    command = [sys.executable, "-c", TARGET, address, str(port)]
    process = subprocess.Popen(  # noqa: ASYNC220  spawning takes a millisecond and outlives the loop
        command, stderr=subprocess.DEVNULL, start_new_session=True
    )
    for _ in range(500):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
            return process
        await asyncio.sleep(0.01)
    raise RuntimeError(f"the target at {address}:{port} did not start")


async def until(subject: Subject, wanted: str) -> float:
    """Poll until the answer is *wanted*; the moment it was, by perf_counter. Raises TimeoutError."""
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            begun = time.perf_counter()
            if await subject.answer() == wanted:
                return time.perf_counter()
            await asyncio.sleep(max(0.0, POLL_S - (time.perf_counter() - begun)))


async def measure(subject: Subject, how: signal.Signals, phase: float) -> float:
    """Seconds from the fault to the changed answer, the fault put in at *phase* (0 to 1) of an interval."""
    port = free_port(ACTIVE, STANDBY)
    targets: list[subprocess.Popen[bytes]] = []
    try:
        targets += [await target(ACTIVE, port), await target(STANDBY, port)]
        await subject.start(ACTIVE, STANDBY, port)
        await until(subject, ACTIVE)
        # Two intervals: every subject has then seen both targets well. The answer must stay all the while.
        await asyncio.sleep(subject.checking.interval_s * (2 + phase))
        if await subject.answer() != ACTIVE:
            raise RuntimeError(f"{type(subject).__name__} left a healthy target")
        begun = time.perf_counter()
        os.kill(targets[0].pid, how)
        return await until(subject, STANDBY) - begun
    finally:
        await subject.stop()
        for process in targets:
            process.kill()
            process.wait()


async def rehearse(name: str, interval_s: int, failures: int, runs: int) -> list[Result]:
    """Every run of one subject, killed and frozen."""
    results = []
    for fault, how in (("killed", signal.SIGKILL), ("frozen", signal.SIGSTOP)):
        seconds = []
        for index in range(runs):
            subject = SUBJECTS[name](interval_s, failures)
            seconds.append(round(await measure(subject, how, (index + 0.5) / runs), 3))
        watch = SUBJECTS[name](interval_s, failures)
        checking = watch.checking
        await watch.stop()
        results.append(Result(name, fault, checking.interval_s, checking.failures, checking.timeout_s, tuple(seconds)))
    return results


def table(results: list[Result]) -> str:
    lines = [f"{'subject':<22} {'fault':<8} {'checks, timeout':<20} {'median s':>9} {'min':>7} {'max':>7}  runs"]
    for result in results:
        given = f"{result.interval_s} s x {result.failures}, {result.timeout_s} s"
        lines.append(
            f"{result.subject:<22} {result.fault:<8} {given:<20} {result.median_s:>9.2f} "
            f"{min(result.seconds):>7.2f} {max(result.seconds):>7.2f}  {len(result.seconds)}"
        )
    return "\n".join(lines)


async def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=7, help="runs per subject and fault")
    parser.add_argument("--interval", type=int, default=1, help="seconds between checks (gdnsd: at least 2)")
    parser.add_argument("--failures", type=int, default=3, help="failed checks before a target is down")
    parser.add_argument("--only", action="append", choices=sorted(SUBJECTS), help="this subject alone; may be repeated")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    options = parser.parse_args()
    results: list[Result] = []
    for name in options.only or SUBJECTS:
        if name in BINARIES and shutil.which(BINARIES[name]) is None:
            print(f"{name}: {BINARIES[name]} is not installed; left out", file=sys.stderr)
            continue
        results += await rehearse(name, options.interval, options.failures, options.runs)
        print(table(results[-2:]), file=sys.stderr)
    if options.json:
        print(json.dumps([asdict(result) | {"median_s": result.median_s} for result in results], indent=2))
    else:
        print(table(results))
    judged = verdicts(results)
    for text, holds in judged:
        print(f"{'holds ' if holds else 'MISSED'} {text}", file=sys.stderr)
    return 0 if all(holds for _, holds in judged) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
