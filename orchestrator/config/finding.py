"""A finding: what a topology that is well formed will not do as its owner expects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orchestrator.core.topology import Mode, Service

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend (error) or to know (warning)."""

    severity: Severity
    path: str
    """In the words of the file: ``services[chat].policy.rto``."""
    text: str
    cure: str


def graver(service: Service) -> Severity:
    """The severity of what only hurts once the orchestrator acts by itself."""
    return "error" if service.policy.mode is Mode.AUTOMATIC else "warning"


def some(names: list[str]) -> str:
    """The first three, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
