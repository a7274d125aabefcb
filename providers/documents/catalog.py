"""What there is for routing documents, and for gateways whose fence is kept in one."""

from __future__ import annotations

from orchestrator.core.topology import Shares
from providers.catalog import Entry, Option, Part, Plane

FENCE: tuple[Option, ...] = (
    Option("fence", "where the fence is kept: `file:`, `https:`, `s3:`, `gs:` or `azblob:`", required=True),
    Option("fence_region", "where the fence's store lives; an S3 bucket cannot do without"),
    Option("fence_profile", "the AWS profile to sign in to the fence's store with"),
    Option("fence_role", "the AWS role to take at the fence's store"),
    Option("fence_impersonate", "the Google service account to be at the fence's store"),
    Option("fence_identity", "the client id of the managed identity to be at the fence's store, in Azure"),
    Option("fence_endpoint", "another address of the fence's store; plain http gets no credentials"),
    Option("fence_login", "where the `Authorization` for an https fence is found: `env:NAME` or `file:/path`"),
)
"""The options of every steering by a dial."""
FENCE_PLANE = Plane("read, write", "", "the store that the option fence names")

_ENDPOINT = Option("endpoint", "another address of the store's API; plain http gets no credentials")
_REGION = Option("region", "where the bucket lives", required=True)
_LOCATION = Option("region", "where the store lives, so that its loss is known to be the document's: `us-central1`")


def _entry(kind: str, says: str, *, place: str, options: tuple[Option, ...] = (), plane: Plane, proven: str) -> Entry:
    return Entry(
        f"document-{kind}",
        Part.STEERING,
        "providers.documents.steering:DocumentSteering",
        f"A routing document that clients read, {says}.",
        (Option("document", f"its place: `{place}`", required=True), *options),
        planes=(plane,),
        shares=Shares.WEIGHTED,
        target="the name that clients know it by in the document",
        extra={"s3": "aws", "gcs": "gcp", "blob": "azure"}.get(kind, ""),
        pace_s=0.5 if kind == "file" else 1.0,
        attempt_s=8.0,
        watch_s=15.0,
        proven=proven,
    )


ENTRIES: tuple[Entry, ...] = (
    _entry(
        "file",
        "in a file of the worker's own host",
        place="file:/var/lib/failover/chat.json",
        plane=Plane("all", "", "the host of the file, which must be the worker's own"),
        proven="a file",
    ),
    _entry(
        "http",
        "at an address that compares ETags when it is written",
        place="https://routes.example.com/chat.json",
        options=(Option("login", "where the `Authorization` is found: `env:NAME` or `file:/path`"),),
        plane=Plane("all", "", "the web server, wherever you run it"),
        proven="a server of ours that compares as RFC 9110 says",
    ),
    _entry(
        "s3",
        "in an S3 bucket",
        place="s3://bucket/key",
        options=(
            _REGION,
            Option("profile", "a profile of the shared AWS configuration"),
            Option("role", "the ARN of a role to assume"),
            _ENDPOINT,
        ),
        plane=Plane(
            "all",
            "aws/{region}",
            "https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/regions.html",
        ),
        proven="a server emulator (moto 5)",
    ),
    _entry(
        "gcs",
        "in a bucket of Google Cloud Storage",
        place="gs://bucket/object",
        options=(_LOCATION, Option("impersonate", "a service account to act as"), _ENDPOINT),
        plane=Plane("all", "gcp/{region}", "https://cloud.google.com/storage/docs/locations"),
        proven="a server of ours that speaks the JSON API",
    ),
    _entry(
        "blob",
        "in Azure Blob Storage",
        place="azblob://account/container/blob",
        options=(_LOCATION, Option("identity", "the client id of a managed identity"), _ENDPOINT),
        plane=Plane("all", "azure/{region}", "https://learn.microsoft.com/azure/storage/common/storage-redundancy"),
        proven="a server of ours that speaks the REST API",
    ),
    Entry(
        "litellm",
        Part.STEERING,
        "providers.documents.litellm:LitellmSteering",
        "The weights of a model's deployments at LiteLLM proxies that keep their models in a database.",
        (
            Option("proxies", "the proxies, `https://10.0.0.5:4000, ...`, not a balancer before them", required=True),
            Option("model", "the public name of the model, `model_name`", required=True),
            Option("login", "where the proxies' admin key is found: `env:NAME` or `file:/path`"),
            *FENCE,
        ),
        planes=(Plane("all", "", "the proxies and their database, wherever you run them"), FENCE_PLANE),
        shares=Shares.WEIGHTED,
        target="the id of the deployment, `model_info.id`",
        attempt_s=12.0,
        watch_s=15.0,
        proven="a server of ours that speaks the documented API",
    ),
)
