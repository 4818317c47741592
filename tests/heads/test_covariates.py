"""Covariates of heads: what they bring is found, nothing later is read, names are checked, missing values are taken."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos.calibration.fitting import PastWindow
from kronos.cli import main
from kronos.heads import Head, HeadSettings, collect_examples, fit_head, train_head
from kronos.heads.covariates import read_covariates

BACK, AHEAD, SERIES, DATES = 24, 3, 10, 120
NAMES: dict[str, Any] = {"past_covariates": ("flow",), "known_covariates": ("event",)}
TIMES = pd.date_range("2020-01-01", periods=BACK + AHEAD * (DATES + 1))


@pytest.fixture(scope="module")
def predictor(golden):
    return kronos.load(golden / "tiny", device="cpu")


@pytest.fixture(scope="module")
def table():
    """Net flows, and days with an event; both for all series."""
    rng = np.random.default_rng(1)
    return pd.DataFrame({"flow": rng.normal(0, 3, len(TIMES)), "event": rng.integers(0, 2, len(TIMES))}, index=TIMES)


@pytest.fixture(scope="module")
def windows():
    found = []
    for date in range(DATES):
        for seed in range(SERIES):
            close = 100 * np.exp(np.random.default_rng(seed).normal(0, 0.01, len(TIMES)).cumsum())
            stop = BACK + AHEAD * date
            open_ = np.concatenate(([100.0], close[:-1]))
            bars = pd.DataFrame(
                {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
            )
            past = bars.iloc[stop - BACK : stop].reset_index(drop=True)
            found.append(
                PastWindow(past, TIMES[stop - BACK : stop], TIMES[stop : stop + AHEAD], close[stop : stop + AHEAD])
            )
    return found


@pytest.fixture(scope="module")
def examples(predictor, windows, table):
    """Returns that follow the last flow, and are twice as wide after events."""
    found = collect_examples(predictor, windows, covariates=table, **NAMES)
    last, event = found.covariates[:, :, 0], found.covariates[:, :, 3]
    return replace(found, truth=found.truth * (1 + (event > 0.4)) + 0.03 * np.sign(last))


@pytest.fixture(scope="module")
def head(examples, predictor):
    from kronos.heads.head import model_digest

    head = fit_head(examples, HeadSettings("distribution", **NAMES))
    head.model, head.lookback = model_digest(predictor.model), BACK
    return head


@pytest.mark.parametrize("task", ["distribution", "direction"])
def test_head_finds_what_covariates_bring(examples, head, task):
    found = head if task == "distribution" else fit_head(examples, HeadSettings(task, **NAMES))
    assert found.verdict["ic"] > 0.2 and found.verdict["over_features_interval"][1] < 1
    plain = fit_head(replace(examples, covariates=examples.covariates[..., :0]), HeadSettings(task))
    assert found.verdict["loss"] < 0.97 * plain.verdict["loss"]


def asked(predictor, head, windows, table):
    predictor.heads["distribution"] = head
    some = windows[::300]
    given = ([w.bars for w in some], [w.past for w in some], [w.future for w in some])
    return predictor.quantiles_direct(*given, covariates=table)


def test_past_columns_are_read_up_to_the_last_bar_and_known_ones_beyond(predictor, head, windows, table):
    one = windows[200:201]
    later = table.index > one[0].past[-1]
    before = asked(predictor, head, one, table)
    moved = table.assign(flow=table["flow"].where(~later, 99.0))
    np.testing.assert_array_equal(asked(predictor, head, one, moved), before)
    beyond = table.assign(event=table["event"].where(table.index <= one[0].future[-1], 7))
    np.testing.assert_array_equal(asked(predictor, head, one, beyond), before)
    assert (asked(predictor, head, one, table.assign(event=1 - table["event"])) != before).any()
    assert (asked(predictor, head, one, table.assign(flow=-table["flow"])) != before).any()


def test_missing_values_and_rows_are_missing_to_the_head_and_not_zero(predictor, head, windows, table):
    absent, blank = table.iloc[:0], table * np.nan
    found = asked(predictor, head, windows, absent)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(asked(predictor, head, windows, blank), found)
    each = asked(predictor, head, windows, [table] * len(windows[::300]))
    np.testing.assert_array_equal(each, asked(predictor, head, windows, table))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="event"), "the covariate 'event' is missing; the table has the columns flow"),
        (lambda t: None, "was trained with the covariates flow, event: give covariates="),
        (lambda t: t.reset_index(), "must be a DataFrame indexed by time"),
        (lambda t: t.astype({"flow": str}), "'flow' must hold numbers"),
        (lambda t: pd.concat([t, t]), "more than once"),
        (lambda t: t * np.inf, "found an infinite value"),
        (lambda t: t.tz_localize("UTC"), "must both have a time zone, or both none"),
        (lambda t: [t], "one for each of 4 series, found 1"),
    ],
)
def test_covariates_that_cannot_be_used_raise(predictor, head, windows, table, change, message):
    with pytest.raises(ValueError, match=message):
        asked(predictor, head, windows, change(table))


def test_head_without_covariates_refuses_them_and_one_with_them_gives_no_paths_marginals(
    predictor, head, windows, table, examples
):
    plain = fit_head(replace(examples, covariates=examples.covariates[..., :0]), HeadSettings("distribution", epochs=1))
    with pytest.raises(ValueError, match="trained without covariates"):
        asked(predictor, plain, windows, table)
    predictor.heads["distribution"] = head
    one = windows[0]
    with pytest.raises(ValueError, match="give covariates="):
        predictor.predict_samples(
            one.bars, one.past, one.future, AHEAD, sample_count=2, verbose=False, calibration="head"
        )


def test_saved_head_answers_as_before(predictor, head, windows, table, tmp_path):
    before = asked(predictor, head, windows, table)
    again = Head.load(head.save(tmp_path))
    assert again.spec == head.spec
    np.testing.assert_array_equal(asked(predictor, again, windows, table), before)


def test_train_head_takes_covariates_by_the_names_of_the_settings(predictor, windows, table):
    few = windows[: 40 * SERIES]
    head = train_head(predictor, few, HeadSettings("direction", epochs=1, **NAMES), covariates=table)
    assert head.spec.past_covariates == ("flow",) and head.trained_on["epochs"].keys() == {
        "features",
        "covariates",
        "head",
    }
    with pytest.raises(ValueError, match="is named twice"):
        HeadSettings("direction", past_covariates=("a",), known_covariates=("a",))


def test_file_of_a_head_from_before_covariates_loads(examples, tmp_path):
    plain = fit_head(replace(examples, covariates=examples.covariates[..., :0]), HeadSettings("direction", epochs=1))
    path = plain.save(tmp_path)
    values = json.loads(path.read_text())
    del values["spec"]["past_covariates"], values["spec"]["known_covariates"]
    path.write_text(json.dumps(values))
    assert Head.load(path).spec == plain.spec


@pytest.fixture
def market(tmp_path):
    """Files of daily bars, of their covariates, and of the pair's model."""
    times = pd.date_range("2020-01-01", periods=160)
    tables = []
    for seed in range(8):
        close = 100 * np.exp(np.random.default_rng(seed).normal(0, 0.01, 160).cumsum())
        tables.append(pd.DataFrame({"symbol": f"S{seed}", "timestamps": times, "open": close, "close": close}))
    bars = pd.concat(tables)
    bars.assign(high=bars["close"] * 1.01, low=bars["close"] * 0.99).to_parquet(tmp_path / "bars.parquet", index=False)
    rng = np.random.default_rng(1)
    given = pd.DataFrame({"Date": times, "flow": rng.normal(0, 3, 160), "event": rng.integers(0, 2, 160), "note": "x"})
    given.to_csv(tmp_path / "further.csv", index=False)
    return tmp_path


