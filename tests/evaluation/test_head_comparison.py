"""A head beside other methods: what each column says, which windows are taken, and the table of the command."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos.calibration.fitting import PastWindow
from kronos.cli import main
from kronos.cli.heads import show_comparison
from kronos.evaluation.head_comparison import compare_head
from kronos.heads import HeadSettings, train_head

BACK, AHEAD, SERIES, BARS = 32, 2, 6, 200


def market() -> dict[str, pd.DataFrame]:
    """Random walks."""
    found = {}
    for seed in range(SERIES):
        close = 100 * np.exp(np.random.default_rng(seed).normal(0, 0.01, BARS).cumsum())
        open_ = np.concatenate(([100.0], close[:-1]))
        table = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
        found[f"S{seed}"] = pd.DataFrame({"timestamps": pd.date_range("2020-01-01", periods=BARS), **table})
    return found


@pytest.fixture(scope="module")
def windows():
    found = []
    for stop in range(BACK, BARS - AHEAD + 1, AHEAD):
        for bars in market().values():
            times = pd.DatetimeIndex(bars["timestamps"])
            past = bars.iloc[stop - BACK : stop].drop(columns="timestamps").reset_index(drop=True)
            came = bars["close"].to_numpy()[stop : stop + AHEAD]
            found.append(PastWindow(past, times[stop - BACK : stop], times[stop : stop + AHEAD], came))
    return found


@pytest.fixture(scope="module")
def predictor(golden):
    return kronos.load(golden / "tiny", device="cpu")


def compared(predictor, windows, task: Any, most: int) -> tuple[Any, dict[str, Any]]:
    head = train_head(predictor, windows, HeadSettings(task, epochs=3))
    predictor.heads[task] = head
    return head, compare_head(predictor, head, windows, most)


@pytest.fixture(scope="module")
def distribution(predictor, windows):
    return compared(predictor, windows, "distribution", 1000)


def test_a_distribution_head_is_compared_by_crps_coverage_and_ic(distribution):
    head, found = distribution
    assert found["windows"] == len(head.tested) == head.verdict["windows"]
    methods = found["methods"]
    assert next(iter(methods)) == "the head" and "paths, as drawn" in methods and not found["left_out"]
    for name in ("last price", "HAR", "GARCH(1,1)"):
        assert methods[name]["ic"] is None, "no direction"
        ratio, (low, high) = methods[name]["head_over"], methods[name]["head_over_interval"]
        assert low < ratio < high
        assert ratio == pytest.approx(methods["the head"]["crps"] / methods[name]["crps"], rel=1e-3)
        assert 0.6 < methods[name]["coverage_80"] < 0.97
    assert methods["the head"]["coverage_80"] == pytest.approx(head.verdict["coverage_80"], abs=1e-4)
    assert methods["the head"]["ic"] == pytest.approx(head.verdict["ic"], abs=1e-3)
    assert methods["LightGBM"]["ic"] is not None


def test_a_rank_head_is_compared_on_whole_dates_by_ic_alone(predictor, windows):
    head, found = compared(predictor, windows, "rank", 18)
    assert found["windows"] == 18 and found["blocks"] == 3
    assert "crps" not in found["methods"]["the head"] and found["methods"]["the head"]["ic_interval"] is None
    whole = compare_head(predictor, head, windows, 1000)["methods"]["the head"]
    assert whole["ic"] == pytest.approx(head.verdict["ic"], abs=1e-4)


def test_windows_that_the_head_was_not_trained_on_are_refused(predictor, windows, distribution):
    head, _ = distribution
    with pytest.raises(ValueError, match="give the windows that it was trained on"):
        compare_head(predictor, head, windows[:10], 8)


def test_heads_train_prints_the_table_and_keeps_it(golden, tmp_path):
    bars = pd.concat([table.assign(symbol=name) for name, table in market().items()])
    bars.to_parquet(tmp_path / "bars.parquet", index=False)
    told = ["heads", "train", tmp_path / "bars.parquet", "--model", golden / "tiny", "--out", tmp_path / "mine"]
    told += [
        "--lookback",
        BACK,
        "--horizon",
        AHEAD,
        "--windows",
        300,
        "--epochs",
        2,
        "--verdict-windows",
        16,
        "--quiet",
    ]
    done = CliRunner().invoke(main, list(map(str, told)))
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert any(line.startswith("on 16 windows of the verdict, ") for line in lines)
    assert any(line.startswith("last price ") for line in lines)
    kept = json.loads((tmp_path / "mine" / "heads" / "distribution.json").read_text())
    assert kept["verdict"]["comparison"]["windows"] == 16 and "tested" not in kept
    again = CliRunner().invoke(main, list(map(str, [*told, "--task", "direction"])))
    assert again.exit_code == 0 and "the head " in again.output and "CRPS  " not in again.output, again.output


def test_the_table_is_at_most_80_columns_wide(monkeypatch, capsys, distribution):
    monkeypatch.setenv("COLUMNS", "80")
    show_comparison(distribution[1], "distribution")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) == 2 + len(distribution[1]["methods"])
