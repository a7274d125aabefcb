"""The way to Azure Resource Manager: who calls, what its refusals mean, patience, and long operations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from azure.core.exceptions import ClientAuthenticationError, DecodeError, ServiceRequestError, ServiceResponseError
from prober.servers import authority

from orchestrator.core.errors import BadInput
from providers.azure.errors import Rejected, translate
from providers.azure.session import Reach, arm, resource
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
from real.azure_places import APP, PROFILE, ContainerAppsPlace, ScaledApp, profile
from real.place import Trouble
from real.saboteur import Mischief
from wire.arm import GROUP, Arm
from wire.arm_services import TrafficManager

WHAT = "read the Traffic Manager profile chat"
VERSION = "2022-04-01"


@pytest.fixture
def server() -> Iterator[Arm]:
    made = Arm(TrafficManager()).start()
    made.keep(PROFILE, profile("paris", "ohio"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("status", "code", "message", "error", "text"),
    [
        (429, "TooManyRequests", "", Throttled, "wait 17 s"),
        (401, "ExpiredAuthenticationToken", "The token eyJ0 expired", Unauthenticated, "az login"),
        (401, "InvalidAuthenticationToken", "", Unauthenticated, "identity"),
        (403, "AuthorizationFailed", "not to perform action 'a/b' over scope '/s' or", Forbidden, "a/b on /s"),
        (403, "RequestDisallowedByPolicy", "Resource was disallowed by policy.", Forbidden, "disallowed by policy"),
        (404, "ResourceNotFound", "", NotFound, "mend the id"),
        (404, "ResourceGroupNotFound", "", NotFound, "ResourceGroupNotFound"),
        (409, "AnotherOperationInProgress", "", Transient, "another change"),
        (409, "ContainerAppOperationInProgress", "", Transient, "another change"),
        (409, "ContainerAppLockConflict", "another modification is in progress", Transient, "another change"),
        (409, "Conflict", "Cannot modify this because another operation is in progress.", Transient, "another change"),
        (409, "SkuNotAvailable", "The requested size is not available in westeurope.", NoCapacity, "westeurope"),
        (409, "QuotaExceeded", "Quota of cores exceeded.", NoCapacity, "Quota of cores"),
        (400, "OperationNotAllowed", "It could exceed approved Total Regional Cores quota.", NoCapacity, "Cores quota"),
        (0, "OutOfQuota", "Not enough quota for A100.", NoCapacity, "A100"),
        (0, "OutOfCapacity", "The zone has no room.", NoCapacity, "no room"),
        (409, "ScopeLocked", "cannot perform write operation because of a lock", Refused, "az lock list"),
        (412, "PreconditionFailed", "", Transient, "somebody else wrote"),
        (400, "BadRequest", "The weight is not between 1 and 1000.", Refused, "between 1 and 1000"),
        (500, "InternalServerError", "", Transient, "500 InternalServerError"),
        (503, "", "", Transient, "503"),
        (408, "RequestTimeout", "", Transient, "408"),
        (418, "", "", Refused, "does not say why"),
    ],
)  # fmt: skip
def test_what_azure_refuses_is_one_of_our_errors_in_one_line(
    status: int, code: str, message: str, error: type[ProviderError], text: str
) -> None:
    """Each refusal is the error that tells the caller what to do, with the cure, and without Azure's own dump."""
    made = translate(Rejected(status, {"error": {"code": code, "message": message}}, 17), WHAT)
    assert type(made) is error
    assert text in str(made)
    assert WHAT in str(made)
    assert "eyJ0" not in str(made)
    assert "\n" not in str(made)
    assert len(str(made)) < 400


def test_errors_that_are_not_wrapped_are_read_too() -> None:
    """Some services answer code and message bare, in capitals, or no JSON at all."""
    busy = "Cannot modify this site because another operation is in progress."
    assert type(translate(Rejected(409, {"Code": "Conflict", "Message": busy}), WHAT)) is Transient
    assert type(translate(Rejected(502, "<html>"), WHAT)) is Transient
    assert type(translate(Rejected(401, {"error": "invalid_token"}), WHAT)) is Unauthenticated
    long = translate(Rejected(400, {"error": {"code": "Bad", "message": "x" * 5000 + "\n"}}), WHAT)
    assert len(str(long)) < 400


