"""predict_df: a long table in, one row for each series and time out, whatever the calendar."""

import numpy as np
import pandas as pd
import pytest

from kronos import Kronos, KronosPredictor, KronosTokenizer

FAST = {"num_samples": 8, "seed": 3, "verbose": False}


@pytest.fixture(scope="module")
def predictor(golden):
    model = Kronos.from_pretrained(golden / "tiny" / "model")
    return KronosPredictor(
        model, KronosTokenizer.from_pretrained(golden / "tiny" / "tokenizer"), device="cpu", max_context=32
    )


def bars(name, count, seed):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, count).cumsum())
    table = pd.DataFrame({"symbol": name, "timestamps": pd.bdate_range("2024-01-01", periods=count), "open": close})
    table["high"], table["low"], table["close"] = close * 1.01, close * 0.99, close
    table["volume"] = rng.integers(1, 99, count)
    return table


@pytest.fixture(scope="module")
def table():
    """Two series, of different lengths, their rows mixed and out of order."""
    both = pd.concat([bars("B", 40, 0), bars("A", 25, 1)], ignore_index=True)
    return both.sample(frac=1, random_state=0)


def test_every_series_gets_its_rows_with_mean_and_quantiles_and_the_table_is_not_changed(predictor, table):
    before = table.copy(deep=True)
    got = predictor.predict_df(table, 4, quantile_levels=[0.05, 0.5, 0.95], **FAST)
    pd.testing.assert_frame_equal(table, before)
    assert list(got.columns) == ["symbol", "timestamps", "mean", "0.05", "0.5", "0.95"]
    assert got["symbol"].value_counts().to_dict() == {"A": 4, "B": 4}
    assert (got["0.05"] <= got["0.5"]).all() and (got["0.5"] <= got["0.95"]).all()
    first = got[got["symbol"] == "A"]["timestamps"].iloc[0]
    assert first == pd.Timestamp("2024-02-05")  # the Monday after 25 business days


def test_a_series_gets_the_same_rows_alone(predictor, table):
    together = predictor.predict_df(table, 4, **FAST)
    alone = predictor.predict_df(table[table["symbol"] == "A"], 4, **FAST)
    both = together[together["symbol"] == "A"].reset_index(drop=True)
    pd.testing.assert_frame_equal(both, alone, rtol=1e-5)


def test_it_agrees_with_predict_quantiles(predictor, table):
    one = table[table["symbol"] == "A"].sort_values("timestamps")
    got = predictor.predict_df(one, 4, quantile_levels=[0.2], target=["close", "volume"], **FAST)
    future = pd.DatetimeIndex(got["timestamps"].iloc[:4])
    quantiles, mean = predictor.predict_quantiles(
        one[["open", "high", "low", "close", "volume"]],
        one["timestamps"],
        future,
        4,
        [0.2],
        sample_count=8,
        seed=3,
        verbose=False,
    )
    assert quantiles.shape == (1, 1, 4, 6) and mean.shape == (1, 4, 6)
    for target, column in (("close", 3), ("volume", 4)):
        rows = got[got["target_name"] == target]
        np.testing.assert_allclose(rows["mean"], mean[0, :, column], rtol=1e-5)
        np.testing.assert_allclose(rows["0.2"], quantiles[0, 0, :, column], rtol=1e-5)


def test_names_of_chronos_and_nixtla_are_known_and_any_other_can_be_given(predictor, table):
    want = predictor.predict_df(table, 3, **FAST)
    for id_name, time_name in (("item_id", "timestamp"), ("unique_id", "ds")):
        renamed = table.rename(columns={"symbol": id_name, "timestamps": time_name})
        got = predictor.predict_df(renamed, 3, **FAST)
        assert list(got.columns[:2]) == [id_name, time_name]
        np.testing.assert_array_equal(got["mean"], want["mean"])
    odd = table.rename(columns={"symbol": "paper", "timestamps": "when"})
    got = predictor.predict_df(odd, 3, id_column="paper", timestamp_column="when", **FAST)
    np.testing.assert_array_equal(got["mean"], want["mean"])


