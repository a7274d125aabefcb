"""Workloads at AWS, and the dials that spread traffic over them."""

from __future__ import annotations

from orchestrator.core.topology import Shares
from providers.catalog import Entry, Option, Part, Plane

_BOUNDARIES = (
    "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/control-planes-and-data-planes.html"
)
_ACCELERATOR = "https://docs.aws.amazon.com/global-accelerator/latest/dg/preserve-client-ip-address.regions.html"

_REGION = Option("region", "the AWS region: `eu-west-1`", required=True)
_RIGHTS = (
    Option("profile", "a profile of the shared AWS configuration, in place of the default credentials"),
    Option("role", "the ARN of a role to assume"),
    Option("endpoint", "another address for all APIs: an emulator's. Plain http gets no credentials"),
)
_FENCE = (
    Option("fence", "where the fence is kept: `s3://bucket/key`, `https://host/path`, ...", required=True),
    Option("fence_region", "the region of the fence's bucket, where it is not that of the steering"),
    Option("fence_profile", "as profile, for the fence"),
    Option("fence_role", "as role, for the fence"),
    Option("fence_endpoint", "as endpoint, for the fence"),
    Option("fence_login", "where the fence's store finds an `Authorization`: `env:NAME` or `file:/path`"),
)
_GROUP = Option("target_group", "ARN of the target group: ready is who is healthy there, too")
_METRICS = Option("metrics", "URL of the page of metrics that counts requests in flight")
_DRAIN = (
    _REGION,
    _GROUP,
    Option("drain", "`deregister`: targets are taken out of the target group until the drain is ended"),
    _METRICS,
    *_RIGHTS,
)
_HERE = (Plane("all", "aws/{region}", _BOUNDARIES),)
_PACE_S = 3.0
"""Between two looks at what is being scaled: calls are counted for a whole account and region."""

WORKLOAD_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "ecs",
        Part.WORKLOAD,
        "providers.aws.ecs:EcsService",
        "Tasks of an ECS service; Application Auto Scaling's minimum goes along, its maximum is the limit.",
        (_REGION, _GROUP, *_RIGHTS),
        planes=_HERE,
        target="`cluster/service`",
        extra="aws",
        pace_s=_PACE_S,
        proven="a server emulator (moto 5)",
    ),
    Entry(
        "asg",
        Part.WORKLOAD,
        "providers.aws.autoscaling:AutoScalingGroup",
        "Instances of an Auto Scaling group; MinSize goes along, MaxSize is the limit.",
        (_REGION, _GROUP, *_RIGHTS),
        planes=_HERE,
        target="the group's name",
        extra="aws",
        pace_s=_PACE_S,
        proven="a server emulator (moto 5)",
    ),
    Entry(
        "sagemaker",
        Part.WORKLOAD,
        "providers.aws.sagemaker:SageMakerVariant",
        "Instances of a production variant of a SageMaker endpoint.",
        (_REGION, *_RIGHTS),
        planes=_HERE,
        target="`endpoint/variant`",
        extra="aws",
        pace_s=_PACE_S,
        proven="a server of ours that holds each request against the SDK's own model",
    ),
    Entry(
        "ecs",
        Part.DRAIN,
        "providers.aws.targets:TargetsDrain",
        "Lets requests finish; asked to, takes the service's tasks out of their target group.",
        _DRAIN,
        planes=_HERE,
        extra="aws",
        proven="a server emulator (moto 5)",
    ),
    Entry(
        "asg",
        Part.DRAIN,
        "providers.aws.targets:TargetsDrain",
        "Lets requests finish; asked to, takes the group's instances out of their target group.",
        _DRAIN,
        planes=_HERE,
        extra="aws",
        proven="a server emulator (moto 5)",
    ),
    Entry(
        "sagemaker",
        Part.DRAIN,
        "providers.aws.targets:TargetsDrain",
        "Lets requests finish: SageMaker needs to be told nothing, and counts nothing in flight.",
        (_REGION, *_RIGHTS),
        planes=_HERE,
        extra="aws",
        proven="a server of ours that holds each request against the SDK's own model",
    ),
    Entry(
        "elb",
        Part.STEERING,
        "providers.aws.elb:ElbSteering",
        "Weights of the target groups in a listener, or a rule, of Elastic Load Balancing.",
        (
            _REGION,
            Option("listener", "ARN of the listener whose default action forwards to all target groups"),
            Option("rule", "ARN of the rule that does, in place of a listener"),
            *_RIGHTS,
            *_FENCE,
        ),
        planes=_HERE,
        shares=Shares.WEIGHTED,
        target="the target group's name",
        extra="aws",
        proven="a server emulator (moto 5)",
    ),
    Entry(
        "global-accelerator",
        Part.STEERING,
        "providers.aws.accelerator:AcceleratorSteering",
        "Traffic dials of a Global Accelerator's endpoint groups; shares are exact for two of them.",
        (
            Option("listener", "ARN of the accelerator's listener", required=True),
            *_RIGHTS,
            *_FENCE,
        ),
        planes=(Plane("all", "aws/us-west-2", _ACCELERATOR),),
        shares=Shares.WEIGHTED,
        target="the region of the endpoint group: `eu-west-1`",
        extra="aws",
        proven="a server of ours that holds each request against the SDK's own model",
    ),
    Entry(
        "sagemaker-variants",
        Part.STEERING,
        "providers.aws.sagemaker:VariantSteering",
        "Weights of the production variants of one SageMaker endpoint.",
        (_REGION, Option("endpoint_name", "the SageMaker endpoint", required=True), *_RIGHTS, *_FENCE),
        planes=_HERE,
        shares=Shares.WEIGHTED,
        target="the variant's name",
        extra="aws",
        proven="a server of ours that holds each request against the SDK's own model",
    ),
)
