"""A real Envoy that follows a discovery file: the localities of a cluster, or the weighted clusters of a route.

with Envoy({"eu": "127.0.0.1:8001", "us": "127.0.0.1:8002"}) as proxy:
    assert proxy.weights() == {"eu": 100}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from real.ports import free_port

CLUSTER = "chat"
_API = "type.googleapis.com/envoy."
_MANAGER = f"{_API}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{_API}extensions.filters.http.router.v3.Router"},
}


def binary() -> Path:
    """The program that the package brings."""
    found = find_spec("envoy")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "_bin" / "envoy"


def _address(at: str) -> dict[str, Any]:
    host, _, port = at.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


@dataclass
class Envoy:
    """Envoy as a process with a directory of its own. All traffic begins at the first of *places*."""

    places: Mapping[str, str]
    """Locality or cluster, and the ``host:port`` of its endpoint."""
    routes: bool = False
    """Whether clusters are weighed in a route, instead of localities in one cluster."""
    weighs: bool = True
    """Whether the cluster balances by the weights of localities."""
    panics: bool = False
    """Whether, where most endpoints are unhealthy, it gives traffic to all of them."""
    port: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)
    directory: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="envoy-"))
        self.move({name: 100 * (index == 0) for index, name in enumerate(self.places)}, version="as written by hand")

    @property
    def file(self) -> Path:
        """The discovery file."""
        return self.directory / f"{CLUSTER}.json"

    @property
    def url(self) -> str:
        """Where clients are served."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def at(self) -> str:
        """The admin interface, as a topology writes it."""
        return f"http://127.0.0.1:{self.admin}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, within_s: float = 30.0) -> None:
        """Start, and wait until clients are served. Raises RuntimeError with the log's end when they are not."""
        config, log = self.directory / "envoy.json", self.directory / "log"
        config.write_text(json.dumps(self._config()), encoding="utf-8")
        command = ("setpriv", "--pdeathsig", "KILL", str(binary()), "-c", str(config), "-l", "warning")
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                (*command, "--disable-hot-restart", "--concurrency", "2"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        until = time.monotonic() + within_s
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if self.ask("/ready") == "LIVE\n":
                    return
            time.sleep(0.005)
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        self.close()
        raise RuntimeError(f"Envoy did not start: {said}")

    def _config(self) -> dict[str, Any]:
        follows = {"path_config_source": {"path": str(self.file)}}
        if self.routes:
            route: dict[str, Any] = {"rds": {"route_config_name": CLUSTER, "config_source": follows}}
            clusters = [
                self._cluster(name, {"type": "STATIC", "load_assignment": self._assigned(name, {name: 1})})
                for name in self.places
            ]
        else:
            every = {"match": {"prefix": "/"}, "route": {"cluster": CLUSTER, "timeout": "0s"}}
            host = {"name": CLUSTER, "domains": ["*"], "routes": [every]}
            route = {"route_config": {"name": CLUSTER, "virtual_hosts": [host]}}
            balances: dict[str, Any] = {"update_merge_window": "0s"}
            balances |= {"locality_weighted_lb_config": {}} if self.weighs else {}
            balances |= {} if self.panics else {"healthy_panic_threshold": {"value": 0}}
            source = {"type": "EDS", "eds_cluster_config": {"eds_config": follows}}
            clusters = [self._cluster(CLUSTER, source | {"common_lb_config": balances})]
        manager = {"@type": _MANAGER, "stat_prefix": "clients", "http_filters": [_ROUTER]} | route
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        listener = {
            "name": "clients",
            "address": _address(f"127.0.0.1:{self.port}"),
            "filter_chains": [{"filters": filters}],
        }
        return {
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": _address(f"127.0.0.1:{self.admin}")},
            "static_resources": {"listeners": [listener], "clusters": clusters},
        }

    def _cluster(self, name: str, more: Mapping[str, Any]) -> dict[str, Any]:
        limits = {"thresholds": [{"max_connections": 5000, "max_requests": 5000, "max_pending_requests": 5000}]}
        return {"name": name, "circuit_breakers": limits, **more}

    def _assigned(self, cluster: str, weights: Mapping[str, int]) -> dict[str, Any]:
        def group(name: str) -> dict[str, Any]:
            weight = {"load_balancing_weight": weights[name]} if weights.get(name) else {}
            region, _, zone = name.partition("/")
            place = {"region": region, "zone": zone} if zone else {"region": region}
            ends = [{"endpoint": {"address": _address(at.strip())}} for at in self.places[name].split(",")]
            return {"locality": place, "lb_endpoints": ends} | weight

        return {"cluster_name": cluster, "endpoints": [group(name) for name in weights]}

    def move(self, weights: Mapping[str, int], *, version: str | None = None) -> None:
        """Replace the file as a person would: with other weights, and the version that it had."""
        if version is None:
            version = json.loads(self.file.read_text(encoding="utf-8"))["version_info"]
        given = {name: weights.get(name, 0) for name in self.places}
        if self.routes:
            clusters = [{"name": name, "weight": weight} for name, weight in given.items()]
            route = {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": clusters}, "timeout": "0s"}}
            host = {"name": CLUSTER, "domains": ["*"], "routes": [route]}
            resource: dict[str, Any] = {"@type": f"{_API}config.route.v3.RouteConfiguration", "name": CLUSTER}
            resource |= {"virtual_hosts": [host]}
        else:
            resource = {"@type": f"{_API}config.endpoint.v3.ClusterLoadAssignment"} | self._assigned(CLUSTER, given)
        self.replace({"version_info": version, "resources": [resource]})

    def replace(self, document: Mapping[str, Any]) -> None:
        """Put another file in its place."""
        new = self.directory / "new.json"
        new.write_text(json.dumps(document), encoding="utf-8")
        new.replace(self.file)

    def document(self) -> dict[str, Any]:
        """The file."""
        found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return found

    def ask(self, path: str) -> str:
        """What the admin interface answers."""
        connection = HTTPConnection("127.0.0.1", self.admin, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def version(self) -> str:
        """The version of the file that Envoy follows now."""
        name = f"http.clients.rds.{CLUSTER}.version_text" if self.routes else f"cluster.{CLUSTER}.version_text"
        for line in self.ask("/stats?type=TextReadouts").splitlines():
            if line.startswith(f"{name}: "):
                return line.partition(": ")[2].strip('"')
        return ""

    async def caught_up(self) -> None:
        """Wait until Envoy, which announces nothing, follows the file as it is."""
        async with asyncio.timeout(5.0):
            while await asyncio.to_thread(self.version) != self.document()["version_info"]:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.002)

    def updates(self) -> int:
        """How many files it has taken up."""
        name = f"http.clients.rds.{CLUSTER}.update_success" if self.routes else f"cluster.{CLUSTER}.update_success"
        return int(self.ask(f"/stats?filter=^{name}$").rpartition(": ")[2])

    def weights(self) -> dict[str, int]:
        """What it balances by now, zeros left out."""
        dump = json.loads(self.ask("/config_dump?include_eds"))["configs"]
        if self.routes:
            (routes,) = [each for each in dump if each["@type"].endswith(".RoutesConfigDump")]
            (route,) = routes["dynamic_route_configs"][0]["route_config"]["virtual_hosts"][0]["routes"]
            given = {each["name"]: each.get("weight", 0) for each in route["route"]["weighted_clusters"]["clusters"]}
        else:
            (endpoints,) = [each for each in dump if each["@type"].endswith(".EndpointsConfigDump")]
            groups = endpoints["static_endpoint_configs"][0]["endpoint_config"]["endpoints"]
            given = {"/".join(each["locality"].values()): each.get("load_balancing_weight", 0) for each in groups}
        return {name: int(weight) for name, weight in given.items() if weight}

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
