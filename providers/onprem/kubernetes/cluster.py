"""One cluster, as a context names it: its line of calls, and what a topology calls a workload in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Workload
from providers.base import Unauthenticated
from providers.calls import Line, line
from providers.onprem.kubernetes import session
from providers.onprem.kubernetes.errors import translate

T = TypeVar("T")
FIELD_MANAGER = "failover"
"""Who changed a field, as ``kubectl get --show-managed-fields`` says."""
KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet"}
"""Of API group apps: what can be scaled, by what a target calls it."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The way to one cluster's API."""

    kubeconfig: str = ""
    context: str = ""

    @property
    def said(self) -> str:
        """The cluster for a sentence."""
        if session.in_cluster(self.kubeconfig, self.context):
            return "this cluster"
        where = f"context {self.context}" if self.context else "the current context"
        return f"{where} of {self.kubeconfig}" if self.kubeconfig else where

    async def read(self, what: str, do: Callable[[ApiClient], T]) -> T:
        """What *do* reads. Raises what ``errors.translate`` and ``session.client`` say."""
        return await self._line.read(f"{what} ({self.said})", lambda: self._signed_in(do))

    async def write(self, what: str, do: Callable[[ApiClient], T]) -> T:
        """What *do* writes, tried once. Raises the same."""
        return await self._line.write(f"{what} ({self.said})", lambda: self._signed_in(do))

    async def ask_pod(self, what: str, do: Callable[[ApiClient], T]) -> T:
        """What *do* asks of a pod through the API server. A pod that hangs holds up no call to the cluster itself."""
        return await line(f"pods of {self._name}", translate).write(
            f"{what} ({self.said})", lambda: self._signed_in(do)
        )

    @property
    def _line(self) -> Line:
        return line(self._name, translate)

    @property
    def _name(self) -> str:
        # Contexts of one name in two files may be two clusters.
        return "kubernetes " + " of ".join(filter(None, (self.context or "default", self.kubeconfig)))

    def _signed_in(self, do: Callable[[ApiClient], T]) -> T:
        """*do*, and once more with credentials read anew where they were refused: a 401 has had no effect."""
        api = session.client(self.kubeconfig, self.context)
        try:
            return do(api)
        except ApiException as error:
            if error.status != 401:
                raise
        session.forget(self.kubeconfig, self.context, api)
        try:
            return do(session.client(self.kubeconfig, self.context))
        except ApiException as error:
            if error.status != 401:
                raise
            if session.in_cluster(self.kubeconfig, self.context):
                cure = "see that the pod's service account still exists"
            else:
                cure = f"sign in again, so that {session.said(self.kubeconfig)} has good ones"
            raise Unauthenticated(f"{self.said} does not accept the credentials, read anew just now; {cure}") from error


@dataclass(frozen=True, slots=True)
class Target:
    """A workload in a cluster."""

    namespace: str
    kind: str
    """``Deployment`` or ``StatefulSet``."""
    name: str

    @property
    def said(self) -> str:
        """The workload for a sentence."""
        return f"{self.kind.lower()} {self.namespace}/{self.name}"


def cluster(handle: Workload) -> Cluster:
    """The cluster that *handle* names by the options ``kubeconfig`` and ``context``."""
    given = dict(handle.options)
    return Cluster(given.get("kubeconfig", ""), given.get("context", ""))


def target(handle: Workload) -> Target:
    """What ``namespace/kind/name`` means. Raises BadInput."""
    parts = handle.target.split("/")
    kind = KINDS.get(parts[1].lower()) if len(parts) == 3 else None
    if kind is None or not all(_NAME.fullmatch(each) for each in (parts[0], parts[2])):
        raise BadInput(
            f"'{handle.target}' is no workload of Kubernetes: write namespace/deployment/name or "
            "namespace/statefulset/name"
        )
    return Target(parts[0], kind, parts[2])
