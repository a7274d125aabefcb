"""The runtime API of HAProxy: one line of commands over a socket, and what its servers are afterwards.

A ``stats socket`` of level ``admin`` in HAProxy's ``global`` section. Over TCP it asks for no credentials: let it
listen on loopback, behind a tunnel, or in a network that only the workers reach.
Source: HAProxy Management Guide, 9.3 "Unix Socket commands".
"""

from __future__ import annotations

import csv
import io
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag

from orchestrator.core.errors import BadInput
from providers.base import Forbidden, NotFound, ProviderError, Refused, Transient
from providers.calls import Line, line, unknown

ANSWER_S = 1.0
"""The longest that one exchange may take, seconds: HAProxy answers in less than a millisecond, or is not well."""
_LARGEST = 8 << 20
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
"""What names HAProxy allows; nothing else is put into a command."""
LEVEL = "show cli level"
"""Asked first where something is to be turned: who may not is told before anything is. Any level may read."""
_STATES, _STATS = "1\n# be_id ", "# pxname,"


class Admin(IntFlag):
    """Why a server takes no traffic by somebody's word (``srv_admin_state``), whatever its checks say."""

    FORCED_MAINT = 0x01
    INHERITED_MAINT = 0x02
    CONFIGURED_MAINT = 0x04
    FORCED_DRAIN = 0x08
    INHERITED_DRAIN = 0x10
    UNRESOLVED = 0x20
    HOSTNAME_MAINT = 0x40

    @property
    def kept(self) -> bool:
        """Whether more than a drain keeps it from traffic: maintenance, or what a server does that it tracks."""
        return bool(self & ~Admin.FORCED_DRAIN)


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a backend, as one HAProxy has it."""

    name: str
    weight: int
    """0-256: as configured, or as set since."""
    configured: int
    """The weight of its configuration file."""
    admin: Admin
    backup: bool
    """It gets traffic only when all others are down."""
    status: str
    """By its checks: ``UP``, ``DOWN``, ``DRAIN``, ``MAINT``, ``no check``."""
    in_flight: int
    """Requests (HTTP) or connections (TCP) that it serves now, and those that wait for it."""

    @property
    def share(self) -> int:
        """Its weight, and 0 for a server that by somebody's word gets nothing. What checks say does not count."""
        return 0 if self.admin or self.backup else self.weight


@dataclass(frozen=True, slots=True)
class Address:
    """Where a runtime API listens."""

    text: str
    """``unix:/run/haproxy/admin.sock`` or ``tcp:10.0.0.5:9999``."""

    @property
    def target(self) -> str | tuple[str, int]:
        """What to connect to: a path, or host and port."""
        kind, _, rest = self.text.partition(":")
        if kind == "unix":
            return rest
        host, _, port = rest.rpartition(":")
        return host.strip("[]"), int(port)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Raises BadInput for a text that is no address."""
        kind, _, rest = text.partition(":")
        host, _, port = rest.rpartition(":")
        if (kind == "unix" and rest.startswith("/")) or (kind == "tcp" and host and port.isdecimal()):
            return cls(text)
        raise BadInput(f"'{text}' is no socket of HAProxy; write unix:/run/haproxy/admin.sock or tcp:10.0.0.5:9999")


def addresses(text: str) -> tuple[Address, ...]:
    """The addresses of a comma-separated list. Raises BadInput."""
    found = tuple(Address.parse(each.strip()) for each in text.split(",") if each.strip())
    if not found:
        raise BadInput("say where HAProxy's runtime API listens: options: {sockets: 'unix:/run/haproxy/admin.sock'}")
    return found


def named(text: str, what: str) -> str:
    """*text*, the name of a backend or server. Raises BadInput for what HAProxy would not take as a name."""
    if not _NAME.fullmatch(text):
        raise BadInput(f"'{text}' is no {what} of HAProxy: names have letters, digits and - _ . : only")
    return text


@dataclass(frozen=True, slots=True)
class Runtime:
    """One HAProxy's runtime API, asked about one backend."""

    address: Address
    backend: str

    @property
    def at(self) -> str:
        """The place, for people."""
        return f"HAProxy at {self.address.text}"

    async def servers(self, commands: tuple[str, ...] = ()) -> tuple[Server, ...]:
        """Carry *commands* out, one after another, and tell the servers as they are then; sorted by name.

        Asked once: who calls tries again, as a step does. Raises Transient, NotFound (no such backend), Forbidden,
        Refused.
        """
        what = f"{'turn' if commands else 'read'} backend {self.backend} of {self.at}"
        wanted = (*commands, f"show servers state {self.backend}", f"show stat {self.backend} 4 -1")
        return await self._line.write(what, self._asking("; ".join(wanted), what), within_s=ANSWER_S)

    @property
    def _line(self) -> Line:
        return line(f"haproxy {self.address.text}", translate)

    def _asking(self, command: str, what: str) -> Callable[[], tuple[Server, ...]]:
        def ask() -> tuple[Server, ...]:
            return self._understood(_exchange(self.address, command), what)

        return ask

    def _understood(self, text: str, what: str) -> tuple[Server, ...]:
        complaints, states, rest = text.partition(_STATES)
        between, stats, rows = rest.partition(_STATS)
        said = [each for each in complaints.splitlines() if each.strip() not in {"", "admin"}]
        if said:
            raise self._refusal(said[0].strip())
        if not states or not stats or not text.endswith("\n\n"):
            raise Transient(f"{self.at} broke off its answer; what it was told may have been done")
        return _servers(f"be_id {between}", f"{_STATS}{rows}")

    def _refusal(self, said: str) -> ProviderError:
        """HAProxy's own word as an error that says what to do."""
        if said.startswith(("Can't find backend", "No such backend", "No such proxy")):
            return NotFound(f"{self.at} has no backend '{self.backend}': mend the option backend")
        if said.startswith("No such server"):
            return NotFound(f"backend {self.backend} of {self.at} has no such server: mend the endpoint's target")
        if said in {"operator", "user"} or said.startswith("Permission denied"):
            return Forbidden(f"{self.at} takes no changes on this socket: add 'level admin' to its 'stats socket' line")
        if "static LB algorithm" in said:
            return Refused(
                f"backend {self.backend} of {self.at} balances by a static algorithm, whose weights stand still: "
                "write 'balance roundrobin' or 'balance leastconn' there"
            )
        return Refused(f"{self.at} refused: {said[:120]}")


