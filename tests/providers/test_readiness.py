"""Readiness: replicas that have caught up, artifacts that are equal, asked over HTTP; what a move makes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.move import MoveKind
from orchestrator.core.names import Domain, EndpointId
from orchestrator.core.topology import Blocks, ReadinessSpec, Secret, SecretSource
from providers import registry
from providers.base import Forbidden, Readiness, Refused, Severity, Transient, Unauthenticated
from runbooks.plan import Place
from workflows.activities.pulse import Pulse
from workflows.activities.readying import examine

OHIO = Place(EndpointId("ohio"), "http://127.0.0.1:1", "chat.example", Domain("aws/us-east-2"))


class Stores:
    """Object stores, and a Prometheus, on one address."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, dict[str, str]]] = {}
        self.lag: list[str] = []
        stores = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Nothing."""

            def __getattr__(self, name: str) -> Any:
                return {"do_HEAD": self.head, "do_POST": self.query}[name] if name.startswith("do_") else self.missing()

            def missing(self) -> Any:
                raise AttributeError

            def head(self) -> None:
                status, headers = stores.objects.get(self.path, (404, {}))
                self.send_response(status)
                for header, value in headers.items():
                    self.send_header(header, value)
                self.end_headers()

            def query(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                result = [{"metric": {}, "value": [1.0, each]} for each in stores.lag]
                body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def artifacts(self, **changes: Any) -> ReadinessSpec:
        options = (("same_as", f"{self.url}/eu/llama.safetensors"),)
        return ReadinessSpec("model", "artifacts", f"{self.url}/us/llama.safetensors", options=options, **changes)

    def holds(self, place: str, **headers: str) -> None:
        said = {"Content-Length": "7", **{name.replace("_", "-"): value for name, value in headers.items()}}
        self.objects[f"/{place}/llama.safetensors"] = (200, said)

    def replica(self, **changes: Any) -> ReadinessSpec:
        options = (("most", "30"), ("url", self.url))
        return replace(ReadinessSpec("replica", "replication-lag", "pg_lag_seconds", options=options), **changes)


@pytest.fixture
def stores() -> Iterator[Stores]:
    made = Stores()
    yield made
    made.server.shutdown()
    made.server.server_close()


def made(spec: ReadinessSpec) -> Readiness:
    return registry.readiness(spec)


async def test_artifacts_that_say_one_digest_are_equal(stores: Stores) -> None:
    """The same checksum at both stores is ready, whatever else differs; another one is not."""
    stores.holds("eu", x_amz_checksum_sha256="abc", ETag='"1"')
    stores.holds("us", x_amz_checksum_sha256="abc", ETag='"2-5"')
    assert await made(stores.artifacts()).examine() == ()
    stores.holds("us", x_amz_checksum_sha256="xyz", ETag='"1"')
    (found,) = await made(stores.artifacts()).examine()
    assert found.severity is Severity.ERROR
    assert "is another than the one at" in found.reason


async def test_an_artifact_that_is_not_there_is_told(stores: Stores) -> None:
    """The store that lacks it is named, without what may be secret in its address."""
    stores.holds("eu", ETag='"1"')
    spec = replace(stores.artifacts(), target=f"{stores.url}/us/llama.safetensors?sig=secret")
    (found,) = await made(spec).examine()
    assert "there is no artifact at 127.0.0.1" in found.reason
    assert "secret" not in found.reason


async def test_what_cannot_be_compared_is_a_warning_and_another_length_an_error(stores: Stores) -> None:
    """Without a digest in common: another length is another artifact, the same ETag the same, else nobody knows."""
    stores.holds("eu", ETag='"1"')
    stores.holds("us", ETag='"1"')
    assert await made(stores.artifacts()).examine() == ()
    stores.holds("us", ETag='"2"')
    assert [each.severity for each in await made(stores.artifacts()).examine()] == [Severity.WARNING]
    stores.holds("us", Content_Length="8")
    assert [each.severity for each in await made(stores.artifacts()).examine()] == [Severity.ERROR]


@pytest.mark.parametrize(("status", "error"), [(401, Unauthenticated), (403, Forbidden), (500, Transient)])
async def test_a_store_that_refuses_says_what_to_do(stores: Stores, status: int, error: type[Exception]) -> None:
    """Each refusal is an error of its own."""
    stores.holds("eu")
    stores.objects["/us/llama.safetensors"] = (status, {})
    with pytest.raises(error):
        await made(stores.artifacts()).examine()


@pytest.mark.parametrize(
    ("lag", "reason"),
    [(("3", "30"), None), (("3", "45"), "the replica is 45 s behind, above 30 s"), ((), "nobody says how far")],
)
async def test_a_replica_is_behind_or_not(stores: Stores, lag: tuple[str, ...], reason: str | None) -> None:
    """The worst series counts, and silence is not readiness."""
    stores.lag = list(lag)
    found = await made(stores.replica()).examine()
    if reason is None:
        assert found == ()
    else:
        assert reason in found[0].reason


async def test_a_planned_move_waits_and_an_unplanned_one_tells(stores: Stores) -> None:
    """Who has time does not move to a replica that is behind; who has none goes on, and the record says so."""
    stores.lag = ["45"]
    stores.holds("eu", ETag='"1"')
    stores.holds("us", ETag='"1"')
    specs = (stores.artifacts(), stores.replica())
    pulse = Pulse(lambda *_: None)
    with pytest.raises(Refused, match="ohio is not ready for traffic: replica: the replica is 45 s behind, above"):
        await examine(OHIO, specs, MoveKind.SWITCHOVER, pulse)
    said = await examine(OHIO, specs, MoveKind.FAILOVER, pulse)
    assert said == "ohio goes on without: replica: the replica is 45 s behind, above 30 s"
    strict = (stores.replica(blocks=Blocks.ALWAYS),)
    with pytest.raises(Refused):
        await examine(OHIO, strict, MoveKind.FAILOVER, pulse)
    loose = (stores.replica(blocks=Blocks.NEVER),)
    assert "goes on without" in await examine(OHIO, loose, MoveKind.SWITCHOVER, pulse)
    stores.lag = ["0"]
    assert await examine(OHIO, specs, MoveKind.SWITCHOVER, pulse) == "ohio: model, replica ready"
    assert await examine(OHIO, (), MoveKind.SWITCHOVER, pulse) == ""


async def test_what_cannot_be_asked_is_not_ready() -> None:
    """Nobody there, no such provider: a planned move does not take that for a yes."""
    pulse = Pulse(lambda *_: None)
    options = (("most", "30"), ("url", "http://127.0.0.1:9"))
    away = ReadinessSpec("replica", "replication-lag", "lag", options=options)
    with pytest.raises(Refused, match=r"replica: it is not known \(Prometheus at 127\.0\.0\.1:9 cannot be reached"):
        await examine(OHIO, (away,), MoveKind.SWITCHOVER, pulse)
    with pytest.raises(Refused, match="no readiness provider is called 'oracle'"):
        await examine(OHIO, (replace(away, provider="oracle"),), MoveKind.SWITCHOVER, pulse)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (ReadinessSpec("r", "replication-lag", "q", options=(("url", "http://p"),)), "does not say how far behind"),
        (ReadinessSpec("r", "artifacts", "s3://x", options=(("same_as", "https://y"),)), "of which 's3://x' is none"),
        (
            ReadinessSpec(
                "r",
                "artifacts",
                "http://x/",
                options=(("same_as", "https://y"),),
                secret=Secret(SecretSource.ENV, "TOKEN"),
            ),
            "in the open",
        ),
    ],
)
def test_bad_settings_are_told(spec: ReadinessSpec, sentence: str) -> None:
    """What is missing or dangerous is one sentence."""
    with pytest.raises(BadInput, match=sentence):
        registry.readiness(spec)
