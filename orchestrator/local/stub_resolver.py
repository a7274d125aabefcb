"""A stub resolver as small as clients have: one UDP question, an answer, and its time to live."""

from __future__ import annotations

import asyncio
import random
import socket

import dns.exception
import dns.message
import dns.rdatatype

_ATTEMPT_S = 1.0
_ATTEMPTS = 3


class NoAnswer(Exception):
    """The name did not resolve."""


class StubResolver:
    """Asks one name server for the addresses of one name. Nothing is remembered."""

    def __init__(self, server: tuple[str, int], name: str) -> None:
        self._server = server
        self._query = dns.message.make_query(name, dns.rdatatype.A, flags=0).to_wire()[2:]

    async def exchange(self) -> bytes:
        """The answer's bytes after its id. Raises NoAnswer."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.setblocking(False)
            udp.connect(self._server)
            for _ in range(_ATTEMPTS):
                ident = random.randbytes(2)  # noqa: S311  # loopback only
                try:
                    async with asyncio.timeout(_ATTEMPT_S):
                        await loop.sock_sendall(udp, ident + self._query)
                        while (reply := await loop.sock_recv(udp, 4096))[:2] != ident:
                            pass
                        return reply[2:]
                except TimeoutError:
                    continue
                except OSError as error:
                    raise NoAnswer(error.strerror or "network error") from error
        raise NoAnswer("resolver timed out")

    async def resolve(self) -> tuple[tuple[str, ...], int]:
        """The addresses, sorted, and how long they may be kept, seconds. Raises NoAnswer."""
        return parse(await self.exchange())


def parse(reply: bytes) -> tuple[tuple[str, ...], int]:
    """Addresses and time to live in a reply without its id. Raises NoAnswer."""
    try:
        message = dns.message.from_wire(b"\0\0" + reply)
    except dns.exception.DNSException as error:
        raise NoAnswer("not a DNS reply") from error
    found = [rrset for rrset in message.answer if rrset.rdtype == dns.rdatatype.A]
    if not found:
        raise NoAnswer("the name has no address")
    return tuple(sorted(item.to_text() for rrset in found for item in rrset)), min(rrset.ttl for rrset in found)