def test_failures_of_the_way_itself_are_ours_too() -> None:
    """No connection, half an answer, no credentials, something else: nothing of the SDK's text is repeated."""
    for error, kind in (
        (ServiceRequestError("eyJ0"), Transient),
        (ServiceResponseError("eyJ0"), Transient),
        (ClientAuthenticationError("eyJ0\neyJ0"), Unauthenticated),
        (DecodeError("eyJ0"), Transient),
        (KeyError("eyJ0"), Refused),
    ):
        made = translate(error, WHAT)
        assert type(made) is kind
        assert WHAT in str(made)
        assert "eyJ0" not in str(made)


def test_mistakes_of_the_options_are_told() -> None:
    """A cloud that there is not, plain http to another host, an id of something else: sentences with the cure."""
    for options, text in (
        ({"cloud": "mars"}, "public, usgov, china"),
        ({"endpoint": "http://management.example.com"}, "which gets no credentials"),
        ({"endpoint": "management.azure.com"}, "write https://"),
    ):
        with pytest.raises(BadInput, match=text):
            Reach.of(options)
    for text in ("chat", "", f"{GROUP}/providers/Microsoft.Network/dnsZones/x", f"{PROFILE}/ExternalEndpoints/x"):
        with pytest.raises(
            BadInput, match=r"write /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Network/"
        ):
            resource(text, "Microsoft.Network/trafficManagerProfiles", option="option profile")
    assert resource(PROFILE.upper(), "Microsoft.Network/trafficManagerProfiles", option="x") == PROFILE.upper()


def test_each_cloud_has_its_address() -> None:
    """The sovereign clouds are other addresses, with other authorities."""
    assert Reach.of({}).url == "https://management.azure.com"
    assert Reach.of({"cloud": "usgov"}).url == "https://management.usgovcloudapi.net"
    assert Reach.of({"cloud": "china"}).url == "https://management.chinacloudapi.cn"
    assert Reach.of({"endpoint": "https://arm.internal/"}).url == "https://arm.internal"


