"""What AWS answers, as errors of the seam: one table by its codes, one by the SDK's own exceptions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from botocore import exceptions as sdk  # type: ignore[import-untyped]  # the SDK ships no types

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

_SAID = 240
"""Of AWS's own sentence so many characters are told."""
_RENEW = "renew them: aws sso login, the role of the instance or pod, or the keys where they are kept"


@dataclass(frozen=True, slots=True)
class _Kind:
    """Refusals that mean one thing to the caller."""

    raises: type[ProviderError]
    codes: str
    """AWS's codes, as a pattern that is searched for."""
    statuses: tuple[int, ...]
    """HTTP statuses that mean the same, where no row has the code."""
    because: str


_KINDS = (
    _Kind(
        Throttled,
        r"Throttl|RequestLimitExceeded|BandwidthLimitExceeded|TooManyRequests|SlowDown|PriorRequestNotComplete"
        r"|ProvisionedThroughputExceeded|TransactionInProgress",
        (429,),
        "AWS asks for patience ({code}); this account asks more often than it may",
    ),
    _Kind(
        Unauthenticated,
        r"TooSkewed|RequestExpired|RequestInTheFuture|SignatureDoesNotMatch",
        (),
        "AWS does not accept the signature ({code}); set this machine's clock, and compare the secret access key with "
        "the one that AWS gave out",
    ),
    _Kind(Unauthenticated, r"Expired|TokenRefreshRequired", (), "the AWS credentials have expired ({code}); " + _RENEW),
    _Kind(
        Unauthenticated,
        r"InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|AuthFailure|InvalidToken|InvalidSecurity"
        r"|MissingAuthenticationToken|IncompleteSignature|InvalidSignature|NotSignedUp|OptInRequired",
        (401,),
        "AWS does not know these credentials ({code}); " + _RENEW,
    ),
    _Kind(
        Forbidden,
        r"AccessDenied|Unauthorized|NotAuthorized|AuthorizationError|Forbidden",
        (403,),
        "these AWS credentials may not ({code}); allow {action} to their role",
    ),
    _Kind(NotFound, r"^NoSuch|NotFound|DoesNotExist", (404,), "AWS has no such thing ({code}): {says}"),
    _Kind(
        NoCapacity,
        r"LimitExceeded|QuotaExceeded|Insufficient\w*Capacity|CapacityNotAvailable|ServiceQuota|MaxSpot|CapacityExceeded",
        (),
        "AWS has no room ({code}): {says}; ask AWS for a higher quota, or choose another place",
    ),
    _Kind(
        Transient,
        r"^Internal(Error|Failure|Server)|^ServiceUnavailable|^ServerException|TemporarilyUnavailable"
        r"|^RequestTimeout(Exception)?$",
        (500, 502, 503, 504),
        "AWS failed ({code})",
    ),
)

_LOGIN = (sdk.SSOError, sdk.LoginError, sdk.TokenRetrievalError, sdk.NoAuthTokenError)
_SILENT = (
    sdk.ConnectionError,
    sdk.HTTPClientError,
    sdk.IncompleteReadError,
    sdk.ChecksumError,
    sdk.FlexibleChecksumError,
)

_OWN: tuple[tuple[tuple[type[Exception], ...], type[ProviderError], str], ...] = (
    (_LOGIN, Unauthenticated, "the AWS single sign-on has run out; run aws sso login for this profile"),
    ((sdk.ProfileNotFound,), Unauthenticated, "{text}; write it in the AWS configuration, or mend the option profile"),
    (
        (sdk.NoCredentialsError, sdk.PartialCredentialsError),
        Unauthenticated,
        "there are no AWS credentials; give this process a role, a profile, or keys in its environment",
    ),
    ((sdk.CredentialRetrievalError,), Unauthenticated, "the AWS credentials cannot be fetched; " + _RENEW),
    ((sdk.MetadataRetrievalError,), Transient, "the metadata service that gives out the AWS credentials is silent"),
    (_SILENT, Transient, "AWS gave no answer{where}: {kind}"),
    (
        (sdk.NoRegionError, sdk.InvalidRegionError, sdk.EndpointResolutionError),
        Refused,
        "AWS knows no such region; mend the option region",
    ),
    # Their text holds what we asked for, which are names and numbers of the topology.
    ((sdk.ParamValidationError, sdk.InvalidEndpointConfigurationError), Refused, "{text}; mend the topology"),
)

_ACTION = re.compile(r"perform: ([a-zA-Z0-9-]+:[A-Za-z0-9]+)")


def code(error: Exception) -> str:
    """AWS's own code of a refusal: ``InvalidChangeBatch``; empty where it gave none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, sdk.ClientError) else ""


def says(error: Exception) -> str:
    """AWS's own sentence about a refusal, on one line and not longer than people read."""
    whole = error.response.get("Error", {}).get("Message") if isinstance(error, sdk.ClientError) else str(error)
    text = " ".join(str(whole or "it does not say why").split())
    return text if len(text) <= _SAID else text[: _SAID - 1] + "…"


def translate(error: Exception, what: str) -> ProviderError:
    """*error*, met while doing *what* ("read the record sets of Z1"), as an error that says what the caller does.

    AWS's own sentence is told where the cure depends on it, never one about keys or signatures.
    """
    if isinstance(error, sdk.ClientError):
        return _answered(error, what)
    for kinds, raises, because in _OWN:
        if isinstance(error, kinds):
            address = getattr(error, "kwargs", {}).get("endpoint_url")
            said = because.format(
                text=says(error), kind=type(error).__name__, where=f" at {address}" if address else ""
            )
            return raises(f"cannot {what}: {said}")
    return unknown(error, what)


def _answered(error: sdk.ClientError, what: str) -> ProviderError:
    its_code, status = code(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    by_code = (kind for kind in _KINDS if re.search(kind.codes, its_code))
    by_status = (kind for kind in _KINDS if status in kind.statuses)
    fields = {"code": its_code or status, "says": says(error), "action": _action(error)}
    kind = next(by_code, None) or next(by_status, None)
    if kind is None:
        return Refused(f"cannot {what}: AWS says no ({fields['code']}): {fields['says']}")
    return kind.raises(f"cannot {what}: {kind.because.format(**fields)}")


def _action(error: sdk.ClientError) -> str:
    """The permission that is missing: most refusals name it; else it is called as the operation is."""
    found = _ACTION.search(str(error.response.get("Error", {}).get("Message", "")))
    return found.group(1) if found else f"the action {error.operation_name}"
