"""One DNS server spoken to: addresses, keys, signed exchanges over one TCP connection, and its refusals in words.

TCP, because a frozen server then differs from a stopped one, nothing is lost between loss and retry, and a long
fence fits (RFC 7766 makes every server speak it).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Self

import dns.asyncbackend
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update

from orchestrator.core.errors import BadInput
from orchestrator.core.names import nearest
from orchestrator.core.topology import TsigKey
from providers import secrets
from providers.base import NotFound, ProviderError, Refused, Transient, Unauthenticated

QUERY_S = 1.0
"""The longest wait for one answer, seconds."""

ALGORITHMS = ("hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha1", "hmac-md5")


class Away(Transient):
    """The server cannot be connected to: nothing was sent."""


class Failed(Transient):
    """SERVFAIL."""


class Unsigned(Unauthenticated):
    """A refusal without a signature."""

    def __init__(self, text: str, rcode: dns.rcode.Rcode) -> None:
        super().__init__(text)
        self.rcode = rcode


class UnknownKey(Unauthenticated):
    """BADKEY: the key is not known, or not for this."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a DNS server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """``address:port`` or ``[address]:port``; port 53 where none is given. Raises BadInput."""
        with contextlib.suppress(ValueError):
            return cls(str(ipaddress.ip_address(text.strip("[]"))), 53)
        host, colon, port = text.rpartition(":")
        host, port = (host, port) if colon else (text, "53")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise BadInput(f"'{text}' is not the address of a DNS server; write it as 192.0.2.1:53 or [2001:db8::1]:53")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    async def address(self) -> str:
        """Its IP address: the host itself, or what the system's resolver says. Raises Away."""
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(self.host))
        try:
            async with asyncio.timeout(QUERY_S):
                found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError) as error:
            raise Away(f"name server {self}: the host name does not resolve; write its address") from error
        return str(found[0][4][0])


def absolute(name: str) -> dns.name.Name:
    """*name* as an absolute lower-case name. Raises BadInput."""
    try:
        return dns.name.from_text(name).canonicalize()
    except dns.exception.DNSException as error:
        raise BadInput(f"'{name}' is not a domain name; mend it in the topology") from error


def signing_key(key: TsigKey | None) -> dns.tsig.Key | None:
    """The key ready to sign with. Raises BadInput for a secret that is missing or not base64; never shows it."""
    if key is None:
        return None
    algorithm = key.algorithm.lower().rstrip(".")
    if algorithm not in ALGORITHMS:
        # A server's hmac-sha256-128 is hmac-sha256 with its signatures cut short, and is written so here.
        whole = algorithm.rpartition("-")[0]
        close = whole if whole in ALGORITHMS else nearest(algorithm, ALGORITHMS)
        hint = f"did you mean {close}?" if close else f"there are {', '.join(ALGORITHMS)}"
        raise BadInput(f"TSIG key '{key.name}': no algorithm is called '{key.algorithm}'; {hint}")
    text = secrets.resolve(key.secret)
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not secret:
        raise BadInput(
            f"the secret of TSIG key '{key.name}' ({key.secret.source.value} {key.secret.name}) is not base64; "
            "put the text after 'secret' in the key that tsig-keygen printed there"
        )
    return dns.tsig.Key(absolute(key.name), secret, "HMAC-MD5.SIG-ALG.REG.INT" if "md5" in algorithm else algorithm)


