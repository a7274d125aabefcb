"""Clients of AWS and what is made of their errors: rights, ends of rights, and sentences that say the cure."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore import exceptions as sdk  # type: ignore[import-untyped]  # the SDK ships no types

from providers.aws import session
from providers.aws.errors import translate
from providers.aws.session import client, expires
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
from real.moto import moto_url
from wire.route53 import Route53

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No rights at all: not from the environment, not from files, not from a metadata service."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    session._client.cache_clear()


def keys(monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    """Keys in the environment."""
    given = {"AWS_ACCESS_KEY_ID": "AKIAREALKEY", "AWS_SECRET_ACCESS_KEY": SECRET, **more}
    for name, value in given.items():
        monkeypatch.setenv(name, value)


def answered(code: str, message: str = "it says why", status: int = 400) -> sdk.ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return sdk.ClientError(response, "ChangeResourceRecordSets")


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("Throttling", 400, Throttled),
        ("ThrottlingException", 400, Throttled),
        ("PriorRequestNotComplete", 400, Throttled),
        ("RequestLimitExceeded", 503, Throttled),
        ("SlowDown", 503, Throttled),
        ("Odd", 429, Throttled),
        ("ExpiredToken", 403, Unauthenticated),
        ("ExpiredTokenException", 400, Unauthenticated),
        ("RequestExpired", 400, Unauthenticated),
        ("InvalidClientTokenId", 403, Unauthenticated),
        ("UnrecognizedClientException", 400, Unauthenticated),
        ("SignatureDoesNotMatch", 403, Unauthenticated),
        ("RequestTimeTooSkewed", 403, Unauthenticated),
        ("AccessDenied", 403, Forbidden),
        ("AccessDeniedException", 400, Forbidden),
        ("UnauthorizedOperation", 403, Forbidden),
        ("NoSuchHostedZone", 404, NotFound),
        ("ClusterNotFoundException", 400, NotFound),
        ("404", 404, NotFound),
        ("LimitExceeded", 400, NoCapacity),
        ("ServiceQuotaExceededException", 402, NoCapacity),
        ("InsufficientInstanceCapacity", 500, NoCapacity),
        ("CapacityNotAvailableException", 400, NoCapacity),
        ("InternalError", 500, Transient),
        ("EndpointTemporarilyUnavailableException", 503, Transient),
        ("Odd", 503, Transient),
        ("InvalidChangeBatch", 400, Refused),
        ("ValidationException", 400, Refused),
    ],
)
def test_each_answer_says_what_the_caller_does(code: str, status: int, error: type[ProviderError]) -> None:
    """By AWS's code, else by the status: the exact kind of error, in one sentence that names the code."""
    told = translate(answered(code, status=status), "write chat.example.")
    assert type(told) is error
    assert str(told).startswith("cannot write chat.example.")
    assert code in str(told)


def test_a_missing_permission_is_named() -> None:
    """AWS says which action was refused, mostly; else the operation does."""
    says = f"User: arn:aws:iam::123456789012:user/x is not authorized to perform: ecs:UpdateService on {'y' * 400}"
    assert "allow ecs:UpdateService to" in str(translate(answered("AccessDenied", says), "scale"))
    assert "the action ChangeResourceRecordSets" in str(translate(answered("AccessDenied", "no"), "scale"))


def test_what_aws_says_of_keys_is_not_told() -> None:
    """The sentence about a wrong signature holds the request that was signed."""
    for code in ("SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredToken", "AccessDenied"):
        assert SECRET not in str(translate(answered(code, f"the canonical string {SECRET}", 403), "read"))


@pytest.mark.parametrize(
    ("raised", "error", "cure"),
    [
        (sdk.NoCredentialsError(), Unauthenticated, "give this process a role"),
        (sdk.UnauthorizedSSOTokenError(), Unauthenticated, "aws sso login"),
        (sdk.SSOTokenLoadError(error_msg="x"), Unauthenticated, "aws sso login"),
        (sdk.ProfileNotFound(profile="ops"), Unauthenticated, r"\(ops\).*mend the option profile"),
        (sdk.EndpointConnectionError(endpoint_url="https://x.example"), Transient, r"at https://x\.example"),
        (sdk.ConnectTimeoutError(endpoint_url="https://x.example"), Transient, "ConnectTimeoutError"),
        (sdk.ReadTimeoutError(endpoint_url="https://x.example"), Transient, "ReadTimeoutError"),
        (sdk.ConnectionClosedError(endpoint_url="https://x.example"), Transient, "ConnectionClosedError"),
        (sdk.InvalidRegionError(region_name="mars"), Refused, "option region"),
        (sdk.ParamValidationError(report="Weight: 300"), Refused, "Weight: 300"),
        (KeyError("surprise"), Refused, "KeyError"),
    ],
)
def test_what_the_sdk_raises_itself_says_the_cure(raised: Exception, error: type[ProviderError], cure: str) -> None:
    """No rights, no way there, no such region: each in words of its own."""
    told = translate(raised, "read")
    assert type(told) is error
    with pytest.raises(error, match=cure):
        raise told


