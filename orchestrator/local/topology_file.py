"""The topology file of a local world, ready to use and readable."""

from __future__ import annotations

from orchestrator.local.layout import SERVICE, Layout, Place

_HEAD = """\
# A local world: three regions on this machine. Written when it started; gone stale when it has ended.
apiVersion: failover/v1
kind: Topology
regions: [{regions}]
simulates_hosts: true # its vantages stand on one machine and count apart
vantages:
{vantages}
services:
  - id: {service}
    name: {name}
    as_name: false
    endpoints:
{endpoints}
    probes:
      - id: health
        kind: http
        path: /health
        interval: {interval}
        timeout: {timeout}
        rise: 2
        fall: {fall}
        connection: kept-alive
      - id: completion
        kind: chat
        model: {model}
        prompt: Say ok
        max_tokens: 4
        interval: {chat_interval}
        timeout: {chat_timeout}
        fall: {fall}
    steering:
      provider: {provider}
      zone: {zone}
      ttl: {ttl}s
      primary: {dns}
      key:
        name: {key_name}
        secret: {{file: "{key_file}"}}
{options}    policy:
      mode: {mode}
      rto: {rto}
      prefer: [{prefer}]
      capacity: {capacity}
      confirm: {confirm}
      cooldown: {cooldown}
"""

_ENDPOINT = """\
      - id: {id}
        url: {url}
        answer: [{address}]
        region: {region}
        role: {role}
        capacity: {capacity}
        workload:
          provider: local
          target: {id}
          serving: {serving}
          standby: {standby}
          options: {{world: "{control}"}}"""


def topology_yaml(
    world: Layout,
    *,
    interval: str = "1s",
    timeout: str = "500ms",
    fall: int = 3,
    mode: str = "automatic",
    provider: str = "rfc2136",
    **more: str,
) -> str:
    """The topology of *world* as text. Durations as people write them (``1s``, ``500ms``).

    *provider* is ``rfc2136`` or ``local`` (weighted). *more* may name ``chat_interval``, ``chat_timeout``, ``rto``,
    ``confirm``, ``cooldown``, ``capacity``, ``service`` (its id), ``dns`` (another primary).
    """
    values = {
        "service": SERVICE,
        "chat_interval": "5s",
        "chat_timeout": "5s",
        "rto": "30s",
        "confirm": "0s",
        "cooldown": "0s",
        "capacity": str(world.slots),
        "dns": world.dns,
    } | more
    standbys = ", ".join(place.id for place in world.regions if place.role == "standby")
    return _HEAD.format(
        regions=", ".join(place.region for place in world.regions),
        vantages="\n".join(f"  - {{id: from-{place.id}, region: {place.region}}}" for place in world.regions),
        endpoints="\n".join(_endpoint(world, place) for place in world.regions),
        name=world.name,
        interval=interval,
        timeout=timeout,
        fall=fall,
        mode=mode,
        model=world.model,
        provider=provider,
        zone=world.zone.rstrip("."),
        ttl=world.ttl_s,
        key_name=world.key_name.rstrip("."),
        key_file=world.key_file,
        options=_options(world) if provider == "local" else "",
        prefer=standbys,
        **values,
    )


def _endpoint(world: Layout, place: Place) -> str:
    return _ENDPOINT.format(
        id=place.id,
        url=world.url(place),
        address=place.address,
        region=place.region,
        role=place.role,
        capacity=world.slots * world.serving,
        serving=world.serving,
        standby=world.standby,
        control=world.control,
    )


def _options(world: Layout) -> str:
    """Which addresses are whose: the weighted answer is drawn by address."""
    lines = "".join(f"        {place.id}: {place.address}\n" for place in world.regions)
    return f"      options: # each endpoint's address, for weighted answers\n{lines}"