def test_whole_numbers_and_categories_as_ids_come_back_as_they_were(predictor, table):
    for dtype in ("int64", "category"):
        ids = table["symbol"].map({"A": 7, "B": 9}).astype(dtype)
        got = predictor.predict_df(table.assign(symbol=ids), 2, **FAST)
        assert got["symbol"].dtype == ids.dtype
        assert set(got["symbol"]) == {7, 9}


def test_a_table_without_ids_is_one_series(predictor):
    got = predictor.predict_df(bars("A", 25, 1).drop(columns="symbol"), 3, **FAST)
    assert list(got.columns) == ["timestamps", "mean", "0.1", "0.5", "0.9"]
    assert len(got) == 3


def test_the_future_can_be_given_and_may_differ_in_length(predictor, table):
    future = pd.concat(
        [
            pd.DataFrame({"symbol": "A", "timestamps": pd.to_datetime(["2024-03-01", "2024-03-04"])}),
            pd.DataFrame({"symbol": "B", "timestamps": pd.to_datetime(["2024-03-01", "2024-03-05", "2024-03-20"])}),
        ]
    )
    got = predictor.predict_df(table, future_df=future, **FAST)
    assert got["symbol"].value_counts().to_dict() == {"B": 3, "A": 2}
    assert list(got[got["symbol"] == "B"]["timestamps"]) == list(future[future["symbol"] == "B"]["timestamps"])


def test_a_calendar_skips_its_holidays(predictor):
    past = bars("A", 30, 0)
    past["timestamps"] = pd.bdate_range(end="2024-07-03", periods=30)
    days = predictor.predict_df(past, 2, calendar="XNYS", **FAST)["timestamps"]
    assert list(days) == [pd.Timestamp("2024-07-05"), pd.Timestamp("2024-07-08")]


@pytest.mark.parametrize(
    ("change", "arguments", "says"),
    [
        ({}, {"prediction_length": 0}, "prediction_length must be a whole number of at least 1, found 0"),
        ({}, {"prediction_length": None}, "give prediction_length, or the bars to forecast as future_df"),
        ({}, {"quantile_levels": [0.5, 1.2]}, "quantile_levels"),
        ({}, {"quantile_levels": []}, "quantile_levels is empty"),
        ({}, {"num_samples": 0}, "num_samples must be a whole number of at least 1, found 0"),
        ({}, {"lookback": 1}, "lookback must be a whole number of at least 2, found 1"),
        ({}, {"target": "price"}, "target must be of open, high"),
        ({}, {"id_column": "ticker"}, "id_column='ticker' is no column"),
        ({}, {"timestamp_column": "when"}, "timestamp_column='when' is no column"),
        ({}, {"anchor": "glue"}, "anchor must be one of"),
        ({"timestamps": "later"}, {}, "has no column of times"),
        ({"open": "first"}, {}, "lacks open"),
    ],
)
def test_a_wrong_argument_is_named(change, arguments, says, predictor, table):
    with pytest.raises(ValueError, match=says):
        predictor.predict_df(table.rename(columns=change), **{"prediction_length": 3, **FAST, **arguments})


def test_rows_that_cannot_be_are_named(predictor, table):
    with pytest.raises(ValueError, match="symbol 'A' at 2024-01-02"):
        predictor.predict_df(pd.concat([table, bars("A", 2, 5).iloc[1:]]), 3, **FAST)
    with pytest.raises(ValueError, match="symbol 'C'"):
        predictor.predict_df(pd.concat([table, bars("C", 1, 5)]), 3, **FAST)
    with pytest.raises(ValueError, match="name their column with id_column="):
        predictor.predict_df(table.drop(columns="symbol"), 3, **FAST)
    future = pd.DataFrame({"symbol": ["A"], "timestamps": pd.to_datetime(["2023-01-01"])})
    with pytest.raises(ValueError, match=r"come after the last bar|no rows for symbol 'B'"):
        predictor.predict_df(table, future_df=future, **FAST)
    with pytest.raises(ValueError, match="not both"):
        predictor.predict_df(table, future_df=future, calendar="XNYS", **FAST)
    with pytest.raises(ValueError, match="DataFrame"):
        predictor.predict_df([1, 2], 3, **FAST)
