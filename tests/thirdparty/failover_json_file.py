"""Steering by a JSON file that a gateway of one's own reads: shares, and the fence beside them in one text."""

import asyncio
import fcntl
import json
from collections.abc import Callable
from pathlib import Path

from orchestrator.core.steering import Landing, Routing, SteeringChange, decode, encode, landing, shares_in, shares_of
from orchestrator.core.topology import Shares, SteeringSpec
from providers.base import NotFound, ProviderError, Refused, ServerAnswer, Transient
from providers.catalog import Entry, Option, Part, Plane
from providers.fencing import ahead, checked, expected, refusal


class JsonFile:
    shares = Shares.WEIGHTED

    def __init__(self, spec: SteeringSpec) -> None:
        self.name, self.path = spec.name, Path(dict(spec.options)["file"])

    async def read(self) -> Routing:
        return await self._told(self._read)

    async def write(self, change: SteeringChange) -> Routing:
        return await self._told(lambda: self._write(checked(change, self.name)))

    async def answers(self) -> tuple[ServerAnswer, ...]:
        try:
            return (ServerAnswer(str(self.path), (await self.read()).answer),)
        except ProviderError as error:
            return (ServerAnswer(str(self.path), None, str(error)),)

    async def _told(self, do: Callable[[], Routing]) -> Routing:
        try:
            return await asyncio.to_thread(do)
        except (OSError, ValueError, KeyError) as error:
            kind = Transient if isinstance(error, OSError) else Refused
            kind = NotFound if isinstance(error, FileNotFoundError) else kind
            raise kind(f"{self.path} cannot be used ({type(error).__name__}); mend it, or option file") from None

    def _read(self) -> Routing:
        found = json.loads(self.path.read_text())
        fence = decode(found["fence"]) if "fence" in found else None
        return Routing(shares_of(tuple(found["shares"].items())), 0, fence)

    def _write(self, change: SteeringChange) -> Routing:
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # nobody else writes between our reading and our replacing
            now = self._read()
            verdict = landing(change, now)
            if verdict is Landing.OURS:
                return now  # it had landed, and its answer was lost
            if verdict is not Landing.NOT_YET:
                raise refusal(verdict, change, now, name=self.name, at=str(self.path))
            if not expected(change, now.fence):
                raise ahead(now.fence, change, "of another history", name=self.name, at=str(self.path))
            text = {"fence": encode(change.fence), "shares": dict(shares_in(change.answer))}
            self.path.with_suffix(".new").write_text(json.dumps(text))
            self.path.with_suffix(".new").replace(self.path)  # readers see the old text or the new, never a part
        return Routing(change.answer, 0, change.fence)


ENTRY = Entry(
    "json-file",
    Part.STEERING,
    "failover_json_file:JsonFile",
    "A JSON file that a gateway of one's own reads.",
    options=(Option("file", "the file that the gateway reads", required=True),),
    planes=(Plane("all", "", "the disk of the gateway's host, where a worker must run"),),
    shares=Shares.WEIGHTED,
    target="a key in the file's `shares`",
)
ENTRIES = (ENTRY,)
