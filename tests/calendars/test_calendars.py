"""The timestamps of the future: learned patterns, named calendars, errors."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.calendars import CalendarWarning, describe_calendar, future_timestamps, infer_frequency
from kronos.calendars.beyond import last_announced

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the market data beside the project (../shared/data)")

CN_MORNING = pd.timedelta_range("9h 35min", "11h 30min", freq="5min")
CN_AFTERNOON = pd.timedelta_range("13h 5min", "15h", freq="5min")
CN_SLOTS = pd.TimedeltaIndex([*CN_MORNING, *CN_AFTERNOON])
US_SLOTS = pd.timedelta_range("9h 30min", "15h 55min", freq="5min")


def bars(days: pd.DatetimeIndex, slots: pd.TimedeltaIndex) -> pd.DatetimeIndex:
    return pd.DatetimeIndex([day + slot for day in days for slot in slots])


def joined(*parts: pd.DatetimeIndex) -> pd.DatetimeIndex:
    return pd.DatetimeIndex([stamp for part in parts for stamp in part])


def weekdays(start: str, end: str) -> pd.DatetimeIndex:
    return pd.bdate_range(start, end)


def same(result: pd.DatetimeIndex, expected: pd.DatetimeIndex) -> None:
    assert list(result) == list(expected[: len(result)])


def fx_week(start: str, end: str, freq: str = "1h") -> pd.DatetimeIndex:
    """FX in UTC: open from Sunday 17:00 to Friday 17:00 in New York."""
    every = pd.date_range(start, end, freq=freq, tz="UTC")
    local = every.tz_convert("America/New_York")
    day, hour = local.day_of_week, local.hour
    return every[((day < 4) | ((day == 4) & (hour < 17)) | ((day == 6) & (hour >= 17)))]


# Learned patterns


def test_a_lunch_break_and_right_edge_labels_are_learned():
    stamps = bars(weekdays("2024-06-03", "2024-07-05"), CN_SLOTS)
    same(future_timestamps(stamps[:-300], 300), stamps[-300:])


def test_continuation_starts_in_the_middle_of_a_day():
    stamps = bars(weekdays("2024-06-03", "2024-06-28"), US_SLOTS)
    same(future_timestamps(stamps[:-101], 101), stamps[-101:])


def test_crypto_goes_on_around_the_clock():
    stamps = pd.date_range("2025-03-01", periods=600, freq="15min", tz="UTC")
    result = future_timestamps(stamps, 500)
    same(result, pd.date_range(stamps[-1] + pd.Timedelta("15min"), periods=500, freq="15min"))


def test_crypto_in_a_zone_with_dst_keeps_absolute_steps():
    stamps = pd.date_range("2025-03-01", periods=200, freq="1h", tz="America/New_York")
    result = future_timestamps(stamps, 48, "crypto")
    assert (np.diff(result.asi8) == result.asi8[1] - result.asi8[0]).all()
    assert str(result.tz) == "America/New_York"


def test_an_fx_week_opens_on_sunday_evening_and_closes_on_friday():
    stamps = fx_week("2025-05-05", "2025-07-12")
    for cut in (400, 700, 777, 990):
        same(future_timestamps(stamps[:cut], 150), stamps[cut : cut + 150])


@pytest.mark.parametrize("calendar", [None, "fx"])
def test_an_fx_week_in_utc_moves_by_an_hour_when_new_york_changes_clocks(calendar):
    stamps = fx_week("2025-01-06", "2025-04-12")
    cut = int(stamps.searchsorted(pd.Timestamp("2025-03-06", tz="UTC")))
    same(future_timestamps(stamps[:cut], 240, calendar), stamps[cut : cut + 240])


def test_utc_stamped_stocks_whose_history_has_a_clock_change_follow_new_york():
    local = bars(weekdays("2025-02-10", "2025-03-14"), US_SLOTS).tz_localize("America/New_York")
    stamps = local.tz_convert("UTC")
    cut = int(stamps.searchsorted(pd.Timestamp("2025-03-11", tz="UTC")))  # one new day against twenty old ones
    same(future_timestamps(stamps[:cut], 78 * 3), stamps[cut:])


def test_naive_utc_stamped_stocks_are_recognised_by_their_hours_before_a_clock_change():
    local = bars(weekdays("2025-02-10", "2025-03-14"), US_SLOTS).tz_localize("America/New_York")
    stamps = local.tz_convert("UTC").tz_localize(None)
    cut = int(stamps.searchsorted(pd.Timestamp("2025-03-07")))
    same(future_timestamps(stamps[:cut], 200), stamps[cut:])


def test_missing_minutes_of_a_thin_market_do_not_remove_their_slots():
    slots = pd.timedelta_range("9h 30min", "15h 59min", freq="1min")
    full = bars(weekdays("2024-09-02", "2024-09-13"), slots)
    thin = full[np.random.default_rng(0).random(len(full)) < 0.8]
    same(future_timestamps(thin, 390, None), bars(weekdays("2024-09-16", "2024-09-16"), slots))


def test_an_early_close_is_not_learned_as_the_norm():
    full, short = weekdays("2024-11-04", "2024-11-28"), weekdays("2024-11-29", "2024-11-29")
    stamps = joined(bars(full, US_SLOTS), bars(short, US_SLOTS[:42]), bars(short + pd.Timedelta("3D"), US_SLOTS))
    same(future_timestamps(stamps, 78 * 4), bars(weekdays("2024-12-03", "2024-12-06"), US_SLOTS))


def test_a_new_way_of_labelling_is_followed_after_three_days():
    old = pd.to_timedelta(["9h 30min", "10h", "11h", "12h", "13h", "14h", "15h"])
    new = pd.timedelta_range("9h 30min", "15h 30min", freq="1h")
    stamps = joined(bars(weekdays("2025-06-02", "2025-06-27"), old), bars(weekdays("2025-06-30", "2025-07-02"), new))
    same(future_timestamps(stamps, 14), bars(weekdays("2025-07-03", "2025-07-04"), new))
    early = bars(pd.DatetimeIndex(["2025-07-03"]), new[:4])  # closes at 13:00, and the fourth of July is a holiday
    same(future_timestamps(stamps, 11, "NYSE"), joined(early, bars(pd.DatetimeIndex(["2025-07-07"]), new)))


def test_a_history_of_part_of_one_day_continues_in_plain_steps():
    stamps = pd.date_range("2024-06-03 10:00", periods=8, freq="5min")
    same(future_timestamps(stamps, 20), pd.date_range("2024-06-03 10:40", periods=20, freq="5min"))


def test_two_days_are_enough_to_learn_the_night_and_then_the_weekend_is_left_out():
    stamps = bars(pd.DatetimeIndex(["2024-06-06", "2024-06-07"]), US_SLOTS)  # Thursday and Friday
    same(future_timestamps(stamps, 78), bars(weekdays("2024-06-10", "2024-06-10"), US_SLOTS))


def test_daily_bars_leave_out_weekends_only_where_they_are_visibly_absent():
    assert future_timestamps(["2024-06-06", "2024-06-07", "2024-06-10"], 5)[-1] == pd.Timestamp("2024-06-17")
    assert future_timestamps(["2024-06-05", "2024-06-06", "2024-06-07"], 1)[0] == pd.Timestamp("2024-06-08")
    assert future_timestamps(["2024-06-07", "2024-06-10"], 1)[0] == pd.Timestamp("2024-06-11")


def test_daily_bars_keep_the_local_time_of_their_labels_across_a_clock_change():
    stamps = weekdays("2025-02-03", "2025-03-28").tz_localize("America/New_York").tz_convert("UTC")
    for calendar in (None, "XNYS"):
        result = future_timestamps(stamps[:-10], 10, calendar)
        same(result, stamps[-10:])
    same(future_timestamps(stamps[:20], 20, "XNYS"), stamps[20:40])  # the change lies ahead


@pytest.mark.parametrize("freq", ["MS", "ME", "BMS", "BME", "QS", "QE", "YS", "YE", "W-FRI", "W-MON", "W-SUN"])
def test_weekly_and_longer_bars_keep_their_labelling_day(freq):
    stamps = pd.date_range("2015-01-01", periods=60, freq=freq)
    same(future_timestamps(stamps[:30], 30), stamps[30:])


# Named calendars


def test_a_shares_skip_the_october_holiday_and_keep_their_lunch():
    stamps = bars(weekdays("2024-09-02", "2024-09-13"), CN_SLOTS)
    result = future_timestamps(stamps, 48 * 12, "xshg")
    held = [*pd.to_datetime(["2024-09-18", "2024-09-19", "2024-09-20"]), *weekdays("2024-09-23", "2024-09-30")]
    held += [*weekdays("2024-10-08", "2024-10-11")]
    same(result, bars(pd.DatetimeIndex(held), CN_SLOTS))


@pytest.mark.parametrize("zone", [None, "America/New_York", "UTC", "Asia/Shanghai"])
def test_new_york_is_shut_on_thanksgiving_and_closes_early_the_day_after(zone):
    days = weekdays("2024-10-21", "2024-11-22")  # the clocks change on November 3
    stamps = bars(days, US_SLOTS)
    expected = joined(
        bars(weekdays("2024-11-25", "2024-11-27"), US_SLOTS),
        bars(pd.DatetimeIndex(["2024-11-29"]), US_SLOTS[:42]),  # 9:30 to 13:00
        bars(pd.DatetimeIndex(["2024-12-02"]), US_SLOTS),
    )
    if zone:
        stamps = stamps.tz_localize("America/New_York").tz_convert(zone)
        expected = expected.tz_localize("America/New_York").tz_convert(zone)
    result = future_timestamps(stamps, len(expected), "NYSE")
    same(result, expected)
    assert str(result.tz) == str(stamps.tz)


def test_a_clock_change_ahead_is_known_from_the_calendar():
    local = bars(weekdays("2025-03-03", "2025-03-14"), US_SLOTS).tz_localize("America/New_York")
    stamps = local.tz_convert("UTC")
    same(future_timestamps(stamps[:300], 400, "XNYS"), stamps[300:])


def test_extended_hours_stay_but_holidays_and_early_closes_cut_them():
    slots = pd.timedelta_range("4h", "19h 55min", freq="5min")
    stamps = bars(weekdays("2024-11-04", "2024-11-27"), slots)
    result = future_timestamps(stamps, 200, "XNYS")
    friday = result[result.normalize() == "2024-11-29"]
    assert result[0] == pd.Timestamp("2024-11-29 04:00")
    assert friday[-1] == pd.Timestamp("2024-11-29 16:55")  # three hours earlier than 19:55


@pytest.mark.parametrize(
    ("first", "second", "last"),
    [("09:35", "09:40", "15:00"), ("09:30", "09:35", "14:55")],
)
def test_a_history_of_two_bars_takes_its_slots_from_the_opening_hours(first, second, last):
    history = [f"2024-06-03 {first}", f"2024-06-03 {second}"]
    result = future_timestamps(history, 60, "SSE")
    day = result[result.normalize() == "2024-06-03"]
    assert len(day) == 46
    assert day[-1] == pd.Timestamp(f"2024-06-03 {last}")


def test_four_hour_bars_cut_in_utc_follow_the_session_through_the_clock_change():
    every = pd.date_range("2024-09-02", "2024-12-20", freq="4h", tz="UTC")
    open_minutes = bars(weekdays("2024-09-03", "2024-11-27"), US_SLOTS).tz_localize("America/New_York")
    stamps = every[every.isin(open_minutes.tz_convert("UTC").floor("4h"))]
    cut = int(stamps.searchsorted(pd.Timestamp("2024-10-30", tz="UTC")))
    same(future_timestamps(stamps[:cut], 40, "XNYS"), stamps[cut:])


def test_monthly_bars_on_the_last_session_of_the_month():
    import exchange_calendars

    sessions = exchange_calendars.get_calendar("XNYS", start="2020-01-01", end="2025-12-31").sessions
    stamps = pd.DatetimeIndex(pd.Series(sessions).groupby(sessions.to_period("M")).max())
    same(future_timestamps(stamps[:36], 30, "XNYS"), stamps[36:])


def test_daily_bars_stamped_at_midnight_utc_are_dates_not_the_evening_before():
    stamps = pd.date_range("2024-06-03", "2024-06-28", freq="B", tz="UTC").drop([pd.Timestamp("2024-06-19", tz="UTC")])
    result = future_timestamps(stamps, 5, "XNYS")
    days = ["2024-07-01", "2024-07-02", "2024-07-03", "2024-07-05", "2024-07-08"]
    same(result, pd.DatetimeIndex(days, tz="UTC"))


def test_a_history_from_long_ago_still_finds_its_sessions():
    stamps = weekdays("1998-12-07", "1998-12-18")
    assert future_timestamps(stamps, 5, "XNYS")[-1] == pd.Timestamp("1998-12-28")  # Christmas was a Friday


def test_a_horizon_past_the_calendars_end_says_so_and_leaves_public_holidays_out():
    history = bars(weekdays("2026-12-01", "2026-12-18"), CN_SLOTS)
    with pytest.warns(
        CalendarWarning, match=r"XSHG knows its sessions until 2026-12-31: 96 of the 528 bars .* holidays of CN"
    ):
        result = future_timestamps(history, 48 * 11, "XSHG")
    # 1 January 2027 is a Friday
    same(result, bars(joined(weekdays("2026-12-21", "2026-12-31"), weekdays("2027-01-04", "2027-01-05")), CN_SLOTS))


def test_a_horizon_within_the_calendar_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        future_timestamps(bars(weekdays("2026-12-01", "2026-12-18"), CN_SLOTS), 48 * 9, "XSHG")


def test_a_history_after_the_last_known_session_goes_on_by_weekdays():
    with pytest.warns(CalendarWarning, match="5 of the 5 bars come after it"):
        result = future_timestamps(weekdays("2028-05-01", "2028-05-26"), 5, "XSHG")
    # 28 May 2028 is the Dragon Boat Festival, a Sunday, and 29 May its day off
    same(result, pd.DatetimeIndex(["2028-05-30", "2028-05-31", "2028-06-01", "2028-06-02", "2028-06-05"]))


def test_announced_holidays_count_up_to_the_last_year_that_is_listed_whole():
    days = [pd.Timestamp(year, month, 5) for year in range(2010, 2026) for month in range(1, 9)]
    easters = [pd.Timestamp(year, 4, 2) for year in range(2026, 2050)]
    assert last_announced([*days, *easters]) == np.datetime64("2025-12-31", "D").astype(int)
    assert last_announced(easters) is None and last_announced([]) is None


def test_bars_after_the_announced_holidays_and_an_old_package_are_said(monkeypatch):
    monkeypatch.setattr("kronos.calendars.future._SAID_STALE", set())
    history = weekdays("2040-02-01", "2040-02-24")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        future_timestamps(history, 5, "XIDX")
        future_timestamps(history, 5, "XIDX")
        future_timestamps(history, 5, "XNYS")
    texts = [str(one.message) for one in said]
    listed = [text for text in texts if "calendar XIDX lists the holidays" in text]
    assert len(listed) == 2 and all("5 of the 5 bars come after it" in text for text in listed)
    stale = [text for text in texts if text.startswith("exchange_calendars ")]
    assert [("XIDX" in text, "XNYS" in text) for text in stale] == [(True, False), (False, True)]
    assert all(
        "the history goes on to 2040-02-24" in text and "pip install -U exchange_calendars" in text for text in stale
    )


def test_a_history_before_the_first_known_session_is_refused():
    with pytest.raises(ValueError, match=r"XSHG knows sessions from 1990-12-03 to .* use calendar=None"):
        future_timestamps(weekdays("1980-01-01", "1980-01-30"), 5, "XSHG")


def test_a_horizon_beyond_the_year_2261_is_refused():
    with pytest.raises(ValueError, match="past what timestamps hold"):
        future_timestamps(weekdays("2024-06-03", "2024-06-28"), 90_000)
    with pytest.raises(ValueError, match="XNYS knows only"):
        future_timestamps(weekdays("2240-06-04", "2240-06-28"), 20_000, "XNYS")


def test_a_calendar_of_another_market_is_refused():
    weekends = joined(pd.date_range("2024-06-01", "2024-06-30", freq="W-SAT"), pd.DatetimeIndex(["2024-07-01"]))
    with pytest.raises(ValueError, match="only 17% of the recent history lies in sessions of XNYS"):
        future_timestamps(bars(weekends, US_SLOTS), 5, "XNYS")


def test_an_unknown_calendar_names_near_matches():
    with pytest.raises(ValueError, match=r"'XNYSE' is unknown; near: .*NYSE.*Common ones"):
        future_timestamps(weekdays("2024-06-03", "2024-06-28"), 5, "XNYSE")


def test_calendar_aliases_and_case_do_not_matter():
    stamps = weekdays("2024-06-03", "2024-06-28")
    by_code = future_timestamps(stamps, 30, "XNYS")
    for name in ("nyse", "NASDAQ", " xnys ", "us"):
        same(future_timestamps(stamps, 30, name), by_code)
    same(future_timestamps(stamps, 30, "auto"), future_timestamps(stamps, 30))


def test_fx_named_needs_no_weekend_in_its_history():
    stamps = fx_week("2025-05-05", "2025-05-25")
    same(future_timestamps(stamps[30:60], 120, "fx"), stamps[60:180])


def test_naive_times_that_fit_the_sessions_only_as_utc_are_read_so_with_a_warning():
    local = bars(weekdays("2024-02-20", "2024-03-12"), US_SLOTS).tz_localize("America/New_York")
    naive = local.tz_convert("UTC").tz_localize(None)
    cut = int(naive.searchsorted(pd.Timestamp("2024-03-09")))  # the clocks change on March 10
    with pytest.warns(CalendarWarning, match="only as UTC"):
        result = future_timestamps(naive[:cut], 100, "XNYS")
    same(result, naive[cut:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        future_timestamps(local.tz_localize(None)[:cut], 100, "XNYS")


# Night sessions

CN_DAY = [("09:00", "10:15"), ("10:30", "11:30"), ("13:30", "15:00")]
HK_DAY = [("09:15", "12:00"), ("13:00", "16:30")]
NO_NIGHT_2024 = pd.to_datetime(["2024-02-08", "2024-04-03", "2024-04-30", "2024-06-07", "2024-09-13", "2024-09-30"])
"""Last trading days before public holidays, on which Chinese futures exchanges held no night session."""
CN_CLOSED_2024 = [
    ("02-09", "02-18"),
    ("04-04", "04-05"),
    ("05-01", "05-05"),
    ("06-10", "06-10"),
    ("09-16", "09-17"),
    ("10-01", "10-07"),
]
QUARTERS_TO_60 = [5, 15, 30, 60]


def run_labels(runs: list[tuple[str, str]], minutes: int, side: str) -> list[pd.Timedelta]:
    """Labels of bars of each run of trading, cut from its opening; the last one may be short."""
    labels = []
    for start, end in runs:
        first, last = (pd.Timedelta(hours=int(each[:2]), minutes=int(each[3:])) for each in (start, end))
        edges = [*pd.timedelta_range(first, last, freq=f"{minutes}min")]
        edges += [last] if edges[-1] < last else []
        labels += edges[:-1] if side == "left" else edges[1:]
    return labels


def cn_futures(start: str, end: str, night: str | None, minutes: int, side: str = "right") -> pd.DatetimeIndex:
    """A product of a Chinese futures exchange in 2024; no night session where ``night``, its close, is None."""
    days = weekdays(start, end)
    for first, last in CN_CLOSED_2024:
        days = days[(days < pd.Timestamp(f"2024-{first}")) | (days > pd.Timestamp(f"2024-{last}"))]
    stamps = []
    for day in days:
        held = [("21:00", night)] if night and day not in NO_NIGHT_2024 else []
        stamps += [day + label for label in run_labels(CN_DAY + held, minutes, side)]
    return pd.DatetimeIndex(stamps)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("minutes", QUARTERS_TO_60)
@pytest.mark.parametrize("night", [None, "23:00", "25:00", "26:30"])
def test_chinese_futures_with_and_without_a_night_session_are_learned(night, minutes, side):
    stamps = cn_futures("2024-07-01", "2024-09-12", night, minutes, side)
    for cut in np.linspace(len(stamps) // 2, len(stamps) - 60, 7).astype(int):
        same(future_timestamps(stamps[:cut], 60), stamps[cut : cut + 60])


@pytest.mark.parametrize("minutes", QUARTERS_TO_60)
@pytest.mark.parametrize("night", [None, "23:00", "25:00", "26:30"])
def test_no_night_session_is_held_before_public_holidays_where_the_calendar_is_named(night, minutes):
    for side in ("left", "right"):
        stamps = cn_futures("2024-03-04", "2024-10-31", night, minutes, side)
        for holiday in ("2024-04-30", "2024-06-07", "2024-09-12", "2024-09-30"):
            cut = int(stamps.searchsorted(pd.Timestamp(holiday)))
            same(future_timestamps(stamps[:cut], 60, "shfe"), stamps[cut : cut + 60])


def test_the_night_of_friday_goes_on_after_midnight_on_saturday():
    stamps = cn_futures("2024-07-01", "2024-08-30", "26:30", 15)
    cut = int(stamps.searchsorted(pd.Timestamp("2024-08-03 00:00"))) + 1
    assert stamps[cut - 1] == pd.Timestamp("2024-08-03 00:00")  # the last stamp is a midnight
    for calendar in (None, "cn-futures"):
        same(future_timestamps(stamps[:cut], 60, calendar), stamps[cut : cut + 60])


def test_two_days_of_a_night_session_are_enough_to_leave_the_weekend_out():
    stamps = cn_futures("2024-08-01", "2024-08-09", "26:30", 15)
    cut = int(stamps.searchsorted(pd.Timestamp("2024-08-03 04:00")))
    same(future_timestamps(stamps[:cut], 60), stamps[cut : cut + 60])


@pytest.mark.parametrize("calendar", [None, "HKFE"])
@pytest.mark.parametrize("minutes", QUARTERS_TO_60)
def test_hong_kong_futures_trade_until_three_in_the_morning(minutes, calendar):
    stamps = bars(
        weekdays("2024-07-02", "2024-09-04"),
        pd.TimedeltaIndex(run_labels([*HK_DAY, ("17:15", "27:00")], minutes, "left")),
    )
    for cut in np.linspace(len(stamps) // 2, len(stamps) - 60, 7).astype(int):
        same(future_timestamps(stamps[:cut], 60, calendar), stamps[cut : cut + 60])


def test_a_short_friday_seen_twice_is_the_rule():
    full, short = US_SLOTS, US_SLOTS[:42]
    days = weekdays("2024-06-03", "2024-06-28")
    stamps = pd.DatetimeIndex([day + slot for day in days for slot in (short if day.day_of_week == 4 else full)])
    cut = int(stamps.searchsorted(pd.Timestamp("2024-06-18")))  # Monday tells that Friday had ended
    same(future_timestamps(stamps[:cut], 78 * 3 + 42 + 78), stamps[cut:])


# Days and hours that an exchange changes


@pytest.mark.parametrize("minutes", QUARTERS_TO_60)
@pytest.mark.parametrize(
    ("calendar", "opens", "closes", "start", "half", "early"),
    [
        ("XASX", "10:00", "16:00", "2024-11-01", "2024-12-24", "14:10"),
        ("XNYS", "09:30", "16:00", "2024-10-01", "2024-11-29", "13:00"),
    ],
)
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_half_day_ends_early_where_the_calendar_is_named(calendar, opens, closes, start, half, early, minutes, side):
    day = pd.Timestamp(half)
    full = pd.TimedeltaIndex(run_labels([(opens, closes)], minutes, side))
    history = bars(weekdays(start, str(day - pd.Timedelta("1D"))), full)
    wanted = pd.DatetimeIndex([day + each for each in run_labels([(opens, early)], minutes, side)])
    got = future_timestamps(history, len(full) * 3, calendar)
    got = got[got.normalize() == day]
    if side == "right" and minutes > 5 and calendar == "XASX":
        wanted, got = (
            wanted[:-1],
            got[got <= day + pd.Timedelta("14h")],
        )  # where the label of the short bar lies is not known
    assert list(got) == list(wanted)


@pytest.mark.parametrize("minutes", QUARTERS_TO_60)
@pytest.mark.parametrize("cut", ["2024-11-01", "2024-11-05", "2024-11-07", "2024-11-20"])
def test_tokyo_closes_at_half_past_three_since_november_2024(cut, minutes):
    hours = [("09:00", "11:30"), ("12:30", "15:00")], [("09:00", "11:30"), ("12:30", "15:30")]
    days = weekdays("2024-09-24", "2024-12-13").drop(pd.to_datetime(["2024-10-14", "2024-11-04"]))
    stamps = pd.DatetimeIndex(
        [
            day + each
            for day in days
            for each in run_labels(hours[int(day >= pd.Timestamp("2024-11-05"))], minutes, "left")
        ]
    )
    at = int(stamps.searchsorted(pd.Timestamp(cut)))
    same(future_timestamps(stamps[:at], 60, "XTKS"), stamps[at : at + 60])


def test_tel_aviv_moves_its_week_in_january_2026():
    days = pd.date_range("2025-12-01", "2026-01-16")
    days = days[[d.day_of_week in ((6, 0, 1, 2, 3) if d < pd.Timestamp("2026-01-05") else range(5)) for d in days]]
    long, short = pd.timedelta_range("10h", "17h", freq="1h"), {6: "15h", 4: "13h"}
    stamps = pd.DatetimeIndex(
        [d + slot for d in days for slot in long[long <= pd.Timedelta(short.get(d.day_of_week, "17h"))]]
    )
    cut = int(stamps.searchsorted(pd.Timestamp("2026-01-01")))
    same(future_timestamps(stamps[:cut], 60, "TASE"), stamps[cut : cut + 60])


# What goes in and out


def test_every_kind_of_history_gives_the_same_answer_and_is_not_changed():
    index = bars(weekdays("2024-06-03", "2024-06-28"), CN_SLOTS)
    series = pd.Series(index, index=range(100, 100 + len(index)))
    copy = series.copy(deep=True)
    expected = future_timestamps(index, 60)
    for history in (series, list(index), index.to_numpy(), list(index.astype(str)), index.to_pydatetime()):
        same(future_timestamps(history, 60), expected)
    pd.testing.assert_series_equal(series, copy)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_zone_and_unit_of_the_history_are_kept(unit):
    stamps = bars(weekdays("2024-06-03", "2024-06-14"), US_SLOTS).tz_localize("America/New_York").as_unit(unit)
    result = future_timestamps(stamps, 10)
    assert result.dtype == stamps.dtype
    assert len(result) == 10 and result[0] > stamps[-1] and result.is_monotonic_increasing


def test_one_stamp_is_enough_when_its_index_knows_its_frequency():
    stamps = pd.date_range("2024-06-03", periods=1, freq="1h")
    same(future_timestamps(stamps, 3), pd.date_range("2024-06-03 01:00", periods=3, freq="1h"))


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([], "history is empty"),
        (["2024-06-03 10:00"], "one timestamp .* give at least two"),
        (["2024-06-03", None, "2024-06-05"], r"history\[1\] is missing"),
        (["2024-06-03", "2024-06-05", "2024-06-04"], r"history\[2\] .* is earlier .* sort"),
        (["2024-06-03", "2024-06-04", "2024-06-04"], r"history\[2\] .* repeats .* drop the duplicates"),
        (["2024-06-03", "2024-06-04", "yesterday-ish"], r"history\[2\] is 'yesterday-ish'"),
        ([1717400000000, 1717400300000], "holds numbers .* unit='ms'"),
        ("2024-06-03", "one value"),
        (None, "one value"),
        (["2024-03-08 10:00-05:00", "2024-03-11 10:00-04:00"], "mixes UTC offsets"),
    ],
)
def test_a_history_that_cannot_be_used_says_where_and_why(history, message):
    with pytest.raises(ValueError, match=message):
        future_timestamps(history, 5)


@pytest.mark.parametrize("horizon", [0, -1, 100_001, 2.5, True, "5"])
def test_a_horizon_out_of_range_is_refused(horizon):
    with pytest.raises(ValueError, match=r"horizon is .* from 1 to 100,000"):
        future_timestamps(pd.date_range("2024-06-03", periods=5), horizon)


@pytest.mark.parametrize(
    ("stamps", "step"),
    [
        (bars(weekdays("2024-06-03", "2024-06-14"), CN_SLOTS), "5min"),
        (weekdays("2024-06-03", "2024-06-28"), "1D"),
        (pd.date_range("2024-01-05", periods=20, freq="W-FRI"), "7D"),
        (pd.date_range("2024-01-31", periods=20, freq="ME"), "30D"),
        (pd.date_range("2024-01-01", periods=20, freq="QS"), "91D"),
        (pd.date_range("2000-01-01", periods=20, freq="YS"), "365D"),
        (fx_week("2025-05-05", "2025-06-01", "4h"), "4h"),
    ],
)
def test_the_frequency_is_the_step_inside_sessions(stamps, step):
    assert infer_frequency(stamps) == pd.Timedelta(step)


def test_calendars_are_described_in_one_sentence():
    chinese = bars(weekdays("2024-06-03", "2024-06-28"), CN_SLOTS)
    sentence = "5-minute bars, 48 a day, 09:35-11:30 and 13:05-15:00, Monday to Friday"
    assert describe_calendar(chinese) == sentence
    assert describe_calendar(chinese, "sse") == sentence + ", calendar XSHG"
    assert describe_calendar(weekdays("2024-06-03", "2024-06-28")) == "daily bars, Monday to Friday"
    crypto = pd.date_range("2025-03-01", periods=600, freq="1h", tz="UTC")
    assert describe_calendar(crypto) == "1-hour bars, 24 a day, around the clock, every day"
    assert describe_calendar(fx_week("2025-05-05", "2025-06-14")) == (
        "1-hour bars, 24 a day, around the clock, Monday to Thursday, Friday 00:00-20:00, Sunday 21:00-23:00"
    )
    assert describe_calendar(pd.date_range("2024-01-31", periods=20, freq="ME")) == "monthly bars"


def test_learning_from_five_thousand_bars_is_fast():
    import time

    stamps = bars(weekdays("2024-01-01", "2024-12-31"), US_SLOTS)[:5000]
    future_timestamps(stamps, 500)
    start = time.perf_counter()
    future_timestamps(stamps, 500)
    assert time.perf_counter() - start < 0.25  # about 5 ms when nothing else runs


# Real series, where they are at hand


@needs_data
@pytest.mark.parametrize("calendar", [None, "XSHG"])
def test_the_classic_a_share_example_is_continued_exactly(calendar):
    stamps = pd.DatetimeIndex(pd.read_csv(DATA / "csv" / "XSHG_5min_600977.csv")["timestamps"])
    for cut in range(1200, 2400, 240):
        same(future_timestamps(stamps[:cut], 100, calendar), stamps[cut : cut + 100])


@needs_data
def test_eighteen_months_of_qlib_days_are_the_sessions_of_shanghai():
    stamps = pd.DatetimeIndex((DATA / "qlib_cn" / "calendars" / "day.txt").read_text().split())
    same(future_timestamps(stamps[:500], 400, "XSHG"), stamps[500:900])
