"""Faults are found once, counted and located; cleaning leaves rows out and never changes a value."""

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kronos.klines import (
    PAPER_RULES,
    KlineError,
    SplitRule,
    clean,
    infer_frequency,
    nearest_frequency,
    split_segments,
    validate,
)

RULE = SplitRule(min_length=1, jump=0.2, max_illiquid=2, max_stagnant=3)


def series(n: int = 20, freq: str = "D", seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
    open_ = np.concatenate([[100.0], close[:-1]])
    return pd.DataFrame(
        {
            "timestamps": pd.date_range("2024-01-01", periods=n, freq=freq),
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": rng.integers(1, 1000, n).astype(float),
            "amount": rng.random(n) * 1e5 + 1,
        }
    )


def found(df: pd.DataFrame, **options: Any) -> dict[str, tuple[int, tuple[str, ...], tuple[int, ...]]]:
    return {f.kind: (f.count, f.columns, f.rows) for f in validate(df, **options).faults}


def segments(
    df: pd.DataFrame, rule: SplitRule = RULE, times: bool = False, volume: bool = True
) -> list[tuple[int, int]]:
    stamps = df["timestamps"].to_numpy("datetime64[ns]").astype("int64") if times else None
    open_, high, low, close = (df[c].to_numpy() for c in ("open", "high", "low", "close"))
    return split_segments(stamps, open_, high, low, close, df["volume"].to_numpy() if volume else None, rule)


def test_a_good_table_has_no_faults():
    report = validate(series())
    assert report.ok and not report.faults and str(report) == "20 rows, no faults"
    report.raise_if_bad("x")


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("close", np.nan, "missing value"),
        ("volume", np.nan, "missing value"),
        ("open", np.inf, "infinite value"),
        ("low", -np.inf, "infinite value"),
        ("amount", -np.inf, "infinite value"),
        ("low", 0.0, "non-positive price"),
        ("open", -5.0, "non-positive price"),
        ("volume", -1.0, "negative volume or amount"),
        ("high", 1.0, "high below low"),
    ],
)
def test_each_faulty_cell_is_one_fault_of_one_kind(column, value, kind):
    df = series()
    df.loc[4, column] = value
    columns = ("high", "low") if kind == "high below low" else (column,)
    assert found(df) == {kind: (1, columns, (5,))}
    assert not validate(df).ok


def test_open_or_close_outside_the_range_is_a_warning_beyond_the_tolerance():
    df = series()
    df.loc[2, "high"] = df.loc[2, ["open", "close"]].max() * (1 - 5e-5)
    assert validate(df).faults == ()
    df.loc[2, "high"] = df.loc[2, ["open", "close"]].max() * (1 - 5e-4)
    report = validate(df)
    assert report.ok and found(df)["candle out of range"][2] == (3,)
    assert "[warning]" in str(report)


def test_time_faults_are_counted_in_file_order():
    df = series(8)
    df["timestamps"] = df["timestamps"].iloc[[0, 1, 1, 4, 3, 5, 6, 7]].to_numpy()
    df.loc[6, "timestamps"] = pd.NaT
    assert found(df) == {
        "missing timestamp": (1, ("timestamps",), (7,)),
        "duplicate timestamp": (1, ("timestamps",), (3,)),
        "unsorted timestamp": (1, ("timestamps",), (5,)),
    }


def test_an_empty_volume_is_a_warning_and_a_table_without_times_is_judged_by_its_values():
    df = series().drop(columns="timestamps").assign(volume=np.nan)
    report = validate(df)
    assert report.ok and [(f.kind, f.columns) for f in report.faults] == [("empty column", ("volume",))]


def test_the_report_lists_first_rows_and_its_first_line_stands_alone():
    df = series(30)
    df.loc[10:20, "close"] = np.nan
    df.loc[3, "open"] = -1
    with pytest.raises(KlineError) as caught:
        validate(df).raise_if_bad("my.csv")
    assert caught.value.summary == (
        'my.csv: 30 rows with faults: missing value 11, non-positive price 1; clean="drop" leaves such rows out'
    )
    assert "  missing value: 11 in close (data rows 11, 12, 13, 14, 15, ...)" in str(caught.value)
    assert caught.value.report == validate(df)


def test_too_few_rows_and_absent_or_textual_columns_are_said():
    assert validate(series(3), min_rows=5).summary == "3 rows, expected at least 5"
    assert not validate(series(2).iloc[:0]).ok
    with pytest.raises(KlineError, match="no column close"):
        validate(series().drop(columns="close"))
    with pytest.raises(KlineError, match="'open' has 'x' in data row 1"):
        validate(series().assign(open="x"))


def test_row_numbers_of_the_file_are_reported_when_given():
    df = series(5)
    df.loc[1, "close"] = np.nan
    assert validate(df, row_numbers=np.array([10, 20, 30, 40, 50])).faults[0].rows == (20,)


