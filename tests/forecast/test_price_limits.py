"""Daily price limits: the shares of boards, their rounding, and paths kept within them."""

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kronos.cli import main as cli
from kronos.forecast.forecast import Forecast
from kronos.forecast.price_limits import PriceLimit, limited_paths, price_limit
from kronos.klines.notes import notes_of, volume_unit


@pytest.mark.parametrize(
    ("symbol", "share"),
    [
        ("600519", 0.10),
        ("sh601398", 0.10),
        ("000001.SZ", 0.10),
        ("*ST 600225", 0.05),
        ("ST000716", 0.05),
        ("688981", 0.20),
        ("300750.XSHE", 0.20),
        ("ST300029", 0.20),
        ("830799.BJ", 0.30),
        ("920002", 0.30),
        ("akshare_600519_1d", 0.10),
    ],
)
def test_the_board_of_a_code_gives_the_share(symbol, share):
    limit = price_limit("cn", symbol)
    assert (limit.share, limit.tick) == (share, 0.01)


def test_chinext_had_ten_percent_until_august_2020():
    assert price_limit("cn", "300750", pd.Timestamp("2020-08-21")).share == 0.10
    assert price_limit("cn", "300750", pd.Timestamp("2020-08-24")).share == 0.20


@pytest.mark.parametrize("symbol", ["AAPL", "510300", "20240101", None])
def test_a_code_of_no_known_board_is_refused(symbol):
    with pytest.raises(ValueError, match=r"is not known.*give the share, price_limit=0.1"):
        price_limit("cn", symbol)


@pytest.mark.parametrize("told", ["ten", "0", "1", "10", "nan"])
def test_a_share_outside_zero_to_one_is_refused(told):
    with pytest.raises(ValueError, match="takes cn or a share between 0 and 1"):
        price_limit(told)


@pytest.mark.parametrize(
    ("close", "share", "low", "high"),
    [(10.25, 0.1, 9.23, 11.28), (7.03, 0.1, 6.33, 7.73), (3.33, 0.05, 3.16, 3.50), (100.0, 0.2, 80.0, 120.0)],
)
def test_bounds_are_rounded_half_up_to_the_tick(close, share, low, high):
    got = PriceLimit(share, 0.01).bounds(np.array([close]))
    assert np.allclose([got[0][0], got[1][0]], [low, high], rtol=0, atol=1e-9)


def history(times: pd.DatetimeIndex, close: float = 10.0) -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), index=times)


def test_daily_paths_go_on_from_the_limit_that_stopped_them():
    paths = np.full((2, 3, 6), 20.0)
    paths[1, :, :4] = 10.5
    future = pd.DatetimeIndex(["2024-03-11", "2024-03-12", "2024-03-13"])
    kept, changed = limited_paths(
        paths, future, history(pd.bdate_range("2024-03-01", "2024-03-08")), PriceLimit(0.1, 0.01)
    )
    assert kept[0, :, 3].round(2).tolist() == [11.0, 12.1, 13.31]
    assert kept[1].tolist() == paths[1].tolist() and changed == 1
    assert (kept[..., 4:] == paths[..., 4:]).all() and (paths[0, :, 3] == 20).all()


def test_intraday_bars_of_one_day_share_the_close_of_the_day_before():
    times = pd.DatetimeIndex([f"2024-03-0{day} {hour}:00" for day in (7, 8) for hour in (10, 11, 14, 15)])
    past = history(times[:6]).assign(
        close=[9.0, 9.5, 9.8, 10.0, 10.9, 10.95]
    )  # stands at 10.95, yesterday's close is 10
    future = pd.DatetimeIndex([*times[6:], pd.Timestamp("2024-03-11 10:00")])
    kept, _ = limited_paths(np.full((1, 3, 6), 20.0), future, past, PriceLimit(0.1, 0.01))
    assert kept[0, :, 3].round(2).tolist() == [11.0, 11.0, 12.1]