def test_plain_http_is_given_no_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator, named by the topology or by the environment, never sees whose keys this process has."""
    keys(monkeypatch, AWS_SESSION_TOKEN="token-of-a-session")
    server = Route53().start()
    client("route53", region="us-east-1", endpoint=server.url, role="arn:aws:iam::1:role/x").get_hosted_zone(
        Id=server.zone("example.").id
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    client("route53", region="us-west-2").get_hosted_zone(Id=server.zone("example.").id)
    server.close()
    assert len(server.seen) == 2
    for request in server.seen:
        assert "Credential=anonymous/" in request.headers["Authorization"]
        assert "token-of-a-session" not in str(request.headers)


def test_a_client_tries_once_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who tries again is the line; making a client takes long enough to do it once."""
    keys(monkeypatch)
    made = client("route53", region="us-east-1")
    assert client("route53", region="us-east-1") is made
    assert client("route53", region="us-west-2") is not made
    config = made.meta.config
    assert (config.retries["total_max_attempts"], config.connect_timeout, config.read_timeout) == (1, 2.0, 5.0)


def test_rights_that_come_later_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A client without credentials is not kept, and one is made anew when the shared file is written anew."""
    with pytest.raises(sdk.NoCredentialsError):
        client("route53", region="us-east-1")
    file = tmp_path / ".aws" / "credentials"
    file.parent.mkdir()
    for number in (1, 2):
        file.write_text(f"[default]\naws_access_key_id = AKIA{number}\naws_secret_access_key = x\n")
        os.utime(file, (number, number))
        made = client("route53", region="us-east-1")
        assert made._request_signer._credentials.access_key == f"AKIA{number}"


def test_a_role_is_assumed_and_its_keys_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client signs with what STS has given out, not with the keys that asked for it."""
    keys(monkeypatch, AWS_ENDPOINT_URL_STS=moto_url())
    made = client("route53", region="eu-west-1", role="arn:aws:iam::123456789012:role/failover")
    frozen = made._request_signer._credentials.get_frozen_credentials()
    assert frozen.access_key.startswith("ASIA")
    assert frozen.token


def test_a_role_is_assumed_at_the_region_s_own_sts(monkeypatch: pytest.MonkeyPatch) -> None:
    """While us-east-1 is away, its STS is, too: a proxy sees which host is asked."""
    keys(monkeypatch)
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def hear() -> None:
            with proxy.accept()[0] as connection:
                asked.append(connection.recv(4096).decode().splitlines()[0])

        hearing = threading.Thread(target=hear, daemon=True)
        hearing.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        made = client("route53", region="eu-west-1", role="arn:aws:iam::123456789012:role/failover")
        with pytest.raises(sdk.ConnectionClosedError):  # the proxy has heard enough
            made._request_signer._credentials.get_frozen_credentials()
        hearing.join(10)
    assert asked[0].startswith("CONNECT sts.eu-west-1.amazonaws.com:443 ")


def test_the_end_of_rights_is_known_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that came with a date end then; keys without one have no end; no keys are an error."""
    with pytest.raises(sdk.NoCredentialsError):
        expires()
    keys(monkeypatch)
    assert expires() is None
    monkeypatch.setenv("AWS_SESSION_TOKEN", "x")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2099-01-02T03:04:05Z")
    assert expires() == datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)


def cached(cache: Path, name: str) -> Path:
    """Where the AWS CLI keeps the token of a start URL or a session."""
    return cache / f"{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()}.json"


def test_the_end_of_a_single_sign_on_is_known_ahead(tmp_path: Path) -> None:
    """By the token that ``aws sso login`` left; one that the SDK refreshes lasts as long as its registration."""
    start = "https://example.awsapps.com/start"
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    (tmp_path / ".aws" / "config").write_text(
        f"[profile old]\nsso_start_url = {start}\nsso_region = eu-west-1\nsso_account_id = 123456789012\n"
        "sso_role_name = ops\nregion = eu-west-1\n"
        "[profile new]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = ops\nregion = eu-west-1\n"
        f"[sso-session corp]\nsso_start_url = {start}\nsso_region = eu-west-1\n"
    )
    token = {"startUrl": start, "region": "eu-west-1", "accessToken": "x", "expiresAt": "2099-01-02T03:04:05Z"}
    cached(cache, start).write_text(json.dumps(token))
    renewed = token | {"refreshToken": "y", "registrationExpiresAt": "2099-03-04T05:06:07Z"}
    cached(cache, "corp").write_text(json.dumps(renewed))
    assert expires(profile="old") == datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert expires(profile="new") == datetime(2099, 3, 4, 5, 6, 7, tzinfo=UTC)


async def test_clients_are_made_from_many_threads_at_once() -> None:
    """Making one is not safe in threads: it is done by one at a time, once."""
    server = Route53().start()
    made = await asyncio.gather(
        *(asyncio.to_thread(client, "route53", region="us-east-1", endpoint=server.url) for _ in range(16))
    )
    server.close()
    assert len({id(each) for each in made}) == 1
