"""Cloud Run as its gRPC API speaks: a servicer made from the SDK's own messages, for services, revisions, operations.

Checked as Google does: an update with an etag that is no longer the service's is ABORTED; a mask names what is set, and
the rest stays; annotations of Google's own names, splits that do not sum to 100 and a minimum above the maximum are
INVALID_ARGUMENT; so is a quota, by Cloud Run's own sentence. What is accepted is carried out later: meanwhile the
service is reconciling, its statuses are the old ones, and its etag changes once more when it is done. A split over a
revision that is not there is accepted, and then fails.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc  # type: ignore[import-untyped]  # it ships no types
from google.cloud.run_v2.types import Condition, Revision, Service, TrafficTarget, TrafficTargetStatus
from google.cloud.run_v2.types.revision import GetRevisionRequest
from google.cloud.run_v2.types.service import GetServiceRequest, UpdateServiceRequest
from google.longrunning import operations_pb2
from google.protobuf import any_pb2

BY_NAME = 2
LATEST = 1
RESERVED = ("run.googleapis.com", "cloud.googleapis.com", "serving.knative.dev", "autoscaling.knative.dev")
CODES = grpc.StatusCode
Meets = Callable[[str], "tuple[grpc.StatusCode, str] | None"]
"""What a call meets instead of the server: by the method's name. None: nothing."""
LOST = (CODES.UNAVAILABLE, "Socket closed")
"""The call has its effect, and its answer is lost."""


