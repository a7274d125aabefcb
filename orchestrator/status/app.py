"""The pages' application: routes, headers, and what an absent source answers. Read-only: nothing here acts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.core.errors import FailoverError
from orchestrator.core.names import RunId
from orchestrator.history import Store
from orchestrator.status import api, metrics
from orchestrator.status.board import board
from orchestrator.status.pages import STATIC, Page, Pages
from orchestrator.status.pane import Pane, Seen
from orchestrator.status.plane import Plane
from orchestrator.status.state import State
from orchestrator.status.stream import changes

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Headers:
    """Puts the same safe headers on every answer. Plain ASGI: it must not buffer the event stream."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = POLICY
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                kept = scope["path"].startswith("/static/") and message["status"] == 200
                headers["cache-control"] = "public, max-age=31536000, immutable" if kept else "no-store"
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class _Faces:
    """The handlers, with what they share."""

    def __init__(self, pane: Pane) -> None:
        self._pane = pane
        self._pages = Pages()
        self._rendered: tuple[Seen, Page] | None = None

    async def front(self, _: Request) -> Response:
        return self._html(self._board(await self._pane.look()))

    async def run(self, request: Request) -> Response:
        return await self._one(self._run_page(request.path_params["id"]))

    async def drill(self, request: Request) -> Response:
        return await self._one(self._drill_page(request.path_params["id"]))

    async def events(self, request: Request) -> Response:
        render = self._render_for(request.query_params.get("page", "/"))
        last = request.headers.get("last-event-id", "") or request.query_params.get("last", "")
        stream = changes(self._pane, render, last=last)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def api_services(self, _: Request) -> Response:
        seen = await self._pane.look()
        return JSONResponse(api.services(board(seen)), status_code=503 if seen.control.away else 200)

    async def api_runs(self, _: Request) -> Response:
        seen = await self._pane.look()
        return JSONResponse(api.runs(seen), status_code=503 if seen.history.away else 200)

    async def api_drills(self, _: Request) -> Response:
        seen = await self._pane.look()
        return JSONResponse(api.drills(seen), status_code=503 if seen.history.away else 200)

    async def api_run(self, request: Request) -> Response:
        found = await self._asked(self._pane.find_run(RunId(request.path_params["id"])))
        return JSONResponse(api.run(found))

    async def api_drill(self, request: Request) -> Response:
        found = await self._asked(self._pane.find_drill(request.path_params["id"]))
        return JSONResponse(api.drill(found))

    async def metrics(self, _: Request) -> Response:
        return PlainTextResponse(metrics.exposition(await self._pane.look()), media_type=metrics.TYPE)

    async def healthz(self, _: Request) -> Response:
        """Whether this process lives: a source that is away is no reason to restart the page that says so."""
        return JSONResponse({"status": "ok", "viewers": self._pane.viewers, **api.sources(self._pane.seen)})

    async def failed(self, request: Request, error: Exception) -> Response:
        """404, 405 and 503 in the form that was asked for."""
        assert isinstance(error, HTTPException)  # noqa: S101 - what Starlette registers this handler for
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)
        head = "Nothing is known by that name" if error.status_code == 404 else error.detail
        text = error.detail if error.status_code == 404 else ""
        return self._html(self._pages.notice(head, text, self._pane.seen), error.status_code)

    def _html(self, page: Page, status: int = 200) -> Response:
        return HTMLResponse(self._pages.whole(page), status_code=status)

    def _board(self, seen: Seen) -> Page:
        # Many viewers, one rendering: what was seen is one value for all of them.
        if self._rendered is None or self._rendered[0] is not seen:
            self._rendered = (seen, self._pages.board(seen))
        return self._rendered[1]

    async def _run_page(self, run: str) -> Page:
        record = await self._asked(self._pane.find_run(RunId(run)))
        return self._pages.run(record, self._pane.seen)

    async def _drill_page(self, drill: str) -> Page:
        report = await self._asked(self._pane.find_drill(drill))
        return self._pages.drill(report, self._pane.seen)

    async def _asked(self, question: Awaitable[Any]) -> Any:
        try:
            found = await question
        except FailoverError as error:
            raise HTTPException(503, str(error)) from error
        if found is None:
            raise HTTPException(404, "There is no such run or drill, or it is older than what is kept.")
        return found

    async def _one(self, page: Awaitable[Page]) -> Response:
        try:
            return self._html(await page)
        except HTTPException as error:
            if error.status_code != 503:
                raise
            notice = self._pages.notice("This cannot be shown now", error.detail, self._pane.seen, State.BAD)
            return self._html(notice, 503)

    def _render_for(self, path: str) -> Callable[[Seen], Awaitable[Page]]:
        """What an event stream renders; an unknown page gets the first one."""
        kind, _, name = path.strip("/").partition("/")
        pages = {"runs": self._run_page, "drills": self._drill_page}

        async def render(seen: Seen) -> Page:
            if kind not in pages or not name:
                return self._board(seen)
            try:
                return await pages[kind](name)
            except HTTPException as error:
                return self._pages.notice("This cannot be shown now", error.detail, seen, State.BAD)

        return render


def create_app(plane: Plane, store: Store | None, *, every_s: float = 1.0, budget_s: float = 3.0) -> Starlette:
    """The status page over *plane* and *store* (None: no history is kept).

    Its poller looks every *every_s* seconds while somebody follows.
    A source that has not answered within *budget_s* is away.

    ``app.state.pane`` is the Pane; ``serve`` closes it, which ends every event stream.
    """
    pane = Pane(plane, store, every_s=every_s, budget_s=budget_s)
    faces = _Faces(pane)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        pane.close()

    app = Starlette(
        routes=[
            Route("/", faces.front),
            Route("/runs/{id:path}", faces.run),
            Route("/drills/{id:path}", faces.drill),
            Route("/events", faces.events),
            Route("/api/services", faces.api_services),
            Route("/api/runs", faces.api_runs),
            Route("/api/runs/{id:path}", faces.api_run),
            Route("/api/drills", faces.api_drills),
            Route("/api/drills/{id:path}", faces.api_drill),
            Route("/healthz", faces.healthz),
            Route("/metrics", faces.metrics),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        # Event streams are left as they are.
        middleware=[Middleware(_Headers), Middleware(GZipMiddleware, compresslevel=5)],
        exception_handlers={HTTPException: faces.failed},
        lifespan=lifespan,
    )
    app.state.pane = pane
    return app
