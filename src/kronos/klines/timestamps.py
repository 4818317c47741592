"""Cells of time columns -> timestamps: epochs, dates in many spellings, clocks, zones. Reads no files."""

from __future__ import annotations

import re
import unicodedata
import warnings
import zoneinfo
from decimal import Decimal

import numpy as np
import pandas as pd

from kronos.klines.columns import KlineError

_NS_PER = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# Digits without separators that spell a date; 17 = baostock's YYYYMMDDHHMMSSmmm (an epoch has 10, 13, 16 or 19).
_CALENDAR_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
LAST_YEAR = 2261
LAST_NS = 9.2233e18
"""Nanoseconds since 1970 that a 64-bit timestamp holds, either way."""
_OFFSET = r"(?:Z|[+-]\d{2}:?\d{2})$"


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
        times = _from_digits(cells, series, name)
    elif _all_match(_SCIENTIFIC, cells):
        times = _from_digits(_spelled_out(cells, series, name), series, name)
    else:
        times = _from_texts(cells, series, name)
    return _to_ns(times, name).reindex(series.index)


_NUMBER, _SCIENTIFIC = r"[+-]?\d+(\.\d*)?", r"[+-]?\d+(\.\d*)?(?:[eE][+-]?\d{1,3})?"


def _all_match(pattern: str, cells: pd.Series) -> bool:
    """Whether every cell is of a form; quick where the first one is not."""
    return re.fullmatch(pattern, cells.iloc[0]) is not None and bool(cells.str.fullmatch(pattern).all())


MOST_CUT = 6
"""Digits that a spreadsheet keeps of a large number when it writes 1.70407E+12."""


def _spelled_out(cells: pd.Series, series: pd.Series, name: str) -> pd.Series:
    """1.7040672E+12 -> 1704067200000; refused where digits were cut."""
    mantissa = cells.str.extract(r"^[+-]?(\d+\.?\d*)[eE]", expand=False)
    if mantissa.str.replace(".", "", regex=False).str.rstrip("0").str.len().max() <= MOST_CUT:
        first = mantissa.first_valid_index()
        raise KlineError(
            f"column {name!r} has {str(series.loc[first])[:40]!r} in data row {_row_of(series, first)}, an epoch whose last digits "
            "a spreadsheet has cut: export the table again with that column formatted as whole numbers or as dates"
        )
    return cells.map(lambda cell: format(Decimal(cell), "f"))


_FIRST_SERIAL, _LAST_SERIAL = 25_569, 49_000
"""1970-01-01 and 2034-02-24 as days since 1899-12-30, in spreadsheets."""


def _from_serial(digits: pd.Series, name: str) -> pd.Series | None:
    """45292.5, days of a spreadsheet -> 2024-01-01 12:00; None where they are none, or the column has no name of a time."""
    values = digits.astype("float64")
    if not values.between(_FIRST_SERIAL, _LAST_SERIAL).all() or re.match(
        r"(?:unnamed|__index|index|id|no\b|#|$)", name.strip().lower()
    ):
        return None
    return pd.Timestamp("1899-12-30") + pd.to_timedelta((values * 86_400).round().astype("int64"), unit="s")


def _from_short(digits: pd.Series, series: pd.Series, name: str) -> pd.Series | None:
    """240102, 1130102 (Minguo), 2024010209 -> dates; None where the digits spell none."""
    width = int(digits.str.len().max())
    if width in (5, 6) and int(digits.str.len().min()) >= 5:
        filled = digits.str.zfill(6)
        parts = filled.str.extract(r"^(\d\d)(\d\d)(\d\d)$")
        if parts.notna().all(axis=None):
            texts = parts[0] + "." + parts[1] + "." + parts[2]
            orders = _possible(texts)
            if len(orders) == 1:
                return pd.Series(orders.popitem()[1], index=digits.index)
            if orders:
                row = series.loc[texts.index[0]]
                raise KlineError(
                    f"column {name!r} has {str(row)[:40]!r} in data row {_row_of(series, texts.index[0])}, which could be "
                    f"{' or '.join(orders)}: write 2024-07-31"
                )
    if digits.str.fullmatch(r"(?:0[3-9]|1[0-4])\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])").all():
        years = (digits.str[:3].astype("int64") + 1911).astype("str")
        return pd.to_datetime(years + digits.str[3:], format="%Y%m%d", errors="coerce")
    if digits.str.fullmatch(r"(?:199|20[0-9])\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])").all():
        return pd.to_datetime(digits, format="%Y%m%d%H", errors="coerce")
    return None