@dataclass(frozen=True, slots=True)
class Line:
    """One open connection to *server*. Messages are signed when there is a key."""

    server: Server
    socket: dns.asyncbackend.StreamSocket  # type: ignore[name-defined]  # dnspython does not re-export it
    key: dns.tsig.Key | None = field(repr=False)  # its own repr shows the secret
    deadline: float
    """Loop time after which nothing is waited for."""

    async def exchange(self, message: dns.message.Message) -> dns.message.Message:
        """Send *message* and return the reply, whatever its rcode. Raises Transient and Unauthenticated."""
        if self.key is not None:
            message.use_tsig(self.key)
        wait = min(QUERY_S, self.deadline - asyncio.get_running_loop().time())
        if wait <= 0:
            raise Transient(f"name server {self.server} was too slow; trying again may help")
        try:
            async with asyncio.timeout(wait):
                wire = await self._carry(message.to_wire())
        except TimeoutError as error:
            raise Transient(f"name server {self.server} gave no answer within {wait:.1f} s") from error
        except (OSError, EOFError) as error:
            raise Transient(f"name server {self.server} closed the connection without an answer") from error
        return self._read(message, wire)

    async def _carry(self, wire: bytes) -> bytes:
        """One message there and one back, each behind its length (RFC 1035, section 4.2.2)."""
        await self.socket.sendall(len(wire).to_bytes(2, "big") + wire, None)
        size = int.from_bytes(await self._exactly(2), "big")
        return await self._exactly(size)

    async def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more: bytes = await self.socket.recv(size - len(data), None)
            if not more:
                raise EOFError
            data += more
        return data

    def _read(self, message: dns.message.Message, wire: bytes) -> dns.message.Message:
        """The reply in *wire*, its signature checked. An unsigned reply is never believed (RFC 8945, section 5.3)."""
        try:
            bare = dns.message.from_wire(wire, keyring=False)
            if not message.is_response(bare):
                raise Transient(f"what answers at {self.server} answers another question than was asked")
            if self.key is None:
                return bare
            if not bare.had_tsig:
                raise self._unsigned(bare.rcode())
            return dns.message.from_wire(wire, keyring=self.key, request_mac=message.mac)
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadTime, dns.tsig.BadKey) as error:
            raise unaccepted(self.server, self.key, error) from error
        except dns.exception.DNSException as error:
            raise Transient(f"what answers at {self.server} does not speak DNS as expected: {error}") from error

    def _unsigned(self, rcode: dns.rcode.Rcode) -> ProviderError:
        name = self.key.name if self.key else ""
        if rcode in (dns.rcode.NOERROR, dns.rcode.SERVFAIL):
            return Transient(f"the answer that came from {self.server} is not signed with key '{name}'")
        cure = f"add TSIG key '{name}' there, or mend its name here"
        if rcode == dns.rcode.NOTAUTH:
            # PowerDNS says this of an unknown key, of a wrong secret and of a wrong clock alike.
            cure = f"{cure}; if it is the same, compare the secret, and set both clocks by NTP"
        text = f"name server {self.server} answered {dns.rcode.to_text(rcode)} without a signature; {cure}"
        return Unsigned(text, rcode)

    async def submit(self, update: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        """Send *update* and return what the server says of it. Raises as ``exchange`` does, and Refused.

        Read with the key on this line first: a server that has signed an answer knows the key, so that BADKEY then
        means want of a right (Knot DNS) and is told as REFUSED.
        """
        try:
            return (await self.exchange(update)).rcode()
        except UnknownKey:
            return dns.rcode.REFUSED
        except dns.exception.TooBig as error:
            raise Refused(
                f"the write is longer than the 64 KiB that one message to name server {self.server} may have; "
                "give the endpoints fewer addresses"
            ) from error

    async def rrset(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
        """The RRset of *kind* that stands at *name* itself, by authority. Raises NotFound for a foreign zone."""
        return own(await self.ask(name, kind), name, kind)

    async def ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.Message:
        """The authoritative reply about *name*. Raises Transient, Unauthenticated, and NotFound for a foreign zone."""
        try:
            reply = await self.exchange(dns.message.make_query(name, kind, flags=0))
        except Unsigned as error:
            # Knot DNS signs no refusal of a zone that it does not have.
            if error.rcode != dns.rcode.REFUSED:
                raise
            reply = await replace(self, key=None).exchange(dns.message.make_query(name, kind, flags=0))
            if foreign(reply) is None:
                raise
        if reply.flags & dns.flags.TC:
            raise Transient(
                f"name server {self.server} cut its answer about {name} short, over TCP too; its log says why"
            )
        said = foreign(reply)
        if said == "SERVFAIL":
            raise Failed(f"name server {self.server} answered SERVFAIL for {name}; its log says why")
        if said:
            raise NotFound(
                f"name server {self.server} is not authoritative for {name} ({said}): "
                "serve the zone there, let this machine ask for it, or mend the steering's zone and primary"
            )
        return reply


def foreign(reply: dns.message.Message) -> str | None:
    """Why *reply* is no word of authority, as one short phrase; None where it is."""
    rcode = reply.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return dns.rcode.to_text(rcode)
    return None if reply.flags & dns.flags.AA else "not authoritative"


def own(reply: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
    """The RRset of *kind* at *name* itself: what stands at the end of a CNAME belongs to another name."""
    return next((rrset for rrset in reply.answer if rrset.name == name and rrset.rdtype == kind), None)


@contextlib.asynccontextmanager
async def connected(server: Server, key: dns.tsig.Key | None, deadline: float) -> AsyncIterator[Line]:
    """A connection to *server* that is closed at the end. Raises Away when there is none."""
    address = await server.address()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    wait = min(QUERY_S, deadline - asyncio.get_running_loop().time())
    try:
        opened = await dns.asyncbackend.get_default_backend().make_socket(  # type: ignore[no-untyped-call]  # dnspython's gap
            family, socket.SOCK_STREAM, 0, None, (address, server.port), max(wait, 0.05)
        )
    except (dns.exception.Timeout, TimeoutError) as error:
        raise Away(f"name server {server} cannot be reached: no connection within {wait:.1f} s") from error
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "no route"
        raise Away(f"name server {server} cannot be reached: {reason}; is it running, and open for TCP?") from error
    async with opened:
        yield Line(server, opened, key, deadline)


def unaccepted(server: Server, key: dns.tsig.Key | None, error: Exception) -> Unauthenticated:
    """A refused signature as one sentence with its cure."""
    name = f"'{key.name}'" if key else "(none)"
    match error:
        case dns.tsig.PeerBadKey():
            text = f"does not know TSIG key {name} (BADKEY); add the key there, or mend its name and algorithm here"
        case dns.tsig.BadSignature():
            text = (
                f"signs with TSIG key {name} so that it does not verify; compare the secret, and cut no signature short"
            )
        case dns.tsig.PeerBadSignature():
            text = f"refuses the signature of TSIG key {name} (BADSIG); its secret there is another than here"
        case dns.tsig.PeerBadTime() | dns.tsig.BadTime():
            text = f"refuses the time of TSIG key {name} (BADTIME); set both clocks by NTP: 300 s apart is too much"
        case _:
            text = f"refuses TSIG key {name}; compare name, algorithm and secret there and here"
    kind = UnknownKey if isinstance(error, dns.tsig.PeerBadKey) else Unauthenticated
    return kind(f"name server {server} {text}")
