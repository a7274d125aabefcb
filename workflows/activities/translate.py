"""Provider errors to Temporal's: the one place. The error's type is the class's name; workflows act on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from orchestrator.core.errors import FailoverError
from providers.base import Transient


@contextmanager
def translated(found: Sequence[object] = ()) -> Iterator[None]:
    """Turn what a provider raises into an ApplicationError that names what the workflow should do.

    What stands in *found* by then travels with it: what there was before the attempt did anything.
    """
    try:
        yield
    except FailoverError as error:
        passing = isinstance(error, Transient)
        raise ApplicationError(str(error), *found, type=type(error).__name__, non_retryable=not passing) from error