def train(market, golden, *more):
    told = ["heads", "train", market / "bars.parquet", "--model", golden / "tiny", "--out", market / "mine"]
    told += [
        "--lookback",
        32,
        "--horizon",
        2,
        "--windows",
        400,
        "--epochs",
        2,
        "--quiet",
        "--verdict-windows",
        0,
        *more,
    ]
    return CliRunner().invoke(main, list(map(str, told)))


def test_heads_train_reads_covariates_of_a_file(market, golden):
    names = ("--past-covariates", "flow", "--known-covariates", "event")
    done = train(market, golden, "--covariates", market / "further.csv", *names)
    assert done.exit_code == 0, done.output
    head = kronos.load(market / "mine", device="cpu").heads["distribution"]
    assert (head.spec.past_covariates, head.spec.known_covariates) == (("flow",), ("event",))


def evaluated(market, *more):
    told = ["evaluate", market / "bars.parquet", "--baselines", "bootstrap", "--reference", "bootstrap", "--quiet"]
    told += ["--lookback", BACK, "--horizon", AHEAD, "--windows", 1, "--out", market / "eval", *more]
    return CliRunner().invoke(main, list(map(str, told)))


def test_evaluate_gives_a_head_the_covariates_of_a_file(market, golden, predictor, head):
    predictor.heads["distribution"] = head
    predictor.save_pretrained(market / "pair")
    pair = f"head:{market / 'pair'}"
    without = evaluated(market, "--model", pair)
    assert without.exit_code == 2
    assert "was trained with the covariates flow, event: give their table, --covariates FILE" in without.output
    upside = pd.read_csv(market / "further.csv").assign(flow=lambda table: -table["flow"])
    upside.to_parquet(market / "upside.parquet", index=False)
    found = []
    for file in ("further.csv", "upside.parquet"):
        done = evaluated(market, "--model", pair, "--covariates", market / file)
        assert done.exit_code == 0, done.output
        table = pd.read_parquet(market / "eval" / "forecasts.parquet")
        found.append(table[table["model"] == pair]["mean"].to_numpy())
    assert (np.abs(found[1] / found[0] - 1) > 0.001).any()
    useless = evaluated(market, "--model", golden / "tiny", "--covariates", market / "further.csv")
    assert useless.exit_code == 2 and "covariates are for heads that were trained with some" in useless.output


