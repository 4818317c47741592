"""The forecast as a distribution: figures worked out by hand on a few paths, tables, files that come back to the bit."""

import json
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kronos.forecast.forecast import Forecast
from kronos.klines import FEATURES
from kronos.metrics import risk
from kronos.metrics.quantiles import path_quantiles
from tests.processes import run_process


def paths_of(closes, dtype=np.float64):
    """Closes [P, H] as paths [P, H, 6]: every feature another multiple of the close."""
    return np.stack([np.asarray(closes) * k for k in (1.5, 2, 0.5, 1, 10, 1000)], axis=-1).astype(dtype)


def days(count, start="2024-03-04", **settings):
    return pd.date_range(start, periods=count, **settings)


def one_series(closes, last=100.0, **settings):
    closes = np.asarray(closes)
    return Forecast([paths_of(closes)], [days(closes.shape[1])], last=[np.full(6, last)], **settings)


@pytest.fixture
def two():
    """Of different horizons, with ids that are text."""
    return Forecast(
        [paths_of([[1.0, 2.0], [3.0, 6.0]]), paths_of([[10.0, 20.0, 30.0], [20.0, 40.0, 60.0]])],
        [days(2), days(3)],
        ids=["A", "B"],
        last=np.array([[2.0] * 6, [20.0] * 6]),
    )


def random_forecast(ids, horizons, dtype=np.float32, zones=None, units=None, count=7):
    rng = np.random.default_rng(0)
    stamps = [
        days(horizon, freq="h", tz=zones[i] if zones else None, unit=units[i] if units else "ns")
        for i, horizon in enumerate(horizons)
    ]
    return Forecast(
        [rng.lognormal(0, 1, (count, horizon, 6)).astype(dtype) for horizon in horizons],
        stamps,
        ids=ids,
        last=rng.lognormal(0, 1, (len(horizons), 6)),
    )


# Figures, worked out by hand.


def test_prob_up_is_the_share_of_paths_above_the_last_close_and_a_tie_counts_half():
    forecast = one_series([[90, 101], [110, 100], [120, 99], [130, 130]])
    assert forecast.prob_up().tolist() == [(2 + 0.5) / 4]
    assert forecast.prob_up(step=1).tolist() == [3 / 4]


def test_a_close_that_did_not_move_is_a_tie_in_float32_too():
    forecast = Forecast([paths_of([[100.1]], np.float32)], [days(1)], last=[np.full(6, 100.1)])
    assert forecast.prob_up().tolist() == [0.5]
    assert risk.probability_up(np.array([100.1], np.float32), np.float64(100.1)) == 0.5


def test_expected_return_is_that_of_the_mean_close_or_the_mean_log_return():
    forecast = one_series([[50, 120], [200, 140]])
    np.testing.assert_allclose(forecast.expected_return(), [0.3])
    np.testing.assert_allclose(forecast.expected_return(step=1), [0.25])
    np.testing.assert_allclose(forecast.expected_return(step=1, log=True), [0.0], atol=1e-15)
    np.testing.assert_allclose(forecast.expected_return(log=True), [(np.log(1.2) + np.log(1.4)) / 2])


def test_realised_volatility_is_the_root_of_the_squared_log_returns_from_the_last_close_on():
    e = np.e
    forecast = one_series([[100 * e, 100 * e**3], [100, 100], [100 / e**2, 100 / e**2]])
    every = forecast.realised_volatility(paths=True)
    np.testing.assert_allclose(every.to_numpy(), [[5**0.5, 0, 2]], atol=1e-12)
    np.testing.assert_allclose(forecast.realised_volatility(), [(5**0.5 + 0 + 2) / 3])


def test_drawdown_is_the_largest_fall_from_a_running_peak_that_begins_at_the_last_close():
    forecast = one_series([[80, 120, 90, 130], [101, 102, 103, 104], [200, 150, 50, 400], [70, 60, 65, 66]])
    every = forecast.max_drawdown(paths=True)
    np.testing.assert_allclose(every.to_numpy(), [[0.25, 0, 0.75, 0.4]])
    np.testing.assert_allclose(forecast.max_drawdown(), [(0.25 + 0 + 0.75 + 0.4) / 4])


