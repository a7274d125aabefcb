"""A question in words: one probe of one endpoint made ready to be sent again and again."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Connection, Header, ProbeKind, ProbeSpec, Secret
from providers.secrets import resolve

PORTS = {"http": 80, "https": 443}
CHAT_PATH = "/v1/chat/completions"
CHAT_PROMPT = "Say OK."
CHAT_TOKENS = 16
AGENT = "failover-prober"
LONGEST_LIGHT = 8192
"""Bytes of a request that the send buffer of a new connection takes for certain."""

_BREAKS_LINE = re.compile(r"[\x00-\x20\x7f]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a question goes and under which names."""

    host: str
    port: int
    tls: bool
    authority: str
    """The Host header."""
    sni: str
    """The name sent in the TLS handshake and looked for in the certificate."""
    path: str


def target_of(spec: ProbeSpec, url: str, name: str) -> Target:
    """Where *spec* is asked at *url*, for the service called *name*. Raises BadInput for a url that cannot be asked."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadInput(f"endpoint url '{url}': {error}; write scheme://host:port") from error
    port = port if port is not None else PORTS.get(parts.scheme)
    if not parts.hostname or port is None or parts.scheme not in {"http", "https", "tcp"}:
        raise BadInput(f"endpoint url '{url}' cannot be probed; write http://, https:// or tcp:// with host and port")
    moving = name.rstrip(".")
    shown = moving if spec.as_name else parts.hostname
    authority = spec.host or _authority(shown, port, parts.scheme)
    sni = spec.sni or (moving if spec.as_name else parts.hostname)
    tls = parts.scheme == "https" and spec.kind is not ProbeKind.TCP
    return Target(parts.hostname, port, tls, authority, sni.rstrip("."), _path(spec, parts))


def _authority(host: str, port: int, scheme: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return shown if PORTS.get(scheme) == port else f"{shown}:{port}"


def _path(spec: ProbeSpec, parts: SplitResult) -> str:
    asked = CHAT_PATH if spec.kind is ProbeKind.CHAT and spec.path == "/" else spec.path
    base = parts.path.rstrip("/")
    if not base:
        return asked
    if asked == "/":
        return parts.path
    if base.endswith("/v1") and asked.startswith("/v1/"):
        return base + asked[len("/v1") :]
    return base + asked


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _statuses(patterns: tuple[str, ...]) -> frozenset[int]:
    """The status codes that ``204`` and ``2xx`` mean."""
    found: set[int] = set()
    for pattern in patterns:
        if pattern[1:].lower() == "xx" and pattern[:1].isdigit():
            found.update(range(int(pattern[0]) * 100, int(pattern[0]) * 100 + 100))
        elif pattern.isdigit():
            found.add(int(pattern))
        else:
            raise BadInput(f"expected status '{pattern}' is neither a code nor a class; write 204 or 2xx")
    return frozenset(found)


class Wording:
    """What is sent for one probe of one endpoint, and which statuses are good. Raises BadInput for nonsense."""

    __slots__ = (
        "good_statuses",
        "headless",
        "keeps",
        "light",
        "literal",
        "name",
        "plain",
        "ready",
        "spec",
        "target",
        "url",
        "wants_body",
    )

    def __init__(self, spec: ProbeSpec, url: str, name: str) -> None:
        self.spec = spec
        self.url = url
        self.name = name
        self.target = target_of(spec, url, name)
        self.literal = _literal(self.target.host)
        self.good_statuses = _statuses(spec.expect.status)
        self.wants_body = spec.kind is ProbeKind.HTTP and (
            spec.expect.body is not None or spec.expect.json_path is not None
        )
        self.headless = spec.kind is ProbeKind.HTTP and spec.method.upper() == "HEAD"
        expect = spec.expect
        self.plain = (
            spec.kind is ProbeKind.HTTP
            and not (self.target.tls or self.wants_body or self.headless)
            and expect.latency_s is None
        )
        """A good status is all that it takes."""
        self.keeps = spec.kind is ProbeKind.HTTP and spec.connection is Connection.KEPT_ALIVE and not self.headless
        secret = any(isinstance(header.value, Secret) for header in spec.headers)
        self.ready: tuple[bytes, bytes] | None = None if secret else (self._write(keep=False), self._write(keep=True))
        longest = len(self.ready[0]) if self.ready is not None else 0
        self.light = spec.kind is not ProbeKind.CHAT and not self.target.tls and longest <= LONGEST_LIGHT
        """No handshake and no long request: it may go over a bare socket."""

    def request(self, *, keep: bool) -> bytes:
        """The bytes to send. Secrets are read now, so that a rotated one is used at once. Raises BadInput."""
        return self.ready[keep] if self.ready is not None else self._write(keep=keep)

    def _write(self, *, keep: bool) -> bytes:
        spec, target = self.spec, self.target
        chat = spec.kind is ProbeKind.CHAT
        for part in (spec.method, target.path, target.authority):
            if not part or _BREAKS_LINE.search(part):
                raise BadInput(
                    f"probe {spec.id}: {part!r} does not fit a request line; take out spaces and line breaks"
                )
        method = "POST" if chat else spec.method.upper()
        body = _chat_body(spec) if chat else b""
        fields = {
            "host": ("Host", target.authority),
            "user-agent": ("User-Agent", AGENT),
            "accept": ("Accept", "text/event-stream" if chat else "*/*"),
            "connection": ("Connection", "keep-alive" if keep else "close"),
        }
        if chat or self.wants_body:
            # Without it any coding would do (RFC 9110 section 12.5.3).
            fields["accept-encoding"] = ("Accept-Encoding", "identity")
        if chat:
            fields["content-type"] = ("Content-Type", "application/json")
        if chat or method in {"POST", "PUT", "PATCH"}:
            fields["content-length"] = ("Content-Length", str(len(body)))
        for header in spec.headers:
            fields[header.name.lower()] = (header.name, _value(header))
        lines = [f"{method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.values())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _value(header: Header) -> str:
    value = resolve(header.value) if isinstance(header.value, Secret) else header.value
    if _CONTROL.search(value) or _CONTROL.search(header.name):
        raise BadInput(f"probe header {header.name!r} holds a line break or control character; take it out")
    return value


def _chat_body(spec: ProbeSpec) -> bytes:
    question: dict[str, object] = {
        "messages": [{"role": "user", "content": spec.prompt or CHAT_PROMPT}],
        "max_tokens": spec.max_tokens or CHAT_TOKENS,
        "stream": True,
    }
    if spec.model is not None:
        question["model"] = spec.model
    return json.dumps(question).encode()
