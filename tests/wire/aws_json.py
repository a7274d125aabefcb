"""AWS services of protocol JSON 1.1 over a socket, that keep state.

Each request and each answer is held against the model of the service that the SDK itself is made from: an operation or
a field that AWS does not have, or a value out of its bounds, is refused here as it is there, and an answer that AWS
could not give fails the test.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from botocore.model import ServiceModel  # type: ignore[import-untyped]  # the SDK ships no types
from botocore.session import Session  # type: ignore[import-untyped]
from botocore.validate import ParamValidator  # type: ignore[import-untyped]

Operation = Callable[[dict[str, Any]], dict[str, Any]]


class Fault(Exception):
    """An error as AWS answers it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@cache
def model(service: str) -> ServiceModel:
    """What the SDK knows of a service."""
    return Session().get_service_model(service)


class AwsJson:
    """One service; its operations are called one after another, as by a store that is consistent."""

    def __init__(self, service: str, operations: Mapping[str, Operation]) -> None:
        self.model = model(service)
        self.prefix = f"{self.model.metadata['targetPrefix']}."
        self._operations = operations
        self._lock = threading.Lock()
        self.wrong: list[str] = []
        """Answers that AWS could not have given."""
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> Self:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                """Nothing: a test reads no access log."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, answer = service.answer(self.headers.get("x-amz-target", ""), body)
                said = json.dumps(answer, default=_moment).encode()
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("content-type", "application/x-amz-json-1.1")
                    self.send_header("content-length", str(len(said)))
                    self.end_headers()
                    self.wfile.write(said)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    @property
    def at(self) -> str:
        """``host:port``."""
        assert self._server is not None
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and document for one request."""
        name = target.removeprefix(self.prefix)
        if not target.startswith(self.prefix) or name not in self._operations:
            return 400, {"__type": "UnknownOperationException", "message": f"no operation {target}"}
        asked, shape = json.loads(body), self.model.operation_model(name)
        report = ParamValidator().validate(asked, shape.input_shape)
        wrong = [*report.generate_report().splitlines(), *beyond(shape.input_shape, asked)]
        if wrong:
            return 400, {"__type": "ValidationException", "message": "; ".join(wrong)}
        try:
            with self._lock:
                said = self._operations[name](asked)
        except Fault as fault:
            return fault.status, {"__type": fault.code, "message": fault.message}
        report = ParamValidator().validate(said, shape.output_shape)
        if report.has_errors():
            self.wrong.append(f"{name}: {report.generate_report()}")
            return 500, {"__type": "InternalFailure", "message": self.wrong[-1]}
        return 200, said


def beyond(shape: Any, value: Any) -> list[str]:
    """What of *value* AWS has no name for, or what is more than it takes: the SDK lets both pass."""
    match shape.type_name:
        case "structure":
            unknown = [f"no field is called {name}" for name in sorted(value.keys() - shape.members.keys())]
            known = (beyond(shape.members[name], each) for name, each in value.items() if name in shape.members)
            return [*unknown, *(each for inside in known for each in inside)]
        case "list":
            return [each for one in value for each in beyond(shape.member, one)]
        case "string":
            return [f"{value} is none of {shape.enum}"] if shape.enum and value not in shape.enum else []
        case "integer" | "long" | "float" | "double":
            most = shape.metadata.get("max")
            return [f"{value} is more than {most}"] if most is not None and value > most else []
        case _:
            return []


def _moment(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(type(value).__name__)