class Identity:
    """The token service of a managed identity, as App Service has it."""

    def __init__(self, *, knows: bool = True) -> None:
        self.asked: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Nothing."""

            def do_GET(self) -> None:
                service.asked.append(self.path)
                body = b'{"access_token": "t0ken", "expires_on": "%d", "resource": "r", "token_type": "Bearer"}'
                text = body % (time.time() + 3600) if knows else b'{"error": "no_such_identity", "secret": "s3cret"}'
                self.send_response(200 if knows else 400)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/token"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _identified(monkeypatch: pytest.MonkeyPatch, service: Identity) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    monkeypatch.setenv("IDENTITY_ENDPOINT", service.url)
    monkeypatch.setenv("IDENTITY_HEADER", "header")


async def test_a_managed_identity_signs_requests_over_tls(
    server: Arm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The option identity is asked for a token of ARM, and the token goes to the private address over TLS."""
    trust = authority(tmp_path)
    server._server.socket = trust.context("localhost").wrap_socket(server._server.socket, server_side=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", trust.path)
    service = Identity()
    _identified(monkeypatch, service)
    endpoint = server.url.replace("http://127.0.0.1", "https://localhost")
    way = arm("Azure Traffic Manager", Reach.of({"endpoint": endpoint, "identity": "4711"}))
    for _ in range(2):
        await way.get(PROFILE, VERSION, what=WHAT)
    assert [request.headers.get("Authorization") for request in server.seen] == ["Bearer t0ken"] * 2
    (asked,) = service.asked
    assert "client_id=4711" in asked
    assert "resource=https://management.azure.com" in asked
    service.close()


async def test_an_emulator_over_plain_http_gets_no_credentials(server: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked for a token, and none is sent."""
    service = Identity()
    _identified(monkeypatch, service)
    way = arm("Azure Traffic Manager", Reach.of({"endpoint": server.url, "identity": "4711"}))
    await way.get(PROFILE, VERSION, what=WHAT)
    assert (service.asked, server.seen[0].headers.get("Authorization")) == ([], None)
    service.close()


@pytest.mark.parametrize("ways", ["EnvironmentCredential", "ManagedIdentityCredential"])
async def test_without_credentials_it_says_how_to_sign_in(monkeypatch: pytest.MonkeyPatch, ways: str) -> None:
    """No secret in the environment, or an identity that the machine does not have: one line, with the cure."""
    service = Identity(knows=False)
    _identified(monkeypatch, service)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", ways)
    way = arm(f"Azure {ways}", Reach.of({"endpoint": "https://127.0.0.1:9", "identity": ways}))
    with pytest.raises(Unauthenticated, match="az login") as told:
        await way.get(PROFILE, VERSION, what=WHAT)
    assert "s3cret" not in str(told.value)
    assert "\n" not in str(told.value)
    service.close()


async def test_while_azure_asks_for_patience_reads_are_not_sent(server: Arm) -> None:
    """After a 429 with Retry-After the subscription's reads are refused here, at once; writes are sent all the same."""
    way = arm("Azure Traffic Manager", Reach.of({"endpoint": server.url}))
    server.trouble(Trouble.THROTTLED)
    struck = server.mischief.pop()
    server.mischief.append(Mischief(lambda method, *_: method == "GET", 1, struck.reply))
    for _ in range(3):
        with pytest.raises(Throttled, match="wait"):
            await way.get(PROFILE, VERSION, what=WHAT)
    assert len(server.seen) == 1
    other = PROFILE.replace("11111111", "99999999")
    with pytest.raises(NotFound):
        await way.get(other, VERSION, what=WHAT)
    await way.put(PROFILE, VERSION, server.state.resources[PROFILE.lower()].body, what="write it")


async def test_patience_ends_in_time(server: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time that Azure asked for is over, reads are sent again; it is never longer than one call may take."""
    way = arm("Azure Traffic Manager", Reach.of({"endpoint": server.url}))
    server.trouble(Trouble.THROTTLED)
    struck = server.mischief.pop()
    server.mischief.append(Mischief(lambda method, *_: method == "GET", 1, struck.reply))
    with pytest.raises(Throttled):
        await way.get(PROFILE, VERSION, what=WHAT)
    now = time.monotonic
    monkeypatch.setattr("providers.azure.session.time.monotonic", lambda: now() + 5.1)
    assert (await way.get(PROFILE, VERSION, what=WHAT)).status == 200


async def test_a_long_operation_that_fails_says_why() -> None:
    """The refusal that comes after the 202 is translated like one that comes at once."""
    place = ContainerAppsPlace()
    await place.open()
    way = arm("Azure Container Apps", Reach.of({"endpoint": place.arm.url}))
    place.arm.fails_next = {"code": "QuotaExceeded", "message": "The environment's quota of cores is used up."}
    body = {"properties": {"template": {"scale": {"minReplicas": 3}}}}
    begun = await way.patch(APP, "2025-01-01", body, what="scale it")
    with pytest.raises(NoCapacity, match="quota of cores"):
        await way.done(begun, what="scale it", within_s=3)
    place.close()


async def test_a_long_operation_is_waited_for_and_no_longer_than_said() -> None:
    """It ends when Azure says so; where that takes too long, the sentence says that it goes on."""
    place = ContainerAppsPlace()
    await place.open()
    way = arm("Azure Container Apps", Reach.of({"endpoint": place.arm.url}))
    body = {"properties": {"template": {"scale": {"minReplicas": 3}}}}
    place.arm.takes_s = 0.15
    begun = await way.patch(APP, "2025-01-01", body, what="scale it")
    await way.done(begun, what="scale it", within_s=3)
    place.arm.takes_s = 60.0
    begun = await way.patch(APP, "2025-01-01", body, what="scale it")
    with pytest.raises(Transient, match=r"still at it after 0.3 s: scale it; it goes on"):
        await way.done(begun, what="scale it", within_s=0.3)
    place.close()


async def test_a_header_sends_nobody_away_from_arm() -> None:
    """Where an operation is said to be at another host, ARM itself is asked: the token goes nowhere else."""
    place = ScaledApp()
    place.arm.takes_s = 0.05
    await place.open()
    way = arm("Azure Container Apps", Reach.of({"endpoint": place.arm.url}))
    body = {"properties": {"template": {"scale": {"minReplicas": 3}, "revisionSuffix": None}}}
    begun = await way.patch(APP, "2025-01-01", body, what="scale it")
    assert begun.operation is not None
    away = replace(begun, operation=begun.operation.replace(place.arm.url, "https://evil.example"))
    await way.done(away, what="scale it", within_s=3)
    place.close()


async def test_a_hanging_service_holds_up_no_other() -> None:
    """Each service has a line of its own: Container Apps that hang leave Azure DNS as quick as ever."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    hanging = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}"
    slow = arm("Azure Container Apps in westeurope", Reach.of({"endpoint": url}))
    waits = [asyncio.create_task(slow.get(PROFILE, VERSION, what=WHAT)) for _ in range(10)]
    await asyncio.sleep(0)
    server = Arm(TrafficManager()).start()
    server.keep(PROFILE, profile("paris"))
    begun = time.perf_counter()
    quick = arm("Azure Traffic Manager", Reach.of({"endpoint": server.url}))
    await quick.get(PROFILE, VERSION, what=WHAT)
    assert time.perf_counter() - begun < 2.0
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    hanging.close()
    server.close()
