"""SageMaker endpoints: weights and instance counts of production variants, with the state Updating in between.

moto serves the call, too, but is never Updating, and forgets a weight when a count alone is changed.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from wire.aws_json import AwsJson, Fault

_AT = datetime(2026, 1, 1, tzinfo=UTC)


class SageMaker:
    """One endpoint; an update is done after so many looks at it (0: at once), or when ``finish`` is called."""

    def __init__(self, name: str, variants: Mapping[str, tuple[float, int]], *, looks: int = 0) -> None:
        self.name, self.looks = name, looks
        self.status = "InService"
        self.reason: str | None = None
        self.short = False
        """Whether an update fails for want of instances, and what was stays."""
        self.changes = 0
        self._left = 0
        self.variants: list[dict[str, Any]] = [
            {
                "VariantName": each,
                "CurrentWeight": weight,
                "DesiredWeight": weight,
                "CurrentInstanceCount": count,
                "DesiredInstanceCount": count,
            }
            for each, (weight, count) in sorted(variants.items())
        ]
        self._lock = threading.RLock()
        self.server = AwsJson(
            "sagemaker", {"DescribeEndpoint": self._describe, "UpdateEndpointWeightsAndCapacities": self._update}
        )

    def finish(self) -> None:
        """What was asked for is in force."""
        with self._lock:
            self.status = "InService"
            for each in self.variants:
                each["CurrentWeight"] = each["DesiredWeight"]
                if not self.short:
                    each["CurrentInstanceCount"] = each["DesiredInstanceCount"]
            if self.short:
                self.reason = (
                    "CapacityError: Unable to provision requested ML compute capacity due to "
                    "InsufficientInstanceCapacity error."
                )

    def desired(self, field: str) -> dict[str, Any]:
        return {each["VariantName"]: each[f"Desired{field}"] for each in self.variants}

    def current(self, field: str) -> dict[str, Any]:
        return {each["VariantName"]: each[f"Current{field}"] for each in self.variants}

    def _there(self, name: str) -> None:
        if name != self.name:
            arn = f"arn:aws:sagemaker:eu-west-1:123456789012:endpoint/{name}"
            raise Fault("ValidationException", f'Could not find endpoint "{arn}".')

    def _describe(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._there(asked["EndpointName"])
        if self.status == "Updating":
            self._left -= 1
            if self._left == 0:
                self.finish()
        said: dict[str, Any] = {
            "EndpointName": self.name,
            "EndpointArn": f"arn:aws:sagemaker:eu-west-1:123456789012:endpoint/{self.name}",
            "EndpointStatus": self.status,
            "ProductionVariants": copy.deepcopy(self.variants),
            "CreationTime": _AT,
            "LastModifiedTime": _AT,
        }
        return said | ({"FailureReason": self.reason} if self.reason else {})

    def _update(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._there(asked["EndpointName"])
        if self.status == "Updating":
            raise Fault("ValidationException", f"Cannot update in-progress endpoint {self.name}.")
        by_name = {each["VariantName"]: each for each in self.variants}
        for wanted in asked["DesiredWeightsAndCapacities"]:
            if wanted["VariantName"] not in by_name:
                raise Fault("ValidationException", f"The variant name(s) {wanted['VariantName']} is/are not present.")
        for wanted in asked["DesiredWeightsAndCapacities"]:
            variant = by_name[wanted["VariantName"]]
            variant |= {field: value for field, value in wanted.items() if field.startswith("Desired")}
        self.changes += 1
        self.status, self.reason, self._left = "Updating", None, self.looks
        if self.looks == 0:
            self.finish()
        return {"EndpointArn": f"arn:aws:sagemaker:eu-west-1:123456789012:endpoint/{self.name}"}
