"""Windows, signals and their scores; what needs no Qlib."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos.backtest import signals as signals_module
from kronos.backtest.panel import Panel
from kronos.backtest.signals import (
    SIGNALS,
    SignalSettings,
    forecast_chunk,
    generate_signals,
    read_signals,
    signal_columns,
    signals_of,
)
from kronos.generation.paths import Drawn
from kronos.klines.features import time_features, to_matrix
from kronos.klines.normalize import Normalizer
from kronos.metrics.ic import daily_ic, returns_after, summary, wide
from kronos.schema import FEATURES
from tests import backtest_bars

LOOKBACK, HORIZON = 20, 4
FIRST, LAST = pd.Timestamp("2024-09-20"), pd.Timestamp("2024-10-04")
SETTINGS = SignalSettings(LOOKBACK, HORIZON, paths=2, seed=3, batch=30)


@pytest.fixture(scope="module")
def predictor() -> kronos.KronosPredictor:
    return kronos.load("nano", device="cpu")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    series = backtest_bars.market(6)
    series["SYN001"] = series["SYN001"].drop(index=[190, 191])  # suspended for two days
    series["SYN002"] = series["SYN002"].iloc[-25:]  # listed late
    return backtest_bars.long_table(series)


@pytest.fixture(scope="module")
def panel(table: pd.DataFrame) -> Panel:
    return Panel.of(table, backtest_bars.bars(0)["timestamps"].pipe(pd.DatetimeIndex), LOOKBACK, HORIZON, FIRST, LAST)


def test_there_is_a_window_for_every_day_on_which_a_symbol_has_a_bar_and_a_lookback(
    table: pd.DataFrame, panel: Panel
) -> None:
    expected = []
    for symbol, rows in table.groupby("symbol"):
        for place, day in enumerate(rows["timestamp"]):
            if FIRST <= day <= LAST and place >= LOOKBACK - 1:
                expected.append((day, symbol))
    assert [(day, symbol) for symbol, day in panel] == sorted(expected)


def test_windows_are_normalised_as_a_single_series_is(table: pd.DataFrame, panel: Panel) -> None:
    chunk = panel.take(panel.ends, clip=5)
    for number in range(0, len(panel.ends), 7):
        rows = table.iloc[panel.ends[number] - LOOKBACK + 1 : panel.ends[number] + 1]
        bars = to_matrix(rows[list(FEATURES)])
        np.testing.assert_array_equal(chunk.windows[number].bars, Normalizer.of(bars).normalise(bars, 5))
        np.testing.assert_array_equal(chunk.windows[number].stamp, time_features(rows["timestamp"]))


def test_windows_of_tiny_prices_are_normalised_as_a_single_series_is(table: pd.DataFrame) -> None:
    tiny = table.assign(**{name: table[name] * 1e-7 for name in ("open", "high", "low", "close")})
    calendar = backtest_bars.bars(0)["timestamps"].pipe(pd.DatetimeIndex)
    panel = Panel.of(tiny, calendar, LOOKBACK, HORIZON, FIRST, LAST)
    chunk = panel.take(panel.ends[:3], clip=5)
    for number in range(3):
        rows = tiny.iloc[panel.ends[number] - LOOKBACK + 1 : panel.ends[number] + 1]
        bars = to_matrix(rows[list(FEATURES)])
        np.testing.assert_array_equal(chunk.windows[number].bars, Normalizer.of(bars).normalise(bars, 5))
        assert chunk.std[number] == pytest.approx(rows["close"].std(ddof=0), rel=1e-3)


@pytest.mark.parametrize("positive", [True, False])
def test_a_return_is_above_minus_one_where_the_lookback_is_positive(panel: Panel, positive: bool) -> None:
    chunk = panel.take(panel.ends[:2], 5)._replace(positive=np.full(2, positive))
    fall = np.zeros((3, HORIZON, 6), np.float32)
    fall[..., 3] = -2 * float((chunk.last / chunk.std).max())
    found = signals_of(chunk, [Drawn(fall, np.zeros((1, 6), np.float32))] * 2)["return"]
    assert (found > -1).all() if positive else (found < -1).all()


def test_the_times_to_forecast_are_the_calendars_next_ones_and_go_on_beyond_its_end(panel: Panel) -> None:
    calendar = pd.DatetimeIndex(backtest_bars.bars(0)["timestamps"])
    chunk = panel.take(panel.ends, clip=5)
    for day, window in zip(chunk.day, chunk.windows, strict=True):
        future = pd.bdate_range(pd.Timestamp(day) + pd.Timedelta(days=1), periods=HORIZON)
        np.testing.assert_array_equal(window.future_stamp, time_features(future))
    assert calendar[-1] == LAST


def test_the_return_is_that_of_the_predictors_anchored_forecast(
    table: pd.DataFrame, panel: Panel, predictor: kronos.KronosPredictor
) -> None:
    result = forecast_chunk(panel.take(panel.ends[:12], 5), predictor, SETTINGS)
    for number in (0, 5, 11):
        rows = table.iloc[panel.ends[number] - LOOKBACK + 1 : panel.ends[number] + 1]
        future = pd.bdate_range(rows["timestamp"].iloc[-1] + pd.Timedelta(days=1), periods=HORIZON)
        paths = predictor.predict_samples(
            rows[list(FEATURES)],
            rows["timestamp"],
            future,
            HORIZON,
            sample_count=2,
            seed=3,
            verbose=False,
            calibration=None,  # signals are those of the paths as drawn
        )
        close = paths[0, :, :, 3].mean(axis=0)
        last = rows["close"].iloc[-1]
        std = float(rows["close"].std(ddof=0))
        got = result.iloc[number]
        assert got["instrument"] == rows["symbol"].iloc[0] and got["datetime"] == rows["timestamp"].iloc[-1]
        expected = {
            "return": close[-1] / last - 1,
            "last": (close[-1] - last) / std,
            "mean": (close.mean() - last) / std,
            "max": (close.max() - last) / std,
            "min": (close.min() - last) / std,
        }
        for name, value in expected.items():
            assert got[name] == pytest.approx(value, abs=2e-4), name


def test_signals_do_not_depend_on_the_batch(panel: Panel, predictor: kronos.KronosPredictor, tmp_path: Path) -> None:
    one = generate_signals(panel, predictor, SETTINGS, tmp_path / "one", verbose=False)
    other = generate_signals(
        panel, predictor, SignalSettings(LOOKBACK, HORIZON, paths=2, seed=3, batch=1), tmp_path / "other", verbose=False
    )
    pd.testing.assert_frame_equal(one, other, atol=1e-3)
    assert (np.abs(one["last"] - other["last"]) < 1e-4).mean() > 0.95


def test_a_days_signal_depends_on_nothing_later(
    table: pd.DataFrame, panel: Panel, predictor: kronos.KronosPredictor
) -> None:
    day = pd.Timestamp("2024-09-25")
    changed = table.copy()
    later = changed["timestamp"] > day
    changed.loc[later, ["open", "high", "low", "close"]] *= 1.5
    calendar = pd.DatetimeIndex(backtest_bars.bars(0)["timestamps"])
    other = Panel.of(changed, calendar, LOOKBACK, HORIZON, FIRST, LAST)
    ends = panel.ends[panel.times_N[panel.ends] <= day.as_unit("ns").value]
    one, two = (forecast_chunk(p.take(ends, 5), predictor, SETTINGS) for p in (panel, other))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) == 18 and other.digest() != panel.digest()


def test_a_stopped_run_goes_on_where_it_was(
    panel: Panel, predictor: kronos.KronosPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = generate_signals(panel, predictor, SETTINGS, tmp_path / "whole", verbose=False)
    done: list[int] = []

    def counted(*arguments: object) -> pd.DataFrame:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(1)
        return forecast_chunk(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(signals_module, "forecast_chunk", counted)
        with pytest.raises(KeyboardInterrupt):
            generate_signals(panel, predictor, SETTINGS, tmp_path / "run", verbose=False)
    assert len(list((tmp_path / "run" / signals_module.PARTS).glob("*.parquet"))) == 1
    assert not (tmp_path / "run" / signals_module.TABLE).exists()
    calls: list[int] = []

    def noted(*arguments):
        calls.append(1)
        return forecast_chunk(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(signals_module, "forecast_chunk", noted)
        resumed = generate_signals(panel, predictor, SETTINGS, tmp_path / "run", verbose=False)
    assert len(calls) == len(panel.chunks(SETTINGS.batch)) - 1
    pd.testing.assert_frame_equal(resumed, whole)
    assert not (tmp_path / "run" / signals_module.PARTS).exists()
    with monkeypatch.context() as patch:  # done: nothing is forecast again
        patch.setattr(signals_module, "forecast_chunk", counted)
        pd.testing.assert_frame_equal(
            generate_signals(panel, predictor, SETTINGS, tmp_path / "run", verbose=False), whole
        )
    assert not (tmp_path / "run" / signals_module.PARTS).exists()


def test_signals_made_with_other_settings_or_bars_are_not_mixed(
    table: pd.DataFrame, panel: Panel, predictor: kronos.KronosPredictor, tmp_path: Path
) -> None:
    generate_signals(panel, predictor, SETTINGS, tmp_path, verbose=False)
    with pytest.raises(ValueError, match=r"other settings: settings\.paths was 2 and is 3; .*overwrite=True"):
        generate_signals(
            panel, predictor, SignalSettings(LOOKBACK, HORIZON, paths=3, seed=3, batch=30), tmp_path, verbose=False
        )
    changed = table.assign(close=table["close"] * 1.001)
    calendar = pd.DatetimeIndex(backtest_bars.bars(0)["timestamps"])
    other = Panel.of(changed, calendar, LOOKBACK, HORIZON, FIRST, LAST)
    with pytest.raises(ValueError, match=r"other settings: bars was '\w+' and is"):
        generate_signals(other, predictor, SETTINGS, tmp_path, verbose=False)
    before = pd.read_parquet(tmp_path / signals_module.TABLE)
    after = generate_signals(other, predictor, SETTINGS, tmp_path, overwrite=True, verbose=False)
    assert not before["last"].equals(after["last"])


def test_signals_are_not_written_among_files_of_others(
    panel: Panel, predictor: kronos.KronosPredictor, tmp_path: Path
) -> None:
    (tmp_path / "report.json").write_text("{}")
    (tmp_path / "signals.parquet").write_bytes(b"of a run without settings")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"holds other files, which are not of this run: signals\.parquet;"):
            generate_signals(
                panel, predictor, SETTINGS, tmp_path, overwrite=overwrite, verbose=False, shared=("report.json",)
            )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.json", "signals.parquet"]


def test_signals_whose_settings_are_cut_off_are_refused(
    panel: Panel, predictor: kronos.KronosPredictor, tmp_path: Path
) -> None:
    (tmp_path / signals_module.RECORD).write_text('{"settings": {"look')
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"signals\.json cannot be read as JSON"):
            generate_signals(panel, predictor, SETTINGS, tmp_path, overwrite=overwrite, verbose=False)


def test_predictions_are_tables_of_day_and_instrument_by_signal(
    panel: Panel, predictor: kronos.KronosPredictor, tmp_path: Path
) -> None:
    table = generate_signals(panel, predictor, SETTINGS, tmp_path, verbose=False)
    predictions = pickle.loads((tmp_path / signals_module.PREDICTIONS).read_bytes())
    assert tuple(predictions) == SIGNALS == tuple(signal_columns(table))
    wide_table = predictions["return"]
    assert wide_table.index.name == "datetime" and wide_table.columns.name == "instrument"
    row = table.iloc[3]
    assert wide_table.loc[row["datetime"], row["instrument"]] == row["return"]
    assert wide_table.loc[pd.Timestamp("2024-09-23"), "SYN001"] != wide_table.loc[pd.Timestamp("2024-09-23"), "SYN001"]
    assert json.loads((tmp_path / signals_module.RECORD).read_text())["windows"] == len(table)


def test_bars_outside_of_the_calendar_and_ranges_without_windows_are_named(table: pd.DataFrame) -> None:
    calendar = pd.DatetimeIndex(backtest_bars.bars(0)["timestamps"])
    with pytest.raises(ValueError, match="not in the calendar: 2024-09-24"):
        Panel.of(table, calendar.drop([pd.Timestamp("2024-09-24")]), LOOKBACK, HORIZON, FIRST, LAST)
    with pytest.raises(ValueError, match="no symbol has 20 bars"):
        Panel.of(table, calendar, LOOKBACK, HORIZON, pd.Timestamp("2026-01-01"), pd.Timestamp("2026-02-01"))
    with pytest.raises(ValueError, match="lacks amount"):
        Panel.of(table.drop(columns="amount"), calendar, LOOKBACK, HORIZON, FIRST, LAST)


def test_days_are_never_cut_and_chunks_hold_all_windows(panel: Panel) -> None:
    for batch in (1, 7, 30, 10_000):
        chunks = panel.chunks(batch)
        np.testing.assert_array_equal(np.concatenate(chunks), panel.ends)
        days = [set(panel.times_N[ends].tolist()) for ends in chunks]
        assert sum(map(len, days)) == len(set().union(*days))
        assert all(len(ends) >= batch for ends in chunks[:-1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop(columns="instrument"), "needs the columns datetime, instrument"),
        (lambda t: t[["datetime", "instrument"]], "one of numbers a signal"),
        (lambda t: pd.concat([t, t]), "more than once"),
        (lambda t: t.assign(datetime="yesterday"), "cannot be read"),
    ],
)
def test_signals_of_a_user_that_do_not_fit_are_named(tmp_path: Path, change: object, says: str) -> None:
    good = pd.DataFrame(
        {"datetime": pd.bdate_range("2024-01-01", periods=3), "instrument": "A", "mine": [1.0, np.inf, 3]}
    )
    change(good).to_parquet(tmp_path / "s.parquet")  # type: ignore[operator]
    with pytest.raises(ValueError, match=says):
        read_signals(tmp_path / "s.parquet")


def test_signals_of_a_user_are_read_with_or_without_an_index(tmp_path: Path) -> None:
    good = pd.DataFrame(
        {"datetime": pd.bdate_range("2024-01-01", periods=3), "instrument": "A", "mine": [1.0, np.inf, 3]}
    )
    good.set_index(["datetime", "instrument"]).to_parquet(tmp_path / "s.parquet")
    table = read_signals(tmp_path / "s.parquet")
    assert signal_columns(table) == ["mine"] and table["mine"].isna().sum() == 1
    (tmp_path / "text.parquet").write_text("a,b")
    with pytest.raises(ValueError, match="no Parquet table"):
        read_signals(tmp_path / "text.parquet")
    with pytest.raises(ValueError, match="no such file"):
        read_signals(tmp_path / "absent.parquet")


def test_ic_is_the_correlation_across_instruments_by_day() -> None:
    rng = np.random.default_rng(0)
    days, names = pd.bdate_range("2024-01-01", periods=40), list("abcdefgh")
    signal = pd.DataFrame(rng.normal(size=(40, 8)), days, names)
    came = signal * 0.3 + rng.normal(size=(40, 8))
    came.iloc[3, 2] = np.nan
    daily = daily_ic(signal, came)
    for day in (0, 3, 20):
        both = pd.DataFrame({"s": signal.iloc[day], "c": came.iloc[day]}).dropna()
        assert daily["ic"].iloc[day] == pytest.approx(both["s"].corr(both["c"]))
        assert daily["rank_ic"].iloc[day] == pytest.approx(both["s"].rank().corr(both["c"].rank()))
        assert daily["count"].iloc[day] == len(both)
    figures = summary(daily)
    assert figures["icir"] == pytest.approx(daily["ic"].mean() / daily["ic"].std())
    assert figures["t"] == pytest.approx(figures["rank_icir"] * 40**0.5)
    assert summary(daily, 10)["t"] == pytest.approx(figures["t"] / 10**0.5)


def test_days_with_few_or_equal_instruments_have_no_ic() -> None:
    days = pd.bdate_range("2024-01-01", periods=2)
    signal = pd.DataFrame(np.ones((2, 6)), days, list("abcdef"))
    came = pd.DataFrame(np.arange(12.0).reshape(2, 6), days, list("abcdef"))
    assert daily_ic(signal, came)["ic"].isna().all()
    assert daily_ic(came[["a", "b"]], came)["rank_ic"].isna().all()
    assert np.isnan(summary(daily_ic(signal, came))["rank_icir"])


def test_returns_look_forward() -> None:
    closes = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, pd.bdate_range("2024-01-01", periods=3))
    np.testing.assert_allclose(returns_after(closes, 1)["a"], [1.0, 0.5, np.nan])
    long = pd.DataFrame({"datetime": closes.index, "instrument": "a", "s": [1.0, 2.0, 3.0]})
    assert wide(long, "s")["a"].tolist() == [1.0, 2.0, 3.0]
