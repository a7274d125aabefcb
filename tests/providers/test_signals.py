"""Signals from Prometheus, asked over HTTP as its API is documented, and what comes of answers that are none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Secret, SecretSource, SignalSpec
from providers import registry
from providers.base import Forbidden, NotFound, Refused, Sign, Signal, Throttled, Transient, Unauthenticated

QUERY = "sum(increase(gpu_xid_errors_total{endpoint='us'}[5m])) > 0"


class Prometheus:
    """The query API, answering each query with what was laid out for it."""

    def __init__(self) -> None:
        self.status = 200
        self.data: dict[str, Any] = {"resultType": "vector", "result": []}
        self.queries: list[str] = []
        prometheus = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Nothing."""

            def __getattr__(self, name: str) -> Any:
                if name == "do_POST":
                    return self.query
                raise AttributeError(name)

            def query(self) -> None:
                asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                prometheus.queries += asked["query"]
                there = self.path == "/api/v1/query"
                body = json.dumps({"status": "success", "data": prometheus.data}).encode()
                self.send_response(prometheus.status if there else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def signal(self, url: str | None = None, **changes: Any) -> Signal:
        return registry.signal(SignalSpec("xid", "prometheus", QUERY, options=(("url", url or self.url),), **changes))

    def says(self, *values: str) -> None:
        self.data = {"resultType": "vector", "result": [{"metric": {}, "value": [1.0, each]} for each in values]}


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    made = Prometheus()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.parametrize(
    ("values", "active", "text"),
    [
        ((), False, "nothing"),
        (("0",), False, "nothing"),
        (("NaN",), False, "nothing"),
        (("3",), True, "3"),
        (("0", "2.5", "-7"), True, "2 series, the most -7"),
    ],
)
async def test_a_query_is_active_as_an_alerting_rule_is(
    prometheus: Prometheus, values: tuple[str, ...], active: bool, text: str
) -> None:
    """Any sample that is not 0 makes it active; none, 0 and what is no number do not."""
    prometheus.says(*values)
    assert await prometheus.signal().read() == Sign(active, text)
    assert prometheus.queries == [QUERY]


async def test_a_scalar_counts_too(prometheus: Prometheus) -> None:
    """A query that gives one number is judged by it."""
    prometheus.data = {"resultType": "scalar", "result": [1.0, "4"]}
    assert (await prometheus.signal().read()).active


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Unauthenticated),
        (403, Forbidden),
        (429, Throttled),
        (422, Refused),
        (503, Transient),
        (418, Refused),
    ],
)
async def test_each_refusal_says_what_to_do(prometheus: Prometheus, status: int, error: type[Exception]) -> None:
    """The error's name says what the caller does, its sentence what people do."""
    prometheus.status = status
    with pytest.raises(error, match=r"127\.0\.0\.1") as told:
        await prometheus.signal().read()
    assert type(told.value) is error


async def test_what_is_no_prometheus_is_told(prometheus: Prometheus) -> None:
    """A wrong path, an answer of another shape, nobody there: one sentence each, and no signal."""
    with pytest.raises(NotFound):
        await prometheus.signal(prometheus.url + "/elsewhere").read()
    prometheus.data = {"odd": True}
    with pytest.raises(Refused, match="does not answer as Prometheus does"):
        await prometheus.signal().read()
    with pytest.raises(Transient, match="cannot be reached"):
        await prometheus.signal("http://127.0.0.1:9").read()


def test_a_handle_without_a_server_or_with_a_token_in_the_open_is_refused() -> None:
    """The url is needed, and a token travels by https alone."""
    with pytest.raises(BadInput, match="does not say where its Prometheus is"):
        registry.signal(SignalSpec("xid", "prometheus", QUERY))
    spec = SignalSpec(
        "xid",
        "prometheus",
        QUERY,
        options=(("url", "http://prometheus.example"),),
        secret=Secret(SecretSource.ENV, "PROMETHEUS_TOKEN"),
    )
    with pytest.raises(BadInput, match="in the open"):
        registry.signal(spec)