def test_days_of_times_in_utc_are_those_of_shanghai():
    local = pd.DatetimeIndex(["2024-03-07 15:00", "2024-03-08 09:00", "2024-03-08 15:00"]).tz_localize("Asia/Shanghai")
    times = local.tz_convert("UTC")  # nine in the morning of Shanghai is one at night in UTC
    past = history(times[:1]).assign(close=10.0)
    kept, _ = limited_paths(np.full((1, 2, 6), 20.0), times[1:], past, price_limit("cn", "600519"))
    assert kept[0, :, 3].round(2).tolist() == [11.0, 11.0]


def test_a_history_without_the_day_before_is_refused():
    times = pd.DatetimeIndex(["2024-03-08 10:00", "2024-03-08 11:00"])
    with pytest.raises(ValueError, match="no close of a day before 2024-03-08"):
        limited_paths(np.ones((1, 1, 6)), times[1:], history(times[:1]), PriceLimit(0.1))


def test_weekly_bars_are_refused():
    times = pd.date_range("2024-01-05", periods=12, freq="W-FRI")
    with pytest.raises(ValueError, match="bars of a day or less"):
        limited_paths(np.ones((1, 2, 6)), times[10:], history(times[:10]), PriceLimit(0.1))


def test_a_forecast_takes_the_board_from_the_id_and_is_not_changed():
    times = pd.bdate_range("2024-03-01", "2024-03-08")
    future = pd.DatetimeIndex(["2024-03-11"])
    paths = [np.full((3, 1, 6), 20.0)] * 2
    forecast = Forecast(paths, [future] * 2, ["600519", "688981"], history=[history(times)] * 2)
    kept = forecast.within_price_limits("cn")
    assert kept["600519"].mean()["close"].round(2).tolist() == [11.0]
    assert kept["688981"].mean()["close"].round(2).tolist() == [12.0]
    assert forecast["600519"].mean()["close"].tolist() == [20.0]


def prices(tmp_path, scale: float) -> str:
    rng = np.random.default_rng(3)
    close = np.round(20 * np.exp(np.cumsum(rng.normal(0, 0.06, 120))), 2)
    first = np.concatenate([[20.0], close[:-1]])
    frame = pd.DataFrame({"date": pd.bdate_range("2024-01-01", periods=120), "open": first})
    frame = frame.assign(
        high=np.maximum(first, close) + 0.05, low=np.minimum(first, close) - 0.05, close=close, volume=1000.0
    )
    frame["amount"] = frame["volume"] * (frame["high"] + frame["low"]) / 2 * scale
    path = tmp_path / "600519.csv"
    frame.to_csv(path, index=False)
    return str(path)


def test_the_command_keeps_every_path_within_the_limit_and_says_the_unit(tmp_path):
    path, out = prices(tmp_path, 100), tmp_path / "paths.parquet"
    told = ["forecast", path, "--horizon", "4", "--paths", "20", "--price-limit", "cn", "--save", str(out)]
    done = CliRunner().invoke(cli, told)
    assert done.exit_code == 0, done.output
    assert "daily limit of 10% (Shanghai main board); volume counts lots of 100 shares" in done.output
    last = pd.read_csv(path)["close"].iloc[-1]
    closes = np.concatenate([np.full((20, 1), last), Forecast.load(out).paths[0, :, :, 3]], axis=1)
    high = np.floor(closes[:, :-1] * 110 + 0.5 + 1e-3) / 100
    assert (closes[:, 1:] <= high + 0.011).all()  # float32, and a bound of a rounded close
    refused = CliRunner().invoke(cli, ["forecast", path, "--price-limit", "10"])
    assert refused.exit_code != 0 and "share between 0 and 1" in f"{refused.output} {refused.exception}"


def test_the_unit_of_volume_is_told_by_the_amount():
    bars = pd.DataFrame({name: [10.0, 11.0] for name in ("open", "high", "low", "close")}).assign(volume=[100.0, 0.0])
    times = pd.Series(pd.to_datetime(["2024-03-07", "2024-03-08"]))
    assert "not known" in volume_unit(bars)
    assert volume_unit(bars.assign(amount=[1000.0, 0.0])) == "volume counts shares"
    lots = bars.assign(amount=[100_000.0, 0.0], timestamps=times)
    assert any("lots of 100" in note for note in notes_of(lots))
    assert "neither" in volume_unit(bars.assign(amount=[7.0, 0.0]))
