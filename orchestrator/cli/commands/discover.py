"""A first topology from what a cloud or a cluster has: read, grouped, written down. Nothing there is changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.desk import Desk, desk_of
from orchestrator.cli.errors import Failed
from orchestrator.cli.options import Json
from orchestrator.core.errors import BadInput

if TYPE_CHECKING:
    from orchestrator.config.drafting import Draft
    from providers.inventory import Inventory

app = typer.Typer(
    name="discover",
    help="Write a topology draft from what a cloud or a cluster has; it reads only.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Looks = Callable[[], Coroutine[Any, Any, "Inventory"]]

Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="The file to write; it must be new.", show_default="stdout"),
]
Endpoint = Annotated[
    str,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Another address of the APIs: an emulator's. Plain http gets no credentials.",
        show_default=False,
    ),
]


@app.command("aws")
def aws(
    ctx: typer.Context,
    *,
    region: Annotated[
        list[str] | None, typer.Option("--region", help="A region; repeat.", show_default="the configuration's")
    ] = None,
    profile: Annotated[
        str, typer.Option("--profile", help="A profile of the AWS configuration.", show_default="the environment's")
    ] = "",
    endpoint: Endpoint = "",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Find ECS services, Auto Scaling groups, SageMaker endpoints, and the Route 53 names that lead to them.

    What a weighted name leads to, what has one tag ([bold]failover:service[/] or [bold]service[/]), or one name in
    several regions becomes one service. It lists and describes only; what it may not read is left out and said.

    Example: [cyan]failover discover aws --region eu-west-1 --region us-east-1 --out failover.yaml[/]
    """
    desk = desk_of(ctx)
    _free(out)
    with _extra("aws"):
        from providers.aws.inventory import inventory  # noqa: PLC0415 - the SDK is an extra, and slow to import

    look = lambda: inventory(tuple(region or ()), profile=profile, endpoint=endpoint)  # noqa: E731 - it is passed on
    _tell(desk, look, by="failover discover aws", out=out, as_json=as_json)


