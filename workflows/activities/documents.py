"""Topology documents as they travel: canonical JSON, zlib-compressed, base64."""

from __future__ import annotations

import base64
import zlib


def pack(text: str) -> str:
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpack(document: str) -> str:
    return zlib.decompress(base64.b64decode(document)).decode()
