"""Where a fence, or a whole routing document, may be kept: one word in the options, read as an address.

``file:/path`` (one host), ``https://...`` (any server that honours ETags), ``s3://bucket/key``, ``gs://bucket/object``,
``azblob://account/container/blob``. Keep the document where the thing that it steers does not fail with it.
"""

from __future__ import annotations

from importlib import import_module
from urllib.parse import urlsplit

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Secret, SecretSource, SteeringSpec
from providers.documents.settings import Settings
from providers.fenced import Document

SCHEMES = {
    "file": "providers.documents.file:FileDocument",
    "http": "providers.documents.http:HttpDocument",
    "https": "providers.documents.http:HttpDocument",
    "s3": "providers.documents.s3:S3Document",
    "gs": "providers.documents.gcs:GcsDocument",
    "azblob": "providers.documents.blob:BlobDocument",
}
LIKE = "file:/path, https://host/path, s3://bucket/key, gs://bucket/object or azblob://account/container/blob"


def document(spec: SteeringSpec) -> Document:
    """The document that *spec* names by its option ``fence`` (or ``document``, where clients read it themselves).

    The settings of its store are the options ``fence_...``: see ``settings``. Where they are not given, those that say
    who we are, and the region, are the steering's own. Raises BadInput for a place that is none.
    """
    options = dict(spec.options)
    word = "fence" if "fence" in options else "document"
    place = options.get(word, "")
    if not place:
        raise BadInput(
            f"the steering of {spec.name} keeps its fence in a document: say where in options.fence ({LIKE})"
        )
    return _made(place, _settings(options, own=word == "document"), f"options.{word} of {spec.name}")


def scheme_of(place: str) -> str:
    """``s3`` of ``s3://bucket/key``; empty where there is none."""
    return place.partition(":")[0] if ":" in place else ""


def _made(place: str, settings: Settings, where: str) -> Document:
    factory = SCHEMES.get(scheme_of(place))
    if factory is None:
        raise BadInput(f"{where} is no place for a document; write {LIKE}")
    try:
        parts = urlsplit(place)
    except ValueError:
        raise BadInput(f"{where} is no address; write {LIKE}") from None
    if parts.username or parts.password:
        raise BadInput(f"{where} holds a login, which must not stand in a file; name where it is in fence_login")
    module, _, name = factory.partition(":")
    made: Document = getattr(import_module(module), name)(place, settings, where)
    return made


def _settings(options: dict[str, str], *, own: bool) -> Settings:
    def given(name: str) -> str:
        # The address and the login of a load balancer's API are not those of a store.
        shared = own or name not in {"endpoint", "login"}
        return options.get(f"fence_{name}") or (options.get(name, "") if shared else "")

    return Settings(
        region=given("region"),
        profile=given("profile"),
        role=given("role"),
        credentials=given("credentials"),
        impersonate=given("impersonate"),
        identity=given("identity"),
        endpoint=given("endpoint").rstrip("/"),
        login=pointer(given("login")),
    )


def pointer(text: str) -> Secret | None:
    """The secret that an option points at, ``env:NAME`` or ``file:/path``. Raises BadInput for another text, unseen."""
    if not text:
        return None
    source, _, name = text.partition(":")
    if source not in set(SecretSource) or not name:
        raise BadInput("the option login must be env:NAME or file:/path; write where the secret is, never the secret")
    return Secret(SecretSource(source), name)
