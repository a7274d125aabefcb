"""Who we are at Google, and the ways to its APIs: one for each account and address, made when first used and kept.

Credentials come from the SDK's default chain, from a file that a person names, or from a service account that those may
impersonate. A service account's key signs its own tokens, so that no other service of Google is needed for them
(https://google.aip.dev/auth/4111); a workload identity and an impersonated account need Google's token services, which
are global. Plain http gets no credentials at all: it is an emulator, or a mistake.

A way tries once: ``providers.calls`` tries again.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google.auth
import requests
from google.api_core.exceptions import from_http_response
from google.auth import aws, identity_pool, impersonated_credentials
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account

from orchestrator.core.errors import BadInput
from providers.base import NotFound, Refused
from providers.calls import CALL_S, CONNECT_S, Line, line
from providers.gcp.errors import needing, translate

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""What tokens are good for; the account's roles say what they may."""
TOKEN_S = 3600
"""How long an impersonated account is taken at a time."""
Json = dict[str, Any]
"""An object as an API says it."""
_LOCK = threading.Lock()
"""Making credentials and ways is done once; using them is safe in threads."""


@dataclass(frozen=True, slots=True)
class Access:
    """How an API is reached, and as whom: the options that all of Google's providers share."""

    credentials: str = ""
    """The path of a file: a service account's key, or the configuration of a workload identity."""
    impersonate: str = ""
    """The e-mail address of a service account."""
    endpoint: str = ""
    """Another address of the API: a private endpoint, or an emulator. Empty: Google's own."""

    @classmethod
    def of(cls, options: Iterable[tuple[str, str]]) -> Access:
        """The access that *options* say."""
        given = dict(options)
        endpoint = given.get("endpoint", "")
        if endpoint and "://" not in endpoint:
            endpoint = f"https://{endpoint}"
        return cls(given.get("credentials", ""), given.get("impersonate", ""), endpoint)

    @property
    def bare(self) -> bool:
        """Whether the address is plain http, which gets no credentials."""
        return self.endpoint.startswith("http://")

    @property
    def host(self) -> str:
        """``host`` or ``host:port`` of the option endpoint; empty where it is not given."""
        return urlsplit(self.endpoint).netloc

    def line(self, name: str) -> Line:
        """The line to what people call *name* ("Cloud Run in europe-west1")."""
        return line(f"{name} at {self.host}" if self.endpoint else name, translate)


def required(options: Iterable[tuple[str, str]], *names: str, of: str) -> tuple[str, ...]:
    """The values of these options. Raises BadInput where one is missing: the topology was not checked."""
    given = dict(options)
    for name in names:
        if not given.get(name):
            raise BadInput(f"{of} needs the option {name}; add it")
    return tuple(given[name] for name in names)


class Rest:
    """JSON over HTTP at one of Google's APIs, for what no typed client says."""

    def __init__(self, base: str, session: requests.Session) -> None:
        self._base = base.rstrip("/")
        self._session = session

    def call(
        self, method: str, path: str, *, permission: str, query: dict[str, str] | None = None, body: Any = None
    ) -> Json:
        """The answer's JSON. *permission* is the right that it takes. Raises what ``errors.translate`` knows."""
        return needing(permission, lambda: self._call(method, path, query, body))()

    def _call(self, method: str, path: str, query: dict[str, str] | None, body: Any) -> Json:
        answer = self._session.request(
            method,
            self._base + path,
            params=query,
            json=body,
            timeout=(CONNECT_S, CALL_S),
            allow_redirects=False,
        )
        if answer.status_code >= 300:
            raise from_http_response(answer)  # type: ignore[no-untyped-call]  # the SDK's own
        document = answer.json()
        if not isinstance(document, dict):
            raise requests.exceptions.InvalidJSONError("no object")
        return document


def rest(base: str, access: Access) -> Rest:
    """The way to the API at *base*, or at the option endpoint. Call it where it may block: it may look for
    credentials. Raises what ``errors.translate`` knows, NotFound and Refused for the file of the option credentials.
    """
    with _LOCK:
        return _rest(access.endpoint or base, access, _version(access))


def account(access: Access) -> Credentials:
    """The credentials of *access*. Call it where it may block. Raises as ``rest``."""
    with _LOCK:
        return _account(access, _version(access))


def ready(credentials: Credentials, host: str) -> None:
    """Fetch a token where none is good: gRPC would tell a failure to do so as a service that is away.

    Raises what ``errors.translate`` knows.
    """
    request = functools.partial(_tokens(), timeout=CALL_S)
    credentials.before_request(request, "POST", f"https://{host}/", {})  # type: ignore[no-untyped-call]


@cache
def _tokens() -> Request:
    """The way to who gives out tokens."""
    return Request()


def _version(access: Access) -> int:
    """Changes when the file is replaced, so that a new key is taken without a restart."""
    try:
        return Path(access.credentials).expanduser().stat().st_mtime_ns if access.credentials else 0
    except OSError:
        return 0


@cache
def _rest(base: str, access: Access, version: int) -> Rest:
    if access.bare:
        bare = requests.Session()
        bare.trust_env = False  # no password of a .netrc, no proxy
        return Rest(base, bare)
    credentials = _account(access, version)
    return Rest(base, AuthorizedSession(credentials, refresh_timeout=CALL_S))  # type: ignore[no-untyped-call]


@cache
def _account(access: Access, _: int) -> Credentials:
    source: Any = _of_file(access.credentials) if access.credentials else google.auth.default(scopes=[SCOPE])[0]
    if isinstance(source, service_account.Credentials):
        source = source.with_always_use_jwt_access(True)  # type: ignore[no-untyped-call]
    if access.impersonate:
        taken = {"target_principal": access.impersonate, "target_scopes": [SCOPE], "lifetime": TOKEN_S}
        source = impersonated_credentials.Credentials(source, **taken)  # type: ignore[no-untyped-call]
    credentials: Credentials = source
    return credentials


def _of_file(path: str) -> Any:
    """Credentials of a kind that we know: the SDK's loader of any kind would run programs that a file names."""
    try:
        info = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
        kind = info["type"]
    except OSError as error:
        why = (error.strerror or "it cannot be read").lower()
        raise NotFound(f"the credentials file {path} cannot be read ({why}); mend the option credentials") from None
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{path} is no credentials file of Google; mend the option credentials") from None
    where = info.get("credential_source") or {}
    try:
        if kind == "service_account":
            return service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
        if kind == "external_account" and "environment_id" in where:
            return aws.Credentials.from_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
        if kind == "external_account" and not {"file", "url", "certificate"}.isdisjoint(where):
            return identity_pool.Credentials.from_info(info, scopes=[SCOPE])  # type: ignore[no-untyped-call]
    except (ValueError, DefaultCredentialsError):
        raise Refused(f"{path} is no complete credentials file of Google; mend the option credentials") from None
    raise Refused(
        f"{path} holds credentials of a kind that is not taken ({str(kind)[:40]}); name a service account's key or a "
        "workload identity whose token is a file or an address"
    )
