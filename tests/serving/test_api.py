"""The service over real HTTP: what it answers, and that it is what the library gives."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
import kronos
from kronos.serving.config import Settings
from kronos.serving.work import LoadedModel
from tests.serving_server import Server, bars, columns


@pytest.fixture(scope="session")
def offered(golden, tmp_path_factory):
    """A pair of random weights that forecasts in no time."""
    folder = tmp_path_factory.mktemp("served") / "tiny"
    shutil.copytree(golden / "tiny", folder)
    (folder / "pair.json").write_text(json.dumps({"max_context": 64, "temperature": 0.9, "top_p": 0.95}))
    return {"tiny": LoadedModel("tiny", kronos.load(folder))}


@pytest.fixture(scope="module")
def server(offered):
    with Server(offered, Settings(port=0, workers=2)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with server.client() as made:
        yield made


def ask(client, **wanted):
    answer = client.post("/v1/forecast", json={"horizon": 5, "paths": 4, **wanted})
    assert answer.status_code == 200, answer.text
    return answer.json()


def long_table(predictor, frame, horizon=5, **settings):
    """What the library gives for the same request."""
    given = {"T": 0.9, "top_p": 0.95, "num_samples": 4, "seed": 0, "verbose": False, **settings}
    table = predictor.predict_df(frame, horizon, **given)
    return table.drop(columns=[c for c in table if c == "timestamps"]).to_dict("records")


def with_times(rows, answer):
    """A library's rows with the times of an answer's."""
    return [{**row, "timestamp": told["timestamp"]} for row, told in zip(rows, answer["forecast"], strict=True)]


def figures(rows):
    return [{name: value for name, value in row.items() if name not in ("timestamp", "id")} for row in rows]


def assert_close(rows, others):
    """The same times, and figures that differ by rounding alone."""
    assert [row["timestamp"] for row in rows] == [row["timestamp"] for row in others]
    ours, theirs = (pd.DataFrame(figures(each)).to_numpy() for each in (rows, others))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("layout", ["columns", "records"])
def test_the_answer_is_the_long_table_of_predict_df(client, offered, layout):
    frame = bars()
    given: Any = columns(frame)
    if layout == "records":
        given = [
            {"timestamp": str(row.timestamps), **{c: row[c] for c in given if c != "timestamps"}}
            for _, row in frame.iterrows()
        ]
    answer = ask(client, bars=given, quantiles=[0.05, 0.5], target=["close", "volume"])
    want = long_table(offered["tiny"].predictor, frame, quantile_levels=[0.05, 0.5], target=["close", "volume"])
    assert figures(answer["forecast"]) == want
    assert [row["timestamp"] for row in answer["forecast"][:2]] == ["2024-03-04T14:00:00", "2024-03-04T14:05:00"]
    assert answer["summary"]["last_close"] == frame["close"].iloc[-1]


def test_figures_are_those_of_the_forecast_object(client, offered):
    frame = bars()
    answer = ask(client, bars=columns(frame), samples=3)
    future, past = kronos.future_timestamps(frame["timestamps"], 5), frame.iloc[-answer["lookback"] :]
    values = past.drop(columns="timestamps")
    want = offered["tiny"].predictor.forecast(values, past["timestamps"], future, 0.9, 0, 0.95, 4, 0, False)
    summary = want.summary().iloc[0]
    for name, value in answer["summary"].items():
        if name in summary:
            assert value == pytest.approx(summary[name], rel=1e-6), name
    np.testing.assert_allclose(answer["samples"], want.paths[0, :3, :, 3], rtol=1e-6)


def test_prices_of_a_collapse_stay_positive_and_are_warned_of(client):
    frame = bars()
    frame[["open", "high", "low", "close"]] *= np.where(np.arange(len(frame)) < len(frame) - 3, 1e-3, 1e-12)[:, None]
    answer = ask(client, bars=columns(frame), samples=4, quantiles=[0.01, 0.5])
    assert np.min(answer["samples"]) > 0
    assert min(min(row["mean"], row["0.01"]) for row in answer["forecast"]) > 0
    assert any("more than the last price" in note for note in answer["notes"])
    assert any("jump of the price" in note for note in answer["notes"])


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".tsv", ".parquet"])
def test_an_uploaded_file_gives_the_same_as_its_bars(client, ending, tmp_path):
    frame = bars()
    file = tmp_path / f"prices{ending}"
    if ending == ".parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False, sep="\t" if ending == ".tsv" else ",")
    form = {"horizon": "5", "paths": "4", "quantiles": "0.1, 0.9", "target": "high,low"}
    answer = client.post("/v1/forecast", data=form, files={"file": (file.name, file.read_bytes())})
    assert answer.status_code == 200, answer.text
    want = ask(client, bars=columns(frame), quantiles=[0.1, 0.9], target=["high", "low"])
    assert answer.json()["forecast"] == want["forecast"]
    assert answer.json()["id"] == file.name


def test_files_as_users_have_them_are_understood(client, shared_data):
    for file in sorted((shared_data / "csv").glob("*")):
        answer = client.post("/v1/inspect", files={"file": (file.name, file.read_bytes())}).json()
        assert answer["ok"] == ("dirty" not in file.name), file.name
        assert {"open", "high", "low", "close"} <= set(answer["columns"])
        if answer["ok"]:
            done = client.post(
                "/v1/forecast", data={"horizon": "3", "paths": "2"}, files={"file": (file.name, file.read_bytes())}
            )
            assert done.status_code == 200, done.text


def test_epochs_zones_and_calendars_are_taken(client):
    frame = bars(60, freq="1h")
    given = columns(frame)
    given["timestamps"] = [int(t.timestamp()) for t in frame["timestamps"]]
    assert ask(client, bars=given)["forecast"][0]["timestamp"] == "2024-03-06T21:00:00+00:00"
    moved = ask(client, bars=given, tz="Asia/Shanghai")
    assert moved["forecast"][0]["timestamp"] == "2024-03-07T05:00:00+08:00"
    daily = columns(bars(60, start="2024-01-01", freq="B"))
    skipped = ask(client, bars=daily, calendar="XNYS", horizon=5)
    assert "2024-03-29T00:00:00" not in [row["timestamp"] for row in skipped["forecast"]]  # Good Friday


def test_hidden_bars_are_not_seen_and_scored(client):
    frame = bars(60)
    answer = ask(client, bars=columns(frame), holdout=3, horizon=5, samples=4)
    cut = ask(client, bars=columns(frame.iloc[:57]), horizon=5)
    assert figures(answer["forecast"]) == figures(cut["forecast"])
    assert answer["last"] == cut["last"]
    truth, closes = frame["close"].to_numpy()[57:], np.array(answer["samples"])[:, :3]
    score = answer["score"]
    assert score["bars"] == 3
    assert score["mae"] == pytest.approx(abs(closes.mean(0) - truth).mean(), rel=1e-4)
    assert score["mae_last_price"] == pytest.approx(abs(frame["close"].iloc[56] - truth).mean())
    pairs = abs(closes[:, None] - closes[None]).sum((0, 1)) / (4 * 3) / 2
    assert score["crps"] == pytest.approx((abs(closes - truth).mean(0) - pairs).mean(), rel=1e-4)


def test_a_batch_gives_each_series_what_it_gets_alone_and_reports_the_faulty(client):
    good, short, bad = bars(60, 1), bars(40, 2), bars(50, 3)
    bad.loc[[4, 7], "high"] = bad["low"].min() - 5
    body = {
        "series": [
            {"id": "good", "bars": columns(good)},
            {"id": "short", "bars": columns(short), "horizon": 2, "seed": 9},
            {"id": "bad", "bars": columns(bad)},
        ],
        "horizon": 4,
        "paths": 4,
    }
    answer = client.post("/v1/forecast/batch", json=body).json()
    rows = pd.DataFrame(answer["forecast"])
    assert rows["id"].tolist() == ["good"] * 4 + ["short"] * 2
    alone = ask(client, bars=columns(short), horizon=2, seed=9)
    assert figures(answer["forecast"][4:]) == figures(alone["forecast"])
    (problem,) = answer["errors"]
    assert (problem["id"], problem["type"], problem["faults"][0]["rows"]) == ("bad", "urn:kronos:faulty-bars", [5, 8])


def events_of(response):
    name, found = None, []
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            found.append((name, json.loads(line.removeprefix("data: "))))
    return found


def test_a_stream_gives_every_bar_before_the_forecast_and_both_agree(client):
    body = {"bars": columns(bars()), "horizon": 6, "paths": 4, "target": "close"}
    with client.stream("POST", "/v1/forecast", json=body, headers={"Accept": "text/event-stream"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = events_of(response)
    names = [name for name, _ in events]
    assert names[0] == "queued" and names[-1] == "forecast" and names.count("bar") == 6
    final = events[-1][1]["forecast"]
    assert events[0][1]["times"] == [row["timestamp"] for row in final]
    steps = [value for name, value in events if name == "bar"]
    assert [value["step"] for value in steps] == [1, 2, 3, 4, 5, 6]
    assert_close([value["rows"][0] for value in steps], final)


def test_requests_of_many_callers_share_a_batch_and_get_what_they_get_alone(server, offered):
    wanted = [
        {"bars": columns(bars(30 + 2 * i, i)), "horizon": 3 + i % 4, "paths": 2 + i % 3, "seed": i, "lookback": 20 + i}
        for i in range(8)
    ]
    with server.client() as client:
        alone = [client.post("/v1/forecast", json=body).json() for body in wanted]
    with Server(offered, Settings(port=0, window=0.5)) as slow, slow.client() as client:
        together: list[Any] = [None] * len(wanted)
        gate = threading.Barrier(len(wanted))

        def call(i):
            gate.wait()
            together[i] = client.post("/v1/forecast", json=wanted[i]).json()

        threads = [threading.Thread(target=call, args=(i,)) for i in range(len(wanted))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert max(answer["batch"] for answer in together) >= 4
    for one, other in zip(alone, together, strict=True):
        assert_close(one["forecast"], other["forecast"])


def test_models_samples_and_probes_are_told(client):
    facts = client.get("/v1/models").json()
    assert facts["models"][0]["name"] == "tiny" and facts["models"][0]["top_p"] == 0.95
    assert "no advice" in facts["advice"]
    sample = client.get("/v1/samples/sp500").json()
    assert sample["ok"] and sample["rows"] == 5031 and len(sample["bars"]["close"]) == 5031
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}


@pytest.fixture(scope="module")
def calibrated(golden, tmp_path_factory):
    """The same pair with a calibration of its own."""
    folder = tmp_path_factory.mktemp("calibrated") / "tiny"
    shutil.copytree(golden / "tiny", folder)
    (folder / "pair.json").write_text(json.dumps({"max_context": 64, "temperature": 0.9, "top_p": 0.95}))
    shutil.copy(Path(kronos.__file__).parent / "hub" / "nano" / "calibration.json", folder)
    return kronos.load(folder)


def test_paths_are_calibrated_by_the_models_own_or_left_as_drawn(calibrated):
    frame = bars()
    with Server({"tiny": LoadedModel("tiny", calibrated)}) as running, running.client() as client:
        drawn = ask(client, bars=columns(frame), calibration="none")
        own = ask(client, bars=columns(frame))
        other = ask(client, bars=columns(frame), temperature=0.5)  # it was fitted for the model's own
        facts = client.get("/v1/models").json()["models"][0]["calibration"]
        refused = client.post("/v1/forecast", json={"bars": columns(frame), "calibration": "mine"})
    name = calibrated.calibration.name
    assert [each["calibration"] for each in (drawn, own, other)] == [None, name, None]
    for answer, how in ((drawn, None), (own, "auto")):
        assert_close(answer["forecast"], with_times(long_table(calibrated, frame, calibration=how), answer))
    assert drawn["forecast"][0]["mean"] != own["forecast"][0]["mean"]
    assert facts == {"name": name, "until": "2024-06-30", "covers": [0.7788, 0.7983], "windows": 764}
    assert refused.status_code == 422 and "calibration" in refused.json()["detail"]


def test_calibrated_paths_do_not_depend_on_who_else_asks(calibrated):
    wanted = [{"bars": columns(bars(40, i)), "horizon": 5, "paths": 4 + 4 * i, "seed": i} for i in range(3)]
    running = Server({"tiny": LoadedModel("tiny", calibrated)}, Settings(port=0, window=0.5))
    with running, running.client() as client, ThreadPoolExecutor(3) as pool:
        alone = [client.post("/v1/forecast", json=body).json() for body in wanted]
        together = list(pool.map(lambda body: client.post("/v1/forecast", json=body).json(), wanted))
    for one, other in zip(alone, together, strict=True):
        assert_close(one["forecast"], other["forecast"])


def test_metrics_count_requests_batches_and_bars(client):
    ask(client, bars=columns(bars()))
    text = client.get("/metrics").text
    assert 'kronos_requests_total{method="POST",route="/v1/forecast",status="200"}' in text
    assert "kronos_batch_series_bucket" in text and "kronos_bars_generated_total" in text
    assert "process_resident_memory_bytes" in text


def test_the_document_names_every_route_and_its_examples_work(client):
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/forecast", "/v1/forecast/batch", "/v1/inspect", "/v1/samples/{name}", "/v1/models", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    content = document["paths"]["/v1/forecast"]["post"]["requestBody"]["content"]
    for example in content["application/json"]["examples"].values():
        assert client.post("/v1/forecast", json=example["value"]).status_code == 200
    for name in ("ForecastRequest", "BatchRequest"):
        route = "/v1/forecast" + ("/batch" if name == "BatchRequest" else "")
        for example in document["components"]["schemas"][name]["examples"]:
            assert client.post(route, json=example).status_code == 200


@pytest.fixture
def daily():
    """Daily bars whose paths move further than 2 % a day."""
    frame = bars(60, 4, freq="D")
    wide = np.exp(np.random.default_rng(4).normal(0, 0.05, 60).cumsum())
    for name in ("open", "high", "low", "close"):
        frame[name] *= wide
    return frame


def highest(close, share, tick=None):
    bound = np.asarray(close) * (1 + share)
    return bound if tick is None else np.floor(bound / tick + 0.5 + 1e-6) * tick


def test_paths_keep_within_the_price_limit_that_is_asked_for(client, daily):
    free = ask(client, bars=columns(daily), samples=4, temperature=3.0)
    kept = ask(client, bars=columns(daily), samples=4, temperature=3.0, price_limit=0.02)
    closes = np.column_stack([np.full(4, daily["close"].iloc[-1]), kept["samples"]])
    moves = np.abs(closes[:, 1:] / closes[:, :-1] - 1)
    assert moves.max() == pytest.approx(0.02, abs=1e-5)
    assert kept["samples"] != free["samples"]
    assert any("daily limit of 0.02 of the close of the day before" in note for note in kept["notes"])


def test_the_board_of_a_code_in_the_id_sets_the_limit_of_each_series_of_a_batch(client, daily):
    one = {"bars": columns(daily)}
    body = {
        "series": [{"id": "688981", **one}, {"id": "ST600225", **one}, {"id": "AAPL", **one}],
        "horizon": 1,
        "paths": 30,
        "price_limit": "cn",
        "temperature": 3.0,
        "quantiles": [0.01, 0.99],
    }
    answer = client.post("/v1/forecast/batch", json=body).json()
    (problem,) = answer["errors"]
    assert problem["id"] == "AAPL" and "price limit of 'AAPL' is not known" in problem["detail"]
    star, risky = answer["forecast"]
    close = daily["close"].iloc[-1]
    assert risky["0.99"] <= highest(close, 0.05, 0.01) + 1e-4 and star["0.99"] <= highest(close, 0.2, 0.01) + 1e-4
    assert star["0.99"] > highest(close, 0.05, 0.01) or star["0.01"] < close * 0.94


def test_a_stream_keeps_within_the_price_limit_bar_by_bar(client, daily):
    body = {
        "bars": columns(daily),
        "horizon": 4,
        "paths": 4,
        "target": "close",
        "price_limit": 0.02,
        "temperature": 3.0,
    }
    with client.stream("POST", "/v1/forecast", json=body, headers={"Accept": "text/event-stream"}) as response:
        events = events_of(response)
    steps = [value["rows"][0] for name, value in events if name == "bar"]
    assert len(steps) == 4
    assert_close(steps, events[-1][1]["forecast"])


@pytest.mark.parametrize("told", ["us", 0, 1.5])
def test_a_price_limit_that_is_no_share_is_refused(client, daily, told):
    answer = client.post("/v1/forecast", json={"bars": columns(daily), "horizon": 1, "price_limit": told})
    assert answer.status_code == 422 and "price_limit" in answer.text


def test_a_timeframe_makes_longer_bars_of_a_file_and_of_a_sample(client):
    minutes = bars(300, freq="5min").to_csv(index=False).encode()
    looked = client.post("/v1/inspect", files={"file": ("a.csv", minutes)}, data={"timeframe": "1h"}).json()
    assert (looked["rows"], looked["aggregated"], looked["frequency"]) == (25, [300, False], 3600.0)
    told = client.post(
        "/v1/forecast", files={"file": ("a.csv", minutes)}, data={"timeframe": "1h", "horizon": "2", "paths": "2"}
    ).json()
    assert told["lookback"] == 25 and "300 bars of 5 min are read as 25 of 1h" in told["notes"]
    sample = client.post("/v1/inspect", data={"sample": "synthetic-15m", "timeframe": "1d"}).json()
    assert sample["frequency"] == 86400.0
    refused = client.post("/v1/inspect", files={"file": ("a.csv", minutes)}, data={"timeframe": "5min"})
    assert (
        refused.status_code == 422 and '"timeframe": "5min": the bars are of 5 min already' in refused.json()["detail"]
    )
