"""Signals and readiness in the topology file: what they become, and what is wrong with them in a sentence."""

from __future__ import annotations

import pytest

from orchestrator.config import parse
from orchestrator.config.mistakes import Mistakes
from orchestrator.core.signals import Effect
from orchestrator.core.topology import Blocks, Secret, SecretSource

FILE = """
apiVersion: failover/v1
kind: Topology
regions: [aws/eu-west-1]
services:
  - id: chat
    name: chat.example.com
    endpoints:
      - id: eu
        url: https://eu.example.com
        region: aws/eu-west-1
        role: active
        signals:
          - {id: xid, provider: prometheus, target: gpu_xid > 0, effect: doubt, secret: {env: PROMETHEUS_TOKEN},
             options: {url: "https://prometheus.example.com"}}
        readiness:
          - {id: replica, provider: replication-lag, target: pg_lag_seconds, blocks: always,
             options: {url: "https://prometheus.example.com", most: 30}}
"""


def test_signals_and_readiness_are_read() -> None:
    """What the file says arrives as values, the secret as a pointer."""
    (endpoint,) = parse(FILE, "failover.yaml").services[0].endpoints
    (signal,), (readiness,) = endpoint.signals, endpoint.readiness
    assert (signal.id, signal.provider, signal.target, signal.effect) == (
        "xid",
        "prometheus",
        "gpu_xid > 0",
        Effect.DOUBT,
    )
    assert signal.secret == Secret(SecretSource.ENV, "PROMETHEUS_TOKEN")
    assert (readiness.id, readiness.blocks, dict(readiness.options)["most"]) == ("replica", Blocks.ALWAYS, "30")


@pytest.mark.parametrize(
    ("replace", "by", "told"),
    [
        ("effect: doubt", "effect: panic", "effect"),
        ("provider: prometheus", "provider: promethius", "no signal provider is called 'promethius'"),
        ("most: 30", "mots: 30", "did you mean 'most'?"),
        ("blocks: always", "blocks: sometimes", "blocks"),
        ("id: replica", "id: replica, id: replica", "replica"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(replace: str, by: str, told: str) -> None:
    """A word that nobody knows, an option that is missing: the sentence names it."""
    with pytest.raises(Mistakes) as caught:
        parse(FILE.replace(replace, by), "failover.yaml")
    assert told in str(caught.value)
