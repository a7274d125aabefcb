"""Logging: events with fields, to stderr, for people on a terminal and as JSON lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor


class _Stderr:
    """The process's standard error as it is at each line, so that a test or a daemon may replace it.

    A line that cannot be written (a full disk, a reader that left) is lost: no step of a run may fail for its log.
    """

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


def _chain(json_lines: bool) -> list[Processor]:
    """What every event passes, ours and those of libraries alike."""
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    return [*chain, structlog.processors.format_exc_info] if json_lines else chain


def set_up(level: str = "warning", *, json_lines: bool | None = None) -> None:
    """Send every log event at *level* or above to stderr; stdout stays for documents.

    *level* is ``debug``, ``info``, ``warning`` or ``error``.
    *json_lines* None: people get a readable line on a terminal, programs get one JSON object per line.
    """
    as_json = not sys.stderr.isatty() if json_lines is None else json_lines
    number = logging.getLevelNamesMapping()[level.upper()]
    last: Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    stream: TextIO = _Stderr()  # type: ignore[assignment]  # write and flush are all that a logger asks of a stream
    structlog.configure(
        processors=[*_chain(as_json), last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_chain(as_json),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    logging.basicConfig(level=number, handlers=[handler], force=True)
    # httpx tells whole URLs at level info, and a webhook's URL is often its password.
    logging.getLogger("httpx").setLevel(logging.WARNING)
