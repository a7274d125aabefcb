"""A real headless Chromium, spoken to over its debugging pipe: pages at any width, scheme and speed of change.

    async with Chromium() as browser:
        page = await browser.open("http://127.0.0.1:8080/", width=390, dark=True)
        assert await page.evaluate("document.title")
        await page.screenshot(Path("page.png"))

From the command line, for any address (``tests`` on the import path):

    python -m real.chromium http://127.0.0.1:8080/ page.png --width 390 --dark
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars"),
    *("--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe"),
)


def installed() -> str | None:
    """The browser's path; None where it is not installed."""
    return shutil.which("chromium")


@dataclass
class Tab:
    """One page. Its width is the layout's own, down to any phone's: no window manager has a say."""

    browser: Chromium
    session: str
    width: int
    height: int

    async def go(self, url: str, *, within_s: float = 45.0) -> None:
        """Load *url*, and wait until it is loaded."""
        await self._do("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'", within_s=within_s)

    async def evaluate(self, script: str) -> Any:
        """The value of *script*, awaited when it is a promise. Raises RuntimeError with the page's exception."""
        answer = await self._do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:2000])
        return answer["result"].get("value")

    async def until(self, condition: str, *, within_s: float = 45.0) -> None:
        """Wait until *condition* is true in the page. Raises TimeoutError that names it."""
        deadline = asyncio.get_running_loop().time() + within_s
        while True:
            with contextlib.suppress(RuntimeError):  # a navigation ends the context that was asked
                if await self.evaluate(f"Boolean({condition})"):
                    return
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"the page never came to: {condition}")
            await asyncio.sleep(0.05)

    async def overflow(self) -> int:
        """By how many pixels the page is wider than its window; 0 is right."""
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(await self.evaluate(wider))

    async def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """A PNG of the page: all of its length, or what the window shows."""
        options: dict[str, Any] = {"format": "png"}
        if whole:
            size = (await self._do("Page.getLayoutMetrics"))["cssContentSize"]
            height = max(size["height"], self.height)
            options["clip"] = {"x": 0, "y": 0, "width": self.width, "height": height, "scale": 1}
            options["captureBeyondViewport"] = True
        answer = await self._do("Page.captureScreenshot", **options)
        picture = base64.b64decode(answer["data"])
        await asyncio.to_thread(_write, path, picture)

    async def close(self) -> None:
        await self._do("Page.close")

    async def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self.browser.command(method, session=self.session, **parameters)


@dataclass
class Chromium:
    """The browser as a process with an empty profile; ended by its process id, with the profile."""

    profile: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="chromium-")))
    process: asyncio.subprocess.Process | None = None
    _writer: asyncio.StreamWriter | None = None
    _answers: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _reading: asyncio.Task[None] | None = None
    _count: int = 0

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(
        self,
        url: str,
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        javascript: bool = True,
        scale: float = 1.0,
    ) -> Tab:
        """A new page of *url*, loaded."""
        target = (await self.command("Target.createTarget", url="about:blank"))["targetId"]
        session = (await self.command("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = Tab(self, session, width, height)
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        await self.command("Emulation.setDeviceMetricsOverride", session=session, **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.command("Emulation.setEmulatedMedia", session=session, features=scheme)
        if not javascript:
            await self.command("Emulation.setScriptExecutionDisabled", session=session, value=True)
        await self.command("Page.enable", session=session)
        await tab.go(url)
        return tab

    async def command(
        self, method: str, *, session: str = "", within_s: float = 30.0, **parameters: Any
    ) -> dict[str, Any]:
        """One command of the debugging protocol and its answer. Raises RuntimeError when it is refused."""
        if self._writer is None:
            raise RuntimeError("the browser is not running")
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        answer = asyncio.get_running_loop().create_future()
        self._answers[self._count] = answer
        self._writer.write(json.dumps(message).encode() + b"\0")
        said = await asyncio.wait_for(answer, within_s)
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']}")
        result: dict[str, Any] = said["result"]
        return result

    async def close(self) -> None:
        """Kill the browser with its children, and remove its profile."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()  # the reading end went with the browser
        for _ in range(100):  # its children write for a moment longer
            shutil.rmtree(self.profile, ignore_errors=True)
            if not self.profile.exists():
                return
            await asyncio.sleep(0.02)

    async def _start(self) -> None:
        binary = installed()
        if binary is None:
            raise RuntimeError("Chromium is not installed")
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        command = [binary, *FLAGS, f"--user-data-dir={self.profile}", "about:blank"]
        # The browser reads commands from file descriptor 3 and answers on 4: a shell puts the pipes there.
        plumbing = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-'
        self.process = await asyncio.create_subprocess_exec(
            *("bash", "-c", plumbing, "bash", *command),
            pass_fds=(theirs_in, theirs_out),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            # What it leaves behind goes with its profile.
            env={**os.environ, "HOME": str(self.profile), "TMPDIR": str(self.profile)},
        )
        os.close(theirs_in)
        os.close(theirs_out)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=128 * 1024 * 1024)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb"))
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(ours_out, "wb"))
        self._writer = asyncio.StreamWriter(transport, protocol, None, loop)
        self._reading = asyncio.create_task(self._read(reader))
        await self.command("Browser.getVersion")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        gone = RuntimeError("the browser is gone")
        try:
            while True:
                message = json.loads((await reader.readuntil(b"\0"))[:-1])
                answer = self._answers.pop(message.get("id", 0), None)
                if answer is not None and not answer.done():
                    answer.set_result(message)
        except asyncio.IncompleteReadError:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(gone)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def shoot(
    url: str,
    path: Path,
    *,
    width: int = 1280,
    height: int = 800,
    dark: bool = False,
    whole: bool = True,
    scale: float = 1.0,
    until: str = "true",
) -> None:
    """Write a screenshot of *url* to *path*, taken once the script *until* is true in the page."""
    async with Chromium() as browser:
        tab = await browser.open(url, width=width, height=height, dark=dark, scale=scale)
        await tab.until(until)
        await tab.screenshot(path, whole=whole)


def main(arguments: Sequence[str] | None = None) -> None:
    """Take one screenshot as the command line says."""
    parser = argparse.ArgumentParser(description="Take a screenshot of a page in headless Chromium.")
    parser.add_argument("url")
    parser.add_argument("path", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--scale", type=float, default=1.0, help="device pixels per pixel")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--window", action="store_true", help="only what the window shows, not the page's whole length")
    parser.add_argument("--until", default="true", help="a script that must be true first")
    given = parser.parse_args(arguments)
    asyncio.run(
        shoot(
            given.url,
            given.path,
            width=given.width,
            height=given.height,
            dark=given.dark,
            whole=not given.window,
            scale=given.scale,
            until=given.until,
        )
    )


if __name__ == "__main__":
    main()