def _from_digits(cells: pd.Series, series: pd.Series, name: str) -> pd.Series:
    digits = cells.str.replace(r"\.0*$", "", regex=True)
    short = int(digits.str.len().median())
    if short in (6, 7, 10) or digits.str.len().iloc[0] <= 6 or "." in digits.iloc[0]:
        times = _from_serial(digits, name)
        times = _from_short(digits, series, name) if times is None else times
        if times is not None:
            _refuse_missing(times, series, name)
            return times
    if short in _CALENDAR_FORMATS:
        digits = _in_common_era(digits)
    form = _CALENDAR_FORMATS.get(int(digits.str.len().median()))
    if form is not None:
        times = pd.to_datetime(digits, format=form, errors="coerce")
        if times.notna().mean() > 0.5:
            _refuse_missing(times, series, name)
            return times
    if digits.str.len().max() > 19 or digits.astype("float64").abs().max() >= 2**63:
        row = int(digits.astype("float64").abs().to_numpy().argmax())
        raise KlineError(
            f"column {name!r} holds {digits.iloc[row][:40]}, beyond the epoch of any year up to {LAST_YEAR}"
        )
    whole = digits.str.fullmatch(r"[+-]?\d+").all()
    values = digits.astype("int64" if whole else "float64").to_numpy()
    return pd.Series(_epoch_to_ns(values, name), index=cells.index).dt.tz_localize("UTC")


_HUNDREDS_OF_NS = (
    (621_355_968_000_000_000, 630_000_000_000_000_000, 648_000_000_000_000_000),
    (116_444_736_000_000_000, 125_000_000_000_000_000, 143_000_000_000_000_000),
)
"""Ticks of .NET (since the year 1) and of Windows (since 1601): of 1970-01-01, and of about 1997 and 2054."""


def _epoch_to_ns(values: np.ndarray, name: str) -> np.ndarray:
    """Epoch numbers of an unstated unit -> datetime64[ns] (n,)."""
    size = np.abs(values.astype("float64"))
    if size.max() < 1e7:
        raise KlineError(f"column {name!r} holds small numbers like {values[-1]}: expected dates or an epoch")
    if size.max() < 1e8 and (size % 3600).any():
        raise KlineError(
            f"column {name!r} holds {values[-1]}, an epoch of {1970 + size.max() / 3.156e7:.0f} in seconds, or of another unit: "
            "write dates such as 2024-07-31 09:35"
        )
    if values.dtype.kind == "i" and (values % 60_000_000_000).any():
        for since_1970, first, last in _HUNDREDS_OF_NS:
            if first <= values.min() and values.max() <= last and not (values % 10_000).any():
                return ((values - since_1970) * 100).astype("datetime64[ns]")
    ns_per = np.select([size < 1e11, size < 1e14, size < 1e17], [_NS_PER["s"], _NS_PER["ms"], _NS_PER["us"]], 1)
    years = 1970 + size * ns_per / 3.156e16
    # Binance changed from ms to us in 2025, so one file may mix units: each row by its own magnitude where that
    # gives modern dates throughout, else (old dates have small numbers) one unit for the column.
    if not ((years > 2001) & (years < 2200)).all():
        ns_per = np.full_like(ns_per, ns_per[size.argmax()])
    outside = np.abs(values.astype("float64")) * ns_per > LAST_NS
    if outside.any():
        value = values[int(outside.argmax())]
        raise KlineError(f"column {name!r} holds a time outside 1678..{LAST_YEAR}: the epoch {value}")
    if values.dtype.kind == "f":  # fractions of a second: float64 holds them to about a microsecond
        values, ns_per = np.round(values * ns_per / 1000).astype("int64"), np.full_like(ns_per, 1000)
    times: np.ndarray = (values * ns_per).astype("datetime64[ns]")
    return times


