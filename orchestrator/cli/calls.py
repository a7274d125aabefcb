"""Calls to the control plane that several commands make, with the sentence a person needs when a name is wrong."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.cli.desk import Desk
from orchestrator.core.errors import BadInput
from orchestrator.core.names import ServiceId, nearest

if TYPE_CHECKING:
    from orchestrator.runtime.control import ControlPlane

T = TypeVar("T")


def now() -> datetime:
    """The time of this machine, UTC."""
    return datetime.now(UTC)


def of_service(desk: Desk, service: str, call: Callable[[ControlPlane, ServiceId], Coroutine[Any, Any, T]]) -> T:
    """What *call* answers for *service*. Raises what the control plane raises: NoSuch names the nearest service."""
    return desk.wait(call(desk.control(), ServiceId(service)))


def unknown(what: str, name: str, known: Sequence[str]) -> str:
    """No *what* is called *name*, and which one was probably meant."""
    close = nearest(name, known)
    there = f"there are: {', '.join(sorted(known)[:20])}" if known else "there is none"
    return f"no {what} is called '{name}'; " + (f"did you mean '{close}'?" if close else there)


def reason_of(desk: Desk, reason: str | None, question: str) -> str:
    """*reason*, or what the person answers. Raises BadInput when there is neither."""
    if reason is None and desk.someone:
        reason = desk.ask(question)
    if not reason or not reason.strip():
        raise BadInput("a reason is needed, and is kept in the record; give it with --reason TEXT")
    return reason.strip()