def test_value_at_risk_and_expected_shortfall_of_five_paths():
    forecast = one_series([[100, 90], [100, 80], [100, 110], [100, 95], [100, 60]])  # losses -0.1 0.05 0.1 0.2 0.4
    np.testing.assert_allclose(forecast.value_at_risk(0.75), [0.3])
    np.testing.assert_allclose(forecast.value_at_risk(0.875), [0.4])
    np.testing.assert_allclose(forecast.expected_shortfall(0.6), [(0.4 + 0.2) / 2])
    np.testing.assert_allclose(forecast.expected_shortfall(0.5), [(0.4 + 0.2 + 0.5 * 0.1) / 2.5])
    np.testing.assert_allclose(forecast.expected_shortfall(0.95), [0.4])
    np.testing.assert_allclose(forecast.value_at_risk(0.95, step=1), [0], atol=1e-15)


def test_where_even_the_bad_paths_gain_value_at_risk_is_negative():
    forecast = one_series([[110], [120], [130]])
    assert forecast.value_at_risk(0.95).item() < -0.1


@pytest.mark.parametrize("level", [0.01, 0.3, 0.5, 0.9, 0.95, 0.999])
def test_expected_shortfall_is_never_below_value_at_risk(level):
    rng = np.random.default_rng(0)
    for count in range(1, 60):
        returns = rng.standard_t(2, count)
        assert risk.expected_shortfall(returns, level) >= risk.value_at_risk(returns, level) - 1e-12


def test_figures_do_not_change_with_the_unit_of_price():
    closes = np.random.default_rng(0).lognormal(0, 0.1, (50, 8))
    small, large = one_series(closes, 1.0), one_series(1000 * closes, 1000.0)
    columns = [c for c in small.summary() if "close" not in c]
    np.testing.assert_allclose(small.summary()[columns], large.summary()[columns])


def test_shares_of_a_last_close_that_is_not_positive_are_nan_and_so_is_the_volatility_of_a_path_through_zero():
    below = one_series([[1.0, 2.0]], last=-5.0)
    assert below.prob_up().tolist() == [1]
    figures = ["expected_return", "realised_volatility", "max_drawdown", "value_at_risk", "expected_shortfall"]
    assert below.summary()[figures].isna().all(axis=None)
    through = one_series([[50.0, -1.0], [100.0, 100.0]])
    assert through.realised_volatility(paths=True).isna().to_numpy().tolist() == [[True, False]]
    np.testing.assert_allclose(through.max_drawdown(paths=True).to_numpy(), [[1.01, 0]])


def test_summary_has_a_row_a_series_with_the_figures_at_its_own_last_bar(two):
    summary = two.summary(level=0.5)
    assert summary.index.tolist() == ["A", "B"] and summary.index.name == "id"
    assert summary["horizon"].tolist() == [2, 3]
    assert summary["last_close"].tolist() == [2, 20]
    assert summary["mean_close"].tolist() == [4, 45]
    assert summary["close_q50"].tolist() == [4, 45]
    assert summary["prob_up"].tolist() == [0.75, 1]
    assert summary["expected_return"].tolist() == [1, 1.25]
    np.testing.assert_allclose(summary["value_at_risk"], -summary["expected_return"])
    assert summary["expected_shortfall"].tolist() == [0, -0.5]
    assert summary["max_drawdown"].tolist() == [0.25, 0.25]


# Tables.


def test_mean_median_and_quantiles_go_feature_by_feature_and_bar_by_bar():
    forecast = one_series([[1, 10], [2, 20], [6, 30]])
    assert forecast.mean()["close"].tolist() == [3, 20]
    assert forecast.median()["volume"].tolist() == [20, 200]
    assert forecast.quantile(0.75)["close"].tolist() == [6, 30]
    assert forecast.quantile(0)["open"].tolist() == [1.5, 15]
    assert forecast.mean().columns.tolist() == list(FEATURES)
    assert forecast.mean().index.tolist() == days(2).tolist() and forecast.mean().index.name == "timestamps"
    several = forecast.quantile([0.75, 0.025])
    assert several.columns.tolist()[:4] == ["open_q75", "open_q2.5", "high_q75", "high_q2.5"]
    assert several["close_q75"].tolist() == [6, 30]
    assert several["amount_q75"].tolist() == [6000, 30000]


def test_an_interval_leaves_as_many_paths_below_as_above():
    lower, upper = one_series(np.arange(1, 100.0)[:, None]).interval(0.8)
    np.testing.assert_allclose([lower["close"].item(), upper["close"].item()], [10, 90])