_BUDDHIST = re.compile(r"(24[4-9]\d|25\d\d|26[0-3]\d)(?=[-/.年]|\d{4}(?:\D|\d{4}$|\d{6}$|$))")
BUDDHIST_ERA = 543
"""Years that Thailand's calendar is ahead."""


def _in_common_era(texts: pd.Series) -> pd.Series:
    """2567-01-02, 25670102 -> 2024-01-02, 20240102 where all years are of the Buddhist era."""
    if not _BUDDHIST.match(texts.iloc[0]) or not texts.str.match(_BUDDHIST).all():
        return texts
    return (texts.str[:4].astype("int64") - BUDDHIST_ERA).astype("str") + texts.str[4:]


def _from_texts(cells: pd.Series, series: pd.Series, name: str) -> pd.Series:
    # pandas takes these words for the time of reading
    _refuse_missing(cells.mask(cells.str.lower().isin(("now", "today"))), series, name)
    cells = _in_common_era(cells)
    try:  # the usual case, ten times faster; it refuses mixed offsets and anything that is not year first
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            times = pd.to_datetime(cells, format="ISO8601")
        # pandas 2 gives objects for mixed offsets, and lends one cell's zone to cells without any.
        known = pd.api.types.is_datetime64_any_dtype(times.dtype)
        if known and (times.dt.tz is None or cells.str.contains(_OFFSET, regex=True).all()):
            return times
    except ValueError:
        pass
    texts, zone = _without_zone_name(_plain(cells), series, name)
    texts = _as_clock_of_24(_year_first(texts, series, name))
    midnight = texts.str.contains(_MIDNIGHT, regex=True)
    if midnight.any():
        texts = texts.str.replace(_MIDNIGHT, "00:00:00", regex=True)
    zoned = texts.str.contains(rf"\d{{1,2}}:\d{{2}}(?:\.\d+)?\s*{_OFFSET}", regex=True)
    if zoned.any() and not zoned.all():
        row = _row_of(series, zoned.index[zoned != zoned.iloc[0]][0])
        raise KlineError(f"column {name!r} mixes times with and without a zone offset, as in data row {row}: use one")
    named = texts.str.contains(r"[A-Za-z]{3}", regex=True).all()  # months: 01-Jul-2024, Jul 1, 2024
    strange = texts.str.replace(_ENGLISH, "", regex=True).str.contains("[A-Za-z]{2}", regex=True)
    if named and strange.any():  # CST-6, PST8PDT: the parser of pandas takes their signs the other way round
        _refuse_missing(cells.mask(strange), series, name)
    form = "mixed" if named else "ISO8601"
    offsets = texts.str.extract(f"({_OFFSET})", expand=False).nunique() if zoned.all() else 0
    if offsets > 1:
        _refuse_intervals(texts, series, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        times = pd.to_datetime(texts, format=form, errors="coerce", utc=offsets > 1)
    _refuse_missing(times, series, name)
    if midnight.any():
        times = times + pd.to_timedelta(midnight.astype("int64"), unit="D")
    if offsets > 1:
        return _on_local_clock(times, texts)
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
            f"column {name!r} has {str(series.loc[first])[:40]!r} in data row {_row_of(series, first)}, the beginning and the end "
            "of a bar: keep one of them"
        )


