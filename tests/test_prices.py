"""Prices that are not around 100: tiny units, collapses and splits."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos.cli.output import table_bytes
from kronos.forecast.anchoring import POSITIVE_BELOW, GapMap, above_zero, align_opens, keep_positive
from kronos.generation.prepared import KlineWarning
from kronos.klines import validate
from kronos.klines.jumps import find_jumps

PRICES = ["open", "high", "low", "close"]


@pytest.fixture(scope="module")
def nano():
    return kronos.load("nano", device="cpu")


def walk(bars: int = 120, start: float = 100.0, seed: int = 0, step: float = 0.01) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = start * np.exp(rng.normal(0, step, bars).cumsum())
    opens = np.concatenate(([start], close[:-1]))
    table = pd.DataFrame(
        {"open": opens, "high": np.maximum(opens, close) * 1.003, "low": np.minimum(opens, close) * 0.997}
    )
    return table.assign(close=close, volume=rng.integers(1000, 5000, bars).astype(float))


def crash(seed: int) -> pd.DataFrame:
    """A walk that loses 50 to 99.9 % within a few bars of its last third."""
    rng, table = np.random.default_rng(seed), walk(seed=seed, step=0.02)
    row, bars, left = int(rng.integers(80, 118)), int(rng.integers(1, 6)), 10 ** -rng.uniform(0.3, 3)
    factor = np.interp(np.arange(len(table)), [row - bars, row], [1.0, left])
    return table.assign(**{name: table[name] * factor for name in PRICES})


def times(bars: int, horizon: int) -> tuple[pd.Series, pd.Series]:
    stamps = pd.Series(pd.date_range("2024-01-01", periods=bars + horizon, freq="h"))
    return stamps[:bars], stamps[bars:]


def spread(nano, power: float = 0.0) -> float:
    """Mean deviation of the closes of the paths in units of the last price, of walks in a unit of a power of ten."""
    tables = [walk(seed=seed) for seed in range(4)]
    tables = [table.assign(**{name: table[name] * 10.0**power for name in PRICES}) for table in tables]
    x, y = times(120, 12)
    paths = nano.predict_samples(tables, [x] * 4, [y] * 4, 12, sample_count=400, seed=0, verbose=False)[..., 3]
    last = np.array([table["close"].iloc[-1] for table in tables])
    return float((paths.astype(np.float64).std(axis=1).mean(axis=1) / last).mean())


@pytest.mark.parametrize("power", [-9, -6, -4, -1, 4, 9, 12])
def test_relative_spread_does_not_depend_on_the_unit_of_price(nano, power):
    assert spread(nano, power) == pytest.approx(spread(nano), rel=0.05)


def test_no_path_of_a_collapsed_history_is_at_or_below_zero(nano):
    tables = [crash(seed) for seed in range(40)]
    x, y = times(120, 24)
    with pytest.warns(KlineWarning):
        forecast = nano.forecast(tables, [x] * 40, [y] * 40, sample_count=10, seed=0, verbose=False)
    assert forecast.paths[..., :4].min() > 0
    assert forecast.quantile([0.01, 0.5])[["low_q1", "close_q50"]].to_numpy().min() > 0
    assert (forecast.mean()[PRICES].to_numpy() > 0).all()


def test_predict_keeps_the_published_numbers_where_paths_fall_below_zero(nano):
    table = crash(3)
    x, y = times(120, 24)
    raw = nano.predict_batch([table] * 40, [x] * 40, [y] * 40, 24, seed=0, verbose=False)
    assert min(frame["low"].min() for frame in raw) < 0


def test_prices_above_half_of_the_last_close_stay_and_the_others_rise_with_what_they_were():
    closes = np.linspace(-300, 200, 2001, dtype=np.float32)
    bars = np.repeat(closes[:, None], 6, axis=1)[None]
    found = keep_positive(bars, 100.0)[0, :, 3]
    above = closes >= POSITIVE_BELOW * 100
    np.testing.assert_array_equal(found[above], closes[above])
    assert (found > 0).all() and (np.diff(found) > 0).all()
    assert np.abs(np.diff(found)).max() < 0.26  # no step where the two parts meet
    assert (keep_positive(bars, 100.0)[..., 4:] == bars[..., 4:]).all()


def test_prices_far_below_zero_stay_apart_and_positive():
    found = above_zero(np.array([-1e30, -3e6, -1e6, -1e3, 0.0], np.float32), 1e-8)
    assert found.dtype == np.float32
    assert (found > 0).all() and (np.diff(found) > 0).all()


def test_prices_stay_where_the_last_close_is_not_positive():
    prices = np.array([[-5.0, 1.0], [-5.0, 1.0]])
    np.testing.assert_array_equal(above_zero(prices, np.array([[0.0], [-3.0]])), prices)


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_written_tables_keep_tiny_prices(tmp_path, ending):
    index = pd.date_range("2024-01-01", periods=2, name="timestamps")
    table = pd.DataFrame({"close": [1.2345678e-13, 2.5e-11], "close_q10": [1e-19, 2e-12]}, index=index)
    (tmp_path / f"f.{ending}").write_bytes(table_bytes(table, f".{ending}"))
    read_by: dict[str, Any] = {"csv": pd.read_csv, "json": pd.read_json, "parquet": pd.read_parquet}
    read = read_by[ending](tmp_path / f"f.{ending}")
    np.testing.assert_allclose(read[["close", "close_q10"]], table, rtol=1e-7)
    assert list(pd.to_datetime(read["timestamps"])) == list(index)


def test_a_spread_that_dwarfs_the_last_price_is_warned_of_by_number(nano):
    table = crash(3)
    x, y = times(120, 4)
    with pytest.warns(KlineWarning, match=r"the closes of the lookback vary by [\d.]+, more than the last price"):
        nano.forecast(table, x, y, sample_count=2, verbose=False)


@pytest.mark.parametrize(("ratio", "split"), [(10, (10, 1)), (1.5, (3, 2)), (0.1, (1, 10)), (2.63, None)])
def test_a_jump_is_found_with_its_row_and_split(ratio, split):
    table = walk(300)
    table.loc[200:, PRICES] /= ratio
    (jump,) = find_jumps(table["open"].to_numpy(), table["close"].to_numpy())
    assert (jump.row, jump.split, jump.inside) == (200, split, False)
    assert jump.before / jump.after == pytest.approx(ratio, rel=0.02)


def test_a_split_is_found_where_each_bar_opens_at_the_close_before():
    table = walk(300)
    table.loc[200:, PRICES] /= 10
    table["open"] = table["close"].shift(fill_value=100.0)
    (jump,) = find_jumps(table["open"].to_numpy(), table["close"].to_numpy())
    assert (jump.row, jump.split, jump.inside) == (200, (10, 1), True)


def test_a_fall_within_a_bar_is_a_jump_and_no_small_split():
    table = walk(300)
    table.loc[200:, PRICES] *= 0.75
    table.loc[200, "open"] = table["close"][199]
    (jump,) = find_jumps(table["open"].to_numpy(), table["close"].to_numpy())
    assert (jump.row, jump.split) == (200, None)


def test_ordinary_moves_of_a_wild_series_are_no_jumps():
    wild = walk(500, step=0.08)
    assert find_jumps(wild["open"].to_numpy(), wild["close"].to_numpy()) == []


def test_check_warns_of_a_jump_with_row_and_split():
    table = walk(300)
    table.loc[200:, PRICES] /= 10
    table.loc[250:, PRICES] /= 3
    report = validate(table)
    assert report.ok
    assert "jump: 2 in open, close (data rows 201, 251): from " in str(report)
    assert "looks like a 10:1 split" in str(report) and "looks like a 3:1 split" in str(report)


def test_forecasts_across_a_jump_carry_the_warning(nano):
    table = walk(120)
    table.loc[60:, PRICES] /= 10
    x, y = times(120, 4)
    with pytest.warns(KlineWarning, match=r"1 jump of the price, the last at .* \(looks like a 10:1 split\)"):
        nano.forecast(table, x, y, sample_count=2, verbose=False)


def test_aligned_opens_of_tiny_prices_beside_large_ones_stay_positive():
    closes = np.geomspace(1e3, 1e-20, 40, dtype=np.float32)[None]
    bars = np.repeat(closes[..., None], 6, axis=2)
    bars[..., 0] = 1e-20
    gaps = GapMap(np.linspace(0, 2e3, 21), np.linspace(0, 1.999999e3, 21))
    found = align_opens(bars, np.array([1e4]), gaps)[..., 0]
    assert (found > 0).all()
    assert found[0, 0] > 1e-20


CASES = Path(__file__).parents[2] / "shared" / "cases"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason=f"the shared cases are not at {CASES}")


def forecast_of(nano, bars: pd.DataFrame, horizon: int = 8):
    future = kronos.future_timestamps(bars["timestamps"], horizon)
    return nano.forecast(
        bars.drop(columns="timestamps"), bars["timestamps"], future, sample_count=400, seed=0, verbose=False
    )


@needs_cases
def test_shared_collapse_is_forecast_above_zero_and_warned_of(nano):
    bars = kronos.read_klines(CASES / "luna_crash.csv")
    with pytest.warns(KlineWarning, match="more than the last price"):
        made = forecast_of(nano, bars)
    assert (made.paths[..., :4] > 0).all()
    assert (made.mean()[PRICES] > 0).all(axis=None)
    quantiles = made.quantile([0.01, 0.5, 0.99]).filter(regex="^(open|high|low|close)_")
    assert quantiles.shape[1] == 12 and (quantiles > 0).all(axis=None)


@needs_cases
def test_shared_tiny_prices_have_the_band_of_the_same_bars_times_a_million(nano):
    tiny = kronos.read_klines(CASES / "tiny_price_shib_5m.csv")
    large = tiny.assign(**{name: tiny[name] * 1e6 for name in PRICES})
    made = forecast_of(nano, tiny)
    assert (made.paths[..., :4] > 0).all()
    spreads = []
    for bars, forecast in ((tiny, made), (large, forecast_of(nano, large))):
        closes = forecast.paths[0, :, :, 3].astype(np.float64)
        spreads.append(closes.std(axis=0).mean() / bars["close"].iloc[-1])
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)
