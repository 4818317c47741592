"""`kronos mcp` as an assistant meets it, through the client of the mcp package; skipped where that is not installed."""

import json
import os
import re
import subprocess
import sys

import anyio
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos.cli import main
from kronos.serving.config import Limits
from kronos.serving.mcp_tools import Tools
from kronos.serving.work import LoadedModel
from tests.processes import started

mcp = pytest.importorskip("mcp", reason="needs the extra mcp")


@pytest.fixture(scope="module")
def folder(golden, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prices")
    pd.read_csv(golden / "tiny" / "bars.csv").to_csv(folder / "a.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def server(golden, folder):
    from kronos.serving.mcp_server import mcp_server

    predictor = kronos.load(golden / "tiny", device="cpu", max_context=32)
    return mcp_server(Tools({"tiny": LoadedModel("tiny", predictor)}, folder, Limits(paths=100)))


def asked(server, *calls):
    """The results of tool calls (name, arguments) in one session; None lists the tools."""

    async def session():
        async with mcp.Client(server) as client:
            return [await (client.list_tools() if one is None else client.call_tool(*one)) for one in calls]

    return anyio.run(session)


def columns(count=40):
    close = [100 + i % 7 for i in range(count)]
    times = pd.date_range("2024-01-01", periods=count, freq="B").strftime("%Y-%m-%d").tolist()
    return {"timestamps": times, "open": close, "high": close, "low": close, "close": close}


def test_the_four_tools_are_listed_with_their_limits(server):
    (found,) = asked(server, None)
    assert [tool.name for tool in found.tools] == ["models", "check", "forecast", "evaluate"]
    horizon = found.tools[2].input_schema["properties"]["horizon"]
    assert horizon["minimum"] == 1 and horizon["description"] == "bars to forecast"


def test_a_file_and_bars_are_forecast(server):
    few = {"horizon": 3, "paths": 5, "lookback": 20}
    for result in asked(server, ("forecast", {"file": "a.csv", **few}), ("forecast", {"bars": columns(), **few})):
        found = json.loads(result.content[0].text)
        assert (
            not result.is_error and len(found["forecast"]) == 3 and set(found["forecast"][0]) >= {"mean", "0.1", "0.9"}
        )


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("forecast", {"file": "../a.csv"}, "does not lie in the folder"),
        ("forecast", {"file": "a.csv", "horizon": 0}, "greater than or equal to 1"),
        ("forecast", {"file": "a.csv", "paths": 101}, "at most 100 is allowed here"),
        ("forecast", {}, "give file, the name of a file of the folder, or bars"),
        ("forecast", {"bars": {**columns(), "high": [0] * 40}}, "non-positive price in 40 rows, such as 1, 2"),
        ("evaluate", {"file": "a.csv", "windows": 0}, "greater than or equal to 1"),
        ("check", {"file": "b.csv"}, "no file 'b.csv'"),
    ],
)
def test_bad_input_is_said_in_words_and_ends_nothing(server, tool, arguments, message):
    wrong, right = asked(server, (tool, arguments), ("models", {}))
    assert wrong.is_error and message in wrong.content[0].text and "Traceback" not in wrong.content[0].text
    assert not right.is_error


def test_stdio_carries_nothing_but_the_protocol(golden, folder):
    command = [sys.executable, "-m", "kronos", "mcp", str(folder), "--model", str(golden / "tiny"), "--device", "cpu"]
    few = {"horizon": 2, "paths": 3, "lookback": 20}
    server = mcp.StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    listed, found = asked(server, None, ("forecast", {"file": "a.csv", **few}))
    assert len(listed.tools) == 4 and not found.is_error


def test_http_listens_to_this_machine_and_to_its_own_name_alone(golden, folder):
    import httpx

    command = [sys.executable, "-m", "kronos", "mcp", str(folder), "--model", str(golden / "tiny"), "--device", "cpu"]
    with started([*command, "--transport", "http", "--port", "0"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/mcp", process.stderr.readline())
        (found,) = asked(address, ("forecast", {"file": "a.csv", "horizon": 2, "paths": 3, "lookback": 20}))
        assert not found.is_error
        assert httpx.post(address, json={}, headers={"Host": "evil.example"}).status_code == 421
        assert httpx.post(address, content=b"x" * (Limits().body + 1)).status_code == 413


def test_an_address_that_others_reach_is_refused():
    result = CliRunner().invoke(main, ["mcp", "--transport", "http", "--host", "0.0.0.0"])
    assert result.exit_code == 2 and "this server asks for no token" in result.output
