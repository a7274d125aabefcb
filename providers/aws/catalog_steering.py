"""Steering at AWS."""

from __future__ import annotations

from orchestrator.core.topology import Shares
from providers.catalog import Entry, Option, Part, Plane

_RIGHTS = (
    Option("profile", "a profile of the shared AWS configuration, in place of the default credentials"),
    Option("role", "the ARN of a role to assume, at the region's own STS"),
)
_ENDPOINT = Option("endpoint", "another address of the API: a private endpoint, an emulator; plain http gets no rights")
_FENCE = (
    Option("fence", "where the fence is kept, away from what may fail: `s3://bucket/key`, ...", required=True),
    Option("fence_region", "the region of the fence's bucket, where it is not that of the steering"),
    Option("fence_profile", "as profile, for the fence"),
    Option("fence_role", "as role, for the fence"),
    Option("fence_endpoint", "as endpoint, for the fence"),
    Option("fence_login", "where the fence's store finds an `Authorization`: `env:NAME` or `file:/path`"),
)
_FENCED = Plane("read, write", "", "the store that the option fence names")
_GLOBAL = "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/global-services.html"
_CLUSTER = "https://docs.aws.amazon.com/r53recovery/latest/dg/routing-control.update.api.html"
_REGIONAL = (
    "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/control-planes-and-data-planes.html"
)

STEERING_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "route53",
        Part.STEERING,
        "providers.aws.route53:Route53Steering",
        "Weighted record sets of one name in a Route 53 hosted zone, replaced with their fence in one change batch.",
        (
            Option("zone_id", "the hosted zone's id, `Z...`", required=True),
            Option("region", "what the API is signed for, outside of the partition aws; `us-east-1` when left out"),
            *_RIGHTS,
            _ENDPOINT,
        ),
        planes=(Plane("all", "aws/us-east-1", _GLOBAL),),
        shares=Shares.WEIGHTED,
        target=(
            "`alias:ZONE/name.` for an alias of type A, `alias46:ZONE/name.` for A and AAAA; "
            "addresses and cnames are given as in plain DNS"
        ),
        needs=("ttl",),
        takes=("servers",),
        extra="aws",
        doctor="providers.aws.doctor:examine",
        pace_s=2.0,
        # A whole account has 10 requests a second, and a failover must find some of them left.
        watch_s=300.0,
        proven="a server of ours that makes all changes of a batch, or none",
    ),
    Entry(
        "route53-recovery",
        Part.STEERING,
        "providers.aws.recovery_switch:SwitchSteering",
        "A failover pair of Route 53 that an S3 object switches by its health check, without Route 53's control plane.",
        (
            Option("switch", "the object whose being there takes the primary out: `s3://bucket/key`", required=True),
            Option("region", "the bucket's region: that of the secondary", required=True),
            Option("primary", "the target of the PRIMARY failover record", required=True),
            Option("secondary", "the target of the SECONDARY failover record", required=True),
            Option("zone_id", "the hosted zone of the pair, which only doctor looks at"),
            Option("zone_endpoint", "as endpoint, for the hosted zone"),
            *_RIGHTS,
            _ENDPOINT,
            *_FENCE,
        ),
        planes=(Plane("all", "aws/{region}", _REGIONAL), _FENCED),
        shares=Shares.ONE,
        target="what the options primary and secondary call it",
        needs=("ttl",),
        extra="aws",
        doctor="providers.aws.doctor:examine",
        pace_s=2.0,
        proven="a server of ours that makes all changes of a batch, or none; moto 5 beside it",
    ),
    Entry(
        "arc",
        Part.STEERING,
        "providers.aws.recovery_arc:ArcSteering",
        "Routing controls of Application Recovery Controller, switched through whichever of five regions answers.",
        (
            Option("control_panel", "ARN of the control panel that has this service's controls alone", required=True),
            Option(
                "endpoints", "the cluster's endpoints: `us-east-1=https://... eu-west-1=https://...`", required=True
            ),
            *_RIGHTS,
            *_FENCE,
        ),
        planes=(Plane("all", "aws", _CLUSTER), _FENCED),
        shares=Shares.EQUAL,
        target="the routing control's name",
        needs=("ttl",),
        extra="aws",
        doctor="providers.aws.doctor:examine",
        pace_s=2.0,
        proven="a server of ours that holds each request against the SDK's own model",
    ),
)