@pytest.mark.parametrize(
    ("file", "names", "message"),
    [
        (None, ("--past-covariates", "flow"), "the covariates flow need their table: give --covariates FILE"),
        ("further.csv", (), "name its columns with --past-covariates"),
        ("further.csv", ("--past-covariates", "flows"), "the covariate 'flows' is missing; the table has the columns"),
        ("further.csv", ("--known-covariates", "note"), "the covariate 'note' must hold numbers"),
        ("nowhere.csv", ("--known-covariates", "event"), "there is no such file of covariates"),
        ("untimed.csv", ("--known-covariates", "event"), "no column of times (such as timestamps or date) among event"),
        ("later.csv", ("--known-covariates", "event"), "has no row at the times of the bars"),
        ("zoned.csv", ("--known-covariates", "event"), "name it with --tz"),
    ],
)
def test_heads_train_refuses_covariates_that_cannot_be_used(market, golden, file, names, message):
    table = pd.read_csv(market / "further.csv", parse_dates=["Date"])
    table[["event"]].to_csv(market / "untimed.csv", index=False)
    table.assign(Date=table["Date"] + pd.Timedelta("1h")).to_csv(market / "later.csv", index=False)
    table.assign(Date=table["Date"].dt.tz_localize("UTC")).to_csv(market / "zoned.csv", index=False)
    done = train(market, golden, *(() if file is None else ("--covariates", market / file)), *names)
    assert done.exit_code == 2 and message in done.output, done.output
    assert not (market / "mine").exists()


def test_read_covariates_takes_parquet_with_times_in_the_index_and_a_zone(tmp_path, table):
    table.to_parquet(tmp_path / "c.parquet")
    found = read_covariates(tmp_path / "c.parquet", ("flow",), "Asia/Shanghai")
    assert list(found.columns) == ["flow"] and str(pd.DatetimeIndex(found.index).tz) == "Asia/Shanghai"
    np.testing.assert_array_equal(found["flow"], table["flow"])
