"""What the name servers of a zone say: each gives one of the weighted answers, drawn anew for each question."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import dns.asyncquery
import dns.exception
import dns.message
import dns.rdatatype

from orchestrator.core.errors import BadFence
from orchestrator.core.topology import Answer
from providers.aws.route53_sets import KINDS, Part, RecordSet, called, part_of, plain, weighed
from providers.base import ProviderError, ServerAnswer
from providers.dns.exchange import QUERY_S, Away, Server, absolute, foreign, own
from providers.fenced import answer_of

Sets = Callable[[], Awaitable[tuple[RecordSet, ...]]]


async def told(servers: tuple[Server, ...], name: str, sets: Sets) -> tuple[ServerAnswer, ...]:
    """What each of *servers* says of *name*. Never raises for a server's silence, nor for the API's.

    What is drawn is one target of several: where it has a share by the API, the server is taken to know the shares that
    the API says. Where it has none, or the API is silent, the answer is that target with all of the traffic.
    """
    try:
        known: tuple[RecordSet, ...] = await sets()
    except (ProviderError, BadFence):
        known = ()
    return tuple(await asyncio.gather(*(_told(server, name, known) for server in servers)))


async def _told(server: Server, name: str, known: tuple[RecordSet, ...]) -> ServerAnswer:
    try:
        async with asyncio.timeout(QUERY_S):
            parts, why = await _asked(server, name)
    except (dns.exception.DNSException, OSError, EOFError, Away) as error:
        parts, why = (), _silence(error)
    if not why and not parts:
        why = "no record at the name"
    elif not why and any(part_of(each).alias for each in known):
        why = "an alias is not known by the addresses that it gives"
    return ServerAnswer(str(server), None, why) if why else ServerAnswer(str(server), _meant(parts, known))


def _silence(error: Exception) -> str:
    """Why a server gave no answer: one short phrase."""
    match error:
        case dns.exception.Timeout() | TimeoutError():
            return f"no answer within {QUERY_S:g} s"
        case Away():
            return "its host name does not resolve"
        case OSError():
            return (error.strerror or "cannot be reached").lower()
        case _:
            return "does not speak DNS as expected"


def _meant(parts: tuple[Part, ...], known: tuple[RecordSet, ...]) -> Answer | None:
    serving = {part_of(each) for each in known if each.get("SetIdentifier") is None or each["Weight"] > 0}
    if serving and serving.issuperset(parts):
        return answer_of(weighed(known))
    return answer_of(((called(parts), 1),))


async def _asked(server: Server, name: str) -> tuple[tuple[Part, ...], str]:
    """What the server gives of each type, or why it gives nothing."""
    address, at = await server.address(), absolute(name)
    found: dict[str, Part] = {}
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        query = dns.message.make_query(at, kind, flags=0)
        reply, _ = await dns.asyncquery.udp_with_fallback(
            query, address, timeout=QUERY_S, port=server.port, ignore_unexpected=True, ignore_errors=True
        )
        if why := foreign(reply):
            return (), why
        for each in KINDS:
            rrset = own(reply, at, dns.rdatatype.from_text(each))
            if rrset:
                values = [{"Value": rdata.to_text()} for rdata in rrset]
                found[each] = part_of({"Name": plain(name), "Type": each, "ResourceRecords": values})
    return tuple(found[kind] for kind in KINDS if kind in found), ""