class Refusal(Exception):
    """A call that ends with a status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class CloudRun:
    """The API on a port of loopback, without TLS."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.revisions: set[str] = set()
        """Full names."""
        self.operations: dict[str, operations_pb2.Operation] = {}
        self.meets: Meets = lambda method: None
        self.seen: list[str] = []
        self.updates: list[UpdateServiceRequest] = []
        self.effects = 0
        self.slow = False
        """What is accepted is carried out by ``settle`` only."""
        self.cpu_quota = 10
        """Instances that the quota has room for."""
        self.lock = threading.RLock()
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def leave(self) -> None:
        """Nobody listens any more."""
        self._server.stop(None).wait()

    def deploy(self, path: str, *revisions: str) -> Service:
        """A service that has these revisions, all requests at the first, two instances kept and four allowed."""
        service = Service(name=path, generation=1, observed_generation=1, latest_ready_revision="")
        for each in revisions:
            self.revisions.add(f"{path}/revisions/{each}")
        service.latest_ready_revision = service.latest_created_revision = f"{path}/revisions/{revisions[-1]}"
        service.traffic = [TrafficTarget(type_=BY_NAME, revision=revisions[0], percent=100)]
        service.scaling.min_instance_count = 2
        service.template.scaling.max_instance_count = 4
        service.template.revision = revisions[-1]
        service.uid = str(uuid.uuid4())
        self.services[path] = service
        self._observe(service)
        return service

    @contextmanager
    def console(self, path: str) -> Iterator[Service]:
        """Change a service as a person would, in the console: at once, and carried out."""
        with self.lock:
            service = self.services[path]
            yield service
            service.generation += 1
            self._observe(service)

    def settle(self) -> None:
        """Carry out what was accepted."""
        with self.lock:
            for service in self.services.values():
                if service.reconciling:
                    self._observe(service)

    def get_service(self, request: GetServiceRequest) -> Service:
        with self.lock:
            if request.name not in self.services:
                raise Refusal(
                    CODES.NOT_FOUND, f"Resource '{request.name.rpartition('/')[2]}' of kind 'SERVICE' does not exist."
                )
            return Service(self.services[request.name])

    def get_revision(self, request: GetRevisionRequest) -> Revision:
        with self.lock:
            if request.name not in self.revisions:
                raise Refusal(CODES.NOT_FOUND, f"Revision '{request.name.rpartition('/')[2]}' could not be found.")
            return Revision(name=request.name)

    def update_service(self, request: UpdateServiceRequest) -> operations_pb2.Operation:
        with self.lock:
            given = request.service
            self.updates.append(request)
            stands = self.get_service(GetServiceRequest(name=given.name))
            if given.etag and given.etag != stands.etag:
                raise Refusal(
                    CODES.ABORTED,
                    f"Conflict for resource '{given.name.rpartition('/')[2]}': version '{given.etag}' was specified "
                    f"but current version is '{stands.etag}'.",
                )
            wanted = _masked(stands, given, list(request.update_mask.paths))
            self._object(wanted)
            if Service.serialize(wanted) != Service.serialize(stands):
                self.effects += 1
                wanted.generation = stands.generation + 1
            wanted.reconciling = True
            wanted.terminal_condition = Condition(type_="Ready", state=Condition.State.CONDITION_RECONCILING)
            wanted.etag = _etag()
            self.services[wanted.name] = wanted
            operation = self._operation(wanted)
        if not self.slow:
            self.settle()
        return operation

    def get_operation(self, request: operations_pb2.GetOperationRequest) -> operations_pb2.Operation:
        with self.lock:
            if request.name not in self.operations:
                raise Refusal(CODES.NOT_FOUND, "operation not found")
            return self.operations[request.name]

    def _operation(self, service: Service) -> operations_pb2.Operation:
        parent = service.name.rpartition("/services/")[0]
        operation = operations_pb2.Operation(name=f"{parent}/operations/{uuid.uuid4()}", done=False)
        packed = any_pb2.Any()
        packed.Pack(Service.pb(service))
        operation.metadata.CopyFrom(packed)
        self.operations[operation.name] = operation
        return operation

    def _object(self, wanted: Service) -> None:
        if any(key.partition("/")[0].endswith(RESERVED) for key in wanted.annotations):
            raise Refusal(CODES.INVALID_ARGUMENT, "annotations: system annotations are not supported in v2.")
        if wanted.traffic and sum(each.percent for each in wanted.traffic) != 100:
            raise Refusal(CODES.INVALID_ARGUMENT, "traffic: The sum of percents must be 100.")
        named = [each.revision for each in wanted.traffic if each.type_ == BY_NAME and not each.tag]
        if len(named) != len(set(named)):
            raise Refusal(CODES.INVALID_ARGUMENT, "traffic: a revision is named twice.")
        kept, most = wanted.scaling.min_instance_count, wanted.template.scaling.max_instance_count
        if kept > most:
            raise Refusal(CODES.INVALID_ARGUMENT, f"scaling: min_instance_count must not exceed {most}.")
        if max(kept, wanted.scaling.manual_instance_count) > self.cpu_quota:
            raise Refusal(
                CODES.INVALID_ARGUMENT,
                f"Max instances must be set to {self.cpu_quota} or fewer to set the requested total CPU.\n"
                "Consider running your workload in a region with greater capacity, or requesting an increase in quota "
                "for this region, see https://cloud.google.com/run/quotas.\n\nQuota violated:\n"
                f"CpuAllocPerProjectRegion requested: {kept * 1000} allowed: {self.cpu_quota * 1000}",
            )

    def _observe(self, service: Service) -> None:
        """Carry out what is wanted: then what is observed is that, and the etag is a new one."""
        names = [each.revision for each in service.traffic if each.type_ == BY_NAME and each.percent]
        gone = [each for each in names if f"{service.name}/revisions/{each}" not in self.revisions]
        service.reconciling = False
        service.etag = _etag()
        if gone:
            text = (
                f"Revision '{gone[0]}' does not exist or is deleted. "
                "Update all traffic to route to currently available revisions."
            )
            service.terminal_condition = Condition(
                type_="Ready",
                state=Condition.State.CONDITION_FAILED,
                message=text,
                reason=Condition.CommonReason.REVISION_FAILED,
            )
            return
        service.observed_generation = service.generation
        latest = service.latest_ready_revision.rpartition("/")[2]
        service.traffic_statuses = [
            TrafficTargetStatus(type_=each.type_, revision=each.revision or latest, percent=each.percent, tag=each.tag)
            for each in service.traffic or [TrafficTarget(type_=LATEST, percent=100)]
        ]
        service.terminal_condition = Condition(type_="Ready", state=Condition.State.CONDITION_SUCCEEDED)


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """The methods that the SDK's clients call, by their full names."""

    def __init__(self, run: CloudRun) -> None:
        package = "/google.cloud.run.v2."
        operations = "/google.longrunning.Operations/GetOperation"
        self._run = run
        self._methods = {
            f"{package}Services/GetService": (run.get_service, GetServiceRequest.deserialize, Service.serialize),
            f"{package}Services/UpdateService": (
                run.update_service,
                UpdateServiceRequest.deserialize,
                operations_pb2.Operation.SerializeToString,
            ),
            f"{package}Revisions/GetRevision": (run.get_revision, GetRevisionRequest.deserialize, Revision.serialize),
            operations: (
                run.get_operation,
                operations_pb2.GetOperationRequest.FromString,
                operations_pb2.Operation.SerializeToString,
            ),
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        found = self._methods.get(details.method)
        if found is None:
            return None
        do, read, write = found
        method = details.method.rpartition("/")[2]

        def call(request: object, context: grpc.ServicerContext) -> object:
            self._run.seen.append(method)
            met = self._run.meets(method)
            if met is not None and met != LOST:
                context.abort(*met)
            try:
                answer = do(request)
            except Refusal as refusal:
                context.abort(refusal.code, refusal.text)
            if met == LOST:
                context.abort(*LOST)
            return answer

        return grpc.unary_unary_rpc_method_handler(call, request_deserializer=read, response_serializer=write)


def _masked(stands: Service, given: Service, paths: list[str]) -> Service:
    """*stands* with the fields of *paths* from *given*. Raises Refusal for a path that is none."""
    result = Service(stands)
    for path in paths:
        to, come = Service.pb(result), Service.pb(given)
        *way, last = path.split(".")
        for part in way:
            to, come = getattr(to, part, None), getattr(come, part, None)
        if to is None or last not in to.DESCRIPTOR.fields_by_name:
            raise Refusal(CODES.INVALID_ARGUMENT, f"update_mask: '{path}' is no field of Service.")
        # Only this field: a message merged whole would bring its neighbours.
        only = type(to)()
        only.CopyFrom(come)
        for other in to.DESCRIPTOR.fields_by_name:
            if other != last:
                only.ClearField(other)
        to.ClearField(last)
        to.MergeFrom(only)
    return result


def _etag() -> str:
    return f'"{uuid.uuid4().hex}"'