def test_tables_of_several_series_are_indexed_by_id_and_timestamps(two):
    mean = two.mean()
    assert mean.index.names == ["id", "timestamps"]
    assert mean.loc["A", "close"].tolist() == [2, 4]
    assert mean.loc["B", "close"].tolist() == [15, 30, 45]
    assert mean.loc[("B", days(3)[1]), "open"] == 45
    pd.testing.assert_frame_equal(two["B"].mean(), mean.loc["B"])


def test_the_wide_frame_has_the_means_and_named_quantiles_of_the_close(two):
    frame = two.to_frame(quantiles=(0.1, 0.5, 0.975), columns=["close", "volume"])
    assert frame.columns.tolist() == ["id", "timestamps", "close", "volume", "close_q10", "close_q50", "close_q97.5"]
    assert frame["id"].tolist() == ["A", "A", "B", "B", "B"]
    assert frame["timestamps"].tolist() == [*days(2), *days(3)]
    assert frame["close"].tolist() == [2, 4, 15, 30, 45]
    np.testing.assert_allclose(frame["close_q10"], [1, 2, 10, 20, 30])
    assert two["A"].to_frame(quantiles=()).columns.tolist() == ["id", "timestamps", *FEATURES]


def test_the_long_frame_has_every_bar_of_every_path(two):
    frame = two.to_frame("long")
    assert frame.columns.tolist() == ["id", "path", "timestamps", *FEATURES]
    assert len(frame) == 2 * 2 + 2 * 3
    second = frame[(frame["id"] == "B") & (frame["path"] == 1)]
    assert second["close"].tolist() == [20, 40, 60] and second["timestamps"].tolist() == [*days(3)]
    assert frame["id"].tolist() == ["A"] * 4 + ["B"] * 6


def test_zones_that_differ_meet_in_utc_and_one_zone_stays():
    paths = [paths_of([[1.0, 2.0]]), paths_of([[3.0]])]
    shanghai, tokyo = days(2, tz="Asia/Shanghai"), days(1, tz="Asia/Tokyo")
    mixed = Forecast(paths, [shanghai, tokyo]).to_frame()["timestamps"]
    assert str(mixed.dt.tz) == "UTC"
    assert mixed.tolist() == [*shanghai, *tokyo]
    same = Forecast(paths, [shanghai, shanghai[:1]]).to_frame()["timestamps"]
    assert str(same.dt.tz) == "Asia/Shanghai"


# Selection, and what is held.


def test_a_series_is_chosen_by_its_id_and_several_by_a_list():
    forecast = random_forecast([7, "7", 0], [2, 2, 2])
    assert (len(forecast), forecast.n_paths, forecast.ids, list(forecast)) == (3, 7, (7, "7", 0), [7, "7", 0])
    assert forecast.paths.shape == (3, 7, 2, 6)
    np.testing.assert_array_equal(forecast[0].paths[0], forecast.paths[2])
    np.testing.assert_array_equal(forecast[np.int64(7)].paths[0], forecast.paths[0])
    some = forecast[["7", 7]]
    assert some.ids == ("7", 7)
    np.testing.assert_array_equal(some.paths, forecast.paths[[1, 0]])
    np.testing.assert_array_equal(some.last, forecast.last[[1, 0]])
    assert "7" in forecast and 1 not in forecast and [7] not in forecast
    with pytest.raises(KeyError, match="there is no series 1; the 3 series are 7, '7', 0"):
        forecast[1]


def test_what_was_given_is_neither_changed_nor_can_it_be_changed_through_the_forecast():
    paths, stamps = paths_of([[1.0, 2.0]]), days(2)
    kept = paths.copy()
    history = pd.DataFrame(np.ones((3, 4)), columns=list(FEATURES[:4]), index=days(3, "2024-01-01"))
    before = history.copy()
    forecast = Forecast([paths], [stamps], history=[history])
    forecast.summary(), forecast.to_frame(), forecast.plot(), forecast.quantile([0.1])
    np.testing.assert_array_equal(paths, kept)
    pd.testing.assert_frame_equal(history, before)
    assert stamps.name is None and stamps.freq is not None and paths.flags.writeable
    for array in (forecast.paths, forecast.last):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_last_bar_comes_from_the_history_where_it_is_not_given():
    history = pd.DataFrame({"close": [1.0, 50.0], "open": 1.0, "high": 60.0, "low": 1.0}, index=days(2, "2024-01-01"))
    forecast = Forecast([paths_of([[100.0]])], [days(1)], history=[history])
    assert forecast.last is not None and forecast.last.tolist() == [[1, 60, 1, 50, 0, 0]]
    assert forecast.expected_return().tolist() == [1]
    series = Forecast([paths_of([[100.0]])], [days(1)], last=[history.iloc[-1]])
    assert series.last is not None and series.last.tolist() == forecast.last.tolist()


