"""``kronos mcp``: forecasts as tools of an assistant, over the Model Context Protocol."""

from __future__ import annotations

from pathlib import Path

import click

from kronos.cli.options import device_option, models_option, precision_option
from kronos.io.extras import need


@click.command(short_help="Offer forecasts to an assistant (Model Context Protocol).")
@click.argument("folder", required=False, type=click.Path())
@click.option(
    "--transport",
    type=click.Choice(["stdio", "http"]),
    default="stdio",
    show_default=True,
    help="stdio: the assistant starts this command; http: streamable HTTP under /mcp, for this machine alone.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="With http: a loopback address.")
@click.option("--port", type=int, default=8010, show_default=True, help="With http; 0 takes a free one.")
@models_option
@click.option("--waiting", type=int, default=16, show_default=True, help="Calls at a time; one more is refused.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds that a call may take.")
@device_option
@precision_option
def mcp(
    folder: str | None,
    transport: str,
    host: str,
    port: int,
    models: tuple[str, ...],
    waiting: int,
    timeout: float,
    device: str | None,
    precision: str,
) -> None:
    """Offer the tools forecast, evaluate, check and models to an assistant. It reads the files of FOLDER and of the folders in it,
    and no others; without FOLDER, only bars that the assistant sends. Nothing is ever written.

    \b
    Examples:
      kronos mcp prices/
      kronos mcp prices/ --transport http --port 8010
    """
    need("mcp scipy statsmodels statsforecast", "mcp", "kronos mcp")
    from kronos.serving.config import Limits, is_loopback

    if folder is not None and not Path(folder).is_dir():
        raise ValueError(f"there is no folder {folder}: name the one with your files of bars")
    if not is_loopback(host):
        raise ValueError(
            f"--host {host} can be reached from other machines, and this server asks for no token: take 127.0.0.1 "
            "(kronos serve has tokens)"
        )
    limits = Limits(waiting=waiting, timeout=timeout)
    from kronos.serving.mcp_tools import Tools
    from kronos.serving.startup import address_of, listen, load_models

    bound = listen(host, port) if transport == "http" else None
    tools = Tools(load_models(models, device, precision), None if folder is None else Path(folder), limits)
    from kronos.serving.mcp_server import serve_http, serve_stdio

    if bound is None:
        serve_stdio(tools)
        return
    click.echo(f"Kronos listens on {address_of(bound)}/mcp (Ctrl-C ends it)", err=True)
    serve_http(tools, bound)
