"""``kronos serve``: forecasts over HTTP, and a web page."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from kronos.cli.options import device_option, models_option, precision_option
from kronos.io.extras import need


@click.command(short_help="Serve forecasts over HTTP, and a web page to look at them.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Others than this machine's own need a token.",
)
@click.option("--port", type=int, default=8000, show_default=True, help="0 takes a free one.")
@models_option
@click.option(
    "--token-file",
    type=click.Path(),
    help="File with the token that callers must send.  [default: KRONOS_TOKEN, else none]",
)
@click.option(
    "--without-token", is_flag=True, help="Listen on an address that others can reach although there is no token."
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Name under which the service may be called, where there is no token. Repeatable.",
)
@click.option(
    "--waiting", type=int, default=64, show_default=True, help="Requests at a time; one more is refused (503)."
)
@click.option(
    "--batch",
    type=int,
    help="Series in one batch of the engine at most; 1: one at a time.  [default: 16 on a CPU, 64 on a GPU]",
)
@click.option(
    "--workers",
    "--lanes",
    type=int,
    help="Worker threads: batches at a time.  [default: the cores, on a CPU; 1 on a GPU]",
)
@click.option("--threads", type=int, help="Cores that a worker uses.  [default: the cores, shared among the workers]")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds until an answer, at most.")
@device_option
@precision_option
def serve(
    host: str,
    port: int,
    models: tuple[str, ...],
    token_file: str | None,
    without_token: bool,
    hosts: tuple[str, ...],
    waiting: int,
    batch: int | None,
    workers: int | None,
    threads: int | None,
    timeout: float,
    device: str | None,
    precision: str,
) -> None:
    """Serve forecasts until Ctrl-C: a web page at the address that is printed, and an HTTP interface under /v1 (described by
    /openapi.json; docs/service.md has examples).

    It listens to this machine alone unless told otherwise. The models are loaded once; requests of many callers run as one batch.
    A token is set by the variable KRONOS_TOKEN or --token-file; callers send it as "Authorization: Bearer TOKEN".

    \b
    Examples:
      kronos serve
      kronos serve --model small --model nano --port 9000
      KRONOS_TOKEN=... kronos serve --host 0.0.0.0
    """
    _set_up_pytorch()
    from kronos.serving.config import Limits, Settings

    _check_installed()
    settings = Settings(
        host,
        port,
        token=_token(token_file),
        without_token=without_token,
        hosts=hosts,
        batch=Settings.batch if batch is None else batch,
        workers=Settings.workers if workers is None else workers,
        threads=threads,
        limits=Limits(waiting=waiting, timeout=timeout),
    )
    from kronos.serving.server import serve as run
    from kronos.serving.server import suited
    from kronos.serving.startup import address_of, listen, load_models

    bound = listen(host, port)
    if sys.stderr.isatty():
        click.echo(f"loading {', '.join(models)}", err=True)
    offered = load_models(models, device, precision)
    click.echo(f"Kronos listens on {address_of(bound)} (Ctrl-C ends it)", err=True)
    run(offered, suited(settings, offered, batch, workers, threads), bound)
    click.echo("Kronos has stopped; every request that was begun was answered", err=True)


def _set_up_pytorch() -> None:
    """What PyTorch reads when it is loaded, and what suits a service.

    Threads that wait for each other by spinning would keep the event loop off its core. And for every new shape, of which mixed
    requests make many, oneDNN and ideep keep compiled kernels: a thousand of each by default, some 100 MB, without being faster.
    """
    for name, value in (
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64"),
        ("LRU_CACHE_CAPACITY", "64"),
    ):
        os.environ.setdefault(name, value)


def _token(file: str | None) -> str | None:
    """From a file, else from the environment; never from the command line, which others can read."""
    if file is not None:
        try:
            return Path(file).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"--token-file {file} cannot be read as ASCII text") from error
    return os.environ.get("KRONOS_TOKEN") or None


def _check_installed() -> None:
    need("fastapi uvicorn python_multipart prometheus_client plotly", "serve", "kronos serve")
