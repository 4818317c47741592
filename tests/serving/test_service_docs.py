"""The client, the examples of docs/service.md, and the command itself, as a new user meets them."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.processes import run_process, started

pytest.importorskip("fastapi", reason="needs the extra serve")
from click.testing import CliRunner

from kronos import read_klines
from kronos.cli import main
from kronos.client import Client, ServiceError
from kronos.klines.samples import sample_path
from kronos.serving.config import Limits, Settings
from kronos.serving.metrics import Metrics
from kronos.serving.startup import listen
from tests.serving.test_api import offered  # noqa: F401
from tests.serving_server import Server, bars

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
CURLS = [line for block in re.findall(r"```bash\n(.*?)```", DOCS, re.DOTALL) for line in block.splitlines() if line]
PYTHON = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)


@pytest.fixture(scope="module")
def server(offered):  # noqa: F811
    with Server(offered, Settings(port=0)) as running:
        yield running


@pytest.fixture
def folder(tmp_path):
    read_klines(sample_path("synthetic")).iloc[-500:].to_csv(tmp_path / "prices.csv", index=False)
    return tmp_path


def test_the_document_has_examples():
    assert len(CURLS) == 6 and len(PYTHON) == 1


def test_the_document_tells_every_limit_with_its_value_and_every_metric():
    limits, told = Limits(), DOCS.split("### Limits, log and metrics")[1].split("## Measured")[0]
    for name in limits.__dataclass_fields__:
        row = next(line for line in told.splitlines() if line.startswith("|") and f"`{name}`" in line)
        value = getattr(limits, name)
        forms = [f"{value:,.0f}", f"{value / 2**20:g} MiB", f"{value / 2**10:g} KiB"]
        assert any(re.search(rf"(?<!\d)(?<!\d,){form}(?!,?\d)", row) for form in forms), (name, row)
    own = {metric.name for metric in Metrics().registry.collect() if metric.name.startswith("kronos_")}
    assert own == {name.removesuffix("_total") for name in re.findall(r"`(kronos_\w+)`", told)}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("command", CURLS)
def test_curl_of_the_document(command, server, folder):
    words = shlex.split(command.replace("http://127.0.0.1:8000", server.url))
    done = run_process([*words, "-f"], cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    if "event-stream" in command:
        assert done.stdout.count("event: bar") == 10 and "event: forecast" in done.stdout
    else:
        assert json.loads(done.stdout)


def test_python_of_the_document(server, folder):
    code = PYTHON[0].replace("http://127.0.0.1:8000", server.url)
    done = run_process([sys.executable, "-c", code], cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "forecast" and "0.95" in done.stdout


def test_the_client_gives_the_tables_of_predict_df(server, offered):  # noqa: F811
    one, two = bars(60, 1), bars(50, 2)
    settings = {"T": 0.9, "top_p": 0.95, "num_samples": 5, "seed": 3, "verbose": False}
    predictor = offered["tiny"].predictor
    both = pd.concat([one.assign(id="one"), two.assign(id="two")])
    with Client(server.url, trust_env=False) as client:
        table = client.forecast(one, 4, paths=5, seed=3)
        many = client.forecast_many({"one": one, "two": two.set_index("timestamps")}, 4, paths=5, seed=3)
        assert client.models()[0]["name"] == "tiny"
        events = list(client.stream(one, 4, paths=5, seed=3))
    want = predictor.predict_df(one, 4, **settings).rename(columns={"timestamps": "timestamp"})
    pd.testing.assert_frame_equal(table, want, check_dtype=False, rtol=1e-6)
    together = predictor.predict_df(both, 4, **settings).rename(columns={"timestamps": "timestamp"})
    pd.testing.assert_frame_equal(many, together[many.columns], check_dtype=False, rtol=1e-4)
    assert [event.name for event in events].count("bar") == 4
    assert table.attrs["summary"]["last_close"] == one["close"].iloc[-1]


def test_the_client_says_what_was_wrong(server):
    faulty = bars(40)
    faulty.loc[5, "low"] = np.nan
    with Client(server.url, trust_env=False) as client:
        with pytest.raises(ServiceError, match="missing value") as caught:
            client.forecast(faulty, 4)
        assert (caught.value.status, caught.value.code) == (422, "faulty-bars")
        assert caught.value.problem["faults"][0]["rows"] == [6]
        with pytest.raises(ServiceError, match="at most"):
            list(client.stream(bars(40), 4, paths=1000))
        with pytest.raises(ValueError, match="need a column timestamps"):
            client.forecast(bars(40).drop(columns="timestamps"), 4)


def test_the_client_waits_when_the_service_is_busy(offered, monkeypatch):  # noqa: F811
    go = threading.Event()
    real = type(offered["tiny"].predictor).sample_prepared
    monkeypatch.setattr(
        type(offered["tiny"].predictor), "sample_prepared", lambda self, *a, **k: go.wait(20) and real(self, *a, **k)
    )
    with (
        Server(offered, Settings(port=0, limits=Limits(waiting=1))) as running,
        Client(running.url, trust_env=False) as client,
    ):
        first = threading.Thread(target=lambda: client.forecast(bars(40), 2, paths=2))
        first.start()
        while not running.guard.active:
            time.sleep(0.01)
        threading.Timer(0.5, go.set).start()
        assert len(client.forecast(bars(40, 1), 2, paths=2)) == 2
        first.join()


def refused(*arguments):
    result = CliRunner().invoke(main, ["serve", *map(str, arguments)])
    lines = result.output.strip().splitlines()
    assert result.exit_code == 2 and len(lines) == 1, result.output
    return lines[0]


def test_what_cannot_be_served_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.delenv("KRONOS_TOKEN", raising=False)
    assert "no token is set" in refused("--host", "0.0.0.0")
    assert "cannot be read" in refused("--token-file", tmp_path / "none")
    assert "port must lie in" in refused("--port", 99999)
    assert "batch must be at least 1" in refused("--batch", 0)
    for name in ("--workers", "--lanes"):  # the old name is still taken
        assert "workers must be at least 1" in refused(name, 0)
    assert "waiting must be" in refused("--waiting", 0)
    taken = listen("127.0.0.1", 0)
    assert "choose another --port" in refused("--port", taken.getsockname()[1])
    taken.close()
    assert "cannot listen on nowhere.invalid" in refused("--host", "nowhere.invalid", "--without-token")
    assert "no model 'nonsense'" in refused("--model", "nonsense", "--port", 0)
    assert "two models" in refused("--model", "nano", "--model", "nano", "--port", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_after_what_it_began(number):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).parent / "kronos"), "serve", "--port", "0"]
    with started(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        url = next(found[1] for line in process.stderr if (found := re.search(r"on (http://\S+)", line)))
        body = json.dumps({"sample": "synthetic", "horizon": 60, "paths": 100}).encode()
        request = urllib.request.Request(f"{url}/v1/forecast", body, {"Content-Type": "application/json"})
        status = []
        caller = threading.Thread(target=lambda: status.append(urllib.request.urlopen(request, timeout=100).status))
        caller.start()
        while "kronos_requests_active 1.0" not in urllib.request.urlopen(f"{url}/metrics").read().decode():
            time.sleep(0.02)
        process.send_signal(number)
        caller.join()
        assert status == [200]
        rest = process.stderr.read()
        assert process.wait(30) == 0
        assert "every request that was begun was answered" in rest
        assert json.loads(next(line for line in rest.splitlines() if '"/v1/forecast"' in line))["status"] == 200
