"""Features of a whole market: what is written, that nothing after a cut-off is looked at, that a stopped run goes on."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos.calibration.volatility_features import lookback_volatility
from kronos.cli import main
from kronos.scoring import FeatureSettings, read_scores, score
from kronos.scoring.config import settings_from

CUTOFFS = ("2024-02-10", "2024-02-20")


def market(count=5, n=80):
    tables = []
    for number in range(count):
        rng = np.random.default_rng(number)
        close = 100 * np.exp(rng.normal(0, 0.02, n).cumsum())
        open_ = np.concatenate([[100], close[:-1]])
        times = pd.date_range("2024-01-01", periods=n)
        table = pd.DataFrame({"symbol": f"S{number}", "timestamps": times, "open": open_})
        table["high"], table["low"] = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
        tables.append(table.assign(close=close, volume=rng.integers(100, 9999, n).astype(float)))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def settings(golden):
    def make(**changes):
        told = {"model": str(golden / "tiny"), "lookback": 20, "cutoffs": CUTOFFS, "part": 3, "groups": GROUPS}
        return FeatureSettings(**{**told, **changes})

    return make


GROUPS = ("embedding", "volatility", "surprise")


@pytest.fixture
def data(tmp_path):
    market().to_parquet(tmp_path / "bars.parquet", index=False)
    return str(tmp_path / "bars.parquet")


def test_features_are_those_of_each_series_alone(data, tmp_path, settings, golden):
    score(data, str(tmp_path / "out"), settings())
    table = read_scores(str(tmp_path / "out"))
    assert len(table) == 10 and table["cutoff"].unique().tolist() == list(CUTOFFS)
    predictor = kronos.load(str(golden / "tiny"), device="cpu")
    states = [c for c in table.columns if c.startswith("e0")]
    for _, row in table.iloc[::4].iterrows():
        bars = market()[lambda t, row=row: (t["symbol"] == row["symbol"]) & (t["timestamps"] <= row["cutoff"])].iloc[
            -20:
        ]
        prices, times = bars[["open", "high", "low", "close", "volume"]], bars["timestamps"]
        np.testing.assert_allclose(row[states].to_numpy(float), predictor.embed(prices, times)[0], atol=1e-5)
        scores = predictor.score(prices, times)
        assert isinstance(scores, pd.DataFrame)
        assert row["surprise"] == pytest.approx(scores["surprise"].iloc[-1], rel=1e-4)
        assert row["volatility"] == pytest.approx(lookback_volatility(bars["close"].to_numpy()), rel=1e-5)
        assert row["last_bar"] == pd.Timestamp(row["cutoff"]) and row["last_close"] == bars["close"].iloc[-1]


def test_features_do_not_move_when_the_future_does(data, tmp_path, settings):
    told = settings(cutoffs=CUTOFFS[:1])
    score(data, str(tmp_path / "before"), told)
    moved = market()
    later = moved["timestamps"] > CUTOFFS[0]
    moved.loc[later, ["open", "high", "low", "close"]] *= 3.0
    moved.loc[later, "volume"] *= 7
    moved.to_parquet(tmp_path / "moved.parquet", index=False)
    score(str(tmp_path / "moved.parquet"), str(tmp_path / "after"), told)
    pd.testing.assert_frame_equal(read_scores(str(tmp_path / "before")), read_scores(str(tmp_path / "after")))


def test_features_of_a_stopped_run_go_on(data, tmp_path, settings):
    out = tmp_path / "out"
    score(data, str(out), settings())
    whole = read_scores(str(out))
    first = sorted((out / "parts").iterdir())[0]
    first.unlink()
    report = score(data, str(out), settings())
    assert report.parts - report.resumed == 1
    pd.testing.assert_frame_equal(read_scores(str(out)), whole)
    with pytest.raises(ValueError, match="was made with other settings: pooling"):
        score(data, str(out), settings(pooling="mean"))


def test_feature_settings_survive_json_and_refuse_unknown_groups(settings):
    assert settings_from(settings().to_dict()) == settings()
    with pytest.raises(ValueError, match="features are some of embedding, volatility, surprise"):
        settings(groups=("price",))


def test_features_command_writes_the_table(data, tmp_path, golden):
    arguments = [
        "features",
        data,
        "--out",
        str(tmp_path / "o"),
        "--model",
        str(golden / "tiny"),
        "--lookback",
        "20",
        "--quiet",
    ]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and done.stderr.startswith("5 rows in ")
    assert {"e000", "recent", "range"} <= set(read_scores(str(tmp_path / "o")).columns)
