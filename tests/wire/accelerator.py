"""AWS Global Accelerator: one listener, its endpoint groups, their traffic dials."""

from __future__ import annotations

import copy
from typing import Any

from wire.aws_json import AwsJson, Fault

ACCOUNT = "arn:aws:globalaccelerator::123456789012:accelerator"


class Accelerator:
    """The state of one accelerator, with the operations that a dial needs."""

    def __init__(self, name: str, dials: dict[str, float]) -> None:
        self.arn = f"{ACCOUNT}/{name}"
        self.listener = f"{self.arn}/listener/0123vxyz"
        self.deployed = True
        self.turns: list[tuple[str, float]] = []
        """Every dial that was turned, in order."""
        self.groups: list[dict[str, Any]] = [
            {
                "EndpointGroupArn": f"{self.listener}/endpoint-group/{region}",
                "EndpointGroupRegion": region,
                "EndpointDescriptions": [{"EndpointId": f"arn:alb:{region}", "Weight": 128, "HealthState": "HEALTHY"}],
                "TrafficDialPercentage": dial,
                "HealthCheckPort": 443,
                "ThresholdCount": 3,
            }
            for region, dial in sorted(dials.items())
        ]
        self.server = AwsJson(
            "globalaccelerator",
            {
                "ListEndpointGroups": self._list,
                "UpdateEndpointGroup": self._update,
                "DescribeAccelerator": self._describe,
            },
        )

    def dials(self) -> dict[str, float]:
        return {each["EndpointGroupRegion"]: each["TrafficDialPercentage"] for each in self.groups}

    def _list(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["ListenerArn"] != self.listener:
            raise Fault("ListenerNotFoundException", "The listener that you specified doesn't exist.")
        return {"EndpointGroups": copy.deepcopy(self.groups)}

    def _update(self, asked: dict[str, Any]) -> dict[str, Any]:
        for group in self.groups:
            if group["EndpointGroupArn"] == asked["EndpointGroupArn"]:
                # What is not named stays: https://docs.aws.amazon.com/cli/latest/reference/globalaccelerator/
                for field, value in asked.items():
                    group["EndpointDescriptions" if field == "EndpointConfigurations" else field] = value
                self.turns.append((group["EndpointGroupRegion"], group["TrafficDialPercentage"]))
                return {"EndpointGroup": copy.deepcopy(group)}
        raise Fault("EndpointGroupNotFoundException", "The endpoint group that you specified doesn't exist.")

    def _describe(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["AcceleratorArn"] != self.arn:
            raise Fault("AcceleratorNotFoundException", "The accelerator that you specified doesn't exist.")
        status = "DEPLOYED" if self.deployed else "IN_PROGRESS"
        return {"Accelerator": {"AcceleratorArn": self.arn, "Name": "chat", "Enabled": True, "Status": status}}
