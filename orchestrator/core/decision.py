"""Deciding: from verdicts, routing and policy to hold, ask or go. Pure and total."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.core.move import Move, MoveKind, Objection, Trigger
from orchestrator.core.names import EndpointId
from orchestrator.core.situation import Situation

__all__ = ["Ask", "Decision", "Go", "Hold", "Request", "Situation", "consider", "decide"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a person (or a drill, for the way home) asks for."""

    kind: MoveKind
    trigger: Trigger
    target: EndpointId | None = None
    """None: the best one that no rule speaks against."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Do nothing, and say why."""

    reasons: tuple[Objection, ...]
    move: Move | None = None
    """What would have been done (``observe``), where there is such a thing."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A person must say yes."""

    move: Move
    reasons: tuple[Objection, ...]


@dataclass(frozen=True, slots=True)
class Go:
    """Act now."""

    move: Move
    overridden: tuple[Objection, ...] = ()


Decision = Hold | Ask | Go


def decide(situation: Situation) -> Decision:
    """What the orchestrator does by itself now."""
    raise NotImplementedError


def consider(situation: Situation, request: Request) -> Decision:
    """What comes of a person's request: Go, or Hold with every objection not overridden. Never Ask."""
    raise NotImplementedError
