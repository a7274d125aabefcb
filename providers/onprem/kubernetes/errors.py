"""What the Kubernetes API and its client say in failing, as our errors.

The API says why in a Status (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/). Its
message names objects, users and verbs, never a credential; what a webhook adds is cut short.
"""

from __future__ import annotations

import json
import re
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError, LocationValueError

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

_MAY_NOT = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"'
    r'(?: in API group "[^"]*")?(?: in the namespace "(?P<namespace>[^"]+)")?'
)
_QUOTA = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>.+), used: (?P<used>.+), limited: (?P<most>.+)"
)
LONGEST = 240
"""Characters of somebody else's message that are said."""


def translate(error: Exception, what: str) -> ProviderError:
    """*error*, met in doing *what*, as one of ours."""
    if isinstance(error, ApiException):
        return _of_status(error, what)
    if isinstance(error, LocationValueError):
        return Refused(f"cannot {what}: the server's address in the kubeconfig is none; mend it")
    if isinstance(error, HTTPError):
        return Transient(f"cannot {what}: no answer from the API server ({type(error).__name__})")
    return unknown(error, what)


def quota(message: str) -> str | None:
    """The quota that *message* speaks of, and by how much it is too small; None: it speaks of none."""
    found = _QUOTA.search(message)
    if found is None:
        return None
    quota, asked, used, most = (short(found[name]) for name in ("quota", "asked", "used", "most"))
    return f"the quota '{quota}' does not allow it (used: {used}; asked beside: {asked}; at most: {most})"


def of_api(error: ApiException) -> bool:
    """Whether the API server itself says so, and no pod behind its proxy."""
    return _status(error) is not None


def short(text: str) -> str:
    """*text* in one line, and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _of_status(error: ApiException, what: str) -> ProviderError:
    status, message = error.status or 0, short(_message(error))
    if status == 0:
        return _of_tls(error, what)
    if status == 403:
        return _forbidden(_message(error), what)
    if status == 408 or status >= 500:
        return Transient(f"cannot {what}: the API server failed ({status})")
    says = message or error.reason or "it does not say why"
    kind, why = {
        401: (Unauthenticated, "the API server does not accept the credentials; sign in again"),
        404: (NotFound, f"{message or 'it is not there'}; mend the topology"),
        409: (Transient, "somebody else changed it at the same moment"),
        429: (Throttled, "the API server asks for patience (429)"),
    }.get(status, (Refused, f"the API server refuses it ({status}): {says}"))
    return kind(f"cannot {what}: {why}")


def _forbidden(message: str, what: str) -> ProviderError:
    """A 403: by a quota, by an admission control, or for want of a grant."""
    over = quota(message)
    if over is not None:
        return NoCapacity(f"cannot {what}: {over}")
    found = _MAY_NOT.search(message)
    if found is None:
        return Refused(f"cannot {what}: the cluster does not admit it: {short(message) or 'it does not say why'}")
    if found["user"] == "system:anonymous":
        return Unauthenticated(f"cannot {what}: no credentials came with the call; sign in, or mend the kubeconfig")
    where = f" in the namespace '{found['namespace']}'" if found["namespace"] else ""
    return Forbidden(
        f"cannot {what}: the user '{found['user']}' needs the verb '{found['verb']}' on '{found['resource']}'{where}; "
        "grant it by a Role"
    )


def _of_tls(error: ApiException, what: str) -> ProviderError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error.reason):
        return Refused(
            f"cannot {what}: the API server's certificate is not of the authority that the kubeconfig trusts; "
            "mend its `certificate-authority`"
        )
    if "ALERT" in str(error.reason).upper():
        return Unauthenticated(f"cannot {what}: the API server does not accept the client's certificate; renew it")
    return Transient(f"cannot {what}: the API server gave no answer by TLS")


def _message(error: ApiException) -> str:
    status = _status(error)
    return str(status.get("message", "")) if status is not None else ""


def _status(error: ApiException) -> dict[str, Any] | None:
    try:
        document: Any = json.loads(error.body or "")
    except (ValueError, TypeError):
        return None
    return document if isinstance(document, dict) and document.get("kind") == "Status" else None
