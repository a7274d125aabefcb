"""Who we are at Google, and what its refusals mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from orchestrator.core.topology import SteeringSpec
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
from providers.gcp.cloud_dns import CloudDnsSteering
from providers.gcp.errors import Overtaken, needing, translate
from providers.gcp.run_steering import CloudRunSteering
from providers.gcp.session import Access, account
from real.gcp_places import DnsPlace

OPTIONS = (("managed_zone", "edge"), ("project", "acme"), ("region", "europe-west1"), ("service", "chat"))
WORKLOAD_IDENTITY = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
}


def steerings(**options: str) -> tuple[CloudDnsSteering, CloudRunSteering]:
    spec = SteeringSpec("", "chat.example.", "", 0, "", options=(*OPTIONS, *options.items()))
    return CloudDnsSteering(spec), CloudRunSteering(spec)


def written(path: Path, document: dict[str, Any]) -> str:
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def refuse_network(*_: object, **__: object) -> None:
    raise AssertionError("asked over the network")


async def test_plain_http_gets_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a named file nor a password of a .netrc goes to an address without TLS; the file is not even opened."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    place = DnsPlace()
    try:
        await place.open()
        spec = place.spec
        options = (*spec.options, ("credentials", str(tmp_path / "none.json")))
        await CloudDnsSteering(SteeringSpec("", spec.name, "", 30, "", options=options)).read()
    finally:
        place.close()
    assert set(place.dns.authorizations) == {None}


def test_an_address_without_a_scheme_is_one_with_tls() -> None:
    """Only who writes http:// gets plain http."""
    assert Access.of((("endpoint", "dns-edge.p.googleapis.com"),)) == Access(
        endpoint="https://dns-edge.p.googleapis.com"
    )
    assert Access.of((("endpoint", "http://127.0.0.1:1"),)).bare


