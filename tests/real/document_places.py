"""Routing documents in their stores, and LiteLLM proxies: S3 by moto, the others by servers of ours that keep state."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from orchestrator.core.names import EndpointId
from orchestrator.core.steering import shares_in
from orchestrator.core.topology import Shares, SteeringSpec
from providers import registry
from providers.aws.session import client
from providers.base import Steering
from providers.fencing import weighed
from real.moto import fresh, moto, moto_url
from real.place import EU, US, SteeredPlace, Trouble
from real.saboteur import Mischief, Reply, Saboteur
from wire.litellm import Database, LitellmProxy, deployment
from wire.stores import BlobStore, GcsStore, HttpStore, Store

NAME = "chat.example."
REGION = "eu-west-1"
TARGETS = {EU: "paris", US: "ohio"}
FIRST = {"shares": {"paris": 100}, "where": {"paris": "https://paris.example", "ohio": "https://ohio.example"}}
"""As a person publishes it. Where targets are reached is his, and stays as it is."""
REPLIES: Mapping[Trouble, Reply] = {
    Trouble.THROTTLED: Reply(429),
    Trouble.BROKEN: Reply(500),
    Trouble.EXPIRED: Reply(401),
    Trouble.FORBIDDEN: Reply(403),
}
WRITES = frozenset({Trouble.THROTTLED, Trouble.BROKEN, Trouble.LATE})
"""Troubles that only writes meet."""


def spec_of(provider: str, **options: str) -> SteeringSpec:
    return SteeringSpec(provider, NAME, "", 0, "", options=tuple(sorted(options.items())), shares=Shares.WEIGHTED)


def shares_of_text(text: str | bytes) -> dict[str, int]:
    return dict(shares_in(weighed(json.loads(text)["shares"])))


class DocumentPlace:
    """What all have in common: a text, read and edited behind the provider's back."""

    cannot: frozenset[Trouble] = frozenset()
    spec: SteeringSpec

    def __init__(self) -> None:
        self.targets: Mapping[EndpointId, str] = dict(TARGETS)

    def text(self) -> str:
        raise NotImplementedError

    def edit(self, text: str) -> None:
        """Replace it by hand."""
        raise NotImplementedError

    def steering(self) -> Steering:
        return registry.steering(self.spec)

    def missing(self) -> Steering:
        options = {name: f"{value}-not" if name == "document" else value for name, value in self.spec.options}
        return registry.steering(replace(self.spec, options=tuple(sorted(options.items()))))

    async def now(self) -> dict[str, int]:
        return shares_of_text(self.text())

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        self.edit(json.dumps({**json.loads(self.text()), "shares": dict(shares)}))


