"""Signals from AWS."""

from __future__ import annotations

from providers.catalog import Entry, Option, Part, Plane

_BOUNDARIES = (
    "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/control-planes-and-data-planes.html"
)
_REGION = Option("region", "the AWS region: `eu-west-1`", required=True)
_RIGHTS = (
    Option("profile", "a profile of the shared AWS configuration, in place of the default credentials"),
    Option("role", "the ARN of a role to assume"),
    Option("endpoint", "another address for all APIs: an emulator's. Plain http gets no credentials"),
)
_HERE = (Plane("all", "aws/{region}", _BOUNDARIES),)
_MOTO = "a server emulator (moto 5)"

SIGNAL_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "cloudwatch",
        Part.SIGNAL,
        "providers.aws.alarms:CloudWatchAlarm",
        "One CloudWatch alarm, of a metric or composite: active in ALARM; too few data say nothing.",
        (_REGION, *_RIGHTS),
        planes=_HERE,
        target="the alarm's name",
        extra="aws",
        proven=_MOTO,
    ),
    Entry(
        "aws-health",
        Part.SIGNAL,
        "providers.aws.health:HealthEvents",
        "Issues that AWS has opened for its services in a region; its API needs a Business support plan or above.",
        (Option("region", "the region of the services: `eu-west-1`, or `global`", required=True), *_RIGHTS),
        planes=(Plane("all", "aws/us-east-1", "https://docs.aws.amazon.com/health/latest/ug/health-api.html"),),
        target="the service's code, or several: `EC2, SAGEMAKER`",
        extra="aws",
        proven="a server of ours that keeps to the SDK's model of the service",
    ),
    Entry(
        "spot",
        Part.SIGNAL,
        "providers.aws.notices:SpotNotices",
        "Spot Instances of an Auto Scaling group that AWS takes back, known about 90 s ahead.",
        (
            _REGION,
            Option("least", "how many instances make it active; left out, one does"),
            *_RIGHTS,
        ),
        planes=_HERE,
        target="the group's name",
        extra="aws",
        proven=_MOTO,
    ),
)