_MIDNIGHT = re.compile(r"(?<=[ T])24:00(?::00(?:\.0+)?)?(?=$|[ ]?Z$|[ ]?[+-]\d{2}:?\d{2}$)")
"""The end of a day, which is the beginning of the next one."""
_WEEKDAY = (
    r"(?:mon|tue|wed|thu|fri|sat|sun)(?:day|sday|nesday|rsday|urday)?\.?|(?:周|週|星期|礼拜)?[一二三四五六日天]|[月火水木金土日]曜日?|[월화수목금토일]요일?"
    r"|[月火水木金土]"
)
_MONTHS = {
    "janvier": "Jan", "janv": "Jan", "février": "Feb", "févr": "Feb", "mars": "Mar", "avril": "Apr", "avr": "Apr", "mai": "May",
    "juin": "Jun", "juillet": "Jul", "juil": "Jul", "août": "Aug", "septembre": "Sep", "octobre": "Oct", "novembre": "Nov",
    "décembre": "Dec", "déc": "Dec", "januar": "Jan", "februar": "Feb", "märz": "Mar", "juni": "Jun", "juli": "Jul",
    "oktober": "Oct", "okt": "Oct", "dezember": "Dec", "dez": "Dec", "enero": "Jan", "ene": "Jan", "febrero": "Feb",
    "marzo": "Mar", "abril": "Apr", "abr": "Apr", "mayo": "May", "junio": "Jun", "julio": "Jul", "agosto": "Aug", "ago": "Aug",
    "septiembre": "Sep", "octubre": "Oct", "noviembre": "Nov", "diciembre": "Dec", "dic": "Dec", "janeiro": "Jan",
    "fevereiro": "Feb", "fev": "Feb", "março": "Mar", "maio": "May", "junho": "Jun", "julho": "Jul", "setembro": "Sep",
    "set": "Sep", "outubro": "Oct", "out": "Oct", "dezembro": "Dec",
}  # fmt: skip
_ENGLISH = re.compile(
    r"\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?"
    r"|dec(?:ember)?)(?![a-z])|(?<=\d)(?:st|nd|rd|th)\b|\b[ap]m\b",
    re.IGNORECASE,
)
_MORNING, _EVENING = r"上午|午前|오전|凌晨|早上|a\.?m\.?", r"下午|午後|午后|오후|晚上|p\.?m\.?"


def _plain(cells: pd.Series) -> pd.Series:
    """One spelling of spaces and signs; weekdays left out; Chinese, Japanese and Korean dates with hyphens."""
    texts = cells.str.normalize("NFKC").str.replace(r"\s+", " ", regex=True).str.strip()
    texts = texts.str.replace(r"(?<=\d)\s*[年月년월]\s*(?=\d)", "-", regex=True).str.replace(
        r"(?<=\d)[日일月월]", " ", regex=True
    )
    texts = texts.str.replace(
        r"(\d{1,2})\s*[時时시点點]\s*(\d{1,2})\s*[分분]\s*(?:(\d{1,2})\s*[秒초])?", _clock, regex=True
    )
    texts = texts.str.replace(rf"[\s,(/]+(?:{_WEEKDAY})\)?(?=\s|$)", "", regex=True, flags=re.IGNORECASE)
    texts = texts.str.replace(rf"^(?:{_WEEKDAY})[\s,]+", "", regex=True, flags=re.IGNORECASE)
    texts = texts.str.replace(rf"(?:(?<=\d)|\s)-?\s*(?:{_MORNING})(?![A-Za-z])", " AM", regex=True, flags=re.IGNORECASE)
    texts = texts.str.replace(rf"(?:(?<=\d)|\s)-?\s*(?:{_EVENING})(?![A-Za-z])", " PM", regex=True, flags=re.IGNORECASE)
    texts = texts.str.replace(r" (AM|PM) (\d{1,2}:\d{2}(?::\d{2})?)$", r" \2 \1", regex=True)
    texts = texts.str.replace(r"^(\d{4})(\d{2})(\d{2})[ T_;-]+(?=\d)", r"\1-\2-\3 ", regex=True)
    texts = texts.str.replace(r"(?<=-\d{2} )(\d{2})(\d{2})(\d{2})?(?=$| )", _clock, regex=True)
    texts = texts.str.replace(r"^(\d{1,4}[/.-]\d{1,2}[/.-]\d{1,4})[,;_-]+\s*(?=\d{1,2}:)", r"\1 ", regex=True)
    texts = texts.str.replace(r"[A-Za-zÀ-ÿ]{3,}\.?", _month, regex=True)
    texts = texts.str.replace(r"(?<=\d)\.? (?:de )?([A-Z][a-z]{2}) (?:de )?(?=\d)", r" \1 ", regex=True)
    texts = texts.str.replace(_NAMED_OFFSET, _offset, regex=True)
    return texts.str.replace(r"\s*(?:UTC|GMT)$", "Z", regex=True).str.replace(" {2,}", " ", regex=True).str.strip()


