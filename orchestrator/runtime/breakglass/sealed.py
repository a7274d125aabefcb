"""A sealed plan: the plan, the service it is for, and a signature, in one file that needs nothing else.

The signature (HMAC-SHA256) says that the plan is as somebody with the key wrote it. It protects against a file that
was altered by hand, by accident or by somebody without the key; it hides nothing and is no proof of who wrote it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.core.errors import BadInput
from orchestrator.core.orders import NO_ORDERS, Orders
from orchestrator.core.topology import Service
from runbooks.plan import Plan

KEY_ENV = "FAILOVER_PLAN_KEY"
SHORTEST = 16
"""Characters of a key: a shorter one can be guessed."""
_CURE = f"put it in {KEY_ENV}, or name its file with --key-file"
_PURPOSE = b"failover/v1 SealedPlan\n"
"""Signed with the body, so that the key's signature on something else is none on a plan."""
LONGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sealed:
    """A plan that can be carried out without asking anybody for more."""

    plan: Plan
    service: Service
    made: datetime
    by: str
    """Who had it made, and where."""
    unasked: tuple[str, ...] = ()
    """Sentences: what could not be asked when it was made."""
    orders: Orders = NO_ORDERS
    """What held for every service then: residency and windows are weighed again while it is carried out."""


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Sealed]:
    return TypeAdapter(Sealed)


def key_of(file: Path | None) -> bytes | None:
    """The key from *file*, or from the environment; None where there is neither. Raises BadInput; never shows it."""
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise BadInput(f"the plan key {file}: {reason}; put the key there, readable") from error
    else:
        text = os.environ.get(KEY_ENV, "").strip()
        if not text:
            return None
    if len(text) < SHORTEST:
        where = str(file) if file is not None else KEY_ENV
        raise BadInput(f"the plan key in {where} has {len(text)} characters; make one of at least {SHORTEST}")
    return text.encode()


def body_of(sealed: Sealed) -> dict[str, Any]:
    """*sealed* as JSON values."""
    body: dict[str, Any] = _adapter().dump_python(sealed, mode="json")
    return body


def digest_of(sealed: Sealed) -> str:
    """What tells two sealed plans apart."""
    return hashlib.sha256(_canonical(body_of(sealed))).hexdigest()


def written(sealed: Sealed, key: bytes | None) -> str:
    """*sealed* as the text of its file; without a key it is not signed."""
    body = body_of(sealed)
    document: dict[str, Any] = {"apiVersion": "failover/v1", "kind": "SealedPlan", "signature": None, "body": body}
    if key is not None:
        document["signature"] = {"algorithm": "hmac-sha256", "value": _signature(body, key)}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def load(path: Path, key: bytes | None, *, unverified: bool = False) -> Sealed:
    """The sealed plan in the file at *path*. Raises BadInput for a file that is none, or whose signature is wrong.

    With *unverified* a plan is taken that nobody signed, or whose signature cannot be checked here for want of the
    key; a signature that is wrong is never taken.
    """
    document = _document(path)
    body, signature = document["body"], document.get("signature")
    if signature is None:
        if not unverified:
            raise BadInput(f"{path} is not signed; if you made it yourself, say so with --unverified")
    elif not isinstance(signature, dict) or signature.get("algorithm") != "hmac-sha256":
        raise BadInput(f"{path} has a signature that this program does not know; make the plan again")
    elif key is None:
        if not unverified:
            raise BadInput(f"{path} is signed and the key is not here: {_CURE}; or take it as it is with --unverified")
    elif not hmac.compare_digest(str(signature.get("value")).encode(), _signature(body, key).encode()):
        raise BadInput(f"{path} was altered after it was signed, or signed with another key; make the plan again")
    try:
        return _adapter().validate_json(json.dumps(body))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"{path} holds no plan that this program can read ({where}: {first['msg']}); make it again"
        ) from error


def keep(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write *text* to *path*, whole or not at all, for its owner alone unless *mode* says so. Raises BadInput."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), mode)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; choose another place") from error


def _document(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LONGEST:
            raise BadInput(f"{path} is too long for a plan; name the file that export-plan wrote")
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; name the file that export-plan or break-glass plan wrote") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is damaged or no sealed plan; make the plan again") from error
    if not isinstance(document, dict) or document.get("kind") != "SealedPlan" or "body" not in document:
        raise BadInput(f"{path} is no sealed plan; make one with failover export-plan, or failover break-glass plan")
    if document.get("apiVersion") != "failover/v1":
        raise BadInput(f"{path} was written by another version of this program; make the plan again")
    return document


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _canonical(body: object) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _signature(body: object, key: bytes) -> str:
    return hmac.new(key, _PURPOSE + _canonical(body), hashlib.sha256).hexdigest()
