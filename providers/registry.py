"""The registry: provider names to lazy factories, so that an SDK is imported only where it is used."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from orchestrator.core.errors import BadInput
from orchestrator.core.names import nearest
from orchestrator.core.topology import ReadinessSpec, SignalSpec, SteeringSpec, Workload
from providers.aws.catalog import ENTRIES as AWS
from providers.azure.catalog import ENTRIES as AZURE
from providers.base import DrainControl, FaultControl, Readiness, Signal, Steering, WorkloadControl
from providers.catalog import GROUP, Entry, Part
from providers.dns.catalog import ENTRIES as DNS
from providers.documents.catalog import ENTRIES as DOCUMENTS
from providers.gcp.catalog import ENTRIES as GCP
from providers.local.catalog import ENTRIES as LOCAL
from providers.onprem.catalog import ENTRIES as ONPREM
from providers.onprem.kubernetes.catalog import ENTRIES as KUBERNETES
from providers.readiness.catalog import ENTRIES as READINESS
from providers.signals.catalog import ENTRIES as SIGNALS

_OURS: tuple[Entry, ...] = (*DNS, *LOCAL, *AWS, *GCP, *AZURE, *ONPREM, *KUBERNETES, *DOCUMENTS, *SIGNALS, *READINESS)


def entries(part: Part | None = None) -> tuple[Entry, ...]:
    """Every provider there is (in *part*), ours first, then other people's; sorted by part and name."""
    found = (*_OURS, *_theirs())
    return tuple(sorted((each for each in found if part in {None, each.part}), key=lambda e: (e.part, e.name)))


def names(part: Part) -> tuple[str, ...]:
    """The providers of *part* by name."""
    return tuple(each.name for each in entries(part))


def entry(part: Part, name: str) -> Entry:
    """What is known of one provider. Raises BadInput for one that nobody has."""
    found = _find(_OURS, part, name) or _find(_theirs(), part, name)
    if found is None:
        known = names(part)
        close = nearest(name, known)
        hint = f"; did you mean '{close}'?" if close else f"; there are: {', '.join(known)}"
        raise BadInput(f"no {part} provider is called '{name}'{hint}")
    return found


def doctor(found: Entry) -> Any:  # a function from a SteeringSpec to findings, named as text
    """Who examines a steering of this provider; None: nobody can do more than read it."""
    module, _, function = found.doctor.partition(":")
    return getattr(import_module(module), function) if found.doctor else None


def pace_s(part: Part, name: str) -> float:
    """How often whoever waits for something asks this provider, seconds."""
    return entry(part, name).pace_s


def _find(among: Iterable[Entry], part: Part, name: str) -> Entry | None:
    return next((each for each in among if (each.part, each.name) == (part, name)), None)


@cache
def _theirs() -> tuple[Entry, ...]:
    """What installed packages bring. A package that cannot be loaded is a mistake that must be seen."""
    found: list[Entry] = []
    for point in entry_points(group=GROUP):
        try:
            brought = tuple(point.load())
        except Exception as error:
            raise _unfit(point, f"cannot be loaded: {error}") from error
        for each in brought:
            if not isinstance(each, Entry):
                raise _unfit(point, f"brings a {type(each).__name__} where an Entry of providers.catalog belongs")
            if _find((*_OURS, *found), each.part, each.name):
                raise _unfit(point, f"brings a {each.part} provider called '{each.name}', which there is already")
            found.append(each)
    return tuple(found)


def _unfit(point: EntryPoint, why: str) -> BadInput:
    return BadInput(f"the provider package '{point.name}' ({point.value}) {why}; mend or uninstall it")


def _make(part: Part, name: str, argument: object) -> Any:  # the factories are named as text
    found = entry(part, name)
    module, _, factory = found.factory.partition(":")
    try:
        maker = getattr(import_module(module), factory)
    except ImportError as error:
        if not found.extra or (error.name or "").partition(".")[0] in {"providers", "orchestrator"}:
            raise
        cure = f"pip install 'failover-orchestrator[{found.extra}]'"
        raise BadInput(f"{part} provider '{name}' needs the package {error.name}: {cure}") from error
    return maker(argument)


def steering(spec: SteeringSpec) -> Steering:
    """The steering that *spec* names. Raises BadInput for an unknown provider."""
    made: Steering = _make(Part.STEERING, spec.provider, spec)
    return made


def workload(handle: Workload) -> WorkloadControl:
    """Control of the capacity behind *handle*. Raises BadInput for an unknown provider."""
    made: WorkloadControl = _make(Part.WORKLOAD, handle.provider, handle)
    return made


def drain(handle: Workload) -> DrainControl:
    """Draining of *handle*. Raises BadInput for an unknown provider."""
    made: DrainControl = _make(Part.DRAIN, handle.provider, handle)
    return made


def signal(spec: SignalSpec) -> Signal:
    """The source of signals that *spec* names. Raises BadInput for an unknown provider."""
    made: Signal = _make(Part.SIGNAL, spec.provider, spec)
    return made


def readiness(spec: ReadinessSpec) -> Readiness:
    """Who examines what *spec* names. Raises BadInput for an unknown provider."""
    made: Readiness = _make(Part.READINESS, spec.provider, spec)
    return made


def faults(handle: Workload) -> FaultControl:
    """Fault injection at *handle*. Raises BadInput for a provider that cannot."""
    made: FaultControl = _make(Part.FAULT, handle.provider, handle)
    return made
