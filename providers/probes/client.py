"""The probe clients: HTTP/1.1, TCP and chat over one kind of exchange."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import OrderedDict
from functools import partial
from time import perf_counter

from orchestrator.core.errors import BadInput
from orchestrator.core.probe import Outcome, OutcomeKind
from orchestrator.core.topology import ProbeSpec
from providers.probes.deadlines import Deadlines
from providers.probes.exchange import Asking, Done
from providers.probes.link import Dart, Link, Question
from providers.probes.readiness import Readiness
from providers.probes.resolve import Resolver
from providers.probes.tls import Contexts, fault_of

MOST_REMEMBERED = 1024
"""Questions that ``ask`` keeps, with one idle connection each."""

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""This machine ran out of something: no news about the endpoint."""
_PHRASES = {errno.ENETUNREACH: "network is unreachable", errno.EHOSTUNREACH: "no route to host"}


class Probes:
    """Asks endpoints questions. Use it within one event loop, and close it.

    The prober uses ``prepare`` and ``begin``, which cost no task on a kept-alive connection; ``ask`` is the
    ``ProbeClient`` for everybody else.
    """

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver or Resolver()
        self._contexts = Contexts()
        self._deadlines = Deadlines()
        self._readiness = Readiness()
        self._remembered: OrderedDict[tuple[ProbeSpec, str, str], Question] = OrderedDict()
        self._connecting: set[asyncio.Task[None]] = set()

    async def ask(self, spec: ProbeSpec, url: str, *, name: str, fresh: bool = False) -> Outcome:
        """Ask once. Never raises for what the endpoint does; BadInput for a url or expectation that makes no sense."""
        key = (spec, url, name)
        question = self._remembered.get(key)
        if question is None:
            question = self._remembered[key] = self.prepare(spec, url, name=name)
            if len(self._remembered) > MOST_REMEMBERED:
                self.forget(self._remembered.popitem(last=False)[1])
        self._remembered.move_to_end(key)
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not answer.done():
                answer.set_result(outcome)

        asking = self.begin(question, done, fresh=fresh)
        try:
            return await answer
        finally:
            asking.cancel()

    def prepare(self, spec: ProbeSpec, url: str, *, name: str) -> Question:
        """*spec*, ready to be asked of the endpoint at *url* that serves the service called *name*. Raises BadInput."""
        return Question(spec, url, name)

    def begin(self, question: Question, done: Done, *, fresh: bool = False, connect_s: float | None = None) -> Asking:
        """Ask now; *done* is called once, later or before this returns, unless the asking is cancelled.

        *fresh* takes a new connection and closes it after the answer. *connect_s* bounds the time to connect
        within the spec's timeout.
        """
        asking = Asking(question, done, self._deadlines, fresh=fresh, connect_s=connect_s)
        asking.retry = self._connect
        asking.ask_again = self._ask_again
        link = question.idle
        if link is None or fresh:
            self._connect(asking)
            return asking
        question.idle = None
        if perf_counter() < link.retire_at and link.transport is not None and not link.transport.is_closing():
            asking.reuse(link)
        else:
            link.drop()
            self._connect(asking)
        return asking

    def forget(self, question: Question) -> None:
        """Close what *question* keeps; it is asked no more."""
        question.closed = True
        question.on_lost = None
        question.forget_connection()

    async def close(self) -> None:
        """Close the idle connections of ``ask`` and end what is being connected."""
        for question in self._remembered.values():
            self.forget(question)
        self._remembered.clear()
        for task in tuple(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        self._readiness.stop()
        self._resolver.close()

    def _ask_again(self, question: Question, done: Done) -> Asking:
        return self.begin(question, done, fresh=True)

    def _connect(self, asking: Asking) -> None:
        question = asking.question
        if question.light and not asking.keeps:
            address = question.target.host if question.literal else self._resolver.only(question.target.host)
            if address is not None:
                asking.link = Dart(asking, address, self._readiness, partial(_fail, asking))
                return
        task = asking.task = asyncio.get_running_loop().create_task(self._open(asking))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self, asking: Asking) -> None:
        question = asking.question
        try:
            if question.literal:
                await self._reach(asking, question.target.host)
            else:
                asking.phase = "name lookup not finished"
                addresses = await self._resolver.look_up(question.target.host)
                asking.phase = "no connection"
                await self._reach_any(asking, addresses)
        except BadInput as error:
            asking.unaskable(error)
        except ssl.SSLError as error:
            fault = fault_of(error, question.target.sni)
            asking.fail(fault.kind, fault.detail)
        except OSError as error:
            _fail(asking, error)
        except ValueError:
            asking.unaskable(BadInput(f"'{question.target.sni}' is no name for a TLS handshake; mend the probe's sni"))

    async def _reach_any(self, asking: Asking, addresses: tuple[str, ...]) -> None:
        """Try *addresses* in order, each with its share of the time to connect; the last one's failure counts."""
        for index, address in enumerate(addresses[:-1]):
            try:
                await self._reach(asking, address, asking.connect_left_s / (len(addresses) - index))
                return
            except ssl.SSLError:
                raise
            except OSError:  # TimeoutError among them
                if asking.phase == "no answer":
                    raise
        await self._reach(asking, addresses[-1])

    async def _reach(self, asking: Asking, address: str, within_s: float | None = None) -> None:
        """Connect to *address*; *within_s* bounds TCP alone: who took the connection may use the rest of the time."""
        loop = asyncio.get_running_loop()
        target = asking.question.target
        if not target.tls:
            async with asyncio.timeout(within_s):
                await loop.create_connection(lambda: Link(asking), address, target.port)
            return
        context = self._contexts.get(asking.question.spec.ca)
        # The socket is connected apart, so that a silent handshake is told from a silent network.
        raw = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            raw.setblocking(False)
            async with asyncio.timeout(within_s):
                await loop.sock_connect(raw, (address, target.port))
            asking.reached()
            # Our own timer ends a handshake that is too long; the loop's would call it an aborted connection.
            patience_s = asking.left_s + 1
            await loop.create_connection(
                lambda: Link(asking),
                sock=raw,
                ssl=context,
                server_hostname=target.sni,
                ssl_handshake_timeout=patience_s,
            )
        except BaseException:
            raw.close()
            raise


def _fail(asking: Asking, error: OSError) -> None:
    if isinstance(error, socket.gaierror):
        asking.fail(OutcomeKind.UNREACHABLE, f"name lookup failed: {asking.question.target.host}")
    elif error.errno in _OURS:
        asking.unaskable(BadInput(f"this worker is out of resources ({errno.errorcode[error.errno or 0]})"))
    elif isinstance(error, ConnectionRefusedError):
        asking.fail(OutcomeKind.REFUSED, "connection refused")
    elif isinstance(error, ConnectionError):
        where = " in the TLS handshake" if asking.phase == "no answer" else ""
        asking.fail(OutcomeKind.REFUSED, f"connection reset{where}")
    elif isinstance(error, TimeoutError) and asking.phase == "no answer":
        asking.fail(OutcomeKind.TIMED_OUT, f"no answer in {asking.question.spec.timeout_s:g} s")
    else:
        asking.fail(OutcomeKind.UNREACHABLE, _PHRASES.get(error.errno or 0, "no connection"))
