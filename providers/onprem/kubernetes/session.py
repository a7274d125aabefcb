"""Clients of Kubernetes: one for each kubeconfig and context, made when it is first used and kept.

Credentials come as for ``kubectl``: from a kubeconfig with its files, tokens and plugins, or, inside of a cluster, from
the service account. A kubeconfig that has changed on disk is read anew. The client of the SDK does not retry
(``providers.calls`` does); by itself urllib3 would try a PUT three times, and sleep for a Retry-After.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import incluster_config, kube_config
from kubernetes.config.config_exception import ConfigException
from urllib3 import Retry

from providers.base import NotFound, Unauthenticated
from providers.calls import CALL_S, CONNECT_S, THREADS

WITHIN = (CONNECT_S, CALL_S)
"""For ``_request_timeout`` of every call: seconds to connect, and to wait for an answer."""
_Stamp = tuple[tuple[str, int], ...]
"""What a client was made from: files, and when they were last written."""


class _Slot:
    """The place of one client. Each has a lock of its own: a plugin that hangs holds up nobody else's cluster."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.client: ApiClient | None = None
        self.stamp: _Stamp = ()


def client(kubeconfig: str = "", context: str = "") -> ApiClient:
    """The client of *context* in *kubeconfig*; both empty: the service account's, else the current context.

    The first call reads files and may run a plugin for credentials (for seconds: the deadline is the caller's), so
    call it inside of ``Line.read`` and ``Line.write``. Plain http gets no credentials.
    Raises NotFound for a file or context that is not there, Unauthenticated where a plugin gives nothing.
    """
    within = in_cluster(kubeconfig, context)
    slot = _slot(kubeconfig, context)
    with slot.lock:
        stamp = _stamp_within() if within else _stamp(kubeconfig)
        if slot.client is None or slot.stamp != stamp:
            slot.client = _of_service_account() if within else _of_context(kubeconfig, context, stamp)
            slot.stamp = stamp
        return slot.client


def forget(kubeconfig: str, context: str, refused: ApiClient) -> None:
    """Make that client anew, as its credentials were *refused*: there may be better ones by now."""
    slot = _slot(kubeconfig, context)
    with slot.lock:
        if slot.client is refused:  # else another thread has made it anew
            slot.client = None


@cache
def _slot(kubeconfig: str, context: str) -> _Slot:
    return _Slot()


def in_cluster(kubeconfig: str, context: str) -> bool:
    """Whether the cluster meant is the one that this process runs in."""
    return (
        not kubeconfig
        and not context
        and bool(os.environ.get(incluster_config.SERVICE_HOST_ENV_NAME))
        and os.path.isfile(incluster_config.SERVICE_TOKEN_FILENAME)
    )


def paths(kubeconfig: str) -> tuple[Path, ...]:
    """The files of *kubeconfig*, as ``KUBECONFIG`` names them."""
    listed = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return tuple(Path(each).expanduser() for each in listed.split(os.pathsep) if each)


def said(kubeconfig: str) -> str:
    """The files of *kubeconfig* for an error."""
    return os.pathsep.join(map(str, paths(kubeconfig)))


def _stamp(kubeconfig: str) -> _Stamp:
    return tuple((str(path), path.stat().st_mtime_ns) for path in paths(kubeconfig) if path.is_file())


def _stamp_within() -> _Stamp:
    # The token is renewed by the SDK; elsewhere the cluster itself may be another.
    return ((os.environ[incluster_config.SERVICE_HOST_ENV_NAME], 0),)


def _of_service_account() -> ApiClient:
    settings = _settings()
    try:
        config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise Unauthenticated(
            "the pod's service account cannot be used: its token or certificate is missing or empty; mount it "
            "(automountServiceAccountToken), or give the options `kubeconfig` and `context`"
        ) from error
    return ApiClient(settings)


def _of_context(kubeconfig: str, context: str, stamp: _Stamp) -> ApiClient:
    files = os.pathsep.join(path for path, _ in stamp)
    if not files:
        raise NotFound(
            f"there is no kubeconfig at {said(kubeconfig)}; put it there, or name another with the option `kubeconfig`"
        )
    user = _user(files, context)
    settings = _settings()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            files, context or None, client_configuration=settings, persist_config=False
        )
    except Exception as error:  # the SDK's loader raises whatever its parsers do, with what the file holds
        raise _unusable(files, context) from error
    if settings.host.startswith("http://"):
        settings.api_key, settings.refresh_api_key_hook = {}, None
    elif "exec" in user and not settings.api_key and not settings.cert_file:
        # The SDK logs what its plugin said, and goes on as nobody.
        raise Unauthenticated(
            f"the command '{user['exec'].get('command')}', by which {_named(files, context)} signs in, gave no "
            "credentials; run it by hand to see why, and sign in again"
        )
    return ApiClient(settings)


def _settings() -> Configuration:
    settings = Configuration()
    settings.retries = Retry(False, redirect=False)
    settings.connection_pool_maxsize = THREADS
    return settings


def _user(files: str, context: str) -> dict[str, Any]:
    """How *context* signs in: its entry among the users, empty where it has none. Raises NotFound, Unauthenticated."""
    try:
        whole = kube_config.KubeConfigMerger(files).config.value  # type: ignore[no-untyped-call]
        contexts = {each.value["name"]: each.value["context"] for each in whole["contexts"]}
        users = {each.value["name"]: each.value.get("user") or {} for each in whole["users"]}
    except Exception as error:  # as above
        raise _unusable(files, context) from error
    name = context or whole.get("current-context") or ""
    if name not in contexts:
        which = f"no context is called '{name}' in {files}" if name else f"{files} has no current context"
        raise NotFound(f"{which}; give the option `context`, one of: {', '.join(sorted(contexts)) or 'none'}")
    found: dict[str, Any] = users.get(contexts[name].get("user"), {})
    return found


def _unusable(files: str, context: str) -> Unauthenticated:
    return Unauthenticated(
        f"{_named(files, context)} cannot be used: something in it is missing or misspelt, or a file that it names "
        "is not there; try it with `kubectl version`"
    )


def _named(files: str, context: str) -> str:
    return f"the context '{context}' of {files}" if context else f"the current context of {files}"