def test_a_service_account_signs_its_own_tokens(tmp_path: Path) -> None:
    """No token is fetched for a service account's key, so that no other service of Google must be there."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    document = {
        "type": "service_account",
        "client_email": "failover@acme.iam.gserviceaccount.com",
        "private_key": pem,
        "private_key_id": "1",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    path = written(tmp_path / "key.json", document)
    headers: dict[str, str] = {}
    account(Access(credentials=path)).before_request(refuse_network, "GET", "https://dns.googleapis.com/x", headers)
    assert headers["authorization"].startswith("Bearer ey")
    first = account(Access(credentials=path))
    assert account(Access(credentials=path)) is first
    written(tmp_path / "key.json", document | {"private_key_id": "2"})
    assert account(Access(credentials=path)) is not first, "a key that was replaced is taken without a restart"


async def test_a_lost_workload_identity_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """The token that the platform should have put there is missing: the credentials are at fault, not Google."""
    source = {"credential_source": {"file": str(tmp_path / "no-token")}}
    path = written(tmp_path / "identity.json", WORKLOAD_IDENTITY | source)
    for steering in steerings(credentials=path):
        with pytest.raises(Unauthenticated, match="workload identity"):
            await steering.read()


async def test_no_credentials_at_all_is_told_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any credentials says what to give it."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for steering in steerings():
        with pytest.raises(Unauthenticated, match="gcloud auth application-default login"):
            await steering.read()


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (None, NotFound, "cannot be read"),
        ("not json", Refused, "is no credentials file"),
        ('{"type": "service_account"}', Refused, "is no complete credentials file"),
        ('{"type": "external_account", "credential_source": {"executable": {"command": "id"}}}', Refused, "not taken"),
        ('{"type": "authorized_user"}', Refused, "authorized_user"),
    ],
)
async def test_a_credentials_file_that_is_none_is_refused(
    tmp_path: Path, text: str | None, error: type[Exception], says: str
) -> None:
    """Each mistake in the file of the option credentials is told; a file that would run a program is not taken."""
    path = tmp_path / "credentials.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    for steering in steerings(credentials=str(path)):
        with pytest.raises(error, match=says) as told:
            await steering.read()
        assert "\n" not in str(told.value)


QUOTA = (
    "Max instances must be set to 3 or fewer to set the requested total CPU.\n\nQuota violated:\n"
    "CpuAllocPerProjectRegion requested: 60000 allowed: 20000\nMemAllocPerProjectRegion requested: 9 allowed: 4"
)
RATE = "Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute' of service 'x'"


@pytest.mark.parametrize(
    ("error", "meant", "says"),
    [
        (api.InvalidArgument(QUOTA), NoCapacity, r"CpuAllocPerProjectRegion \(60000 of 20000\), MemAlloc"),
        (api.InvalidArgument("traffic: no such thing"), Refused, "traffic: no such thing"),
        (api.ResourceExhausted(RATE), Throttled, "patience"),
        (api.TooManyRequests(""), Throttled, "patience"),
        (api.ResourceExhausted("No GPUs of type nvidia-l4 available in this region"), NoCapacity, "GPUs"),
        (api.Forbidden("Rate Limit", errors=[{"reason": "rateLimitExceeded"}]), Throttled, "patience"),
        (api.Forbidden("x", errors=[{"reason": "accessNotConfigured"}]), Forbidden, "gcloud services enable"),
        (api.Forbidden("x", errors=[{"reason": "quotaExceeded"}]), NoCapacity, "quota"),
        (api.PermissionDenied("Permission 'run.services.get' denied on resource 'x'"), Forbidden, "run.services.get"),
        (api.Aborted("Conflict for resource 'chat'"), Overtaken, "Conflict"),
        (api.FailedPrecondition("etag"), Overtaken, "etag"),
        (api.Conflict("'entity.change.additions[0]' already exists"), Overtaken, "already exists"),
        (api.AlreadyExists("Revision named 'chat-1' already exists"), Refused, "Revision named 'chat-1'"),
        (api.PermissionDenied("run.googleapis.com on project x"), Forbidden, "grant its service account the role"),
        (api.PreconditionFailed("Precondition not met"), Overtaken, "Precondition"),
        (api.NotFound("x"), NotFound, "no such thing"),
        (api.Unauthenticated("x"), Unauthenticated, "does not accept"),
        (api.DeadlineExceeded("x"), Transient, "504 DEADLINE_EXCEEDED"),
        (api.ServiceUnavailable("x"), Transient, "503 UNAVAILABLE"),
        (api.BadGateway("x"), Transient, "502 BadGateway"),
        (auth.RefreshError("invalid_grant: secret-token"), Unauthenticated, "expired or are revoked"),
        (auth.RefreshError("x", retryable=True), Transient, "cannot be reached"),
        (auth.TransportError("x"), Transient, "cannot be reached"),
        (auth.RefreshError(auth.TransportError("metadata")), Transient, "cannot be reached"),
        (auth.RefreshError("Unable to acquire impersonated credentials", '{"code": 503}'), Transient, "cannot be"),
        (auth.OAuthError("Error code server_error"), Transient, "cannot be reached"),
        (auth.OAuthError("Error code invalid_grant: secret-token"), Unauthenticated, "expired or are revoked"),
        (
            auth.RefreshError("Unable to acquire impersonated credentials", "{secret-token}"),
            Unauthenticated,
            "iam.serviceAccounts.getAccessToken",
        ),
        (requests.exceptions.ConnectTimeout("secret-token"), Transient, "ConnectTimeout"),
        (requests.exceptions.InvalidURL("x"), Refused, "option endpoint"),
        (requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED]"), Refused, "not trusted"),
        (ZeroDivisionError("secret-token"), Refused, "ZeroDivisionError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_refusal_of_google_means_one_thing(error: Exception, meant: type[ProviderError], says: str) -> None:
    """The caller is told what to do, on one line, and no token is told to anybody."""
    told = translate(error, "read the service chat")
    assert type(told) is meant
    assert str(told).startswith("cannot read the service chat: ")
    assert "\n" not in str(told)
    assert "secret-token" not in str(told)
    with pytest.raises(meant, match=says):
        raise told


def test_a_plain_forbidden_names_the_permission_that_the_call_needs() -> None:
    """Cloud DNS says "Forbidden" and no more: the right that is missing is known from the call."""

    def asked() -> None:
        raise api.Forbidden("Forbidden")

    with pytest.raises(Exception, match=r"dns\.changes\.create") as met:
        needing("dns.changes.create", asked)()
    with pytest.raises(Forbidden, match=r"grant dns\.changes\.create"):
        raise translate(met.value, "change chat.example.")
