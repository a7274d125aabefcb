"""A small topology to break in one place at a time, and its parts as fixtures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.config import Mistakes, parse

BASE = """\
apiVersion: failover/v1
kind: Topology
regions: [aws/us-east-1, onprem/fra1]
vantages:
  - {id: v1, region: aws/us-east-1}
services:
  - id: chat
    name: chat.example.com
    probes:
      - id: http
        path: /health
    endpoints:
      - id: us
        url: https://us.chat.example.com
        answer: [192.0.2.1]
        region: aws/us-east-1
        role: active
      - id: eu
        url: https://eu.chat.example.com
        answer: [192.0.2.2]
        region: onprem/fra1
        role: standby
    steering:
      provider: rfc2136
      zone: example.com
      ttl: 10s
      primary: 192.0.2.53:53
    policy:
      mode: observe
"""

Tell = Callable[..., tuple[str, ...]]


@pytest.fixture
def base() -> str:
    """The text of a topology without mistakes."""
    return BASE


@pytest.fixture
def told() -> Tell:
    """What a user reads when *old* is replaced by *new* in the good topology: one sentence per mistake."""

    def tell(*changes: tuple[str, str]) -> tuple[str, ...]:
        text = BASE
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the base"
            text = text.replace(old, new)
        try:
            parse(text, "failover.yaml")
        except Mistakes as error:
            return tuple(str(mistake) for mistake in error.mistakes)
        return ()

    return tell
