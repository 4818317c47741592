"""The Model Context Protocol server: tools of `kronos.serving.mcp_tools` over stdio or streamable HTTP. Needs the extra ``mcp``."""

from __future__ import annotations

import logging
import socket
import threading
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field, ValidationError

from kronos import __version__
from kronos.errors import KronosWarning
from kronos.klines import KlineError
from kronos.klines.read_options import ReadOptions
from kronos.serving.mcp_tools import BarSource, Places, Tools
from kronos.serving.problems import Problem, unfit
from kronos.serving.schemas import Bar, Columns, Fraction, RequestOptions

INSTRUCTIONS = """Forecasts of candlesticks (K-lines) by the Kronos model, as probabilities.
Call check without arguments for the files there are, check with a file before a forecast, and evaluate to learn whether forecasts
of this series have been better than the last price. Say what a forecast's interval is, not only its mean. Forecasts are uncertain
and no advice."""

File = Annotated[str | None, Field(max_length=1000, description="a file of the server's folder; check lists them")]
Bars = Annotated[
    Columns | list[Bar] | None, Field(description="bars instead of a file: columns of one length, or a list of bars")
]
Symbol = Annotated[str | None, Field(max_length=200, description="which series of a file that holds several")]
Zone = Annotated[str | None, Field(max_length=64, description="time zone of naive timestamps, such as Asia/Shanghai")]
Clean = Annotated[
    Literal["drop", "sort", "split"] | None, Field(description="what to do with faulty rows; default: refuse")
]
CloseOnly = Annotated[bool, Field(description="of a file: make candles of its closes alone")]
Model = Annotated[str | None, Field(max_length=200, description="a name that models gives; default: its first")]
Horizon = Annotated[int, Field(ge=1, description="bars to forecast")]
Lookback = Annotated[int | None, Field(ge=2, description="bars to look back on; default: 400, or what there is")]
Paths = Annotated[int, Field(ge=1, description="sample paths")]
Seed = Annotated[int, Field(ge=0, lt=2**32, description="the same seed gives the same answer")]


def mcp_server(tools: Tools) -> MCPServer[Any]:
    """The server with its four tools."""
    server: MCPServer[Any] = MCPServer("kronos", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    places = Places(tools.limits.waiting)

    async def in_turn(work: Callable[[Callable[[], None]], dict[str, Any]]) -> dict[str, Any]:
        """Run in a thread, one at a time; ended early where the caller cancels."""
        gone = threading.Event()

        def stop() -> None:
            if gone.is_set():
                raise Problem(499, "the caller has gone", "cancelled")

        def run() -> dict[str, Any]:
            with places, warnings.catch_warnings():
                warnings.simplefilter("ignore", KronosWarning)  # the answer's notes say them
                stop()
                return work(stop)

        try:
            return await anyio.to_thread.run_sync(run, abandon_on_cancel=True)
        except Problem as problem:
            raise ToolError(_told(problem)) from problem
        except KlineError as error:
            raise ToolError(_told(unfit(error))) from error
        except anyio.get_cancelled_exc_class():
            gone.set()
            raise

    @server.tool()
    async def models() -> dict[str, Any]:
        """List the models of this server, how many bars they see, and the limits of a call."""
        return tools.models()

    @server.tool()
    async def check(
        file: File = None,
        bars: Bars = None,
        symbol: Symbol = None,
        tz: Zone = None,
        clean: Clean = None,
        close_only: CloseOnly = False,
    ) -> dict[str, Any]:
        """Say what is in a file or in bars and what is wrong with it: span, rhythm, and each fault with its rows (1 is the first).

        Without file and bars: list the files that this server can read.
        """
        source = _source(file, bars, symbol, tz, clean, close_only)
        return await in_turn(lambda _: tools.check(source))

    @server.tool()
    async def forecast(
        file: File = None, bars: Bars = None, symbol: Symbol = None, tz: Zone = None, clean: Clean = None,
        close_only: CloseOnly = False,
        model: Model = None, horizon: Horizon = 24, lookback: Lookback = None, paths: Paths = 100,
        quantiles: Annotated[
            list[Fraction] | None, Field(min_length=1, max_length=41, description="levels; default: 0.1, 0.5, 0.9")
        ] = None,
        calendar: Annotated[str | None, Field(max_length=40, description="exchange calendar such as XNYS or XSHG, which knows "
                                              "the holidays; default: learned from the times")] = None,
        holdout: Annotated[int, Field(ge=0, description="hide so many of the last bars and score the forecast on them")] = 0,
        seed: Seed = 0,
    ) -> dict[str, Any]:  # fmt: skip
        """Forecast the next bars of a series: for each bar the mean close and its quantiles, and a summary (chance of a rise,
        expected return, volatility, value at risk). Many paths are drawn; the quantiles are theirs.
        """
        source = _source(file, bars, symbol, tz, clean, close_only)
        options = _options(
            model=model, horizon=horizon, lookback=lookback, paths=paths, quantiles=quantiles or [0.1, 0.5, 0.9], calendar=calendar,
            holdout=holdout, seed=seed,
        )  # fmt: skip
        return await in_turn(lambda stop: tools.forecast(source, options, stop))

    @server.tool()
    async def evaluate(
        file: File = None, bars: Bars = None, symbol: Symbol = None, tz: Zone = None, clean: Clean = None,
        close_only: CloseOnly = False,
        model: Model = None, horizon: Horizon = 24, lookback: Lookback = None, paths: Paths = 50,
        windows: Annotated[int, Field(ge=1, description="windows of the past to forecast, the latest")] = 20,
        seed: Seed = 0,
    ) -> dict[str, Any]:  # fmt: skip
        """Measure forecasts on the past of a series: many windows, beside the last price and a random walk; a verdict in words.

        Ratios below 1 are better than the baseline; look at the intervals and the verdict before calling a model good.
        """
        source = _source(file, bars, symbol, tz, clean, close_only)
        options = _options(model=model, horizon=horizon, lookback=lookback, paths=paths, seed=seed)
        return await in_turn(lambda stop: tools.evaluate(source, options, windows, stop))

    return server


def serve_stdio(tools: Tools) -> None:
    """Serve one client over standard input and output, until it closes them."""
    _to_stderr()
    mcp_server(tools).run("stdio")


def serve_http(tools: Tools, bound: socket.socket) -> None:
    """Serve clients of this machine under /mcp of a loopback address, until Ctrl-C."""
    import uvicorn

    _to_stderr()
    host = bound.getsockname()[0]
    app = mcp_server(tools).streamable_http_app(max_request_body_size=tools.limits.body, host=host)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, ws="none", lifespan="on")
    uvicorn.Server(config).run(sockets=[bound])


def _to_stderr() -> None:
    """Standard output belongs to the protocol."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _source(
    file: str | None,
    bars: Columns | list[Bar] | None,
    symbol: str | None,
    tz: str | None,
    clean: Any,
    close_only: bool,
) -> BarSource:
    return BarSource(file, bars, ReadOptions(symbol=symbol, tz=tz, clean=clean, close_only=close_only))


def _options(**members: Any) -> RequestOptions:
    try:
        return RequestOptions(**members)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ToolError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _told(problem: Problem) -> str:
    """What was found, and the rows of faults."""
    lines = [problem.detail]
    for fault in problem.more.get("faults", []):
        lines.append(f"{fault['kind']} in {fault['count']} rows, such as {', '.join(map(str, fault['rows'][:5]))}")
    return "\n".join(lines)
