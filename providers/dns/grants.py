"""The least right a key needs to steer one name, as the words a name server takes."""

from __future__ import annotations

from orchestrator.core.topology import SteeringSpec
from providers.dns.exchange import absolute


def least_grant(spec: SteeringSpec) -> str:
    """The ``update-policy`` lines of BIND for *spec*: this name's answer and its fence, nothing more."""
    key = absolute(spec.key.name) if spec.key else "<key>."
    name = absolute(spec.name)
    return f"grant {key} name {name} A AAAA CNAME; grant {key} name _failover.{name} TXT;"