@app.command("gcp")
def gcp(
    ctx: typer.Context,
    *,
    project: Annotated[
        str, typer.Option("--project", envvar="GOOGLE_CLOUD_PROJECT", help="The project's id.", show_default=False)
    ] = "",
    region: Annotated[
        list[str] | None, typer.Option("--region", help="A region; repeat.", show_default="every one")
    ] = None,
    endpoint: Endpoint = "",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Find Cloud Run services, and the weighted names of Cloud DNS.

    Services of one name in several regions become one service. It lists and describes only; what it may not read is
    left out and said.

    Example: [cyan]failover discover gcp --project ai-serving --out failover.yaml[/]
    """
    desk = desk_of(ctx)
    _free(out)
    if not project:
        raise BadInput("no project is given; add --project, or set GOOGLE_CLOUD_PROJECT")
    with _extra("gcp"):
        from providers.gcp.inventory import inventory  # noqa: PLC0415 - the SDK is an extra, and slow to import

    look = lambda: inventory(project, tuple(region or ()), endpoint=endpoint)  # noqa: E731 - it is passed on
    _tell(desk, look, by="failover discover gcp", out=out, as_json=as_json)


@app.command("azure")
def azure(
    ctx: typer.Context,
    *,
    subscription: Annotated[
        str,
        typer.Option(
            "--subscription", envvar="AZURE_SUBSCRIPTION_ID", help="The subscription's id.", show_default=False
        ),
    ] = "",
    region: Annotated[
        list[str] | None, typer.Option("--region", help="A region; repeat.", show_default="every one")
    ] = None,
    endpoint: Endpoint = "",
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Find container apps, and the Traffic Manager profiles that lead to them.

    Apps behind one profile, or of one name in several regions, become one service. It lists only; what it may not read
    is left out and said.

    Example: [cyan]failover discover azure --subscription 11111111-2222-3333-4444-555555555555 --out failover.yaml[/]
    """
    desk = desk_of(ctx)
    _free(out)
    if not subscription:
        raise BadInput("no subscription is given; add --subscription, or set AZURE_SUBSCRIPTION_ID")
    with _extra("azure"):
        from providers.azure.inventory import inventory  # noqa: PLC0415 - the SDK is an extra, and slow to import

    look = lambda: inventory(subscription, tuple(region or ()), endpoint=endpoint)  # noqa: E731 - it is passed on
    _tell(desk, look, by="failover discover azure", out=out, as_json=as_json)


@app.command("kubernetes")
def kubernetes(
    ctx: typer.Context,
    *,
    context: Annotated[
        list[str] | None, typer.Option("--context", help="A context; repeat.", show_default="the current one")
    ] = None,
    kubeconfig: Annotated[
        str, typer.Option("--kubeconfig", metavar="FILE", help="The kubeconfig.", show_default="as for kubectl")
    ] = "",
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", help="A namespace; repeat.", show_default="every one")
    ] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Find model servers (vLLM, TGI, Triton, SGLang) among Deployments and StatefulSets, by image or label.

    Those of one name in several contexts become one service with an endpoint in each. It lists only; what it may not
    read is left out and said.

    Example: [cyan]failover discover kubernetes --context eu --context us --out failover.yaml[/]
    """
    desk = desk_of(ctx)
    _free(out)
    with _extra("kubernetes"):
        from providers.onprem.kubernetes.inventory import inventory  # noqa: PLC0415 - the SDK is an extra

    look = lambda: inventory(  # noqa: E731 - it is passed on
        tuple(context or ()), kubeconfig=kubeconfig, namespaces=tuple(namespace or ())
    )
    _tell(desk, look, by="failover discover kubernetes", out=out, as_json=as_json)


# ------------------------------------------------------------------ what they share


class _extra:  # noqa: N801 - it reads as a word of the language
    """An SDK that is not installed, said with its cure."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ImportError):
            raise BadInput(
                f"the SDK for {self._name} is not installed; pip install 'failover-orchestrator[{self._name}]'"
            ) from error


def _free(out: Path | None) -> None:
    """Raises BadInput where *out* cannot be a new file: said before anything is asked."""
    if out is None:
        return
    if os.path.lexists(out):
        raise BadInput(f"{out}: is there already and was left as it is; choose another --out")
    if not out.absolute().parent.is_dir():
        raise BadInput(f"{out.parent}: there is no such directory; make it first")


def _write(out: Path, text: str) -> None:
    """Put *text* into a file that was not there. Raises BadInput where it is there by now, and OSError."""
    try:
        file = out.open("x", encoding="utf-8")
    except FileExistsError:
        raise BadInput(f"{out}: is there already and was left as it is; choose another --out") from None
    try:
        with file:
            file.write(text)
    except BaseException:
        with contextlib.suppress(OSError):
            out.unlink()
        raise


def _tell(desk: Desk, look: Looks, *, by: str, out: Path | None, as_json: bool) -> None:
    """Look, and write down what was found. Raises Failed where that is nothing."""
    found = desk.wait(look())
    if not found.services:
        for each in (*found.left_out, *found.remarks):
            desk.say(f"  {each}", style="yellow")
        left = "; what was left out stands above" if found.left_out else ""
        raise Failed(f"nothing was found; looked for {found.looked_for}{left}")
    from orchestrator.config.drafting import drafted  # noqa: PLC0415 - start-up time

    draft = drafted(found, by=by)
    if out is not None:
        _write(out, draft.text)
    if as_json:
        desk.write(_document(found, draft, out))
    elif out is None:
        desk.emit(draft.text)
    _remarks(desk, found, draft, out)


def _remarks(desk: Desk, found: Inventory, draft: Draft, out: Path | None) -> None:
    endpoints = sum(len(each.endpoints) for each in found.services)
    where = f"{out} is written" if out is not None else "found"
    services = "1 service" if len(found.services) == 1 else f"{len(found.services)} services"
    desk.say(f"{where}: {services}, {endpoints} endpoint{'' if endpoints == 1 else 's'}")
    for each in found.left_out:
        desk.say(f"  left out: {each}", style="yellow")
    for each in found.remarks:
        desk.say(f"  note: {each}", style="yellow")
    desk.say("fill in:")
    for each in draft.fill_in:
        desk.say(f"  {each}")
    desk.say(f"then run 'failover validate {out if out is not None else 'FILE'}'")


def _document(found: Inventory, draft: Draft, out: Path | None) -> dict[str, Any]:
    return {
        "services": found.services,
        "left_out": found.left_out,
        "remarks": found.remarks,
        "fill_in": draft.fill_in,
        "draft": draft.text,
        "file": str(out) if out is not None else None,
    }
