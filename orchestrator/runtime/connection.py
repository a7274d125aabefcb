"""One client factory. Connection settings follow Temporal's own environment configuration."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from orchestrator.core.errors import BadInput, FailoverError
from orchestrator.runtime.payloads import data_converter

TIMEOUT = timedelta(seconds=5)


class ControlPlaneAway(FailoverError):
    """Temporal, or every worker, cannot be reached. Exit status 5."""


class NoSuch(FailoverError):
    """No such service, run or drill. Exit status 4."""


class Stale(FailoverError):
    """The topology was changed by somebody else meanwhile. Exit status 3."""


class RefusedByRule(FailoverError):
    """A safety rule or a fence says no. Exit status 3."""


async def connect(address: str | None = None, namespace: str | None = None) -> Client:
    """A client by ``TEMPORAL_ADDRESS``, ``TEMPORAL_PROFILE`` and their kin; arguments win over them.

    Raises ControlPlaneAway when nobody answers within 5 s, BadInput for settings that cannot be read.
    """
    try:
        settings = ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"Temporal's connection settings cannot be read: {error}") from error
    if address:
        settings["target_host"] = address
    if namespace:
        settings["namespace"] = namespace
    target = settings.setdefault("target_host", "localhost:7233")
    try:
        # The client's own limit ends with the connection; a server that is stopped takes one and says nothing.
        async with asyncio.timeout(TIMEOUT.total_seconds()):
            return await Client.connect(**settings, data_converter=data_converter, connect_timeout=TIMEOUT)
    except ValueError as error:
        raise BadInput(f"Temporal's address {target!r} cannot be used ({error}); write it as host:port") from error
    except (RuntimeError, RPCError, OSError) as error:
        raise ControlPlaneAway(
            f"Temporal does not answer at {target}: start it, or set TEMPORAL_ADDRESS (or --address)"
        ) from error