def test_importing_the_forecast_loads_neither_torch_nor_what_draws():
    heavy = "('torch', 'matplotlib', 'plotly', 'pyarrow.parquet')"
    code = f"import sys, kronos.forecast; print([m for m in {heavy} if m in sys.modules])"
    found = run_process([sys.executable, "-c", code], check=True).stdout.strip()
    assert found == "[]"


# Files.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("ids", "zones", "units"),
    [
        (None, None, ["s", "s", "s"]),
        (["AAPL", "平安银行", "<b>"], ["America/New_York"] * 3, ["ns"] * 3),
        ([1, "1", -5], ["UTC", "Asia/Shanghai", "UTC+05:30"], ["us", "ns", "s"]),
        ([2**70, 0, 1], None, ["ms", "us", "s"]),
    ],
)
def test_a_saved_forecast_comes_back_to_the_bit(tmp_path, dtype, ids, zones, units):
    forecast = random_forecast(ids, [3, 1, 5], dtype, zones, units)
    forecast.save(tmp_path / "f.parquet")
    back = Forecast.load(str(tmp_path / "f.parquet"))
    assert back.ids == forecast.ids and [type(i) for i in back] == [type(i) for i in forecast]
    for name in forecast:
        a, b = forecast[name], back[name]
        assert b.paths.dtype == dtype
        np.testing.assert_array_equal(a.paths, b.paths)
        pd.testing.assert_index_equal(a.timestamps[0], b.timestamps[0], exact=True)
        assert a.timestamps[0].dtype == b.timestamps[0].dtype
    np.testing.assert_array_equal(forecast.last, back.last)
    pd.testing.assert_frame_equal(forecast.summary(), back.summary())
    assert [p.name for p in tmp_path.iterdir()] == ["f.parquet"]


def test_other_programs_see_the_long_table(tmp_path, two):
    two.save(tmp_path / "f.parquet")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "f.parquet"), two.to_frame("long"), check_dtype=False, check_column_type=False
    )


def test_a_forecast_without_last_bars_comes_back_without(tmp_path):
    Forecast([paths_of([[1.0]])], [days(1)]).save(tmp_path / "f.parquet")
    assert Forecast.load(tmp_path / "f.parquet").last is None


def test_a_save_that_fails_leaves_the_old_file(tmp_path, two, monkeypatch):
    two.save(tmp_path / "f.parquet")
    before = (tmp_path / "f.parquet").read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        two["A"].save(tmp_path / "f.parquet")
    assert (tmp_path / "f.parquet").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_no_forecast_is_refused_by_name(tmp_path, two):
    file = tmp_path / "f.parquet"
    with pytest.raises(FileNotFoundError, match=r"f\.parquet"):
        Forecast.load(file)
    file.write_text("no parquet")
    with pytest.raises(ValueError, match=r"f\.parquet cannot be read as a Parquet file"):
        Forecast.load(file)
    pd.DataFrame({"close": [1.0]}).to_parquet(file)
    with pytest.raises(ValueError, match=r"f\.parquet is no Kronos forecast"):
        Forecast.load(file)
    with pytest.raises(ValueError, match="cannot be read"):
        Forecast.load(tmp_path)
    two.save(file)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"f\.parquet cannot be read"):
        Forecast.load(file)