_NAMED_OFFSET = re.compile(
    r"(?:(?<=[\d\s(])|\b)\s*\(?(?:GMT|UTC)\s*([+-])(\d{1,2})(?::?([0-5]\d))?\)?(?:\s*\([A-Za-z .]+\))?$", re.IGNORECASE
)
"""UTC+8, GMT-05:00, GMT+0800 (China Standard Time): ahead of UTC with a plus, other than in names of POSIX."""


def _offset(found: re.Match[str]) -> str:
    return f"{found[1]}{int(found[2]):02}:{found[3] or '00'}" if int(found[2]) <= 14 else found[0]


def _clock(found: re.Match[str]) -> str:
    return f" {int(found[1]):02}:{int(found[2]):02}" + (f":{int(found[3]):02}" if found[3] else "")


def _month(found: re.Match[str]) -> str:
    return _MONTHS.get(found[0].lower().rstrip("."), found[0])


_FIXED = {
    "EST": "-05:00", "EDT": "-04:00", "CDT": "-05:00", "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00", "CET": "+01:00",
    "CEST": "+02:00", "MSK": "+03:00", "HKT": "+08:00", "SGT": "+08:00", "JST": "+09:00", "KST": "+09:00", "AEST": "+10:00",
    "AEDT": "+11:00",
}  # fmt: skip


def _without_zone_name(texts: pd.Series, series: pd.Series, name: str) -> tuple[pd.Series, str | None]:
    """Texts without a name of a zone at their ends, and the zone; short names such as EST become offsets."""
    pattern = r"[ \[]([A-Za-z]+(?:/[A-Za-z_]+)+|[A-Z]{3,4})\]?$"
    names = texts.str.extract(pattern, expand=False)
    known = set(names.dropna()) - {"AM", "PM"}
    if not known:
        return texts, None
    if names.isna().any():
        row = _row_of(series, names.index[names.isna()][0])
        raise KlineError(f"column {name!r} mixes times with and without a zone, as in data row {row}: use one")
    bare = texts.str.replace(pattern, "", regex=True).str.strip()
    if known <= set(_FIXED):
        return bare + names.map(_FIXED), None
    if len(known) > 1:
        raise KlineError(f"column {name!r} has times of several zones: {', '.join(sorted(known))}")
    zone = known.pop()
    if "/" not in zone:
        row = _row_of(series, texts.index[0])
        raise KlineError(
            f"column {name!r} has {str(series.loc[texts.index[0]])[:40]!r} in data row {row}: {zone} is no unambiguous time zone"
        )
    return bare, zone


_ZONES = (
    "America/New_York", "America/Chicago", "Europe/Berlin", "Europe/London", "Europe/Athens", "Australia/Sydney",
    "America/Toronto", "America/Los_Angeles", "America/Sao_Paulo", "Pacific/Auckland", "Asia/Jerusalem", "Africa/Cairo",
)  # fmt: skip


def _on_local_clock(times: pd.Series, texts: pd.Series) -> pd.Series:
    """UTC times (n,) in the zone whose clock shows what the texts say; UTC where no zone does."""
    offsets = texts.str.extract(f"({_OFFSET})", expand=False).str.replace("Z", "+00:00").str.replace(":", "")
    minutes = offsets.str[1:3].astype("int64") * 60 + offsets.str[3:5].astype("int64")
    minutes = minutes.where(offsets.str[0] == "+", -minutes)
    utc = times.dt.tz_localize(None)
    wanted = (utc + pd.to_timedelta(minutes, unit="min")).to_numpy()
    rest = sorted(zoneinfo.available_timezones() - set(_ZONES) - {"localtime", "Factory"})
    for zone in (*_ZONES, *rest):
        try:
            first = times.iloc[[0, -1]].dt.tz_convert(zone).dt.tz_localize(None).to_numpy()
            if (first != wanted[[0, -1]]).any():
                continue
            local = times.dt.tz_convert(zone)
        except Exception:  # a zone that this pandas does not know
            continue
        if (local.dt.tz_localize(None).to_numpy() == wanted).all():
            return local
    return times


