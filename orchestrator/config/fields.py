"""The kinds of value that fields of failover.yaml take: each says what is wrong and the cure, and has a JSON Schema."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Any, NoReturn, TypeVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from orchestrator.config.mistakes import did_you_mean
from orchestrator.core.signals import Effect
from orchestrator.core.topology import (
    Blocks,
    Connection,
    Mode,
    ProbeKind,
    Role,
    Secret,
    SecretSource,
    Unanswered,
    Ungoverned,
)

SAID = "said"
"""Type of errors whose message is the whole sentence."""

ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,6})?(?:ms|s|m|h|d))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}(?:/[a-z0-9][a-z0-9-]{0,62}){1,2}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRETIVE = re.compile(
    r"authori[sz]ation|api[-_]?key|access[-_]?key|subscription[-_]?key|function[-_]?key|token|secret|passw|credential|cookie",
    re.IGNORECASE,
)
_E = TypeVar("_E", bound=StrEnum)


def say(text: str) -> NoReturn:
    """Refuse a value with *text* as the whole sentence."""
    # Braces in the text would be taken for the template's own fields.
    raise PydanticCustomError(SAID, "{text}", {"text": text})


def quoted(value: object) -> str:
    """*value* as a sentence shows it: short, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if value.isprintable() else ascii(value)[1:-1]
        return f"'{text[:60]}{'...' if len(text) > 60 else ''}'"
    return {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(value), str(value)[:40])


def text_of(value: object, what: str) -> str:
    """*value* as text, or a mistake that says *what* belongs here."""
    if isinstance(value, str) and value:
        return value
    if value is None or value == "":
        say(f"is empty; write {what}")
    say(f"must be text, not {quoted(value)}; write {what}")


def looks_secret(name: str) -> bool:
    """Whether a header, option or query parameter of that name usually holds a secret."""
    return _SECRETIVE.search(name) is not None


def seconds(text: str) -> float:
    """``1m30s`` in seconds. ValueError when it is no duration."""
    if not DURATION.fullmatch(text):
        raise ValueError(text)
    return round(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), 6)


def spoken(value: float) -> str:
    """Seconds as people write them: ``1m30s``, ``800ms``; the inverse of ``seconds`` down to a microsecond."""
    if value == 0:
        return "0s"
    thousandths = round(value * 1000, 3)
    if thousandths < 1000:
        return f"{thousandths:g}ms"
    text, rest = "", round(value, 6)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count, rest = divmod(rest, size)
        text += f"{int(count)}{unit}" if count else ""
    return text + (f"{round(rest, 6):.6f}".rstrip("0").rstrip(".") + "s" if round(rest, 6) else "")


def _duration(low: float, high: float, *, off: bool = False) -> Any:  # a validator and a schema, for Annotated
    also = ", or off" if off else ""

    def check(value: object) -> float:
        if off and value in ("off", False, "0s", "0ms"):
            return 0.0
        if isinstance(value, int | float) and not isinstance(value, bool):
            say(f"{value} has no unit; write it like {value}s, {value}ms or {value}m")
        text = text_of(value, f"a duration like 800ms, 10s or 1m30s{also}")
        if text.replace(".", "", 1).isdigit():
            say(f"'{text}' has no unit; write it like {text}s, {text}ms or {text}m")
        try:
            found = seconds(text)
        except ValueError:
            say(f"{quoted(text)} is no duration; write it like 800ms, 10s or 1m30s{also}")
        if not low <= found <= high:
            say(
                f"{quoted(text)} is {'below' if found < low else 'above'} the bounds; "
                f"write {spoken(low)} to {spoken(high)}{also}"
            )
        return found

    schema: dict[str, Any] = {
        "type": "string",
        "pattern": f"^{DURATION.pattern}$",
        "examples": ["800ms", "10s", "1m30s"],
    }
    if off:
        schema = {"anyOf": [schema, {"enum": ["off", False]}]}
    return PlainValidator(check), WithJsonSchema(schema)


def _named(enum: type[_E]) -> Any:  # a validator and a schema, for Annotated
    names = [str(member) for member in enum]

    def check(value: object) -> _E:
        if isinstance(value, str) and value in names:
            return enum(value)
        say(f"must be one of {', '.join(names)}, not {quoted(value)}" + _close(value, names))

    return PlainValidator(check), WithJsonSchema({"type": "string", "enum": names})


def _close(value: object, names: Iterable[str]) -> str:
    hint = did_you_mean(value, names) if isinstance(value, str) else ""
    return f"; correct it{hint}" if "did you mean" in hint else "; choose one"


def _text(check: Callable[[object], Any], schema: dict[str, Any]) -> Any:  # a validator and a schema, for Annotated
    return PlainValidator(check), WithJsonSchema({"type": "string", **schema})


def _id(value: object) -> str:
    text = text_of(value, "an id like us-east")
    if not ID.fullmatch(text):
        say(f"{quoted(text)} cannot be an id; use 1 to 63 small letters, digits and hyphens, beginning with no hyphen")
    return text


