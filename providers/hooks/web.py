"""One HTTP request of a runbook, carried out once per effect token as far as the other side keeps its word.

The key stands in ``Idempotency-Key``, as payment APIs have it: whoever sees it twice does the thing once and
answers the same.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from orchestrator.core.topology import Secret
from providers import secrets
from providers.base import Refused, Throttled, Transient
from runbooks.plan import Hook

QUOTED = 200
"""Characters of an answer that an error repeats at most."""
READ = 8192
"""Bytes of an answer that are read at most."""
AGAIN = frozenset({429, 502, 503, 504})
"""Statuses that ask for another try: too many requests, and gateways without the server behind them."""
_OURS = frozenset({"content-type", "idempotency-key"})
"""Headers that no runbook sets."""
_SHORT = 4
"""A word of a secret this short is not hidden: it would take half of every text with it."""


async def call(hook: Hook, facts: Mapping[str, object], *, key: str, within_s: float) -> str:
    """Ask *hook*, telling *facts* in JSON beside its own fields; what it answered, in a phrase.

    *within_s* covers all of it. A redirect is an answer like any other and is not followed. Raises Transient for
    what may work next time, Refused for a no, BadInput for a secret that is not there. A server that says when to come
    back (Retry-After, RFC 9110 section 10.2.3) is left in peace until then, where the time allows it.
    """
    until = time.monotonic() + within_s
    hidden = tuple(secrets.resolve(each.value) for each in hook.headers if isinstance(each.value, Secret))
    headers = [
        (each.name, secrets.resolve(each.value) if isinstance(each.value, Secret) else each.value)
        for each in hook.headers
        if each.name.lower() not in _OURS
    ]
    headers += [("Content-Type", "application/json"), ("Idempotency-Key", key)]
    # What the run says of itself comes last: no field of the runbook may contradict it.
    body = json.dumps({**dict(hook.data), **facts}).encode()
    where = f"{hook.method} {_place(hook.url)}"
    try:
        async with asyncio.timeout(within_s):
            answer = await _ask(hook, headers, body, within_s)
    except TimeoutError:
        raise Transient(f"{where} gave no answer within {within_s:g} s") from None
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, ValueError) as error:
        # The text of such an error may repeat a header, and a header may be a secret.
        raise Refused(f"{where} cannot be asked ({type(error).__name__}): mend the hook's url and headers") from None
    except httpx.HTTPError as error:
        raise Transient(f"{where} cannot be reached ({_trouble(error)})") from None
    if any(fits(answer.status, each) for each in hook.status):
        return f"{where} answered {answer.status}"
    quoted = clean(answer.text, hidden, cut=answer.cut)
    said = f"{where} answered {answer.status}" + (f": {quoted}" if quoted else "")
    if answer.status not in AGAIN:
        raise Refused(said)
    if 0 < answer.again_s < until - time.monotonic():
        await asyncio.sleep(answer.again_s)
    raise Throttled(said) if answer.status == 429 else Transient(said)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    text: str
    """The beginning of the body."""
    cut: bool
    """The body went on."""
    again_s: float
    """When the server wants to be asked again; 0: it does not say."""


async def _ask(hook: Hook, headers: list[tuple[str, str]], body: bytes, within_s: float) -> _Answer:
    async with (
        httpx.AsyncClient(timeout=within_s, follow_redirects=False) as client,
        client.stream(hook.method, hook.url, content=body, headers=_encoded(headers)) as response,
    ):
        found = b""
        async for piece in response.aiter_bytes():
            found += piece
            if len(found) > READ:
                break
        text = found[:READ].decode("utf-8", "replace")
        return _Answer(response.status_code, text, len(found) > READ, _again_s(response.headers.get("retry-after", "")))


def _again_s(said: str) -> float:
    """Seconds in a Retry-After. A date is taken for none: it would compare our clock with the server's."""
    return float(said) if said.isascii() and said.isdigit() and len(said) <= 6 else 0.0


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    # A secret with a letter beyond ASCII is sent as it is, not refused with its text in the error.
    return [(name.encode(), value.encode()) for name, value in headers]


def fits(status: int, wanted: str) -> bool:
    """Whether *status* is *wanted*: a code (``204``) or a class (``2xx``)."""
    return str(status) == wanted or (wanted.endswith("xx") and wanted[0] == str(status)[0])


def clean(text: str, hidden: tuple[str, ...], *, cut: bool = False) -> str:
    """The beginning of *text* on one line, printable and without what is *hidden*, in whatever form it comes.

    *cut*: the text went on, and may end in the middle of a secret.
    """
    forms = sorted({form for secret in hidden for form in _forms(secret)}, key=len, reverse=True)
    if cut and forms:
        text = text[: -len(forms[0])]
    for form in forms:
        text = text.replace(form, "***")
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= QUOTED else line[: QUOTED - 3] + "..."


def _forms(secret: str) -> set[str]:
    """What a server may have made of *secret*: its words, escaped for JSON or for an address."""
    words = {word for word in secret.split() if len(word) > _SHORT} | {secret}
    return {form for word in words for form in (word, json.dumps(word)[1:-1], quote(word), quote(word, safe=""))}


def _place(url: str) -> str:
    """*url* without what may be secret in it: user, query, fragment."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return "the hook's url"
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.host}{port}{parts.path}"


def _trouble(error: httpx.HTTPError) -> str:
    match error:
        case httpx.ConnectError():
            return "no connection"
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.ReadError() | httpx.RemoteProtocolError():
            return "the connection was lost before the answer"
        case _:
            return type(error).__name__
