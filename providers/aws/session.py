"""Clients of AWS: one for each service, region and right, made when it is first used and kept.

A client tries once (``providers.calls`` tries again), and waits no longer than a call may take. Credentials come from
the SDK's default chain, from a profile of the shared configuration, or from a role that those may assume. A role is
assumed at the region's own STS, as the global one lives in us-east-1 alone
(https://docs.aws.amazon.com/sdkref/latest/guide/feature-sts-regionalized-endpoints.html).
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

from botocore.config import Config  # type: ignore[import-untyped]  # the SDK ships no types
from botocore.credentials import AssumeRoleCredentialFetcher  # type: ignore[import-untyped]
from botocore.credentials import DeferredRefreshableCredentials as Renewed
from botocore.exceptions import NoCredentialsError  # type: ignore[import-untyped]
from botocore.loaders import create_loader  # type: ignore[import-untyped]
from botocore.session import Session  # type: ignore[import-untyped]
from botocore.utils import JSONFileCache, SSOTokenLoader  # type: ignore[import-untyped]

from providers.calls import CALL_S, CONNECT_S, THREADS

ROLE_SESSION = "failover"
"""What CloudTrail calls a session of an assumed role."""
_SSO_CACHE = "~/.aws/sso/cache"
"""Where ``aws sso login`` puts its tokens."""
_ANYBODY = {"aws_access_key_id": "anonymous", "aws_secret_access_key": "anonymous"}
_KEPT = 256
"""So many clients are kept. Those of credentials that were written anew since are dropped by and by."""


@dataclass(frozen=True, slots=True)
class _Way:
    """What makes one client another."""

    service: str
    region: str
    profile: str
    role: str
    endpoint: str
    written: tuple[float, ...]
    """When the shared files were written."""


class Client(Protocol):
    """A client of the SDK, whose methods are made at run time from the service's model."""

    meta: Any

    def __getattr__(self, operation: str) -> Any: ...


def client(service: str, *, region: str, profile: str = "", role: str = "", endpoint: str = "") -> Client:
    """The one client of these arguments in this process; made anew when the shared credentials have been written anew.

    Making one computes for tens of milliseconds and may ask for credentials: call this where it may block, inside of
    ``Line.read`` and ``Line.write``. *endpoint* overrides the address: a private endpoint, an emulator. Plain http gets
    no credentials that are good for anything. Raises what ``errors.translate`` knows.
    """
    way = _Way(service, region, profile, role, endpoint, _written())
    with _lock(way):
        return _client(way)


def expires(*, profile: str = "") -> datetime | None:
    """When the credentials run out that a *person* must renew: a single sign-on, or dated keys in the environment.

    None: they have no end, the SDK renews them (a role, a metadata service, a process), or they do not say. It may read
    files and ask a metadata service: call it where it may block. Raises what ``errors.translate`` knows.
    """
    session = _session(profile)
    credentials = session.get_credentials()
    if credentials is None:
        raise NoCredentialsError
    match credentials.method:
        case "sso":
            return _signed_on_until(session)
        case "env":
            expiry: datetime | None = getattr(credentials, "_expiry_time", None)
            return expiry
        case _:
            return None


@lru_cache(maxsize=_KEPT)
def _lock(_way: _Way) -> threading.Lock:
    """Held while this client is made, so that it is made once. Each has a session of its own, which is what the SDK
    wants for making clients in threads; whose credentials are slow to come holds up nobody else."""
    return threading.Lock()


@lru_cache(maxsize=_KEPT)
def _client(to: _Way) -> Client:
    session = _session(to.profile)
    endpoint = to.endpoint
    made: Client
    if not endpoint.startswith("http://"):
        if to.role:
            session.register_component("credential_provider", _Assumed(to.role, to.region, to.profile))
        made = session.create_client(to.service, region_name=to.region, endpoint_url=endpoint or None, config=_config())
        if not made.meta.endpoint_url.startswith("http://"):
            # A client without credentials must not be kept: it would not see those that come later.
            if session.get_credentials() is None:
                raise NoCredentialsError
            return made
        endpoint = made.meta.endpoint_url  # AWS_ENDPOINT_URL, or the shared configuration, says so
    made = session.create_client(to.service, region_name=to.region, endpoint_url=endpoint, config=_config(), **_ANYBODY)
    return made


def _session(profile: str) -> Session:
    session = Session(profile=profile or None)
    # Reading a service's model is most of the work of making a client.
    session.register_component("data_loader", _models())
    return session


@cache
def _models() -> Any:
    return create_loader()


def _config() -> Config:
    return Config(
        connect_timeout=CONNECT_S,
        read_timeout=CALL_S,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=THREADS,
        tcp_keepalive=True,
        user_agent_extra="failover-orchestrator",
    )


def _written() -> tuple[float, ...]:
    """When the shared files were written: whoever rotates keys there needs to restart nothing."""
    files = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    paths = [Path(file).expanduser() for file in files]
    return tuple(path.stat().st_mtime if path.exists() else 0.0 for path in paths)


@dataclass(frozen=True, slots=True)
class _Assumed:
    """A credential provider of the SDK: *role*, assumed with what the chain has, at the STS of *region*."""

    role: str
    region: str
    profile: str

    def load_credentials(self) -> Renewed:
        session = _session(self.profile)
        session.set_config_variable("sts_regional_endpoints", "regional")
        base = session.get_credentials()
        if base is None:
            raise NoCredentialsError

        def sts(service: str, **more: Any) -> Any:  # as the SDK's fetcher calls it
            return session.create_client(service, **{**more, "region_name": self.region, "config": _config()})

        fetcher = AssumeRoleCredentialFetcher(sts, base, self.role, extra_args={"RoleSessionName": ROLE_SESSION})
        return Renewed(refresh_using=fetcher.fetch_credentials, method="assume-role")


def _signed_on_until(session: Session) -> datetime | None:
    configured = session.get_scoped_config()
    name, start = configured.get("sso_session"), configured.get("sso_start_url", "")
    if name:
        start = session.full_config.get("sso_sessions", {}).get(name, {}).get("sso_start_url", "")
    token = SSOTokenLoader(JSONFileCache(str(Path(_SSO_CACHE).expanduser())))(start, session_name=name)
    # A token that the SDK refreshes lasts as long as its registration.
    until = token.get("registrationExpiresAt") if "refreshToken" in token else token["expiresAt"]
    return datetime.fromisoformat(until) if until else None
