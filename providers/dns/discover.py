"""Discovery: what already stands at a name and at its endpoints, read without changing anything.

What cannot be learned is a sentence in ``problems``; only a name that does not resolve stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver
from cryptography import x509

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Answer
from providers.base import Transient
from providers.dns.exchange import own

QUERY_S = 2.0
"""The longest wait for one DNS answer, all of a resolver's servers together."""
CONNECT_S = 3.0
"""The longest wait for one TLS handshake."""
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What an endpoint shows when it is asked for the moving name."""

    names: tuple[str, ...]
    """DNS names and addresses that it is for, sorted."""
    expires: datetime
    covers: bool
    """It is for the moving name."""
    distrust: str | None
    """Why this machine does not trust it; None: it does."""


@dataclass(frozen=True, slots=True)
class FoundEndpoint:
    url: str
    addresses: tuple[str, ...]
    certificate: Certificate | None
    """None for http, and where no handshake succeeded."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Discovered:
    """What stands at *name* now."""

    name: str
    """In small letters, without trailing dot."""
    answer: Answer
    ttl_s: int | None
    """By the primary's word where it answers; None when only a cache could be asked."""
    endpoints: tuple[FoundEndpoint, ...]
    zone: str | None = None
    primary: str | None = None
    """``address:port`` of the zone's primary (the SOA's mname)."""
    primary_name: str | None = None
    servers: tuple[str, ...] = ()
    """``address:port`` of every name server of the zone that has an address, sorted."""
    fence: str | None = None
    """The TXT at ``_failover.<name>`` if there is one: something steers this name already."""
    problems: tuple[str, ...] = ()


async def discover(
    name: str, urls: tuple[str, ...], *, resolver: tuple[str, int] | None = None, port: int = 53
) -> Discovered:
    """Read what stands at *name* and at the endpoints *urls*.

    *resolver* is address and port of the DNS server to ask, else the system's; *port* is where the zone's own
    servers listen. Raises BadInput for a name that does not resolve and for unusable arguments, Transient
    when the resolver does not answer.
    """
    asker = _Asker(_resolver(resolver), port)
    host = _host(name)
    _checked(host, urls)
    answer, ttl_s = await asker.answer(host)
    problems: list[str] = []
    zone, mname = await asker.zone(host)
    primary: str | None = None
    servers: tuple[str, ...] = ()
    if zone is None or mname is None:
        problems.append(f"the zone of {host} was not found: no SOA record answers")
    else:
        addresses = await asker.addresses(mname)
        primary = _server(addresses[0], port) if addresses else None
        if primary is None:
            problems.append(f"the primary name server {mname} has no address")
        servers = await asker.servers(zone, problems)
    fence: str | None = None
    if primary is not None:
        ttl_s, fence, silent = await asker.by_authority(primary, host, answer)
        if silent:
            problems.append(f"the primary name server {mname} at {primary} did not answer: {silent}")
    endpoints = await asyncio.gather(*(_endpoint(asker, url, host) for url in urls))
    return Discovered(
        name=host,
        answer=answer,
        ttl_s=ttl_s,
        endpoints=tuple(endpoints),
        zone=zone,
        primary=primary,
        primary_name=mname,
        servers=servers,
        fence=fence,
        problems=tuple(problems),
    )


def _host(name: str) -> str:
    try:
        host = dns.name.from_text(name).canonicalize().to_text(omit_final_dot=True)
    except (dns.exception.DNSException, UnicodeError):
        host = ""
    # What the topology would not take is not looked up: a wildcard or the root may well have an answer.
    if not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise BadInput(f"'{name}' is no host name; write one like chat.example.com")
    return host


def _checked(host: str, urls: tuple[str, ...]) -> None:
    if not urls:
        raise BadInput("no endpoint is given; name at least one with --endpoint https://us.chat.example.com")
    for url in urls:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in PORTS or not parts.hostname or parts.username or parts.query or parts.fragment:
            shown = url if not parts.username else "the given URL"
            raise BadInput(f"'{shown}' is no URL of an endpoint; write it like https://us.chat.example.com:8443")
        if parts.hostname.rstrip(".") == host and len(urls) > 1:
            raise BadInput(f"'{url}' is at the name that moves; give the endpoint's own name or address instead")
    if len(set(urls)) < len(urls):
        raise BadInput("an endpoint is given twice; name each one once")


