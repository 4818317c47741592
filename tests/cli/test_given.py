"""Standard input and addresses in place of a file, closes alone, and the picture in the terminal."""

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from click.testing import CliRunner

from kronos.cli import main

FEW = ("--horizon", "4", "--paths", "5", "--lookback", "20")


@pytest.fixture
def place(golden, tmp_path, monkeypatch):
    """A working folder with a file of bars and one of closes."""
    bars = pd.read_csv(golden / "tiny" / "bars.csv")
    bars.to_csv(tmp_path / "bars.csv", index=False)
    bars[["timestamps", "close"]].to_csv(tmp_path / "nav.csv", index=False)
    bars.to_parquet(tmp_path / "bars.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(golden):
    return ("--model", str(golden / "tiny"), "--device", "cpu")


@pytest.fixture
def address(place):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def run(*arguments, code=0, given=None):
    result = CliRunner().invoke(main, [str(one) for one in arguments], input=given)
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("name", ["bars.csv", "bars.parquet"])
def test_standard_input_is_forecast_as_the_file_is(place, model, name):
    run("forecast", "-", *FEW, *model, "--quiet", "--out", "a.csv", given=(place / name).read_bytes())
    run("forecast", name, *FEW, *model, "--quiet", "--out", "b.csv")
    assert (place / "a.csv").read_bytes() == (place / "b.csv").read_bytes()


def test_standard_input_is_checked_and_named(place):
    assert run("check", "-", given=(place / "bars.csv").read_bytes()).startswith("standard input: ")
    faulty = pd.read_csv(place / "bars.csv").assign(high=0).to_csv(index=False)
    assert run("check", "-", code=2, given=faulty).startswith("standard input: ")
    assert "kronos: standard input: " in run("forecast", "-", code=2, given=faulty)
    assert "standard input is empty" in run("check", "-", code=2, given="")


def test_an_address_is_fetched_where_it_is_allowed_and_only_there(address, model):
    assert "is an address; give --allow-url to fetch it" in run("forecast", f"{address}/bars.csv", code=2)
    output = run("forecast", f"{address}/bars.csv", "--allow-url", *FEW, *model)
    assert f"{address}/bars.csv: 4 bars forecast by" in output.replace("\n", " ")
    assert run("check", f"{address}/bars.csv", "--allow-url").startswith(f"{address}/bars.csv: ")
    assert "only http:// and https://" in run("check", "file:///etc/passwd", "--allow-url", code=2)


def test_closes_alone_are_forecast_with_a_warning(place, model):
    assert "a table of closes alone is read with --close-only" in run("forecast", "nav.csv", code=2)
    output = run("forecast", "nav.csv", "--close-only", *FEW, *model)
    assert "candles are made of the closes" in output and "only its closes can be taken for forecasts" in output
    assert "candles are made of the closes" in run("check", "nav.csv", "--close-only")


@pytest.mark.parametrize("width", [60, 120])
def test_the_picture_is_as_wide_as_the_terminal(place, model, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = run("forecast", "bars.csv", "--show", "--holdout", *FEW, *model).splitlines()
    picture = [line for line in lines if "│" in line or "┤" in line]
    assert len(picture) == 20 and max(map(len, picture)) <= width
    assert "the middle 50 %, 80 %, 95 %" in "\n".join(lines)
