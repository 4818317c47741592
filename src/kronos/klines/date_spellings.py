"""Dates and clocks as people and programs write them -> 2024-12-31 21:30: languages, eras, orders of day and month."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pandas as pd

from kronos.klines.columns import KlineError
from kronos.klines.time_cells import row_of

_BUDDHIST = re.compile(r"(24[4-9]\d|25\d\d|26[0-3]\d)(?=[-/.年]|\d{4}(?:\D|\d{4}$|\d{6}$|$))")


BUDDHIST_ERA = 543
"""Years that Thailand's calendar is ahead."""


def in_common_era(texts: pd.Series) -> pd.Series:
    """2567-01-02, 25670102 -> 2024-01-02, 20240102 where all years are of the Buddhist era."""
    if not _BUDDHIST.match(texts.iloc[0]) or not texts.str.match(_BUDDHIST).all():
        return texts
    return (texts.str[:4].astype("int64") - BUDDHIST_ERA).astype("str") + texts.str[4:]


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


_MORNING, _EVENING = r"上午|午前|오전|凌晨|早上|a\.?m\.?", r"下午|午後|午后|오후|晚上|p\.?m\.?"


def plain(cells: pd.Series) -> pd.Series:
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


def clock_of_24(texts: pd.Series) -> pd.Series:
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


def year_first(texts: pd.Series, series: pd.Series, name: str) -> pd.Series:
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
    orders = possible_dates(texts)
    if len(orders) != 1:
        row = row_of(series, texts.index[0])
        both = parts[0].astype("int64").max() > 12 and parts[1].astype("int64").max() > 12
        every = ("day first", "month first", "year first") if short else ("day first", "month first")
        why = "mixes day first and month first" if not orders and both else f"could be {' or '.join(orders or every)}"
        raise KlineError(f"column {name!r} {why} ({texts.iloc[0]!r} in data row {row}): write 2024-07-31")
    days = pd.Series(orders.popitem()[1], index=texts.index).dt
    return _dates(days.year, days.month, days.day, parts[3])


FEW_DAYS = 5
"""Days from which on the order of the rows tells which of two readings is meant."""


def possible_dates(texts: pd.Series) -> dict[str, pd.DatetimeIndex]:
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