@pytest.mark.parametrize("policy", ["drop", "split", "sort"])
def test_cleaning_a_clean_series_changes_nothing(policy):
    df = series(300)
    result = clean(df, policy)
    assert (len(result.frames), result.kept, result.dropped) == (1, 300, 0)
    pd.testing.assert_frame_equal(result.frames[0], df)


@pytest.mark.parametrize("policy", ["drop", "split"])
def test_cleaning_and_validation_leave_the_input_alone_and_are_stable(policy):
    df = series(400)
    df.loc[50, "close"] = np.nan
    df = pd.concat([df, df.iloc[[7, 9]]]).sample(frac=1, random_state=1)
    before = df.copy(deep=True)
    result = clean(df, policy, min_length=10 if policy == "split" else None)
    validate(df)
    pd.testing.assert_frame_equal(df, before)
    assert result.kept + result.dropped == len(df) and result.kept == sum(map(len, result.frames))
    original = series(400).set_index("timestamps")
    for frame in result.frames:
        assert validate(frame).faults == () and isinstance(frame.index, pd.RangeIndex)
        pd.testing.assert_frame_equal(frame.set_index("timestamps"), original.loc[frame["timestamps"]])
        assert clean(frame, "drop").dropped == 0


def test_sort_sorts_and_leaves_exact_duplicates_out_but_refuses_anything_else():
    df = series(10)
    mixed = pd.concat([df, df.iloc[[2]]]).iloc[::-1]
    result = clean(mixed, "sort")
    pd.testing.assert_frame_equal(result.frames[0], df)
    assert "10 of 11 rows" in result.report and "1 exact duplicate" in result.report
    mixed = pd.concat([df, df.iloc[[2]].assign(close=df["close"][2] + 0.1)]).iloc[::-1]
    with pytest.raises(KlineError, match="duplicate timestamp 1"):
        clean(mixed, "sort")
    bad = df.iloc[::-1].reset_index(drop=True)
    bad.loc[0, "open"] = np.nan
    with pytest.raises(KlineError, match=r"missing value: 1 in open \(data row 1\)"):
        clean(bad, "sort")


def test_drop_keeps_the_first_sound_row_of_equal_times():
    df = series(6)
    broken = df.iloc[[3]].assign(close=np.nan)
    second = df.iloc[[3]].assign(volume=7.0)
    result = clean(pd.concat([df.iloc[:3], broken, df.iloc[3:4], second, df.iloc[4:]]), "drop")
    pd.testing.assert_frame_equal(result.frames[0], df)
    assert "1 missing value (data row 4)" in result.report and "duplicate timestamp (data rows 4, 6)" in result.report


def test_drop_keeps_warnings_and_leaves_rows_without_time_out():
    df = series(6)
    df.loc[2, "close"] = df["high"][2] * 1.05
    df.loc[4, "timestamps"] = pd.NaT
    result = clean(df, "drop")
    assert result.kept == 5 and "1 missing timestamp (data row 5)" in result.report
    with pytest.raises(KlineError, match="unknown cleaning policy"):
        clean(df, "mend")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------ splitting


def test_the_rules_are_the_papers():
    assert PAPER_RULES["1m"] == SplitRule(2048, 0.10, 15, 45)
    assert PAPER_RULES["30m"] == SplitRule(512, 0.20, 2, 3)
    assert PAPER_RULES["1w"] == SplitRule(16, 0.50, 0, 2)
    with pytest.raises(ValueError, match="jump > 0"):
        SplitRule(1, 0.0, 1, 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("5min", "5m"), ("60m", "1h"), ("H", "1h"), ("1D", "1d"), ("3m", "5m"), ("8h", "4h"), ("W", "1w"), (300.0, "5m")],
)
def test_a_frequency_gets_the_nearest_rule(given, expected):
    assert nearest_frequency(given) == expected


def test_an_unknown_frequency_is_refused():
    for wrong in ("hourly", "0m", ""):
        with pytest.raises(KlineError, match="unknown frequency"):
            nearest_frequency(wrong)


def test_the_frequency_is_the_median_step_so_gaps_do_not_matter():
    stamps = pd.date_range("2024-07-01 09:30", periods=48, freq="5min")
    stamps = pd.DatetimeIndex([*stamps, *(stamps + pd.Timedelta(days=1)), *(stamps + pd.Timedelta(days=4))])
    assert infer_frequency(stamps.as_unit("ns").asi8) == "5m"
    with pytest.raises(KlineError, match="fewer than two times"):
        infer_frequency(np.array([1]))


def test_segments_end_at_faulty_rows_and_jumps():
    df = series(30)
    df.loc[5, "close"] = np.nan
    df.loc[12, "low"] = 0
    df.loc[20:, ["open", "high", "low", "close"]] *= 1.5
    assert segments(df) == [(0, 5), (6, 12), (13, 20), (20, 30)]
    assert segments(df, SplitRule(8, 0.2, 2, 3)) == [(20, 30)]
    assert segments(df, SplitRule(1, 0.6, 2, 3)) == [(0, 5), (6, 12), (13, 30)]