def _exchange(address: Address, command: str) -> str:
    """What HAProxy answers to one line; it hangs up by itself after it. Raises OSError."""
    target = address.target
    family = socket.AF_UNIX if isinstance(target, str) else socket.AF_UNSPEC
    if isinstance(target, str):
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_S)
    else:
        connection = socket.create_connection(target, timeout=ANSWER_S)
    with connection:
        if isinstance(target, str):
            connection.connect(target)
        connection.sendall(command.encode("ascii") + b"\n")
        found = bytearray()
        while len(found) < _LARGEST and (chunk := connection.recv(65_536)):
            found += chunk
    return found.decode("utf-8", errors="replace")


def _servers(states: str, stats: str) -> tuple[Server, ...]:
    """``show servers state`` and ``show stat`` of one backend, joined by the servers' names."""
    columns, *lines = [each.split() for each in states.splitlines() if each.strip()]
    known = [dict(zip(columns, each, strict=False)) for each in lines]
    counted = {row["svname"]: row for row in csv.DictReader(io.StringIO(stats.removeprefix("# ")))}
    return tuple(
        sorted(
            (
                Server(
                    name=each["srv_name"],
                    weight=int(each["srv_uweight"]),
                    configured=int(each["srv_iweight"]),
                    admin=Admin(int(each["srv_admin_state"])),
                    backup=counted[each["srv_name"]]["bck"] == "1",
                    status=counted[each["srv_name"]]["status"],
                    in_flight=int(counted[each["srv_name"]]["scur"] or 0) + int(counted[each["srv_name"]]["qcur"] or 0),
                )
                for each in known
                if each.get("srv_name") in counted
            ),
            key=lambda server: server.name,
        )
    )


def translate(error: Exception, what: str) -> ProviderError:
    """What goes wrong with a socket, as one of our errors."""
    match error:
        case PermissionError():
            return Forbidden(
                f"cannot {what}: this worker's user may not open the socket; "
                "give it the socket's group ('stats socket ... group ... mode 660')"
            )
        case ConnectionRefusedError() | FileNotFoundError():
            return Transient(f"cannot {what}: nobody listens there; is HAProxy running, with that 'stats socket'?")
        case TimeoutError():
            return Transient(f"cannot {what}: no answer within {ANSWER_S:g} s")
        case OSError():
            return Transient(f"cannot {what}: {(error.strerror or 'it cannot be reached').lower()}")
        case ValueError() | KeyError():
            return Refused(f"cannot {what}: its answer is not HAProxy's; is it a 'stats socket' of HAProxy 2.4 on?")
        case _:
            return unknown(error, what)