def _domain(value: object) -> str:
    text = text_of(value, "a region like aws/us-east-1")
    if not DOMAIN.fullmatch(text):
        say(f"{quoted(text)} is no region; write cloud/region or cloud/region/zone, like aws/us-east-1")
    return text


def host_name(text: str) -> str | None:
    """*text* as a host name in small letters without trailing dot, or None when it cannot be one."""
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    return name if len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels) else None


def _host(value: object) -> str:
    text = text_of(value, "a host name like chat.example.com")
    name = host_name(text)
    if name is None:
        cure = "write it in ASCII (xn--...)" if not text.isascii() else "write one like chat.example.com"
        say(f"{quoted(text)} is no host name; {cure}")
    return name


def _url(value: object) -> str:
    text = text_of(value, "a URL like https://us.chat.example.com")
    say_url = (
        f"{quoted(text)} is no URL of an endpoint; write it like https://us.chat.example.com or http://192.0.2.1:8000"
    )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        say("the URL has a broken host or port; write it like https://us.chat.example.com:8443")
    if parts.username is not None or parts.password is not None:
        say("a URL must not carry a user or password; put them in a header as {env: NAME} or {file: PATH}")
    if parts.scheme not in {"http", "https", "tcp"} or not parts.hostname or port == 0:
        say(say_url)
    if not text.isprintable() or " " in text:
        say(say_url)
    if parts.scheme == "tcp" and (port is None or parts.path):
        say("a tcp URL is a host and a port; write it like tcp://192.0.2.1:9000")
    if parts.query or parts.fragment:
        say("an endpoint's URL ends with its path; put a query into the probe's path")
    if not _is_address(parts.hostname) and host_name(parts.hostname) is None:
        say(say_url)
    return text


def _webhook(value: object) -> str:
    text = text_of(value, "a URL like https://hooks.example.com/failover")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        say("the webhook's URL has a broken host or port; write it like https://hooks.example.com/failover")
    if (
        parts.username is not None
        or parts.password is not None
        or any(looks_secret(name) for name, _ in parse_qsl(parts.query))
    ):
        say("a webhook's URL must not carry a secret; sign it with secret: {env: NAME} or {file: PATH}")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not text.isprintable() or " " in text:
        say(f"{quoted(text)} is no URL; write it like https://hooks.example.com/failover")
    return text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _address(value: object) -> str:
    text = text_of(value, "an IP address like 192.0.2.1")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        cure = "; for a name write {cname: " + text + "}" if host_name(text) and not text[-1:].isdigit() else ""
        say(f"{quoted(text)} is no IP address; write one like 192.0.2.1 or 2001:db8::1{cure}")


def _server(value: object) -> str:
    text = text_of(value, "a server like 192.0.2.53:53")
    host, _, port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "53")
    address = host.removeprefix("[").removesuffix("]")
    if not _is_address(address):
        say(
            f"{quoted(text)} is no server; write an IP address and a port like 192.0.2.53:53 or [2001:db8::53]:53, "
            "since a failover must not wait for a name to resolve"
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        say(f"{quoted(text)} has no port from 1 to 65535; write it like 192.0.2.53:53")
    shown = str(ipaddress.ip_address(address))
    return f"[{shown}]:{int(port)}" if ":" in shown else f"{shown}:{int(port)}"


def _secret(value: object) -> Secret:
    if isinstance(value, dict) and len(value) == 1:
        (source, name), *_ = value.items()
        if source in {"env", "file"} and isinstance(name, str) and name and name.isprintable():
            return Secret(SecretSource(source), name)
    if isinstance(value, str):
        say("a secret must not stand in this file; name where it is: {env: NAME} or {file: PATH}")
    say("must be {env: NAME} or {file: PATH}, with one name; write where the secret is")


_SECRET_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "env": {"type": "string", "description": "Environment variable on the worker that uses the secret."},
        "file": {"type": "string", "description": "File on the worker that uses the secret."},
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}


def _header_name(value: object) -> str:
    text = text_of(value, "a header name like Accept")
    if not _TOKEN.fullmatch(text):
        say(f"{quoted(text)} is no header name; use letters, digits and hyphens")
    return text


def _header_value(value: object) -> str | Secret:
    if isinstance(value, dict):
        return _secret(value)
    if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).isprintable():
        return str(value)
    # The value is not shown: it may be a secret in the wrong shape.
    say("a header's value must be one line of text, {env: NAME} or {file: PATH}; write one of them")


def _scalar(value: object) -> str:
    if isinstance(value, dict | list) or value is None:
        say(f"must be text, a number, true or false, not {quoted(value)}; write one value")
    return plain(value)


def _host_header(value: object) -> str:
    text = text_of(value, "a host name like chat.example.com")
    name, _, port = text.partition(":")
    if port:
        usable = port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536
        return f"{_host(name)}:{int(port)}" if usable else _host(text)
    return text if _is_address(text) else _host(text)