def _as_clock_of_24(texts: pd.Series) -> pd.Series:
    """09:30 PM, 12 AM -> 21:30, 00:00."""
    pattern = r"[ ,](\d{1,2})(?::(\d{2}))?(?::(\d{2})(\.\d+)?)? ([AP])M(?=$|[ ]?[+-]\d{2}:?\d{2}$)"
    if not texts.str.contains(r"[AP]M(?:$|[ +-])", regex=True).any():
        return texts

    def clock(found: re.Match[str]) -> str:
        hour, evening = int(found[1]), found[5] == "P"
        if hour > 23 or (evening and hour == 0):
            return found[0]  # no such time: it is refused with the cell
        hour = (hour if hour > 12 else hour % 12 + (12 if evening else 0)) if hour else 0
        if found[5] == "A" and int(found[1]) > 12:
            return found[0]
        return f" {hour:02}:{found[2] or '00'}:{found[3] or '00'}{found[4] or ''}"

    return texts.str.replace(pattern, clock, regex=True)


def _year_first(texts: pd.Series, series: pd.Series, name: str) -> pd.Series:
    """31.12.2024, 12/31/24, 113/12/31 (Minguo) -> 2024-12-31; which number is which must show in the column."""
    texts = texts.str.replace(r"^(?:民[國国])\s*", "", regex=True)
    pattern = r"^(\d{1,3})[/.\-](\d{1,2})[/.\-](\d{1,4})((?![\d/.\-]).*)$"
    if not texts.str.match(pattern).all():
        return texts
    parts = texts.str.extract(pattern)
    if (parts[0].str.len() == 3).any() and (parts[2].str.len() <= 2).all():  # the Republic of China's years
        year, month, day = (parts[i].astype("int64") for i in range(3))
        return _dates(year + 1911, month, day, parts[3])
    short = bool((parts[2].str.len() <= 2).all())
    if not short and not (parts[2].str.len() == 4).all():
        return texts
    orders = _possible(texts)
    if len(orders) != 1:
        row = _row_of(series, texts.index[0])
        both = parts[0].astype("int64").max() > 12 and parts[1].astype("int64").max() > 12
        every = ("day first", "month first", "year first") if short else ("day first", "month first")
        why = "mixes day first and month first" if not orders and both else f"could be {' or '.join(orders or every)}"
        raise KlineError(f"column {name!r} {why} ({texts.iloc[0]!r} in data row {row}): write 2024-07-31")
    days = pd.Series(orders.popitem()[1], index=texts.index).dt
    return _dates(days.year, days.month, days.day, parts[3])


FEW_DAYS = 5
"""Days from which on the order of the rows tells which of two readings is meant."""


