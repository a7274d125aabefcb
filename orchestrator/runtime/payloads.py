"""How values travel through Temporal: as JSON, read back by pydantic.

The SDK makes a converter for every workflow instance, and its own one then builds a reader for each type anew: 10 ms
for the start of a run, 9 ms for a service's state, on the path of every failover. Here they are built once per process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)

MOST_TYPES = 512


@lru_cache(maxsize=MOST_TYPES)
def _reader(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


class _Json(PydanticJSONPlainPayloadConverter):
    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """*payload* as *type_hint* says; plain JSON values where it says nothing. Raises ValidationError."""
        return _reader(Any if type_hint is None else type_hint).validate_json(payload.data)


class Payloads(CompositePayloadConverter):
    """The SDK's converters, with JSON read through readers that every workflow of the process shares."""

    def __init__(self) -> None:
        json = _Json()
        known = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(json if isinstance(each, JSONPlainPayloadConverter) else each for each in known))


data_converter = DataConverter(payload_converter_class=Payloads)


def learn(*hints: type) -> None:
    """Build the readers of *hints* now, rather than in the first failover that needs them."""
    for hint in hints:
        _reader(hint)
