"""Tokens of Google and Azure for the stores of documents, by each SDK's own default chain; kept until they run out."""

from __future__ import annotations

import threading
from functools import cache
from importlib import import_module
from typing import Any

from providers.base import ProviderError, Transient, Unauthenticated
from providers.calls import CALL_S
from providers.documents.settings import Settings

_LOCK = threading.Lock()
"""One fetches a new token, the others wait for it."""


def google(settings: Settings) -> str:
    """The ``Authorization`` for Cloud Storage. It may ask a metadata service: call it where it may block.

    Raises Transient, Unauthenticated, and as ``providers.gcp.session.account``.
    """
    from providers.gcp.errors import translate  # noqa: PLC0415 - the SDK is loaded where it is used
    from providers.gcp.session import Access, account, ready  # noqa: PLC0415 - the same

    try:
        credentials = account(Access(settings.credentials, settings.impersonate))
        with _LOCK:
            ready(credentials, "storage.googleapis.com")
            return f"Bearer {credentials.token}"
    except ProviderError:
        raise
    except Exception as error:
        raise translate(error, "get a token for Google Cloud Storage") from error


def azure(settings: Settings) -> str:
    """The ``Authorization`` for Blob Storage. It may ask a metadata service: call it where it may block.

    Raises Transient, Unauthenticated.
    """
    errors = import_module("azure.core.exceptions")
    try:
        with _LOCK:
            return f"Bearer {_azure(settings.identity).get_token('https://storage.azure.com/.default').token}"
    except errors.ClientAuthenticationError as error:
        raise Unauthenticated(
            "no token for Azure Blob Storage: give the worker a managed identity, or run `az login`"
        ) from error
    except errors.AzureError as error:
        raise Transient("no token for Azure Blob Storage: the token service cannot be reached") from error


@cache
def _azure(identity: str) -> Any:  # the SDK types this as its own class, which lives in another room
    return import_module("azure.identity").DefaultAzureCredential(
        managed_identity_client_id=identity or None,
        workload_identity_client_id=identity or None,
        # A worker is signed in by its environment, its identity or the Azure CLI; a desk's other tools only cost time.
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_developer_cli_credential=True,
        exclude_powershell_credential=True,
        process_timeout=int(CALL_S),
    )