def test_a_jump_is_measured_from_the_previous_close_to_the_open():
    df = series(10)
    df.loc[4, ["close", "high"]] = df["open"][4] * 1.19  # within the bar: no jump
    df.loc[5, ["open", "high"]] = df["close"][4] * 1.01
    assert segments(df) == [(0, 10)]
    df.loc[5, ["open", "high"]] = df["close"][4] * 1.21
    assert segments(df) == [(0, 5), (5, 10)]


def test_runs_longer_than_the_limit_are_cut_out_whole():
    df = series(30)
    df.loc[5:6, "volume"] = 0  # two are allowed
    df.loc[10:12, "volume"] = 0
    df.loc[20:23, "close"] = df["close"][20]
    assert segments(df) == [(0, 10), (13, 20), (24, 30)]
    assert segments(df, volume=False) == [(0, 20), (24, 30)]


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_a_series_without_any_volume_has_no_illiquid_bars(nothing):
    assert segments(series(30).assign(volume=nothing)) == [(0, 30)]


def test_a_missing_volume_is_a_fault_where_volume_is_in_use():
    df = series(10)
    df.loc[4, "volume"] = np.nan
    assert segments(df) == [(0, 4), (5, 10)]


def test_time_that_does_not_advance_starts_a_segment():
    df = pd.concat([series(10), series(10)], ignore_index=True)
    assert segments(df, times=True) == [(0, 10), (10, 20)]


def test_empty_and_single_rows_are_handled():
    assert segments(series(2).iloc[:0]) == [] and segments(series(1), times=True) == [(0, 1)]
    assert clean(series(2).iloc[:0], "drop").kept == 0
    assert clean(series(2).iloc[:0], "split", frequency="1d").frames == []


def slow_segments(df: pd.DataFrame, rule: SplitRule) -> list[tuple[int, int]]:
    """The rule, a row at a time."""
    rows = df[["open", "high", "low", "close", "volume"]].to_numpy()
    n = len(rows)

    def run(i: int, same: np.ndarray) -> int:
        a = b = i
        while a > 0 and same[a - 1] == same[i]:
            a -= 1
        while b < n - 1 and same[b + 1] == same[i]:
            b += 1
        return b - a + 1

    keep = []
    for i in range(n):
        bad = not (
            np.isfinite(rows[i]).all() and (rows[i, :4] > 0).all() and rows[i, 4] >= 0 and rows[i, 1] >= rows[i, 2]
        )
        idle = rows[i, 4] == 0 and run(i, rows[:, 4]) > rule.max_illiquid
        keep.append(not bad and not idle and not run(i, rows[:, 3]) > rule.max_stagnant)
    out, start = [], None
    for i in range(n + 1):
        joined = 0 < i < n and keep[i] and keep[i - 1] and abs(rows[i, 0] / rows[i - 1, 3] - 1) <= rule.jump
        if start is not None and not joined:
            out.append((start, i))
            start = None
        if i < n and keep[i] and start is None:
            start = i
    return [(a, b) for a, b in out if b - a >= rule.min_length]


@pytest.mark.parametrize("seed", range(20))
def test_fast_splitting_equals_the_rule_applied_row_by_row(seed):
    rng = np.random.default_rng(seed)
    df = series(200, seed=seed)
    df.loc[rng.random(200) < 0.3, "volume"] = 0
    df["close"] = df["close"].where(rng.random(200) > 0.4).ffill().bfill()
    df["low"], df["high"] = df[["open", "close"]].min(axis=1), df[["open", "close"]].max(axis=1)
    for column in ("open", "close", "volume"):
        df.loc[rng.random(200) < 0.01, column] = rng.choice([np.nan, -1.0, np.inf])
    df["high"] = df[["high", "open", "close"]].max(axis=1)
    df["low"] = df["low"].clip(upper=df["high"])
    rule = SplitRule(int(rng.integers(1, 6)), 0.02, int(rng.integers(0, 4)), int(rng.integers(1, 5)))
    assert segments(df, rule) == slow_segments(df, rule)


def test_split_uses_the_rule_of_the_inferred_frequency_and_reports_every_loss():
    df = series(600, freq="5min")
    assert clean(df, "split").frames == []  # 5m: 1024 bars
    df.loc[300, "close"] = np.nan
    result = clean(df, "split", min_length=100)
    assert [len(f) for f in result.frames] == [300, 299]
    assert "5m rule: kept 599 of 600 rows in 2 segments" in result.report and "1 faulty" in result.report
    assert [len(f) for f in clean(df, "split", frequency="1d").frames] == [300, 299]
    with pytest.raises(KlineError, match="needs timestamps or frequency"):
        clean(df.drop(columns="timestamps"), "split")


def test_splitting_a_million_bars_takes_less_than_two_seconds():
    df = series(1_000_000, freq="min")
    start = time.perf_counter()
    segments(df, PAPER_RULES["1m"], times=True)
    assert time.perf_counter() - start < 2
