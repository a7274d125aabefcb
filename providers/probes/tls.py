"""TLS for probes: contexts, and what a failed handshake says about the endpoint."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import cast

from orchestrator.core.errors import BadInput
from orchestrator.core.probe import OutcomeKind

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN = 9, 10, 18, 19
_NO_ISSUER = frozenset({2, 20, 21})
_OTHER_NAME = frozenset({62, 64})


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there was no answer, in the words of an outcome."""

    kind: OutcomeKind
    detail: str


class Contexts:
    """One TLS client context per file of trusted certificates, read again when the file changes."""

    def __init__(self) -> None:
        self._made: dict[str | None, tuple[int, ssl.SSLContext]] = {}

    def get(self, ca: str | None) -> ssl.SSLContext:
        """The context that trusts *ca* (None: what the system trusts). Raises BadInput when the file is no use."""
        try:
            stamp = os.stat(ca).st_mtime_ns if ca is not None else 0
            made = self._made.get(ca)
            if made is None or made[0] != stamp:
                context = ssl.create_default_context(cafile=ca)
                context.set_alpn_protocols(["http/1.1"])
                made = self._made[ca] = (stamp, context)
        except OSError as error:  # ssl.SSLError among them
            raise BadInput(f"CA file {ca} cannot be used on this worker; put PEM certificates there") from error
        return made[1]


def expiry(connection: object) -> float | None:
    """When the peer's certificate expires, in Unix seconds; None when the connection has none."""
    if connection is None:
        return None
    certificate = cast("ssl.SSLObject", connection).getpeercert()
    expires = certificate.get("notAfter") if certificate else None
    return float(ssl.cert_time_to_seconds(expires)) if isinstance(expires, str) else None


def fault_of(error: ssl.SSLError, name: str) -> Fault:
    """What a failed handshake under *name* means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault(OutcomeKind.MISMATCH, _certificate_phrase(error, name))
    reason = error.reason or ""
    if "UNRECOGNIZED_NAME" in reason:
        return Fault(OutcomeKind.MISMATCH, f"no certificate for {name}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Fault(OutcomeKind.REFUSED, "connection closed in the TLS handshake")
    return Fault(OutcomeKind.FAILED, f"TLS handshake failed: {reason.replace('_', ' ').lower() or 'protocol error'}")


def _certificate_phrase(error: ssl.SSLCertVerificationError, name: str) -> str:
    code = error.verify_code
    if code in _OTHER_NAME:
        return f"certificate does not cover {name}"
    if code == _EXPIRED:
        return "certificate has expired"
    if code == _NOT_YET_VALID:
        return "certificate is not valid yet"
    if code in {_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN}:
        return "certificate is not trusted: self-signed"
    if code in _NO_ISSUER:
        return "certificate is not trusted: unknown issuer"
    return f"certificate is not accepted: {error.verify_message}"
