"""Telling people (signed webhook, exec hook) and the history store. Off the path: nothing waits for these."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import signal
import time

import httpx
import structlog
from temporalio import activity

from orchestrator.core.names import rehearses
from orchestrator.core.topology import Notify, NotifyKind
from orchestrator.history import HistoryAway, Store
from providers import secrets
from providers.base import Transient
from workflows import options
from workflows.activities.translate import translated
from workflows.wire import Publication, Telling

log = structlog.get_logger()


def sign(body: bytes, key: str, *, at: int) -> str:
    """The ``Failover-Signature`` header: ``t=<unix>,v1=<hex hmac-sha256 of "<t>.<body>">``."""
    digest = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Herald:
    """The activity that tells people."""

    @activity.defn(name=options.TELL)
    async def tell(self, telling: Telling) -> None:
        """Tell everyone in ``telling.notify``; one that fails does not keep the others from being told."""
        body = json.dumps(
            {
                "event": telling.event,
                "service": telling.service,
                "run": telling.run,
                # Whoever is woken must see at once that no client is concerned.
                "text": f"drill, no real traffic moves: {telling.text}" if rehearses(telling.service) else telling.text,
                "at": telling.at.isoformat().replace("+00:00", "Z"),
            }
        ).encode()
        with translated():
            failures = [f for f in await asyncio.gather(*(_one(each, body) for each in telling.notify)) if f]
            if failures:
                raise Transient("; ".join(failures))


class Chronicle:
    """The activity that writes to the history store at *history*, a URL."""

    def __init__(self, history: str) -> None:
        self._history = history
        self._store: Store | None = None

    @activity.defn(name=options.PUBLISH)
    async def publish(self, publication: Publication) -> None:
        """Write a record or a drill's report to the history store."""
        with translated():
            try:
                await asyncio.to_thread(self._write, publication)
            except HistoryAway as error:
                raise Transient(str(error)) from error

    def _write(self, publication: Publication) -> None:
        """Runs in a thread. The store is opened when there is something to write: it may be away before."""
        store = self._store = self._store or Store.open(self._history)
        if publication.record is not None:
            store.publish_record(publication.record)
        if publication.drill is not None:
            store.publish_drill(publication.drill)


async def _one(notify: Notify, body: bytes) -> str | None:
    """Tell one; returns why it failed."""
    match notify.kind:
        case NotifyKind.WEBHOOK:
            return await _webhook(notify, body)
        case NotifyKind.EXEC:
            return await _exec(notify, body)


async def _webhook(notify: Notify, body: bytes) -> str | None:
    headers = {"Content-Type": "application/json"}
    if notify.secret is not None:
        headers["Failover-Signature"] = sign(body, secrets.resolve(notify.secret), at=int(time.time()))
    url = notify.url or ""
    try:
        async with httpx.AsyncClient(timeout=notify.timeout_s) as client:
            response = await client.post(url, content=body, headers=headers)
    except httpx.HTTPError as error:
        return f"webhook {httpx.URL(url).host}: {type(error).__name__}"
    return f"webhook {httpx.URL(url).host}: status {response.status_code}" if response.is_error else None


async def _exec(notify: Notify, body: bytes) -> str | None:
    program = notify.command[0]
    try:
        process = await asyncio.create_subprocess_exec(
            *notify.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"hook {program}: {error.strerror}"
    try:
        async with asyncio.timeout(notify.timeout_s):
            await process.communicate(body)
    except TimeoutError:
        return f"hook {program}: took longer than {notify.timeout_s:g} s"
    finally:
        # Also when this activity is cancelled: a hook must not outlive the worker that started it.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return f"hook {program}: exit status {process.returncode}" if process.returncode else None
