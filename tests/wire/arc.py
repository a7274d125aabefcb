"""A cluster of Application Recovery Controller: five endpoints that know one set of routing controls.

Each request and answer is held against the SDK's own model of the service. A change of several controls is one
transaction, and a safety rule refuses all of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from real.saboteur import Reply
from wire.aws_json import AwsJson, Fault
from wire.http import Request, Wire

PANEL = "arn:aws:route53-recovery-control::123456789012:controlpanel/0123456789abcdef"
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "ap-northeast-1", "ap-southeast-2")


@dataclass
class Control:
    name: str
    on: bool

    @property
    def arn(self) -> str:
        return f"{PANEL}/routingcontrol/{self.name}"


class Endpoint(Wire):
    """One of the five."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self._service = AwsJson(
            "route53-recovery-cluster",
            {"ListRoutingControls": cluster.listed, "UpdateRoutingControlStates": self._update},
        )

    def answer(self, request: Request) -> Reply:
        target = next((value for name, value in request.headers.items() if name.lower() == "x-amz-target"), "")
        status, said = self._service.answer(target, request.body)
        assert not self._service.wrong, self._service.wrong
        return refused(status, said)

    def _update(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.effects += self._cluster.update(asked)
        return {}


class Cluster:
    """The controls, and who answers for them."""

    def __init__(self, **states: bool) -> None:
        self.controls = {made.arn: made for made in (Control(name, on) for name, on in states.items())}
        self.endpoints = tuple(Endpoint(self) for _ in REGIONS)
        self.at_least = 0
        """A safety rule: so many controls must be on."""

    def start(self) -> None:
        for each in self.endpoints:
            each.start()

    def close(self) -> None:
        for each in self.endpoints:
            each.close()

    @property
    def option(self) -> str:
        """The endpoints as the topology names them."""
        return " ".join(f"{region}={each.url}" for region, each in zip(REGIONS, self.endpoints, strict=True))

    def listed(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked.get("ControlPanelArn") != PANEL:
            raise Fault("ResourceNotFoundException", "the control panel does not exist", 404)
        return {
            "RoutingControls": [
                {
                    "ControlPanelArn": PANEL,
                    "ControlPanelName": "chat",
                    "RoutingControlArn": arn,
                    "RoutingControlName": each.name,
                    "RoutingControlState": "On" if each.on else "Off",
                }
                for arn, each in self.controls.items()
            ]
        }

    def update(self, asked: dict[str, Any]) -> int:
        """How many controls have changed."""
        entries = asked["UpdateRoutingControlStateEntries"]
        wanted = {each["RoutingControlArn"]: each["RoutingControlState"] == "On" for each in entries}
        if wanted.keys() - self.controls.keys():
            raise Fault("ResourceNotFoundException", "a routing control does not exist", 404)
        states = {arn: wanted.get(arn, each.on) for arn, each in self.controls.items()}
        if sum(states.values()) < self.at_least:
            raise Fault("ConflictException", f"SafetyRule chat-rule: at least {self.at_least} must be On", 409)
        changed = [arn for arn, each in self.controls.items() if each.on != states[arn]]
        for arn in changed:
            self.controls[arn].on = states[arn]
        return len(changed)


def refused(status: int, said: dict[str, Any]) -> Reply:
    """An answer in JSON 1.0."""
    return Reply(status, json.dumps(said).encode(), (("content-type", "application/x-amz-json-1.0"),))
