"""Every place that the contracts are run in, by name. A module that brings places stands in ``BRINGING``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from real.place import ScaledPlace, SteeredPlace

BRINGING = (
    "real.paper",
    "real.route53_places",
    "real.aws_places",
    "real.gcp_places",
    "real.azure_places",
    "real.onprem_places",
    "real.document_places",
    "real.kubernetes_places",
    "real.thirdparty_places",
)


def steered() -> dict[str, Callable[[], SteeredPlace]]:
    """Places where shares are steered."""
    return _all("STEERED")


def scaled() -> dict[str, Callable[[], ScaledPlace]]:
    """Places where capacity is scaled."""
    return _all("SCALED")


def _all(attribute: str) -> dict[str, Callable[[], object]]:  # narrowed by the two above
    found: dict[str, Callable[[], object]] = {}
    for module in BRINGING:
        try:
            found |= getattr(import_module(module), attribute, {})
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    return found
