"""An authoritative DNS server for one zone: UDP and TCP, RFC 2136 updates signed by TSIG (RFC 8945)."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TSIG
import dns.rrset
import dns.tsig
import dns.update

from orchestrator.local.dns_zone import Zone

_HEADER = 12
_CACHED = 4096


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a signature was not accepted."""

    error: dns.rcode.Rcode
    key: dns.tsig.Key | None


@dataclass
class DnsServer:
    """Answers for *zone*; takes updates that a key of *keys* signed."""

    zone: Zone
    keys: dict[dns.name.Name, dns.tsig.Key]
    on_update: Callable[[dns.update.UpdateMessage], None] = lambda message: None
    port: int = 0
    _udp: asyncio.DatagramTransport | None = None
    _tcp: asyncio.Server | None = None
    _cache: dict[bytes, bytes] = field(default_factory=dict)
    """Answers to plain queries by the query without its id, until the zone changes."""

    async def start(self, address: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on one port for UDP and TCP. Raises OSError when *port* is taken."""
        loop = asyncio.get_running_loop()
        for attempt in range(20):
            self._tcp = await asyncio.start_server(self._serve_stream, address, port)
            self.port = self._tcp.sockets[0].getsockname()[1]
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=(address, self.port)
                )
            except OSError:
                self._tcp.close()
                # Somebody has the UDP side of the port that TCP was given; with a wanted port there is no other.
                if port or attempt == 19:
                    raise
                continue
            self._udp = transport
            return

    async def stop(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            while True:
                (length,) = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), 30))
                reply = self.respond(await asyncio.wait_for(reader.readexactly(length), 5), stream=True)
                if reply is not None:
                    writer.write(struct.pack("!H", len(reply)) + reply)
                    await writer.drain()
        writer.close()

    # ------------------------------------------------------------ one message

    def respond(self, wire: bytes, *, stream: bool) -> bytes | None:
        """The reply to *wire*; None for what deserves no reply."""
        if len(wire) < _HEADER or wire[2] & 0x80:
            return None
        known = self._cache.get(wire[2:])
        if known is not None:
            return wire[:2] + known
        try:
            message = dns.message.from_wire(wire, keyring=False, one_rr_per_rrset=True)
        except dns.exception.DNSException:
            flags = 0x8000 | (wire[2] << 8 & 0x7900) | dns.rcode.FORMERR
            return wire[:2] + struct.pack("!HHHHH", flags, 0, 0, 0, 0)
        if message.tsig is None:
            return self._answer(message, stream=stream)
        checked = self._verify(wire, message)
        if isinstance(checked, _Failure):
            return _refuse_signature(message, checked)
        return self._answer(checked, stream=stream)

    def _verify(self, wire: bytes, message: dns.message.Message) -> dns.message.Message | _Failure:
        tsig = cast("dns.rrset.RRset", message.tsig)
        key = self.keys.get(tsig.name)
        if key is None:
            return _Failure(dns.rcode.BADKEY, None)
        try:
            return dns.message.from_wire(wire, keyring=key, one_rr_per_rrset=True)
        except dns.tsig.BadTime:
            return _Failure(dns.rcode.BADTIME, key)
        except (dns.tsig.BadKey, dns.tsig.BadAlgorithm):
            return _Failure(dns.rcode.BADKEY, key)
        except dns.exception.DNSException:
            return _Failure(dns.rcode.BADSIG, key)

    def _answer(self, message: dns.message.Message, *, stream: bool) -> bytes:
        # The response copies the question; an update's "question" is its zone section.
        reply = dns.message.make_response(message)
        signed = message.had_tsig
        if isinstance(message, dns.update.UpdateMessage):
            reply.set_rcode(self._update(message) if signed else dns.rcode.REFUSED)
            return reply.to_wire()
        if message.opcode() != dns.opcode.QUERY or len(message.question) != 1:
            reply.set_rcode(dns.rcode.NOTIMP)
            return reply.to_wire()
        self._query(message.question[0], reply, whole=signed)
        size = 65535 if stream else max(message.payload or 512, 512)
        try:
            out = reply.to_wire(max_size=size)
        except dns.exception.TooBig:
            reply.answer, reply.authority = [], []
            reply.flags |= dns.flags.TC
            out = reply.to_wire()
        drawn = any(self.zone.weighs(rrset.name) for rrset in reply.answer)
        if not signed and not stream and not drawn and message.wire is not None:
            self._remember(bytes(message.wire)[2:], out[2:])
        return out

    def _query(self, question: dns.rrset.RRset, reply: dns.message.Message, *, whole: bool) -> None:
        zone = self.zone
        transfers = {dns.rdatatype.AXFR, dns.rdatatype.IXFR, dns.rdatatype.ANY}
        if not zone.holds(question.name) or question.rdclass != dns.rdataclass.IN or question.rdtype in transfers:
            reply.set_rcode(dns.rcode.REFUSED)
            return
        reply.flags |= dns.flags.AA
        # A signed query comes from who manages the record: it sees the whole set, never a draw.
        rcode, answer = zone.lookup(question.name, question.rdtype, whole=whole)
        reply.set_rcode(rcode)
        reply.answer = answer
        if not answer:
            soa = zone.lookup(zone.origin, dns.rdatatype.SOA)[1]
            reply.authority = soa

    def _update(self, message: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        before = self.zone.serial
        rcode = self.zone.update(message)
        if self.zone.serial != before:
            self._cache.clear()
            self.on_update(message)
        return rcode

    def _remember(self, query: bytes, reply: bytes) -> None:
        if len(self._cache) >= _CACHED:
            self._cache.clear()
        self._cache[query] = reply


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._server.respond(data, stream=False)
        if reply is not None:
            self._transport.sendto(reply, addr)


def _refuse_signature(message: dns.message.Message, failure: _Failure) -> bytes:
    """NOTAUTH with the TSIG error that RFC 8945 section 5.2 names; only BADTIME is signed, and tells our time."""
    rrset = cast("dns.rrset.RRset", message.tsig)
    asked = cast("dns.rdtypes.ANY.TSIG.TSIG", rrset[0])
    message.tsig = None
    reply = dns.message.make_response(message)
    reply.set_rcode(dns.rcode.NOTAUTH)
    wire = reply.to_wire()
    late = failure.error == dns.rcode.BADTIME
    told = asked.replace(
        mac=b"", error=failure.error, other=int(time.time()).to_bytes(6, "big") if late else b"", original_id=message.id
    )
    if late and failure.key is not None:
        told, _ = dns.tsig.sign(  # type: ignore[no-untyped-call]  # dnspython leaves this function unannotated
            wire, failure.key, told, asked.time_signed, asked.mac
        )
    rdata = told.to_wire() or b""
    owner = rrset.name.to_wire() or b""
    record = struct.pack("!HHIH", dns.rdatatype.TSIG, dns.rdataclass.ANY, 0, len(rdata)) + rdata
    return wire[:10] + struct.pack("!H", struct.unpack("!H", wire[10:12])[0] + 1) + wire[12:] + owner + record
