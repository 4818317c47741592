"""Cells of time columns -> timestamps: epochs, dates in many spellings, clocks, zones. Reads no files."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd

from kronos.klines.clock_zones import OFFSET, on_local_clock, set_zone, without_zone_name
from kronos.klines.columns import KlineError
from kronos.klines.date_spellings import clock_of_24, in_common_era, plain, year_first
from kronos.klines.epochs import from_digits, spelled_out
from kronos.klines.time_cells import refuse_missing, row_of


def parse_timestamps(series: pd.Series, name: str) -> pd.Series:
    """Cells -> datetime64[ns] or, where the cells say their zone, datetime64[ns, zone]. Missing cells become NaT.

    Epoch numbers (s, ms, us or ns, told by magnitude) are UTC by definition; texts with one offset keep it, with
    several (a daylight-saving change) become UTC; everything else stays naive. 20240701 is a date, not an epoch.
    Raises KlineError naming the first cell that is no time, or when 01/07/2024 could be two dates.
    """
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return _to_ns(series, name)
    if pd.api.types.is_float_dtype(series.dtype):  # "%.0f"-like, so that 1.7e12 is spelled in digits
        texts = series.map(lambda v: np.format_float_positional(v, trim="-"), na_action="ignore").astype("str")
    else:
        texts = series.astype("str").str.strip()
    texts = texts.where(series.notna() & ~texts.isin(("", "NaT", "nan", "None")))
    cells = texts.dropna()
    if cells.empty:
        return pd.Series(pd.NaT, index=series.index, dtype="datetime64[ns]")
    if not all(map(str.isascii, cells.head(20))):
        cells = cells.str.normalize("NFKC")  # digits of full width
    if _all_match(_NUMBER, cells):
        times = from_digits(cells, series, name)
    elif _all_match(_SCIENTIFIC, cells):
        times = from_digits(spelled_out(cells, series, name), series, name)
    else:
        times = _from_texts(cells, series, name)
    return _to_ns(times, name).reindex(series.index)


_NUMBER, _SCIENTIFIC = r"[+-]?\d+(\.\d*)?", r"[+-]?\d+(\.\d*)?(?:[eE][+-]?\d{1,3})?"


def _all_match(pattern: str, cells: pd.Series) -> bool:
    """Whether every cell is of a form; quick where the first one is not."""
    return re.fullmatch(pattern, cells.iloc[0]) is not None and bool(cells.str.fullmatch(pattern).all())


def _from_texts(cells: pd.Series, series: pd.Series, name: str) -> pd.Series:
    # pandas takes these words for the time of reading
    refuse_missing(cells.mask(cells.str.lower().isin(("now", "today"))), series, name)
    cells = in_common_era(cells)
    try:  # the usual case, ten times faster; it refuses mixed offsets and anything that is not year first
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            times = pd.to_datetime(cells, format="ISO8601")
        # pandas 2 gives objects for mixed offsets, and lends one cell's zone to cells without any.
        known = pd.api.types.is_datetime64_any_dtype(times.dtype)
        if known and (times.dt.tz is None or cells.str.contains(OFFSET, regex=True).all()):
            return times
    except ValueError:
        pass
    texts, zone = without_zone_name(plain(cells), series, name)
    texts = clock_of_24(year_first(texts, series, name))
    midnight = texts.str.contains(_MIDNIGHT, regex=True)
    if midnight.any():
        texts = texts.str.replace(_MIDNIGHT, "00:00:00", regex=True)
    zoned = texts.str.contains(rf"\d{{1,2}}:\d{{2}}(?:\.\d+)?\s*{OFFSET}", regex=True)
    if zoned.any() and not zoned.all():
        row = row_of(series, zoned.index[zoned != zoned.iloc[0]][0])
        raise KlineError(f"column {name!r} mixes times with and without a zone offset, as in data row {row}: use one")
    named = texts.str.contains(r"[A-Za-z]{3}", regex=True).all()  # months: 01-Jul-2024, Jul 1, 2024
    strange = texts.str.replace(_ENGLISH, "", regex=True).str.contains("[A-Za-z]{2}", regex=True)
    if named and strange.any():  # CST-6, PST8PDT: the parser of pandas takes their signs the other way round
        refuse_missing(cells.mask(strange), series, name)
    form = "mixed" if named else "ISO8601"
    offsets = texts.str.extract(f"({OFFSET})", expand=False).nunique() if zoned.all() else 0
    if offsets > 1:
        _refuse_intervals(texts, series, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        times = pd.to_datetime(texts, format=form, errors="coerce", utc=offsets > 1)
    refuse_missing(times, series, name)
    if midnight.any():
        times = times + pd.to_timedelta(midnight.astype("int64"), unit="D")
    if offsets > 1:
        return on_local_clock(times, texts)
    return times if zone is None or zoned.all() else set_zone(times, zone, name)


MOST_OFFSETS = 4
"""Offsets from UTC that one exchange has had, summer time included."""


def _refuse_intervals(texts: pd.Series, series: pd.Series, name: str) -> None:
    """Refuse 09:30-10:30, which is read as a time with an offset, where there are too many offsets for a zone."""
    clocks = texts.str.extract(r"(\d{1,2}):(\d{2})(?::00)?\s*-(\d{1,2}):(\d{2})$")
    minutes = [clocks[i].astype("float64") * 60 + clocks[i + 1].astype("float64") for i in (0, 2)]
    if clocks.notna().all(axis=None) and (
        minutes[1].nunique() > MOST_OFFSETS or ((minutes[1] - minutes[0]) % 1440).nunique() == 1
    ):
        first = texts.index[0]
        raise KlineError(
            f"column {name!r} has {str(series.loc[first])[:40]!r} in data row {row_of(series, first)}, the beginning and the end "
            "of a bar: keep one of them"
        )


_MIDNIGHT = re.compile(r"(?<=[ T])24:00(?::00(?:\.0+)?)?(?=$|[ ]?Z$|[ ]?[+-]\d{2}:?\d{2}$)")
"""The end of a day, which is the beginning of the next one."""


_ENGLISH = re.compile(
    r"\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?"
    r"|dec(?:ember)?)(?![a-z])|(?<=\d)(?:st|nd|rd|th)\b|\b[ap]m\b",
    re.IGNORECASE,
)


def join_date_and_time(date: pd.Series, time: pd.Series) -> pd.Series:
    """A date column and a clock column (09:35:00, 093500, 935) -> texts; a full time in the clock column wins."""
    # rows without a clock keep a missing timestamp rather than silently becoming midnight
    clock = time.astype("str").str.strip().str.replace(r"(?<=\d{2})\.0+$", "", regex=True)
    known = clock[time.notna()]
    if known.str.fullmatch(r"0|0?\.\d+").all() and known.str.contains(".", regex=False).any():  # days of a spreadsheet
        seconds = pd.to_timedelta((known.astype("float64") * 86_400).round().astype("int64"), unit="s")
        known = seconds.astype("str").str[-8:]
        clock = known.reindex(clock.index)
    if known.str.fullmatch(r"\d{1,6}").all():  # HHMM or HHMMSS, leading zeros perhaps lost
        width = 4 if known.str.len().max() <= 4 else 6
        clock = clock.str.zfill(width)
        clock = clock.str[:2] + ":" + clock.str[2:4] + (":" + clock.str[4:6] if width == 6 else "")
    elif not known.str.match(r"\d{1,2}:\d{2}").all():
        return time  # baostock: the time column holds date and time
    if date.astype("str").str.fullmatch(r"\s*\d{5,7}(?:\.0*)?\s*").all():  # 240102, or days of a spreadsheet
        date = parse_timestamps(date, str(date.name)).dt.strftime("%Y-%m-%d")
    day = date.astype("str").str.strip().str.replace(r"[ T]00:00(:00)?$", "", regex=True)
    day = day.str.replace(r"^(\d{4})(\d{2})(\d{2})(\.0)?$", r"\1-\2-\3", regex=True)
    return (day + " " + clock).where(date.notna() & time.notna())


def _to_ns(times: pd.Series, name: str) -> pd.Series:
    zone = times.dt.tz
    try:
        return times.astype("datetime64[ns]" if zone is None else pd.DatetimeTZDtype("ns", zone))
    except (pd.errors.OutOfBoundsDatetime, OverflowError) as error:
        raise KlineError(f"column {name!r} holds a time outside 1678..2261: {error}") from error
