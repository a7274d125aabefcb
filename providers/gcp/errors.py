"""What Google Cloud answers, over gRPC and over REST, as errors of the seam.

Google tells some things by the status alone, some by a reason beside it (REST: ``errors``, both: ``ErrorInfo``), and a
few, like the quota that Cloud Run has run out of, in its sentence only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from providers.base import (
    Forbidden,
    NoCapacity,
    NotFound,
    ProviderError,
    Refused,
    Throttled,
    Transient,
    Unauthenticated,
)
from providers.calls import unknown

T = TypeVar("T")

_SAID = 200
"""Of Google's own sentence so many characters are told."""
_RENEW = (
    "give this process a service account or a workload identity, name a file in the option credentials, "
    "or run gcloud auth application-default login"
)
_PERMISSION = re.compile(
    r"\b(?!\w+\.googleapis)([a-z][a-z0-9]+\.[a-zA-Z]+\.[a-zA-Z]+)\b['\"]? (?:permission )?"
    r"(?:denied|is required|on )"
)
_VIOLATED = re.compile(r"(\w+) requested: (\d+) allowed: (\d+)")
"""Cloud Run's quota: ``CpuAllocPerProjectRegion requested: 60000 allowed: 20000``."""
_EXCEEDED = re.compile(r"(?:quota metrics exceed quota limits|quotas are exceeded): ([\w./-]+)")
"""Vertex AI's: ``quota metrics exceed quota limits: aiplatform.googleapis.com/custom_model_serving_nvidia_l4_gpus``."""
_RATES = re.compile(r"rate_?limit|per (second|minute|day)|requests|queries", re.IGNORECASE)
_RESOURCES = re.compile(r"\b(cpus?|gpus?|memory|instances?|replicas?|accelerators?|nodes?|stockout)\b", re.IGNORECASE)
_NONE_LEFT = re.compile(
    r"stockout|exhausted|unavailable|not available|not enough|insufficient|out of capacity|no capacity", re.IGNORECASE
)
_PASSING = re.compile(
    r"""["']code["']: ?5\d\d|\b(UNAVAILABLE|INTERNAL|DEADLINE_EXCEEDED|server_error|temporarily_unavailable)\b"""
)
"""What a token service says of a failure of its own."""
_THROTTLES = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "dailyLimitExceeded", "RATE_LIMIT_EXCEEDED"})
_NOT_ENABLED = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})


class Overtaken(Refused):
    """It was no longer as the write expected it: who wrote looks again and judges. Never leaves these providers."""


class Denied(Exception):
    """A refusal for want of a right, together with the right that the call needs."""

    def __init__(self, permission: str, error: api.GoogleAPICallError) -> None:
        super().__init__(permission)
        self.permission = permission
        self.error = error


def needing(permission: str, do: Callable[[], T]) -> Callable[[], T]:
    """*do*, whose refusal names *permission*: Cloud DNS says no more than "Forbidden"."""

    def asked() -> T:
        try:
            return do()
        except api.Forbidden as error:
            raise Denied(permission, error) from None

    return asked


def translate(error: Exception, what: str) -> ProviderError:
    """*error*, met while doing *what* ("read the service chat"), as an error that says what the caller does.

    Google's own sentence is told where it is about what we asked for, never one about credentials.
    """
    if isinstance(error, Denied):
        return _answered(error.error, what, error.permission)
    if isinstance(error, api.GoogleAPICallError):
        return _answered(error, what, "")
    if isinstance(error, auth.GoogleAuthError):
        return _unauthenticated(error, what)
    if isinstance(error, (requests.exceptions.RequestException, api.RetryError)):
        return _unanswered(error, what)
    return unknown(error, what)


def says(error: api.GoogleAPICallError) -> str:
    """Google's own sentence about a refusal, on one line and not longer than people read."""
    return _short(_sentence(error)) or "it does not say why"


def violated(text: str) -> str:
    """The quotas that *text* says are too small: ``CpuAllocPerProjectRegion (60000 of 20000)``; empty: none."""
    known = [f"{name} ({asked} of {allowed})" for name, asked, allowed in _VIOLATED.findall(text)]
    return ", ".join(known or _EXCEEDED.findall(text))


def shortage(text: str) -> str:
    """Why there is no room, by a status that says so after a level was accepted; empty where it speaks of else."""
    short = violated(text)
    if short:
        return f"the quota is too small: {short}"
    return _short(text) if _RESOURCES.search(text) and _NONE_LEFT.search(text) else ""


