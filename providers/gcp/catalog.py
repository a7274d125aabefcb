"""What there is for Google Cloud."""

from __future__ import annotations

from orchestrator.core.topology import Shares
from providers.catalog import Entry, Option, Part, Plane
from providers.gcp.catalog_signals import SIGNAL_ENTRIES

_RIGHTS = (
    Option("credentials", "path of a service account's key or of a workload identity's configuration"),
    Option("impersonate", "e-mail address of a service account to take"),
    Option("endpoint", "another address of the API: a private endpoint or an emulator. Plain http gets no credentials"),
)
_PROJECT = Option("project", "the project's id", required=True)
_REGION = Option("region", "the region: `europe-west1`", required=True)
_METRICS = Option("metrics", "URL of the page of metrics that counts requests in flight")
_RUN = "https://cloud.google.com/run/docs/zonal-redundancy"
_HERE = (Plane("all", "gcp/{region}", _RUN),)
_VERTEX = (Plane("all", "gcp/{region}", "https://cloud.google.com/vertex-ai/docs/general/locations"),)
_METERED = (Plane("in_flight", "", "the model server, at the option metrics"),)
_REST = "a server of ours that speaks the REST API"
_GRPC = "a server of ours that speaks the SDK's gRPC"
_PACE_S = 2.0
"""Between two looks at what is carried out: requests are counted for a whole project and region."""

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "cloud-dns",
        Part.STEERING,
        "providers.gcp.cloud_dns:CloudDnsSteering",
        "Weighted answers of one name in a managed zone of Cloud DNS, fence and answer in one change.",
        (_PROJECT, Option("managed_zone", "the managed zone's name, not its domain", required=True), *_RIGHTS),
        planes=(Plane("all", "gcp/global", "https://cloud.google.com/dns/docs/overview"),),
        shares=Shares.WEIGHTED,
        target="what it answers with: addresses and cnames are given as in plain DNS",
        needs=("ttl",),
        extra="gcp",
        proven=_REST,
        pace_s=_PACE_S,
    ),
    Entry(
        "cloud-run",
        Part.STEERING,
        "providers.gcp.run_steering:CloudRunSteering",
        "How a Cloud Run service spreads requests over its revisions, the fence in its annotations.",
        (_PROJECT, _REGION, Option("service", "the service's name", required=True), *_RIGHTS),
        planes=_HERE,
        shares=Shares.WEIGHTED,
        target="the revision's name: `chat-00042-abc`",
        extra="gcp",
        proven=_GRPC,
        pace_s=_PACE_S,
    ),
    Entry(
        "cloud-run",
        Part.WORKLOAD,
        "providers.gcp.run_workload:CloudRunWorkload",
        "The minimum of instances of a Cloud Run service, or their number where it scales manually.",
        (_PROJECT, _REGION, *_RIGHTS),
        planes=_HERE,
        target="the service's name",
        extra="gcp",
        proven=_GRPC,
        pace_s=_PACE_S,
    ),
    Entry(
        "cloud-run",
        Part.DRAIN,
        "providers.gcp.drain:ManagedDrain",
        "Lets requests finish: Cloud Run needs to be told nothing, and counts nothing in flight.",
        (_PROJECT, _REGION, _METRICS, *_RIGHTS),
        planes=_METERED,
        extra="gcp",
        proven=_GRPC,
    ),
    Entry(
        "vertex",
        Part.STEERING,
        "providers.gcp.vertex:VertexSteering",
        "How a Vertex AI endpoint spreads requests over its deployed models, the fence in its description.",
        (_PROJECT, _REGION, Option("vertex_endpoint", "the endpoint's id", required=True), *_RIGHTS),
        planes=_VERTEX,
        shares=Shares.WEIGHTED,
        target="the deployed model's id",
        extra="gcp",
        proven=_REST,
        pace_s=_PACE_S,
    ),
    Entry(
        "vertex",
        Part.WORKLOAD,
        "providers.gcp.vertex:VertexWorkload",
        "The minimum of replicas of a model deployed at a Vertex AI endpoint, at least 1; its maximum is the limit.",
        (_PROJECT, _REGION, *_RIGHTS),
        planes=_VERTEX,
        target="`endpoint/model`, both ids",
        extra="gcp",
        proven=_REST,
        pace_s=_PACE_S,
    ),
    Entry(
        "vertex",
        Part.DRAIN,
        "providers.gcp.drain:ManagedDrain",
        "Lets requests finish: Vertex AI needs to be told nothing, and counts nothing in flight.",
        (_PROJECT, _REGION, _METRICS, *_RIGHTS),
        planes=_METERED,
        extra="gcp",
        proven=_REST,
    ),
    *SIGNAL_ENTRIES,
)