def _possible(texts: pd.Series) -> dict[str, pd.DatetimeIndex]:
    """Dates (n,) of texts like 01.02.24 or 01/02/2024 by each order of day, month and year that gives dates.

    Where several do, those are left out whose dates are years apart beside one whose are not, and, of five days or more, those
    whose dates do not ascend or descend beside one whose do.
    """
    parts = texts.str.extract(r"^(\d{1,3})[/.\-](\d{1,2})[/.\-](\d{1,4})")
    numbers = [parts[i].astype("int64").to_numpy() for i in range(3)]
    orders = {"day first": (2, 1, 0), "month first": (2, 0, 1)}
    short = bool((parts[2].str.len() <= 2).all())
    if short:
        orders["year first"] = (0, 1, 2)
    found: dict[str, pd.DatetimeIndex] = {}
    for order, (y, m, d) in orders.items():
        if short and not (parts[y].str.len() == 2).all():
            continue
        year = numbers[y] + np.where(numbers[y] < 70, 2000, 1900) if short else numbers[y]
        year = year - BUDDHIST_ERA if year.min() > 2442 and year.max() < 2644 else year
        frame = pd.DataFrame({"year": year, "month": numbers[m], "day": numbers[d]})
        days = pd.DatetimeIndex(pd.to_datetime(frame, errors="coerce"))
        if not days.isna().any():
            found[order] = days
    if len(found) < 2:
        return found
    steps = {order: np.diff(days.as_unit("s").asi8 // 86_400) for order, days in found.items()}
    moved = {order: step[step != 0] for order, step in steps.items()}
    close = {order for order, step in moved.items() if len(step) and np.median(np.abs(step)) <= 100}
    if close:
        found = {order: days for order, days in found.items() if order in close or not len(moved[order])}
    sorted_ = {
        order for order, step in moved.items() if len(step) >= FEW_DAYS - 1 and ((step > 0).all() or (step < 0).all())
    }
    return {order: days for order, days in found.items() if not sorted_ & found.keys() or order in sorted_}


def _dates(year: pd.Series, month: pd.Series, day: pd.Series, rest: pd.Series) -> pd.Series:
    two = [part.astype("str").str.zfill(2) for part in (month, day)]
    return (
        year.astype("str").str.zfill(4) + "-" + two[0] + "-" + two[1] + rest.str.replace(r"^[,;_ -]+", " ", regex=True)
    )


def unusual(cell: object) -> str | None:
    """How a cell of a time column was written where that is worth saying; None for the usual spellings."""
    text = unicodedata.normalize("NFKC", str(cell)).strip()
    for pattern, what in (
        (r"\d{5}(\.\d+)?", "days of a spreadsheet"),
        (rf"{_BUDDHIST.pattern}.*|\d{{1,2}}[./-]\d{{1,2}}[./-]2[456]\d\d\b.*", "years of the Buddhist era"),
        (
            r"(民[国國]\s*)?\d{3}[/.-]\d{1,2}[/.-]\d{1,2}\b.*|1?\d{2}[01]\d[0-3]\d",
            "Minguo years or years of two digits",
        ),
        (r"\d{1,2}[./-]\d{1,2}[./-]\d{2}(?!\d).*", "years of two digits"),
        (r"\d{10}(\.0*)?", "digits"),
    ):
        if re.fullmatch(pattern, text):
            return what
    return None


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


def set_zone(times: pd.Series, tz: str, name: str = "timestamps") -> pd.Series:
    """Naive times are said to be in `tz`; times that know their zone are converted to it.

    Raises KlineError for an unknown zone and for local times that a clock change makes ambiguous or impossible.
    """
    try:
        aware = times.dt.tz is not None
        zoned: pd.Series = times.dt.tz_convert(tz) if aware else times.dt.tz_localize(tz, ambiguous="infer")
        return zoned
    except Exception as error:  # zoneinfo raises KeyError and ValueError, pytz under pandas 2 errors of its own
        if "zone" in str(error).lower() or isinstance(error, KeyError):
            raise KlineError(f"unknown time zone {tz!r}: use a name like 'Asia/Shanghai' or 'UTC'") from error
        reason = str(error).split(". ")[0].split(", try")[0]
        if type(error).__name__ == "NonExistentTimeError":  # pytz says only which
            reason += " is a nonexistent time"
        raise KlineError(f"column {name!r} cannot be local time of {tz}: {reason}; store UTC or offsets") from error


def _to_ns(times: pd.Series, name: str) -> pd.Series:
    zone = times.dt.tz
    try:
        return times.astype("datetime64[ns]" if zone is None else pd.DatetimeTZDtype("ns", zone))
    except (pd.errors.OutOfBoundsDatetime, OverflowError) as error:
        raise KlineError(f"column {name!r} holds a time outside 1678..2261: {error}") from error


def _refuse_missing(times: pd.Series, series: pd.Series, name: str) -> None:
    wrong = times.index[times.isna()]
    if len(wrong):
        value = str(series.loc[wrong[0]])[:40]
        raise KlineError(
            f"column {name!r} has {value!r} in data row {_row_of(series, wrong[0])}: expected a date or time like "
            "2024-07-01 09:35:00" + (f" ({len(wrong)} such cells)" if len(wrong) > 1 else "")
        )


def _row_of(series: pd.Series, label: object) -> int:
    return int(series.index.get_indexer(pd.Index([label]))[0]) + 1
