"""Resolving pointers to secrets, on the worker that uses them and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.core.errors import BadInput
from orchestrator.core.topology import Secret, SecretSource


def resolve(secret: Secret) -> str:
    """The secret's value, without surrounding white space. Raises BadInput when it is not there; never shows it."""
    match secret.source:
        case SecretSource.ENV:
            value = os.environ.get(secret.name, "")
            if not value:
                raise BadInput(f"environment variable {secret.name} is not set on this worker; set it to the secret")
        case SecretSource.FILE:
            try:
                value = Path(secret.name).read_text(encoding="utf-8").strip()
            except OSError as error:
                reason = error.strerror or "not readable"
                raise BadInput(f"secret file {secret.name}: {reason}; put the secret there, readable") from error
            if not value:
                raise BadInput(f"secret file {secret.name} is empty; put the secret there")
    return value.strip()
