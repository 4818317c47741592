"""The matrix, mean and deviation that the networks see: bit for bit those of the reference's steps, in a fitting unit."""

import numpy as np
import pandas as pd
import pytest

from kronos.klines.features import minute_of_day, time_features, to_matrix
from kronos.klines.normalize import Normalizer

PRICES = ["open", "high", "low", "close"]
CASES = {
    "all": [*PRICES, "volume", "amount"],
    "no amount": [*PRICES, "volume"],
    "prices": PRICES,
    "another order": ["amount", "volume", "close", "low", "high", "open"],
    "further columns": [*PRICES, "volume", "turnover"],
}


def frame(bars: int, price: float, dtype=np.float64, whole_volume: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(bars)
    close = price * np.exp(rng.normal(0, 0.01, bars).cumsum())
    table = pd.DataFrame({"open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "close": close})
    volume = rng.integers(1, 100_000, bars)
    table["volume"], table["amount"], table["turnover"] = volume * 1.1, close * volume, 1.0
    table = table.astype(dtype)
    return table.assign(volume=volume) if whole_volume else table


def reference_steps(table: pd.DataFrame) -> tuple[np.ndarray, ...]:
    """What the reference does to a table before the networks: (matrix, mean, deviation, normalised)."""
    table = table.copy()
    if "volume" not in table:
        table["volume"] = table["amount"] = 0.0
    if "amount" not in table:
        table["amount"] = table["volume"] * table[PRICES].mean(axis=1)
    x = table[[*PRICES, "volume", "amount"]].values.astype(np.float32)
    mean, std = np.mean(x, axis=0), np.std(x, axis=0)
    return x, mean, std + 1e-5, np.clip((x - mean) / (std + 1e-5), -5, 5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bars", [2, 9, 300, 512, 1111])
def test_normalisation_equals_the_reference_steps_bit_for_bit(case, bars):
    for price in (0.9, 11.0, 2700.0, 3e5):
        for dtype in (np.float64, np.float32):
            for whole in (False, True):
                table = frame(bars, price, dtype, whole)[CASES[case]]
                matrix = to_matrix(table)
                scale = Normalizer.of(matrix)
                found = (matrix, scale.mean, scale.deviation, scale.normalise(matrix, 5))
                for ours, theirs in zip(found, reference_steps(table), strict=True):
                    assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), (price, dtype, whole)


def test_a_row_by_row_sum_would_be_off_at_a_price_of_eleven():
    matrix = to_matrix(frame(300, 11.0))
    row_by_row = np.ascontiguousarray(matrix).mean(axis=0)
    assert (row_by_row != Normalizer.of(matrix).mean).any()


@pytest.mark.parametrize("power", [-9, -6, -4, 3, 9, 12])
def test_normalised_values_do_not_depend_on_the_unit_of_price(power):
    table = frame(300, 100.0)
    changed = table.assign(**{name: table[name] * 10.0**power for name in PRICES})[[*PRICES, "volume"]]
    want, found = to_matrix(table[[*PRICES, "volume"]]), to_matrix(changed)
    ours, theirs = (Normalizer.of(matrix).normalise(matrix, 5) for matrix in (found, want))
    np.testing.assert_allclose(ours, theirs, atol=2e-3, rtol=0.05)  # a column may vary by 20 constants
    scale = Normalizer.of(found)
    np.testing.assert_allclose(scale.restore(scale.normalise(found, 100)), found, rtol=1e-4)


def test_prices_that_vary_by_twenty_constants_keep_their_unit():
    close = 1.1 + np.array([-1, 1] * 50) * 2.1e-4
    table = pd.DataFrame(dict.fromkeys(PRICES, close))
    whole, tenth = (Normalizer.of(to_matrix(each)).unit for each in (table, table / 10))
    assert whole is not None and tenth is not None
    assert (whole == 1).all() and (tenth[:4] == 1e5).all()


def test_constant_prices_are_normalised_to_zero_at_any_unit():
    for price in (1e-7, 1.0, 3e4):
        matrix = to_matrix(pd.DataFrame(dict.fromkeys(PRICES, np.full(50, price))))
        scale = Normalizer.of(matrix)
        assert np.abs(scale.normalise(matrix, 5)).max() < 0.5
        np.testing.assert_allclose(scale.restore(np.full(6, 5.0))[:4], price, rtol=1e-3)


def test_numbers_written_as_texts_are_read_as_numbers():
    table = frame(20, 100.0)[PRICES]
    assert np.array_equal(to_matrix(table.astype(str)), to_matrix(table))
    with pytest.raises(ValueError, match=r"column 'close' must hold numbers, found string values such as '1,200'"):
        to_matrix(table.assign(close="1,200"))


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai", "America/New_York"])
@pytest.mark.parametrize("unit", ["ns", "s"])
def test_time_features_equal_the_fields_of_pandas(zone, unit):
    seconds = np.random.default_rng(0).integers(-3 * 10**9, 4 * 10**9, 2000)
    index = pd.DatetimeIndex(pd.to_datetime(seconds, unit="s")).as_unit(unit)
    index = index if zone is None else index.tz_localize("UTC").tz_convert(zone)
    fields = (index.minute, index.hour, index.day_of_week, index.day, index.month)
    for times in (index, pd.Series(index), list(index)):
        np.testing.assert_array_equal(time_features(times), np.stack(fields, axis=1))
    np.testing.assert_array_equal(minute_of_day(index), index.hour * 60 + index.minute)
