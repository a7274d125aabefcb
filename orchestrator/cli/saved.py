"""Plans on disk: what was wished for, and the plan it became, to be carried out later if nothing has moved."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.core.decision import Request
from orchestrator.core.errors import BadInput
from runbooks.plan import Plan


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved plan. It holds no secret, and nothing in it is believed: the service makes its own and compares."""

    request: Request
    plan: Plan
    apiVersion: Literal["failover/v1"] = "failover/v1"  # noqa: N815 - as it stands in the file
    kind: Literal["SavedPlan"] = "SavedPlan"


def write(path: Path, saved: Saved) -> None:
    """Write *saved*, whole or not at all. Raises OSError that names *path*."""
    from orchestrator.cli.render.document import document  # noqa: PLC0415 - start-up time

    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(document(saved), encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def read(path: Path) -> Saved:
    """The plan saved at *path*. Raises BadInput when it is none, and OSError."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - start-up time

    try:
        return TypeAdapter(Saved).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        cure = f"write one with: failover plan SERVICE --save {path.name}"
        raise BadInput(f"{path}: is no saved plan ({where}: {first['msg'].lower()}); {cure}") from None