def altered(table, **changes):
    meta = {**json.loads(table.schema.metadata[b"kronos.forecast"]), **changes}
    return table.replace_schema_metadata({b"kronos.forecast": json.dumps(meta).encode()})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: altered(t, version=2), "has version 2 of the format, this Kronos reads 1"),
        (lambda t: altered(t, horizons=[2, 4]), "metadata speaks of 12 rows, it has 10"),
        (lambda t: altered(t, horizons=[2, -3]), "metadata contradicts itself"),
        (lambda t: altered(t, horizons=[2.5, 3]), "metadata contradicts itself"),
        (lambda t: altered(t, ids=["A"]), "metadata contradicts itself"),
        (lambda t: altered(t, ids=["A", "A"]), "not in the order of series"),
        (lambda t: altered(t, zones=["Atlantis/Poseidonis", None]), "Atlantis"),
        (lambda t: altered(t, units=["h", "ns"]), "no whole Kronos forecast"),
        (lambda t: altered(t, last="x"), "no whole Kronos forecast"),
        (lambda t: altered(t, last=[[1]]), "no whole Kronos forecast"),
        (lambda t: t.take(list(range(9, -1, -1))), "not in the order of series"),
        (lambda t: t.set_column(1, "path", pa.array([0] * 10, pa.int32())), "not in the order of series"),
        (lambda t: t.drop_columns(["close"]), "close"),
        (lambda t: t.set_column(6, "close", pa.array(["x"] * 10)), "must be float or double"),
        (lambda t: t.set_column(6, "close", pa.array([float("nan")] * 10)), "close of path 0 at step 1"),
        (lambda t: t.set_column(2, "timestamps", pa.array([0] * 10, pa.timestamp("ms"))), "must rise"),
        (lambda t: t.set_column(2, "timestamps", pa.array(range(10), pa.timestamp("ms"))), "different times"),
        (lambda t: t.replace_schema_metadata({b"kronos.forecast": b"[1"}), "is no Kronos forecast"),
        (lambda t: t.replace_schema_metadata({b"kronos.forecast": b"[1]"}), "is no Kronos forecast"),
    ],
)
def test_a_forecast_file_that_was_tampered_with_is_refused(tmp_path, two, change, message):
    file = tmp_path / "f.parquet"
    two.save(file)
    pq.write_table(change(pq.read_table(file)), file)
    with pytest.raises(ValueError, match=rf"f\.parquet .*{message}"):
        Forecast.load(file)


# What is wrong is named.


def wrong(message, paths=None, stamps=None, **settings):
    with pytest.raises(ValueError, match=message):
        Forecast(
            [paths_of([[1.0, 2.0]])] if paths is None else paths, [days(2)] if stamps is None else stamps, **settings
        )


def test_paths_of_the_wrong_form_are_refused_with_their_series():
    good = paths_of([[1.0, 2.0]])
    wrong("at least one series", paths=[])
    wrong(r"series 0 must have the shape .* found \[2, 6\]; .* \[array\]", paths=good)
    wrong(r"shape .* found \[1, 2, 5\]", paths=[good[..., :5]])
    wrong(r"shape .* found \[0, 2, 6\]", paths=[good[:0]])
    wrong(r"shape .* found \[1, 0, 6\]", paths=[good[:, :0]])
    wrong("series 'A' must be numbers, found <U3", paths=[good.astype("U3")], ids=["A"])
    wrong("found 1 of series 'A' and 2 of series 'B'", [good, good.repeat(2, 0)], [days(2)] * 2, ids=["A", "B"])
    broken = paths_of([[1.0, 2.0], [3.0, 4.0]])
    broken[1, 0, 4] = np.inf
    wrong(
        "1 values of series 'A' are missing or infinite, the first is volume of path 1 at step 1", [broken], ids=["A"]
    )


def test_ids_that_are_not_names_or_not_unique_are_refused():
    two_paths, stamps = [paths_of([[1.0, 2.0]])] * 2, [days(2)] * 2
    wrong("id 'A' is there twice, at positions 0 and 1", two_paths, stamps, ids=["A", "A"])
    wrong("id 1 is there twice", two_paths, stamps, ids=[1, np.int64(1)])
    wrong("int or str, found 1.5 at position 1", two_paths, stamps, ids=[1, 1.5])
    wrong("int or str, found True", two_paths, stamps, ids=[True, 0])
    wrong("1 ids were given for the paths of 2 series", two_paths, stamps, ids=["A"])
    wrong(r"for one series give \['AB'\]", two_paths, stamps, ids="AB")


def test_timestamps_that_do_not_fit_are_refused():
    pair = [paths_of([[1.0, 2.0]])] * 2
    wrong("one index", stamps=days(2))
    wrong("1 indexes of timestamps were given for 2 series", paths=pair)
    wrong("series 0 has 3 timestamps for paths of 2 bars", stamps=[days(3)])
    wrong("series 0 must rise, found 2024-03-04 00:00:00 at position 1", stamps=[days(1).repeat(2)])
    wrong("must rise", stamps=[days(2)[::-1]])
    wrong("timestamps of series 0 must be timestamps, found numbers", stamps=[[1, 2]])
    wrong("series 1 has timestamps with a time zone, series 0 without", pair, [days(2), days(2, tz="UTC")])


