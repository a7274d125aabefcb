"""What is known of the store of a document beside its place."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.topology import Secret


@dataclass(frozen=True, slots=True)
class Settings:
    """Empty: the store's own default."""

    region: str = ""
    """AWS: where the bucket lives."""
    profile: str = ""
    """AWS: of the shared configuration."""
    role: str = ""
    """AWS: to be assumed."""
    credentials: str = ""
    """Google: the path of a file."""
    impersonate: str = ""
    """Google: a service account."""
    identity: str = ""
    """Azure: the client id of a managed identity."""
    endpoint: str = ""
    """Another address of the store's API, without a slash at the end. Plain http gets no credentials."""
    login: Secret | None = None
    """Where the value of an ``Authorization`` header is found."""
