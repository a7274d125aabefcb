"""What a local world looks like: its settings, its places, and the file that tells others where it is."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.core.errors import BadInput, FailoverError

REGIONS = ("alpha/paris", "beta/ohio", "onprem/tokyo")
"""Three clouds, so that the loss of one cloud leaves two vantages."""
SERVICE = "chat"
MODEL = "demo-8b"
ZONE = "local.test."
KEY_NAME = "failover-local."
WORLD_FILE = "world.json"
KEY_FILE = "tsig.key"
TOPOLOGY_FILE = "failover.yaml"


class WorldFailed(FailoverError):
    """The local world could not be started or ended by itself."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """How one model server behaves. Durations in seconds."""

    model: str = MODEL
    slots: int = 32
    """Streams that one replica carries at a time."""
    queue: int = 32
    """Requests that may wait for a slot; one more is answered 429."""
    load_s: float = 2.0
    """From scaling up until the added replica serves."""
    first_token_s: float = 0.05
    token_s: float = 0.02
    tokens: int = 16
    """Length of a completion whose request does not limit it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a world is started with."""

    state: str
    regions: int = 3
    ttl_s: int = 1
    serving: int = 2
    standby: int = 1
    model: ModelSettings = field(default_factory=ModelSettings)


@dataclass(frozen=True, slots=True)
class Place:
    """One endpoint of the world: a model server at an address of its region."""

    id: str
    region: str
    address: str
    role: str
    replicas: int
    """Replicas that it starts with."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything in a running world is: the content of ``world.json``."""

    control: str
    """URL of the control API."""
    dns: str
    """``address:port`` of the authoritative server."""
    zone: str
    name: str
    """The name that clients call, without trailing dot."""
    port: int
    """The port of every model server."""
    regions: tuple[Place, ...]
    key_name: str
    key_file: str
    topology: str
    """Path of a topology file that is ready to use."""
    ttl_s: int
    serving: int
    standby: int
    slots: int
    model: str
    supervisor: int
    """Process id."""

    def place(self, name: str) -> Place:
        """The place whose endpoint id or region is *name*. Raises BadInput."""
        for place in self.regions:
            if name in {place.id, place.region}:
                return place
        known = ", ".join(place.id for place in self.regions)
        raise BadInput(f"the local world has no endpoint or region called '{name}'; there are: {known}")

    def url(self, place: Place) -> str:
        """Base URL of the model server at *place*."""
        return f"http://{place.address}:{self.port}"


def write_layout(layout: Layout, path: Path) -> None:
    """Write *layout* so that a reader finds all of it or nothing."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(layout), indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_layout(path: Path) -> Layout:
    """The layout in *path*. Raises BadInput when no world wrote it."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        places = tuple(Place(**place) for place in raw.pop("regions"))
        return Layout(regions=places, **raw)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} does not describe a local world: start one with --state {path.parent}") from error