def _resolver(at: tuple[str, int] | None) -> dns.asyncresolver.Resolver:
    try:
        made = dns.asyncresolver.Resolver(configure=at is None)
    except dns.resolver.NoResolverConfiguration:
        raise Transient("this machine has no DNS resolver; name one with --resolver 192.0.2.53:53") from None
    if at is not None:
        made.nameservers, made.port = [at[0]], at[1]
    made.lifetime = QUERY_S
    made.timeout = QUERY_S / 2
    return made


def _server(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _said(error: Exception) -> str:
    """A DNS or network failure in a few words."""
    if isinstance(error, dns.exception.Timeout | TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


class _Asker:
    """Asks a resolver, and the zone's own servers."""

    def __init__(self, resolver: dns.asyncresolver.Resolver, port: int) -> None:
        self.resolver = resolver
        self.port = port

    async def rrset(self, name: str, kind: str) -> dns.resolver.Answer | None:
        """What the resolver says of *name*; None where there is nothing. Raises Transient."""
        try:
            return await self.resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return None
        except dns.resolver.NoNameservers:
            return None
        except (dns.exception.DNSException, OSError) as error:
            where = _server(str(self.resolver.nameservers[0]), self.resolver.port)
            raise Transient(
                f"the DNS resolver {where} does not answer ({_said(error)}); check it, or name another"
            ) from None

    async def answer(self, host: str) -> tuple[Answer, int | None]:
        """The CNAME at *host*, else its addresses. Raises BadInput when it does not resolve."""
        alias = await self.rrset(host, "CNAME")
        if alias is not None and alias.rrset:
            return Answer("cname", (alias.rrset[0].target.to_text().lower(),)), None
        found = await self.addresses(host)
        if not found:
            raise BadInput(
                f"{host} does not resolve: it has no address and no CNAME; create the record, or check the name"
            )
        return Answer("addresses", found), None

    async def addresses(self, host: str) -> tuple[str, ...]:
        """A and AAAA of *host*, sorted; an address is its own."""
        with contextlib.suppress(ValueError):
            return (str(ipaddress.ip_address(host.strip("[]"))),)
        found: set[str] = set()
        for kind in ("A", "AAAA"):
            answer = await self.rrset(host, kind)
            found |= {str(ipaddress.ip_address(rdata.address)) for rdata in (answer.rrset if answer else None) or ()}
        return tuple(sorted(found))

    async def zone(self, host: str) -> tuple[str | None, str | None]:
        """The zone that holds *host* and its primary's name, walking up to the first SOA."""
        here = dns.name.from_text(host)
        while here != dns.name.root:
            answer = await self.rrset(here.to_text(), "SOA")
            # A CNAME leads to the SOA of another zone, which says nothing about this one.
            if answer is not None and answer.rrset and answer.rrset.name == here:
                mname = answer.rrset[0].mname.to_text(omit_final_dot=True)
                return here.to_text(omit_final_dot=True), mname.lower()
            here = here.parent()
        return None, None

    async def servers(self, zone: str, problems: list[str]) -> tuple[str, ...]:
        """``address:port`` of the zone's name servers."""
        answer = await self.rrset(zone, "NS")
        found: set[str] = set()
        for rdata in (answer.rrset if answer else None) or ():
            name = rdata.target.to_text(omit_final_dot=True).lower()
            addresses = await self.addresses(name)
            if not addresses:
                problems.append(f"the name server {name} has no address")
            found |= {_server(address, self.port) for address in addresses}
        if not found:
            problems.append(f"no name server of {zone} was found")
        return tuple(sorted(found))

    async def by_authority(self, server: str, host: str, answer: Answer) -> tuple[int | None, str | None, str | None]:
        """TTL of the answer and the fence, asked at *server*; last, why it was silent."""
        at = server.rpartition(":")[0].strip("[]")
        kinds = ("CNAME",) if answer.kind == "cname" else ("A", "AAAA")
        ttl_s: int | None = None
        try:
            for kind in kinds:
                for rrset in (await self._direct(at, host, kind)).answer:
                    if rrset.rdtype == dns.rdatatype.from_text(kind):
                        ttl_s = rrset.ttl if ttl_s is None else min(ttl_s, rrset.ttl)
            texts = await self._direct(at, f"_failover.{host}", "TXT")
        except (dns.exception.DNSException, OSError, TimeoutError) as error:
            return ttl_s, None, _said(error)
        away = own(texts, dns.name.from_text(f"_failover.{host}"), dns.rdatatype.CNAME)
        if away:
            return ttl_s, f"CNAME {away[0].target}", None
        fence = [rdata for rrset in texts.answer if rrset.rdtype == dns.rdatatype.TXT for rdata in rrset]
        return ttl_s, b"".join(fence[0].strings).decode("utf-8", "replace") if fence else None, None

    async def _direct(self, address: str, name: str, kind: str) -> dns.message.Message:
        query = dns.message.make_query(name, kind, flags=0)
        reply, _ = await dns.asyncquery.udp_with_fallback(query, address, timeout=QUERY_S, port=self.port)
        return reply


# ------------------------------------------------------------------ endpoints


async def _endpoint(asker: _Asker, url: str, name: str) -> FoundEndpoint:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    addresses = await asker.addresses(host)
    if not addresses:
        return FoundEndpoint(url, (), None, (f"{host} does not resolve",))
    if parts.scheme != "https":
        return FoundEndpoint(url, addresses, None)
    port = parts.port or PORTS["https"]
    problems: list[str] = []
    for address in addresses[:4]:
        try:
            certificate = await _certificate(address, port, name)
        except (OSError, TimeoutError, ValueError) as error:
            problems.append(f"no certificate for {name} at {_server(address, port)}: {_tls_said(error)}")
            continue
        return FoundEndpoint(url, addresses, certificate, (*problems, *_doubts(certificate, name)))
    return FoundEndpoint(url, addresses, None, tuple(problems))


def _tls_said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the TLS handshake failed").lower().replace("_", " ")
    return _said(error)


async def _certificate(address: str, port: int, name: str) -> Certificate:
    """The certificate that *address* shows for *name*. Raises OSError (ssl's too), TimeoutError, ValueError."""
    anything = ssl.create_default_context()
    anything.check_hostname = False
    anything.verify_mode = ssl.CERT_NONE
    found = x509.load_der_x509_certificate(await _shown(address, port, name, anything))
    # Trust is asked apart, so that a certificate nobody trusts can still be described.
    strict = ssl.create_default_context()
    strict.check_hostname = False
    distrust: str | None = None
    try:
        await _shown(address, port, name, strict)
    except ssl.SSLCertVerificationError as error:
        distrust = error.verify_message or "it cannot be verified"
    names = _names(found)
    return Certificate(names, found.not_valid_after_utc, any(_matches(each, name) for each in names), distrust)


async def _shown(address: str, port: int, name: str, context: ssl.SSLContext) -> bytes:
    async with asyncio.timeout(CONNECT_S):
        _, writer = await asyncio.open_connection(address, port, ssl=context, server_hostname=name)
    try:
        raw: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    if not raw:
        raise ValueError("it shows no certificate")
    return raw


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = held.get_values_for_type(x509.DNSName)
    return tuple(sorted({*names, *(str(each) for each in held.get_values_for_type(x509.IPAddress))}))


def _matches(pattern: str, name: str) -> bool:
    """Whether a certificate's *pattern* is for *name*; a star stands for one whole label (RFC 9525, section 6.3)."""
    pattern, name = pattern.lower().rstrip("."), name.lower()
    if pattern.startswith("*."):
        return "." in name and name.partition(".")[2] == pattern[2:]
    return pattern == name


def _doubts(certificate: Certificate, name: str) -> list[str]:
    found: list[str] = []
    if not certificate.covers:
        listed = ", ".join(certificate.names[:4]) or "no name at all"
        found.append(f"its certificate is not for {name} (it is for {listed}): clients of {name} would refuse it")
    left = (certificate.expires - datetime.now(UTC)).total_seconds() / 86400
    if left < 30:
        found.append(
            f"its certificate {'expired' if left < 0 else 'expires'} on {certificate.expires:%Y-%m-%d}: renew it"
        )
    if certificate.distrust:
        found.append(f"its certificate is not trusted on this machine ({certificate.distrust}): give its probes a ca")
    return found