def _path(value: object) -> str:
    text = text_of(value, "a path like /health")
    if not text.startswith("/") or not text.isprintable() or " " in text:
        say(f"{quoted(text)} is no path; begin it with / and leave out spaces")
    return text


def _line(value: object) -> str:
    return text_of(value, "some text in quotes")


def plain(value: object) -> str:
    """A YAML scalar as text, true and false in JSON's words."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def book_value(value: object) -> str:
    """The value of a runbook's parameter as a person types it: a list becomes ``5,25,100``."""
    if isinstance(value, list) and value and not any(isinstance(each, dict | list | type(None)) for each in value):
        return ",".join(plain(each) for each in value)
    return _scalar(value)


def _person(value: object) -> str:
    text = text_of(value, "a name like alice or alice@example.com")
    if not text.isprintable() or text != text.strip() or len(text) > 100:
        say(f"{quoted(text)} cannot name a person; write one line of at most 100 characters, like alice@example.com")
    return text


def _status(value: object) -> str:
    text = str(value).lower() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[1-5](?:xx|\d\d)", text):
        say(f"{quoted(value)} is no status; write a code like 204 or a class like 2xx")
    return text


def _as_name(value: object) -> float:
    if isinstance(value, bool):
        return 30.0 if value else 0.0
    if isinstance(value, dict) and set(value) == {"interval"}:
        check = _duration(1, 86400)[0].func
        return float(check(value["interval"]))
    say("must be true, false or {interval: 30s}; write one of them")


_DURATION_SCHEMA = {"type": "string", "pattern": f"^{DURATION.pattern}$"}
_SCALAR = {"type": ["string", "number", "boolean"]}

Id = Annotated[str, *_text(_id, {"pattern": f"^{ID.pattern}$"})]
DomainName = Annotated[str, *_text(_domain, {"pattern": f"^{DOMAIN.pattern}$", "examples": ["aws/us-east-1"]})]
HostName = Annotated[str, *_text(_host, {"format": "hostname"})]
Url = Annotated[str, *_text(_url, {"format": "uri", "pattern": "^(?:https?|tcp)://"})]
WebhookUrl = Annotated[str, *_text(_webhook, {"format": "uri", "pattern": "^https?://"})]
Address = Annotated[str, *_text(_address, {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})]
Server = Annotated[str, *_text(_server, {"examples": ["192.0.2.53:53", "[2001:db8::53]:53"]})]
SecretPointer = Annotated[Secret, PlainValidator(_secret), WithJsonSchema(_SECRET_SCHEMA)]
HeaderName = Annotated[str, PlainValidator(_header_name)]
HeaderValue = Annotated[
    str | Secret,
    PlainValidator(_header_value),
    WithJsonSchema({"anyOf": [{"type": ["string", "number"]}, _SECRET_SCHEMA]}),
]
Scalar = Annotated[str, PlainValidator(_scalar), WithJsonSchema(_SCALAR)]
BookValue = Annotated[
    str,
    PlainValidator(book_value),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]}),
]
Person = Annotated[str, *_text(_person, {"examples": ["alice", "alice@example.com"]})]
HostHeader = Annotated[str, *_text(_host_header, {})]
UrlPath = Annotated[str, *_text(_path, {"pattern": "^/"})]
Text = Annotated[str, *_text(_line, {})]
Status = Annotated[
    str, PlainValidator(_status), WithJsonSchema({"type": ["string", "integer"], "examples": ["2xx", 204]})
]
AsName = Annotated[
    float,
    PlainValidator(_as_name),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "boolean"},
                {
                    "type": "object",
                    "properties": {"interval": _DURATION_SCHEMA},
                    "required": ["interval"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
Interval = Annotated[float, *_duration(0.1, 86400)]
Timeout = Annotated[float, *_duration(0.01, 600)]
FastConfirm = Annotated[float, *_duration(0.02, 60, off=True)]
Latency = Annotated[float, *_duration(0.001, 600)]
Ttl = Annotated[float, *_duration(0, 604800)]
Objective = Annotated[float, *_duration(1, 86400)]
Pause = Annotated[float, *_duration(0, 86400)]
Patience = Annotated[float, *_duration(10, 86400)]
TellTimeout = Annotated[float, *_duration(0.1, 60)]
Bake = Annotated[float, *_duration(1, 7 * 86_400)]
KindName = Annotated[ProbeKind, *_named(ProbeKind)]
BlocksName = Annotated[Blocks, *_named(Blocks)]
EffectName = Annotated[Effect, *_named(Effect)]
RoleName = Annotated[Role, *_named(Role)]
ConnectionName = Annotated[Connection, *_named(Connection)]
ModeName = Annotated[Mode, *_named(Mode)]
UngovernedName = Annotated[Ungoverned, *_named(Ungoverned)]
UnansweredName = Annotated[Unanswered, *_named(Unanswered)]
