"""The registry: provider names to lazy factories, so that an SDK is imported only where it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from orchestrator.core.errors import BadInput
from orchestrator.core.names import nearest
from orchestrator.core.topology import SteeringSpec, Workload
from providers.base import DrainControl, FaultControl, Steering, WorkloadControl

STEERING: Mapping[str, str] = MappingProxyType(
    {
        "rfc2136": "providers.dns.rfc2136:Rfc2136Steering",
        "local": "providers.local.steering:LocalSteering",
    }
)
WORKLOAD: Mapping[str, str] = MappingProxyType({"local": "providers.local.workload:LocalWorkload"})
DRAIN: Mapping[str, str] = MappingProxyType({"local": "providers.local.workload:LocalDrain"})
FAULTS: Mapping[str, str] = MappingProxyType({"local": "providers.local.faults:LocalFaults"})


def _make(table: Mapping[str, str], kind: str, name: str, argument: object) -> Any:  # the tables' factories are dynamic
    try:
        path = table[name]
    except KeyError:
        close = nearest(name, table)
        hint = f"; did you mean '{close}'?" if close else f"; there are: {', '.join(sorted(table))}"
        raise BadInput(f"no {kind} provider is called '{name}'{hint}") from None
    module, _, factory = path.partition(":")
    return getattr(import_module(module), factory)(argument)


def steering(spec: SteeringSpec) -> Steering:
    """The steering that *spec* names. Raises BadInput for an unknown provider."""
    made: Steering = _make(STEERING, "steering", spec.provider, spec)
    return made


def workload(handle: Workload) -> WorkloadControl:
    """Control of the capacity behind *handle*. Raises BadInput for an unknown provider."""
    made: WorkloadControl = _make(WORKLOAD, "workload", handle.provider, handle)
    return made


def drain(handle: Workload) -> DrainControl:
    """Draining of *handle*. Raises BadInput for an unknown provider."""
    made: DrainControl = _make(DRAIN, "drain", handle.provider, handle)
    return made


def faults(handle: Workload) -> FaultControl:
    """Fault injection at *handle*. Raises BadInput for a provider that cannot."""
    made: FaultControl = _make(FAULTS, "fault", handle.provider, handle)
    return made