def test_last_bars_and_histories_that_do_not_fit_are_refused():
    history = pd.DataFrame(np.ones((3, 4)), columns=list(FEATURES[:4]), index=days(3, "2024-01-01"))
    wrong(r"array \[1, 6\], found the shape \[6\]", last=np.ones(6))
    wrong(r"must have the 6 features, found the shape \[5\]", last=[np.ones(5)])
    wrong("last bar of series 0 has no finite close", last=[[1, 1, 1, np.nan, 1, 1]])
    wrong("last bar of series 0 lacks close", last=[pd.Series({"open": 1.0, "high": 1.0, "low": 1.0})])
    wrong("found one table", history=history)
    wrong("2 tables of history were given for 1 series", history=[history, history])
    wrong("history of series 0 lacks close", history=[history.drop(columns="close")])
    wrong("history of series 0 has no row", history=[history.iloc[:0]])
    wrong(r"set_index\('timestamps'\)", history=[history.rename_axis("timestamps").reset_index()])
    wrong("order of time", history=[history.iloc[::-1]])
    wrong("must end before", history=[history.set_axis(days(3, "2024-03-02"))])
    wrong("history of series 0 has a time zone, the forecast none", history=[history.tz_localize("UTC")])


def test_paths_of_different_horizons_are_no_array(two):
    with pytest.raises(ValueError, match=r"horizons from 2 to 3 .* forecast\['A'\].paths"):
        _ = two.paths
    assert two["B"].paths.shape == (1, 2, 3, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.quantile(1.1), "q must be a number from 0 to 1, found 1.1"),
        (lambda f: f.quantile(float("nan")), "found nan"),
        (lambda f: f.quantile("0.5"), "found '0.5'"),
        (lambda f: f.quantile([0.1, -0.1]), "each of q must be a number from 0 to 1, found -0.1"),
        (lambda f: f.quantile([0.1, 0.1]), "q holds 0.1 twice"),
        (lambda f: f.quantile([]), "q is empty"),
        (lambda f: f.interval(1), "coverage must be a number between 0 and 1, without them, found 1"),
        (lambda f: f.interval(True), "found True"),
        (lambda f: f.value_at_risk(0), "level must be .*, found 0"),
        (lambda f: f.expected_shortfall(95), "level must be .*, found 95"),
        (lambda f: f.summary(level=1), "level must be"),
        (lambda f: f.prob_up(step=0), "step must be a whole number of at least 1, found 0"),
        (lambda f: f.prob_up(step=True), "found True"),
        (lambda f: f.expected_return(step=3), "step 3 is beyond the horizon of series 'A', which is 2"),
        (lambda f: f.to_frame("tall"), "'wide' or 'long', found 'tall'"),
        (lambda f: f.to_frame(columns=["closing"]), "columns must be some of open, .* found .*closing"),
        (lambda f: f.to_frame(columns=[]), "columns must be some of"),
        (lambda f: f.to_frame(quantiles=[2]), "quantiles must be a number from 0 to 1, found 2"),
        (lambda f: f[["A", "A"]], "'A' is there twice"),
        (lambda f: f[[]], "at least one series"),
        (lambda f: f.save("forecast.csv"), r"'forecast.csv' must end in \.parquet"),
        (lambda f: f.save("no/such/f.parquet"), "there is no folder"),
    ],
)
def test_wrong_arguments_are_named(two, call, message):
    with pytest.raises(ValueError, match=message):
        call(two)


def test_figures_that_start_from_the_last_bar_say_how_to_give_it():
    with pytest.raises(ValueError, match=r"last=\[\.\.\.\]"):
        Forecast([paths_of([[1.0]])], [days(1)]).prob_up()


@pytest.mark.parametrize("paths", [9, 20, 100])
def test_an_interval_holds_a_further_draw_as_often_as_it_says_however_many_paths_there_are(paths):
    draws = np.random.default_rng(0).standard_normal((40_000, paths + 1))
    low, high = path_quantiles(draws[:, :-1], [0.1, 0.9], axis=1)
    held = ((draws[:, -1] >= low) & (draws[:, -1] <= high)).mean()
    assert held == pytest.approx(0.8, abs=0.008)
