"""What Azure refuses, in our words: one translation for every service behind Azure Resource Manager.

Codes: https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors, and for
throttling https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling.
"""

from __future__ import annotations

import re
from typing import Any

from azure.core.exceptions import ClientAuthenticationError, DecodeError, ServiceRequestError, ServiceResponseError

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

SIGN_IN = (
    "sign the worker in again: its managed or workload identity (option identity), AZURE_CLIENT_ID with its secret or "
    "certificate, or 'az login' for a person"
)
"""The cure where credentials are missing or no longer good."""
NO_PARENT = frozenset(
    {"ParentResourceNotFound", "ResourceGroupNotFound", "SubscriptionNotFound", "InvalidSubscriptionId"}
)
"""404s that mean something above the thing that was named."""

_BUSY = re.compile(
    r"inprogress|lockconflict|preempted|retryable|concurrent|^conflict|another \w+ is in progress", re.IGNORECASE
)
"""A 409 that goes by: somebody else is at the same thing."""
_FULL = re.compile(
    r"quota|skunotavailable|outofcapacity|allocationfailed|insufficient\w*capacity|capacity", re.IGNORECASE
)
_NOT_ALLOWED = re.compile(r"perform action '(?P<action>[^']+)'(?:.*?over scope '(?P<scope>[^']+)')?", re.DOTALL)
_SAID = 160
"""How much of Azure's own sentence is repeated, characters."""


class Rejected(Exception):
    """Azure's refusal as it came: by a status, or as the end of a long operation (status 0)."""

    def __init__(self, status: int, body: Any, wait_s: float | None = None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.code, self.message = said(body)
        self.wait_s = wait_s
        """How long Azure asks to be left alone, seconds."""


def translate(error: Exception, what: str) -> ProviderError:
    """*error* of doing *what*, as one of ours. Repeats of Azure's text only its code and its first words."""
    if isinstance(error, Rejected):
        return _rejected(error, what)
    if isinstance(error, ClientAuthenticationError):
        # Of azure-identity: it lists every way that it tried, in many lines.
        return Unauthenticated(f"cannot {what}: no credentials for Azure were accepted; {SIGN_IN}")
    if isinstance(error, ServiceRequestError):
        return Transient(f"Azure cannot be reached to {what}; see the network, the proxy and the name's resolution")
    if isinstance(error, ServiceResponseError):
        return Transient(f"Azure gave no whole answer to: {what}; whether it happened is read before it is tried again")
    if isinstance(error, DecodeError | ValueError):
        return Transient(
            f"what answered in Azure's place does not speak its language: cannot {what}; is a proxy between?"
        )
    return unknown(error, what)


def _rejected(error: Rejected, what: str) -> ProviderError:
    status, code, told = error.status, error.code, _short(error.message)
    named = f"{status or 'the operation failed'}{f' {code}' if code else ''}"
    made: ProviderError
    if status == 429:
        wait = f", wait {error.wait_s:g} s" if error.wait_s else ""
        made = Throttled(f"Azure asks for patience ({named}{wait}): cannot {what} yet")
    elif status == 401:
        made = Unauthenticated(f"Azure does not take these credentials ({named}): cannot {what}; {SIGN_IN}")
    elif _FULL.search(code) or (status in {0, 400, 403, 409} and "quota" in error.message.lower()):
        made = NoCapacity(f"Azure has no room to {what} ({named}: {told}); ask for more quota, or take another target")
    elif status >= 500 or status == 408:
        made = Transient(f"Azure failed ({named}): cannot {what} now")
    elif status == 403:
        made = Forbidden(_forbidden(error, what, named))
    elif status == 404:
        made = NotFound(f"cannot {what}: it is not there ({named}); mend the id in the topology")
    elif status in {0, 409} and (_BUSY.search(code) or _BUSY.search(error.message)):
        made = Transient(f"Azure is at another change of the same thing ({named}): cannot {what} yet")
    elif code == "ScopeLocked":
        made = Refused(f"cannot {what}: a resource lock stands on it ({named}); remove the lock: az lock list")
    elif status == 412:
        made = Transient(f"somebody else wrote between: cannot {what} ({named})")
    else:
        made = Refused(f"Azure refuses to {what} ({named}): {told or 'it does not say why'}")
    return made


def _forbidden(error: Rejected, what: str, named: str) -> str:
    found = _NOT_ALLOWED.search(error.message)
    if found is None:
        return f"Azure does not let this identity {what} ({named}): {_short(error.message) or 'it does not say why'}"
    scope = f" on {found['scope']}" if found["scope"] else ""
    return (
        f"cannot {what}: this identity lacks the action {found['action']}{scope} ({named}); give it a role that has it "
        "there: az role assignment create"
    )


def said(body: Any) -> tuple[str, str]:
    """Code and message, as ARM wraps them in ``error``, or as some services give them bare."""
    if not isinstance(body, dict):
        return "", ""
    inner = body.get("error", body)
    if isinstance(inner, str):
        return inner, ""
    inner = {name.lower(): value for name, value in inner.items()} if isinstance(inner, dict) else {}
    return str(inner.get("code") or ""), str(inner.get("message") or "")


def _short(message: str) -> str:
    words = " ".join(message.split())
    return words if len(words) <= _SAID else words[: _SAID - 3].rstrip() + "..."
