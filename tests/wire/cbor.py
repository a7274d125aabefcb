"""CBOR (RFC 8949) as far as AWS's RPC v2 protocol needs it, and errors in that protocol.

https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

from __future__ import annotations

import struct
from datetime import datetime
from io import BufferedReader, BytesIO
from typing import Any, cast

from botocore.parsers import RpcV2CBORParser  # type: ignore[import-untyped]  # the SDK ships no types

from real.saboteur import Reply

HEADERS = (("content-type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor"))


def encoded(value: object) -> bytes:
    """*value* as bytes. Moments are floats with tag 1."""
    match value:
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int() if value >= 0:
            return _head(0, value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            text = value.encode()
            return _head(3, len(text)) + text
        case datetime():
            return _head(6, 1) + encoded(value.timestamp())
        case list() | tuple():
            return _head(4, len(value)) + b"".join(encoded(each) for each in value)
        case dict():
            return _head(5, len(value)) + b"".join(encoded(key) + encoded(each) for key, each in value.items())
    raise TypeError(type(value).__name__)


def decoded(body: bytes) -> dict[str, Any]:
    """What the SDK has sent, by the SDK's own reader."""
    if not body:
        return {}
    return cast("dict[str, Any]", RpcV2CBORParser().parse_data_item(BufferedReader(BytesIO(body))))


def refusal(status: int, code: str, message: str) -> Reply:
    """An error as AWS answers it."""
    return Reply(status, encoded({"__type": f"com.amazonaws#{code}", "message": message}), HEADERS)


def _head(major: int, length: int) -> bytes:
    first = major << 5
    if length < 24:
        return bytes((first | length,))
    for extra, form in ((24, ">B"), (25, ">H"), (26, ">I"), (27, ">Q")):
        if length < 256 ** struct.calcsize(form):
            return bytes((first | extra,)) + struct.pack(form, length)
    raise ValueError(length)
