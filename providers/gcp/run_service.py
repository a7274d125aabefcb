"""One service of Cloud Run, read and updated over gRPC.

Every update names its fields and the service's etag as it was read, so that nothing else is touched and no other
writer is overtaken. It is a long-running operation: accepted is not done, and whoever waits reads the service again.
(https://cloud.google.com/run/docs/reference/rpc/google.cloud.run.v2)

Least right: run.services.get, run.services.update and run.revisions.get on the service, and iam.serviceAccounts.actAs
on the account that it runs as (https://cloud.google.com/run/docs/reference/iam/permissions).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

import grpc  # type: ignore[import-untyped]  # it ships no types
from google.api_core.exceptions import NotFound
from google.auth.credentials import Credentials
from google.cloud import run_v2
from google.cloud.run_v2.services.revisions.transports import RevisionsGrpcTransport
from google.cloud.run_v2.services.services.transports import ServicesGrpcTransport
from google.protobuf import field_mask_pb2

from providers.calls import CALL_S
from providers.gcp.errors import needing
from providers.gcp.session import SCOPE, Access, account, ready

T = TypeVar("T")

HOST = "run.googleapis.com"
_CHANNEL = (
    # A dead connection is noticed within a call, not after the quarter of an hour that TCP takes; pings are no more
    # frequent than Google's own clients send them.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    # gRPC waits up to two minutes before it connects again, and refuses every call meanwhile.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
)


class RunService:
    """A service in a region. Whoever calls ``update`` judges Overtaken."""

    def __init__(self, project: str, region: str, service: str, access: Access) -> None:
        self.path = f"projects/{project}/locations/{region}/services/{service}"
        self.at = f"Cloud Run service {service} in {region}"
        self._access = access
        self._line = access.line(f"Cloud Run in {region}")

    async def read(self) -> run_v2.Service:
        """The service as it stands. Raises Transient, NotFound, Unauthenticated, Forbidden."""
        return await self._line.read(
            f"read {self.at}",
            self._asking(
                "run.services.get", lambda on: on.services.get_service(name=self.path, retry=None, timeout=CALL_S)
            ),
        )

    async def update(self, service: run_v2.Service, *fields: str) -> None:
        """Set *fields* to what *service* says, where it is still of the same etag; returns when that is accepted.

        Raises Overtaken, NoCapacity, Refused, and as ``read``; a time-out may have had its effect.
        """
        request = run_v2.UpdateServiceRequest(
            service=service, update_mask=field_mask_pb2.FieldMask(paths=sorted(fields))
        )
        await self._line.write(
            f"update {self.at}",
            self._asking(
                "run.services.update",
                lambda on: on.services.update_service(request=request, retry=None, timeout=CALL_S),
            ),
        )

    async def has(self, revision: str) -> bool:
        """Whether the service has this revision. Raises as ``read``."""

        def ask(on: _Clients) -> bool:
            try:
                on.revisions.get_revision(name=f"{self.path}/revisions/{revision}", retry=None, timeout=CALL_S)
            except NotFound:
                return False
            return True

        return await self._line.read(f"read revision {revision} of {self.at}", self._asking("run.revisions.get", ask))

    def _asking(self, permission: str, do: Callable[[_Clients], T]) -> Callable[[], T]:
        def ask() -> T:
            credentials = None if self._access.bare else account(self._access)
            if credentials is not None:
                ready(credentials, self._access.host or HOST)
            return do(_clients(self._access.host or HOST, credentials))

        return needing(permission, ask)


class _Clients:
    """The SDK's clients over one channel, plain where there are no credentials. ``providers.calls`` tries again."""

    def __init__(self, host: str, credentials: Credentials | None) -> None:
        channel = (
            grpc.insecure_channel(host, options=_CHANNEL)
            if credentials is None
            else ServicesGrpcTransport.create_channel(host, credentials=credentials, scopes=[SCOPE], options=_CHANNEL)
        )
        self.services = run_v2.ServicesClient(transport=ServicesGrpcTransport(channel=channel))
        self.revisions = run_v2.RevisionsClient(transport=RevisionsGrpcTransport(channel=channel))


@cache
def _clients(host: str, credentials: Credentials | None) -> _Clients:
    return _Clients(host, credentials)
