"""A real control plane of Kubernetes: etcd, the API server and its controllers, as envtest starts them
(https://book.kubebuilder.io/reference/envtest).

Where ``KUBEBUILDER_ASSETS`` names a directory with ``etcd``, ``kube-apiserver`` and ``kube-controller-manager``, the
contracts run against them, too. There are no nodes: a thread says of each pod what a node would.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from real.ports import free_port

ASSETS = os.environ.get("KUBEBUILDER_ASSETS", "")
ADDRESS = "127.0.0.1"
ADMIN, NOBODY = "admin-token", "nobody-token"
_LAUNCH = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass
class ControlPlane:
    """Where it listens, and whom it trusts."""

    url: str
    ca: bytes
    home: Path

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """Ask as the administrator, without the SDK."""
        return json.loads(self.send(method, path, None if body is None else json.dumps(body).encode(), kind))

    def send(self, method: str, path: str, body: bytes | None, kind: str) -> bytes:
        """The same in bytes."""
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": kind or "application/json"}
        asked = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)  # noqa: S310 - loopback
        trusted = ssl.create_default_context(cadata=self.ca.decode())
        with urllib.request.urlopen(asked, context=trusted, timeout=20) as answer:  # noqa: S310 - loopback
            said: bytes = answer.read()
            return said

    def kubeconfig(self, path: Path, *, token: str = ADMIN, server: str = "") -> Path:
        """A kubeconfig at *path* for the bearer of *token*."""
        cluster = {"server": server or self.url}
        if not server:
            cluster["certificate-authority-data"] = base64.b64encode(self.ca).decode()
        path.write_text(kubeconfig(cluster, {"token": token}))
        return path


def kubeconfig(cluster: Any, user: Any, *, context: str = "here") -> str:
    """A kubeconfig of one context."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
            "current-context": context,
        }
    )


@cache
def control_plane() -> ControlPlane:
    """The one of this process, started when first asked for. Needs ``KUBEBUILDER_ASSETS``."""
    home = Path(tempfile.mkdtemp(prefix="kube"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    client, peer, port, manager = (free_port(ADDRESS) for _ in range(4))
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (home / "sa.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    (home / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n{NOBODY},nobody,2,""\n')
    etcd = f"http://{ADDRESS}:{client}"
    beside = f"http://{ADDRESS}:{peer}"
    _start(
        home,
        "etcd",
        f"--data-dir={home / 'etcd'}",
        f"--listen-client-urls={etcd}",
        f"--advertise-client-urls={etcd}",
        f"--listen-peer-urls={beside}",
        f"--initial-advertise-peer-urls={beside}",
        f"--initial-cluster=default={beside}",
        "--unsafe-no-fsync" if _knows("etcd", "--unsafe-no-fsync") else "--snapshot-count=10000",
    )
    url = f"https://{ADDRESS}:{port}"
    _start(
        home,
        "kube-apiserver",
        f"--etcd-servers={etcd}",
        f"--bind-address={ADDRESS}",
        f"--advertise-address={ADDRESS}",
        f"--secure-port={port}",
        f"--cert-dir={home}",
        "--authorization-mode=RBAC",
        f"--token-auth-file={home / 'tokens.csv'}",
        f"--service-account-key-file={home / 'sa.key'}",
        f"--service-account-signing-key-file={home / 'sa.key'}",
        f"--service-account-issuer={url}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
    )
    certificate = home / "apiserver.crt"
    _await(certificate.exists, home)
    made = ControlPlane(url, certificate.read_bytes(), home)
    _await(lambda: made.call("GET", "/api/v1/namespaces/kube-system")["metadata"]["name"] == "kube-system", home)
    config = made.kubeconfig(home / "manager.conf")
    _start(
        home,
        "kube-controller-manager",
        f"--kubeconfig={config}",
        "--leader-elect=false",
        f"--bind-address={ADDRESS}",
        f"--secure-port={manager}",
        f"--cert-dir={home / 'manager'}",
        *(["--port=0"] if _knows("kube-controller-manager", "--port ") else []),
        "--controllers=deployment,replicaset,statefulset,horizontalpodautoscaling,resourcequota,"
        "garbagecollector,namespace",
        "--horizontal-pod-autoscaler-sync-period=1s",
    )
    threading.Thread(target=_nodes, args=(made,), daemon=True).start()
    return made


NEVER_READY = "never-ready"
"""A pod with this label fits on no node."""


def _nodes(plane: ControlPlane) -> None:
    """Say of every pod what a scheduler and a node would: it runs and is ready, or it fits nowhere."""
    while True:
        with contextlib.suppress(OSError, ValueError):
            for pod in plane.call("GET", "/api/v1/pods")["items"]:
                if not pod["status"].get("conditions") and "deletionTimestamp" not in pod["metadata"]:
                    _says(plane, pod)
        time.sleep(0.1)


def _says(plane: ControlPlane, pod: Any) -> None:
    meta = pod["metadata"]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if NEVER_READY in meta["labels"]:
        message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
        no = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        status: dict[str, Any] = {"conditions": [no | {"lastTransitionTime": now}]}
    else:
        yes = [{"type": each, "status": "True", "lastTransitionTime": now} for each in ("PodScheduled", "Ready")]
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": yes}
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
    with contextlib.suppress(urllib.error.HTTPError):
        plane.call("PATCH", path, {"status": status}, kind="application/merge-patch+json")


def _start(home: Path, program: str, *arguments: str) -> None:
    with (home / f"{program}.log").open("wb") as log:
        process = subprocess.Popen(
            (sys.executable, "-c", _LAUNCH, str(Path(ASSETS) / program), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home,
        )
    atexit.register(_end, process)


@cache
def _help(program: str) -> str:
    return subprocess.run((str(Path(ASSETS) / program), "--help"), capture_output=True, text=True, check=False).stdout


def _knows(program: str, flag: str) -> bool:
    return flag in _help(program)


def _await(true: Any, home: Path, within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if true():
                return
        if time.monotonic() > until:
            logs = "\n".join(f"{log.name}: {log.read_text()[-600:]}" for log in home.glob("*.log"))
            raise RuntimeError(f"the control plane does not start: {logs}")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