class FilePlace(DocumentPlace):
    """A file: no way to it, and so no trouble on the way."""

    cannot = frozenset(Trouble)

    async def open(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="routes-"))
        self.path = self._folder / "chat.json"
        self.edit(json.dumps(FIRST))
        self._effects, self._seen = 0, self._stamp()
        self.spec = spec_of("document-file", document=f"file:{self.path}")

    def close(self) -> None:
        shutil.rmtree(self._folder)

    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def edit(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        raise NotImplementedError

    @property
    def effects(self) -> int:
        """At least: a file does not count, it only shows that it is another one than before."""
        if self._stamp() != self._seen:
            self._effects, self._seen = self._effects + 1, self._stamp()
        return self._effects

    def _stamp(self) -> tuple[int, int]:
        stat = self.path.stat()
        return stat.st_ino, stat.st_mtime_ns


@dataclass(frozen=True)
class Kind:
    """One store of ours: its server, where a document lies, and how that is named."""

    provider: str
    store: Callable[[], Store]
    path: str
    place: str
    """``{url}`` is the server's."""
    endpoint: str = ""


KINDS = {
    "document-http": Kind("document-http", HttpStore, "/routes/chat.json", "{url}/routes/chat.json"),
    "document-gcs": Kind("document-gcs", GcsStore, "team a/chat.json", "gs://routes/team%20a/chat.json", "{url}"),
    "document-blob": Kind(
        "document-blob", BlobStore, "/routes/a/chat.json", "azblob://account/routes/a/chat.json", "{url}"
    ),
}


class StorePlace(DocumentPlace):
    """A document in a store of ours."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind

    async def open(self) -> None:
        self.store = self.kind.store()
        self.store.start()
        self.edit(json.dumps(FIRST))
        options = {"document": self.kind.place.format(url=self.store.url)}
        if self.kind.endpoint:
            options["endpoint"] = self.kind.endpoint.format(url=self.store.url)
        self.spec = spec_of(self.kind.provider, **options)

    def close(self) -> None:
        self.store.close()

    def text(self) -> str:
        return self.store.kept[self.kind.path].text.decode()

    def edit(self, text: str) -> None:
        self.store.keep(self.kind.path, text.encode())

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is Trouble.AWAY:
            self.store.leave()
            return
        matches: Callable[[str, str, bytes], bool] = (
            (lambda method, _path, _body: method != "GET") if what in WRITES else (lambda _m, _p, _b: True)
        )
        self.store.mischief.append(Mischief(matches, times, REPLIES.get(what)))

    @property
    def effects(self) -> int:
        return self.store.effects


@dataclass
class OneAtATime(Saboteur):
    """Lets one write after the other through: moto compares and sets in two steps, S3 in one."""

    taken: int = 0
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def forward(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        if self._closed.is_set():
            return 503, [], b""  # on a connection that was kept, which is cut instead
        if method == "GET":
            return super().forward(method, path, body, headers)
        with self._writing:
            answered = super().forward(method, path, body, headers)
            self.taken += answered[0] < 300
            return answered


def _s3_error(status: int, code: str) -> Reply:
    text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>said here</Message></Error>'
    return Reply(status, text.encode(), (("Content-Type", "application/xml"),))


S3_REPLIES: Mapping[Trouble, Reply] = {
    Trouble.THROTTLED: _s3_error(503, "SlowDown"),
    Trouble.BROKEN: _s3_error(500, "InternalError"),
    Trouble.EXPIRED: _s3_error(400, "ExpiredToken"),
    Trouble.FORBIDDEN: _s3_error(403, "AccessDenied"),
}


class S3Place(DocumentPlace):
    """An object at moto's S3."""

    async def open(self) -> None:
        self._bucket, self._key = bucket(), f"{fresh('routes')}/chat.json"
        self.edit(json.dumps(FIRST))
        self.way = OneAtATime(moto())
        self.way.start()
        where = f"s3://{self._bucket}/{self._key}"
        self.spec = spec_of("document-s3", document=where, region=REGION, endpoint=self.way.url)

    def close(self) -> None:
        self.way.close()

    def text(self) -> str:
        found = s3().get_object(Bucket=self._bucket, Key=self._key)
        text: bytes = found["Body"].read()
        return text.decode()

    def edit(self, text: str) -> None:
        s3().put_object(Bucket=self._bucket, Key=self._key, Body=text.encode())

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is Trouble.AWAY:
            self.way.leave()
            self.way.mischief.append(Mischief(lambda _m, _p, _b: True, 1_000_000))
            return
        matches: Callable[[str, str, bytes], bool] = (
            (lambda method, _path, _body: method == "PUT") if what in WRITES else (lambda _m, _p, _b: True)
        )
        self.way.mischief.append(Mischief(matches, times, S3_REPLIES.get(what)))

    @property
    def effects(self) -> int:
        return self.way.taken


def s3() -> Any:  # the SDK's clients have no types
    return client("s3", region=REGION, endpoint=moto_url())


@cache
def bucket() -> str:
    """One bucket for all places of this process."""
    name = re.sub(r"[^a-z0-9-]", "-", fresh("routes"))
    s3().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


class LitellmPlace:
    """A proxy with two deployments of one model, and its fence in a file."""

    cannot: frozenset[Trouble] = frozenset()

    def __init__(self) -> None:
        self.targets: Mapping[EndpointId, str] = dict(TARGETS)

    async def open(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="litellm-"))
        self.database = Database(
            deployment("paris", 100), deployment("ohio", 0), deployment("elsewhere", 7, model="other")
        )
        self.proxy = LitellmProxy(self.database)
        self.proxy.start()
        fence = f"file:{self._folder / 'fence.json'}"
        self.spec = spec_of("litellm", proxies=self.proxy.url, model="chat", fence=fence)

    def close(self) -> None:
        self.proxy.close()
        shutil.rmtree(self._folder)

    def steering(self) -> Steering:
        return registry.steering(self.spec)

    def missing(self) -> Steering:
        options = {**dict(self.spec.options), "model": "nothing"}
        return registry.steering(replace(self.spec, options=tuple(sorted(options.items()))))

    async def now(self) -> dict[str, int]:
        models = (each for each in self.proxy.models if each["model_name"] == "chat")
        weights = {each["model_info"]["id"]: each["litellm_params"]["weight"] for each in models}
        return {name: weight for name, weight in weights.items() if weight}

    async def by_hand(self, shares: Mapping[str, int]) -> None:
        for each in self.database.models:
            if each["model_name"] == "chat":
                each["litellm_params"]["weight"] = shares.get(each["model_info"]["id"], 0)
        self.proxy.reload()

    def trouble(self, what: Trouble, *, times: int = 1) -> None:
        if what is Trouble.AWAY:
            self.proxy.leave()
            return
        matches: Callable[[str, str, bytes], bool] = (
            (lambda method, _path, _body: method == "PATCH") if what in WRITES else (lambda _m, _p, _b: True)
        )
        self.proxy.mischief.append(Mischief(matches, times, REPLIES.get(what)))

    @property
    def effects(self) -> int:
        return self.proxy.effects


STEERED: dict[str, Callable[[], SteeredPlace]] = {
    "document-file": FilePlace,
    **{name: partial(StorePlace, kind) for name, kind in KINDS.items()},
    "document-s3": S3Place,
    "litellm": LitellmPlace,
}
