"""The way to AWS in tests: moto behind a proxy that makes trouble, and a console beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

from botocore.config import Config  # type: ignore[import-untyped]  # the SDK ships no types
from botocore.session import Session  # type: ignore[import-untyped]

from real.moto import fresh, moto, moto_url
from real.place import Trouble
from real.saboteur import Mischief, Reply, Saboteur

REGION = "eu-west-1"
_SESSION = Session()
_WRITES = re.compile(
    rb"Action=(Modify|Update|Register|Deregister|AddTags|RemoveTags)"
    rb"|desiredCount|MinCapacity|DesiredWeightsAndCapacities|TrafficDialPercentage"
)
_DECIDES = re.compile(rb"Action=(Modify|Update)|desiredCount|DesiredWeightsAndCapacities|TrafficDialPercentage")
"""Of the writes of one step the one that it is about."""
_NOBODY = "User: arn:aws:iam::123456789012:user/ops is not authorized to perform: {} because no policy allows it"
_SAYS: Mapping[Trouble, tuple[int, str, str]] = {
    Trouble.THROTTLED: (400, "Throttling", "Rate exceeded"),
    Trouble.BROKEN: (500, "InternalFailure", "An internal error has occurred."),
    Trouble.EXPIRED: (403, "ExpiredToken", "The security token included in the request is expired"),
    Trouble.FORBIDDEN: (403, "AccessDenied", _NOBODY.format("some:Action")),
}


@dataclass
class Counting(Saboteur):
    """Counts the writes that the server has taken."""

    taken: int = 0
    services: Mapping[str, str] = field(default_factory=dict)
    """By the beginning of ``x-amz-target``: ``host:port`` of a server of its own."""
    after: Callable[[bytes], None] = lambda _body: None
    """Called with each write that the server has taken: what AWS does next by itself."""

    def start(self) -> Self:
        super().start()
        assert self._server is not None
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that is cut off is no news
        # Head and body go in two writes, and the SDK keeps connections: each answer would wait 40 ms for an ACK.
        self._server.RequestHandlerClass.disable_nagle_algorithm = True  # type: ignore[attr-defined]
        return self

    @property
    def open(self) -> bool:
        return not self._closed.is_set()

    def forget(self) -> None:
        """As it was when it was new."""
        self.mischief.clear()
        self.seen.clear()
        self.taken, self.services, self.after = 0, {}, lambda _body: None
        self.__dict__.pop("forward", None)

    def forward(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        if not self.open:
            raise ConnectionAbortedError  # connections that a client has kept end, too
        target = next((value for name, value in headers if name.lower() == "x-amz-target"), "")
        own = next((at for prefix, at in self.services.items() if target.startswith(prefix)), None)
        if own:
            answer = Saboteur(own).forward(method, path, body, headers)
        else:
            answer = super().forward(method, path, body, headers)
        if answer[0] < 300 and _WRITES.search(body):
            self.taken += 1
            self.after(body)
        return answer


_IDLE: list[Counting] = []
"""Proxies that places have given back: the SDK's clients for their addresses are made already, which takes long."""


class AwsPlace:
    """The way to AWS that can be troubled."""

    cannot: frozenset[Trouble] = frozenset()
    query = False
    """Whether its service speaks the query protocol; else JSON."""

    def __init__(self) -> None:
        self.proxy = _IDLE.pop() if _IDLE else Counting(moto()).start()

    def close(self) -> None:
        if self.proxy.open:
            self.proxy.forget()
            _IDLE.append(self.proxy)

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        match what:
            case Trouble.AWAY:
                self.proxy.leave()
            case Trouble.LATE:
                self.proxy.mischief.append(Mischief(self._meant(_DECIDES), times))
            case Trouble.EXPIRED | Trouble.FORBIDDEN:
                self.proxy.mischief.append(Mischief(self._meant(re.compile(b"")), times, self._reply(what)))
            case _:
                self.proxy.mischief.append(Mischief(self._meant(_WRITES), times, self._reply(what)))

    @property
    def effects(self) -> int:
        return self.proxy.taken

    def _meant(self, pattern: re.Pattern[bytes]) -> Callable[[str, str, bytes], bool]:
        return lambda _method, _path, body: body.startswith(b"Action=") is self.query and bool(pattern.search(body))

    def _reply(self, what: Trouble) -> Reply:
        status, code, says = _SAYS[what]
        if not self.query:
            return Reply(status, f'{{"__type": "{code}Exception", "message": "{says}"}}'.encode())
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{says}</Message></Error>"
        return Reply(status, f"<ErrorResponse>{error}<RequestId>4711</RequestId></ErrorResponse>".encode())


@cache
def sdk(service: str) -> Any:
    """moto, as a person with a console has it; patient, for moto loads a service when it is first asked for it."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return _SESSION.create_client(
        service, region_name=REGION, endpoint_url=moto_url(), config=Config(read_timeout=45), **keys
    )


@cache
def network() -> tuple[str, tuple[str, ...]]:
    """The network that each AWS account has, and its subnets."""
    vpc = sdk("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = sdk("ec2").describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    return vpc, tuple(sorted(each["SubnetId"] for each in subnets))


def target_group(kind: str, targets: list[dict[str, Any]] | None = None) -> str:
    """The ARN of a new target group with *targets*."""
    group = sdk("elbv2").create_target_group(
        Name=fresh("tg"), Protocol="HTTP", Port=8080, VpcId=network()[0], TargetType=kind
    )
    arn: str = group["TargetGroups"][0]["TargetGroupArn"]
    if targets:
        sdk("elbv2").register_targets(TargetGroupArn=arn, Targets=targets)
    return arn
