"""The first topology file: init."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import tempfile
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from orchestrator.cli.desk import desk_of
from orchestrator.core.errors import BadInput


def init(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Option("--name", metavar="HOST", help="The host name that clients call.")],
    endpoint: Annotated[list[str], typer.Option("--endpoint", metavar="URL", help="Where it can be served; repeat.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("failover.yaml"),
    resolver: Annotated[
        str | None,
        typer.Option(
            "--resolver", metavar="IP:PORT", help="Whom to ask instead of this machine's resolver.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a first, commented topology file from what stands in DNS and at the endpoints; it changes nothing else.

    The file is in mode observe, with a TODO wherever a person knows more.

    Example: [cyan]failover init --name chat.example.com --endpoint https://eu.example.com --endpoint https://us.example.com[/]
    """
    desk = desk_of(ctx)
    if output.is_dir():
        raise BadInput(f"{output}: is a directory; name a file in it")
    if output.exists() and not force:
        raise BadInput(f"{output}: is there already and was left as it is; choose another --output, or add --force")
    if output.exists() and not output.is_file():
        raise BadInput(f"{output}: is no ordinary file, and was left as it is; choose another --output")
    if not output.absolute().parent.is_dir():
        raise BadInput(f"{output.parent}: there is no such directory; make it first")
    for url in endpoint:
        if urlsplit(url).scheme not in {"http", "https", "tcp"} or not urlsplit(url).hostname:
            raise BadInput(f"'{url}' is no URL of an endpoint; write it like https://eu.example.com")
    from orchestrator.config import draft  # noqa: PLC0415 - start-up time
    from providers.dns.discover import discover  # noqa: PLC0415 - the same

    found = desk.wait(discover(name, tuple(endpoint), resolver=_place(resolver)))
    _write(output, draft(found))
    desk.say(f"{output} is written; mend its TODO lines, then run 'failover validate {output}'.")
    for problem in found.problems:
        desk.say(f"  {problem}", style="yellow")


def _place(resolver: str | None) -> tuple[str, int] | None:
    """``192.0.2.53:53`` as address and port; without a port it is 53. Raises BadInput."""
    if resolver is None:
        return None
    host, _, port = resolver.rpartition(":") if resolver.count(":") == 1 or "]:" in resolver else (resolver, "", "53")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        raise BadInput(f"'{resolver}' is no resolver; write its address and port, like 192.0.2.53:53") from None


def _write(path: Path, text: str) -> None:
    """Put *text* at *path* whole or not at all. Raises OSError that names *path*."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name[:40]}.")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
