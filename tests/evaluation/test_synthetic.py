"""Synthetic K-lines: generated resumably, judged by judges that can tell what can be told."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kronos.cli import main
from kronos.evaluation.dataset import read_series
from kronos.evaluation.synthetic.lstm import discriminative_score, split_by_time, usefulness
from kronos.evaluation.synthetic.sequences import Sequences, bar_bootstrap, pairs, windows_for
from kronos.evaluation.synthetic.stylized_facts import autocorrelation, facts
from kronos.evaluation.tasks import TASKS
from kronos.klines import read_table, validate


def sequences(returns, seed=0, scale=0.01):
    """Bars with these returns [N, H], open at the close before, small wicks; one after the other in time."""
    rng = np.random.default_rng(seed)
    n, h = returns.shape
    close = 100 * np.exp(np.cumsum(returns * scale, axis=1))
    opens = np.concatenate((np.full((n, 1), 100.0), close[:, :-1]), axis=1)
    wick = np.exp(np.abs(rng.normal(0, 0.2 * scale, (2, n, h))))
    volume = np.exp(np.abs(returns) + 0.3 * rng.normal(size=(n, h)))
    bars = np.stack(
        (opens, np.maximum(opens, close) * wick[0], np.minimum(opens, close) / wick[1], close, volume, volume), axis=-1
    )
    before = np.full((n, 6), 100.0)
    start = np.datetime64("2025-01-01", "ns") + np.arange(n) * np.timedelta64(2 * h, "h")
    end = start + (h - 1) * np.timedelta64(1, "h")
    return Sequences(bars, before, np.full(n, 0.8 * scale), np.full(n, 2.0), start, end, np.full(n, "1h"))


def garch(n, h, rng):
    out, variance = np.empty((n, h)), np.ones(n)
    for t in range(h):
        out[:, t] = np.sqrt(variance) * rng.standard_normal(n)
        variance = 0.05 + 0.25 * out[:, t] ** 2 + 0.7 * variance
    return out


def test_stylised_facts_are_those_of_the_process():
    rng = np.random.default_rng(0)
    plain, clustered = facts(sequences(rng.standard_normal((400, 96)))), facts(sequences(garch(400, 96, rng)))
    assert abs(plain["excess kurtosis"][0]) < 0.15
    assert plain["tail ratio"][0] == pytest.approx(2.24, abs=0.05)
    assert abs(plain["clustering"][0]) < 0.03
    assert clustered["excess kurtosis"][0] > 0.5
    assert clustered["clustering"][0] > 0.08
    assert plain["volume and volatility"][0] > 0.5
    falls = rng.standard_normal((400, 96))
    falls[:, 1:] *= np.where(falls[:, :-1] < 0, 2.0, 0.5)  # a fall makes the next bar wild
    assert facts(sequences(falls))["leverage"][0] < -0.05


def test_autocorrelation_agrees_with_statsmodels():
    from statsmodels.tsa.stattools import acf

    x = np.random.default_rng(1).normal(size=(3, 60)).cumsum(1)
    for lag in (1, 5):
        expected = [acf(row, nlags=5, fft=False)[lag] for row in x]
        np.testing.assert_allclose(autocorrelation(x, lag), expected, atol=1e-12)


def test_the_judge_errs_half_of_the_time_on_more_of_the_same_and_seldom_on_something_else():
    rng = np.random.default_rng(2)
    real = sequences(rng.standard_normal((240, 24)), 0)
    same = sequences(rng.standard_normal((240, 24)), 1)
    other = sequences(np.repeat(rng.standard_normal((240, 12)), 2, axis=1) * 2, 2)
    assert 0.35 < discriminative_score(real, same) < 0.65
    assert discriminative_score(real, other) < 0.15


def test_what_is_learned_from_synthetic_bars_with_the_real_rule_helps_on_real_ones():
    def momentum(seed, rho):
        rng = np.random.default_rng(seed)
        out = rng.standard_normal((240, 24))
        for t in range(1, 24):
            out[:, t] += rho * out[:, t - 1]
        return sequences(out, seed)

    real = momentum(0, 0.6)
    assert usefulness(momentum(1, 0.6), real)[0] > 0.35
    assert usefulness(momentum(2, -0.6), real)[0] < -0.2


def test_training_and_test_sequences_are_apart_in_time():
    s = sequences(np.random.default_rng(3).standard_normal((200, 24)))
    split = split_by_time(s)
    assert s.end[split.train].max() < s.start[split.test].min()
    assert s.end[split.valid].max() < s.start[split.test].min()
    with pytest.raises(ValueError, match="generate more"):
        split_by_time(s.take(np.arange(30)))


@pytest.fixture
def folder(golden, tmp_path, monkeypatch):
    shutil.copytree(golden / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "pair.json").write_text(json.dumps({"max_context": 32}))
    rng = np.random.default_rng(0)
    close = 100 * np.exp(rng.normal(0, 0.01, 700).cumsum())
    table = pd.DataFrame({"timestamps": pd.date_range("2025-01-01", periods=700, freq="15min"), "open": close})
    table["high"], table["low"], table["close"] = close * 1.01, close * 0.99, close * np.exp(rng.normal(0, 0.003, 700))
    table["volume"] = rng.uniform(1, 9, 700)
    table.to_csv(tmp_path / "bars.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ARGUMENTS = ["--model", "tiny", "--lookback", "16", "--horizon", "8", "--seed", "1"]


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_generate_writes_valid_candles_that_the_reader_reads_and_goes_on_where_it_stopped(folder):
    run("generate", "bars.csv", *ARGUMENTS, "--count", 300, "--out", "one")
    table = read_table(folder / "one" / "synthetic.parquet")
    assert table["symbol"].nunique() == 300
    some = table[table["symbol"] == table["symbol"].iloc[0]].drop(columns="symbol")
    assert not validate(some).errors
    content = (folder / "one" / "synthetic.parquet").read_bytes()
    (folder / "one" / "synthetic.parquet").unlink()
    (folder / "one" / "parts" / "00001.parquet").unlink()
    kept = (folder / "one" / "parts" / "00000.parquet").stat().st_mtime_ns
    run("generate", "bars.csv", *ARGUMENTS, "--count", 300, "--out", "one")
    assert (folder / "one" / "synthetic.parquet").read_bytes() == content
    assert (folder / "one" / "parts" / "00000.parquet").stat().st_mtime_ns == kept
    refused = run("generate", "bars.csv", *ARGUMENTS, "--count", 200, "--out", "one", code=2)
    assert (
        "one was made with other settings: sequences was 300 and is 200; give another folder, or --overwrite" in refused
    )


def test_generate_makes_parents_and_overwrites_its_own_files_alone(folder):
    arguments = ["generate", "bars.csv", *ARGUMENTS, "--out", "deep/one"]
    run(*arguments, "--count", 13)
    before = (folder / "deep" / "one" / "synthetic.parquet").read_bytes()
    run(*arguments, "--count", 12, "--overwrite")
    assert (folder / "deep" / "one" / "synthetic.parquet").read_bytes() != before
    (folder / "deep" / "one" / "parts" / "mine.parquet").write_bytes(b"mine")
    said = run(*arguments, "--count", 13, "--overwrite", code=2)
    assert "holds other files, which are not of this run: parts/mine.parquet" in said
    (folder / "deep" / "one" / "settings.json").write_text("{")
    for more in ((), ("--overwrite",)):
        said = run(*arguments, "--count", 12, *more, code=2)
        assert "settings.json cannot be read as JSON" in said and len(said.splitlines()) == 1


def test_the_synthetic_task_ends_in_a_report_that_says_what_was_found(folder):
    output = run("evaluate", "bars.csv", *ARGUMENTS, "--task", "synthetic", "--sequences", 150, "--out", "syn")
    assert "an LSTM that tells synthetic from real errs" in output
    assert "trained on synthetic bars" in output
    page = (folder / "syn" / "report.html").read_text()
    assert "stylised facts" in page
    assert page.count("data:image/png;base64,") == 2
    judged = json.loads((folder / "syn" / "judged.json").read_text())["15m"]
    assert 0 <= judged["error of the judge, synthetic"][0] <= 1


def test_the_paper_s_frequencies_are_asked_for_by_name(folder):
    hourly = pd.read_csv("bars.csv", parse_dates=["timestamps"])
    hourly["timestamps"] = pd.date_range("2025-01-01", periods=700, freq="h")
    hourly.to_csv("hourly.csv", index=False)
    assert "takes 15m, 1d bars" in run("generate", "hourly.csv", "--model", "tiny", "--out", "x", code=2)


def test_a_bootstrap_of_bars_has_the_lookbacks_own_candles(folder):
    dataset = read_series("bars.csv")
    task = TASKS["synthetic"].with_(lookback=64, horizon=8, sequences=10)
    origins = [ref.origin() for ref in windows_for(dataset, task)]
    blank = pd.DataFrame(np.ones((8 * len(origins), 6)), columns=["open", "high", "low", "close", "volume", "amount"])
    real, _ = pairs(origins, blank)
    made = bar_bootstrap(origins, real, 0)
    past = origins[0].past.bars
    bodies = np.log((past["close"] / past["open"]).to_numpy())
    mine = np.log(made.bars[0, :, 3] / made.bars[0, :, 0])
    assert np.abs(mine[:, None] - bodies).min(1).max() < 1e-9
    assert (made.bars[..., 1] >= made.bars[..., 2]).all()