def _answered(error: api.GoogleAPICallError, what: str, permission: str) -> ProviderError:  # noqa: PLR0911 - a table
    text, reasons, code = _sentence(error), _reasons(error), int(error.code or 0)
    short = violated(text)
    if short:
        return NoCapacity(
            f"cannot {what}: the quota is too small: {short}; ask Google for more, or choose another place"
        )
    if reasons & _THROTTLES or code == api.TooManyRequests.code:
        if not reasons & _THROTTLES and _RESOURCES.search(text) and not _RATES.search(text):
            return NoCapacity(f"cannot {what}: Google has no room: {says(error)}; choose another place")
        return Throttled(f"cannot {what}: Google asks for patience; this project asks more often than it may")
    if reasons & _NOT_ENABLED:
        return Forbidden(f"cannot {what}: its API is not enabled in the project; enable it (gcloud services enable)")
    if "quotaExceeded" in reasons:
        return NoCapacity(f"cannot {what}: a quota is used up: {says(error)}; ask Google for more")
    # Over gRPC "already exists" has a code of its own, and is no rival: a revision's name that is taken.
    overtaken = isinstance(error, (api.Conflict, api.PreconditionFailed, api.FailedPrecondition))
    overtaken = overtaken and not isinstance(error, api.AlreadyExists)
    if overtaken or _status(error) == "FAILED_PRECONDITION":
        return Overtaken(f"cannot {what}: it was changed meanwhile ({says(error)})")
    if code == api.Unauthorized.code:
        return Unauthenticated(f"cannot {what}: Google does not accept the credentials; {_RENEW}")
    if code == api.Forbidden.code:
        needed = _permission(error) or permission
        cure = f"grant {needed} to its service account" if needed else "grant its service account the role"
        return Forbidden(f"cannot {what}: these credentials may not; {cure}, or compare the project's name")
    if code == api.NotFound.code:
        return NotFound(f"cannot {what}: Google has no such thing; compare the names in the topology")
    if isinstance(error, api.ServerError) or code >= 500 or isinstance(error, api.Cancelled):
        kind = getattr(error.grpc_status_code, "name", "") or type(error).__name__
        return Transient(f"cannot {what}: Google failed or cannot be reached ({code} {kind})")
    return Refused(f"cannot {what}: Google refuses it: {says(error)}; mend the topology")


def _unanswered(error: Exception, what: str) -> ProviderError:
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Refused(f"cannot {what}: the certificate there is not trusted; mend the option endpoint, or trust it")
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return Refused(f"cannot {what}: the option endpoint is no address; mend it")
    return Transient(f"cannot {what}: Google gave no answer ({type(error).__name__})")


def _unauthenticated(error: auth.GoogleAuthError, what: str) -> ProviderError:
    # A metadata server or a token service that fails is told as a failed refresh, too.
    away = isinstance(error, auth.TransportError) or any(isinstance(each, auth.TransportError) for each in error.args)
    if away or (isinstance(error, auth.RefreshError) and error.retryable) or _PASSING.search(str(error)):
        return Transient(f"cannot {what}: whoever gives out the credentials cannot be reached")
    if isinstance(error, auth.RefreshError) and "impersonated" in str(error):
        return Unauthenticated(
            f"cannot {what}: the account of the option impersonate may not be taken; grant "
            "iam.serviceAccounts.getAccessToken on it (roles/iam.serviceAccountTokenCreator)"
        )
    if isinstance(error, auth.DefaultCredentialsError) and not isinstance(error, auth.InvalidOperation):
        return Unauthenticated(f"cannot {what}: there are no Google credentials here; {_RENEW}")
    return Unauthenticated(f"cannot {what}: the Google credentials have expired or are revoked; {_RENEW}")


def _sentence(error: api.GoogleAPICallError) -> str:
    text = str(error.message or "")
    # Over REST the SDK puts method and address before it.
    return re.sub(r"^[A-Z]+ https?://\S+: ", "", text)


def _reasons(error: api.GoogleAPICallError) -> frozenset[str]:
    listed = {str(each.get("reason", "")) for each in error.errors if isinstance(each, dict)}
    return frozenset(listed | {str(error.reason or "")} - {""})


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID else line[: _SAID - 1] + "…"


def _status(error: api.GoogleAPICallError) -> str:
    """The status that a REST answer names beside its code, which several share; empty where there is none."""
    try:
        return str(error.response.json()["error"]["status"])
    except (AttributeError, ValueError, KeyError, TypeError):
        return ""


def _permission(error: api.GoogleAPICallError) -> str:
    found = _PERMISSION.search(_sentence(error))
    return str((error.metadata or {}).get("permission", "")) or (found[1] if found else "")
