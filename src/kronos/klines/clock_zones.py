"""Time zones of a column of times: names at the end of a cell, offsets, and the zone whose clock shows them."""

from __future__ import annotations

import zoneinfo

import pandas as pd

from kronos.klines.columns import KlineError
from kronos.klines.time_cells import row_of

OFFSET = r"(?:Z|[+-]\d{2}:?\d{2})$"


_FIXED = {
    "EST": "-05:00", "EDT": "-04:00", "CDT": "-05:00", "MDT": "-06:00", "PST": "-08:00", "PDT": "-07:00", "CET": "+01:00",
    "CEST": "+02:00", "MSK": "+03:00", "HKT": "+08:00", "SGT": "+08:00", "JST": "+09:00", "KST": "+09:00", "AEST": "+10:00",
    "AEDT": "+11:00",
}  # fmt: skip


def without_zone_name(texts: pd.Series, series: pd.Series, name: str) -> tuple[pd.Series, str | None]:
    """Texts without a name of a zone at their ends, and the zone; short names such as EST become offsets."""
    pattern = r"[ \[]([A-Za-z]+(?:/[A-Za-z_]+)+|[A-Z]{3,4})\]?$"
    names = texts.str.extract(pattern, expand=False)
    known = set(names.dropna()) - {"AM", "PM"}
    if not known:
        return texts, None
    if names.isna().any():
        row = row_of(series, names.index[names.isna()][0])
        raise KlineError(f"column {name!r} mixes times with and without a zone, as in data row {row}: use one")
    bare = texts.str.replace(pattern, "", regex=True).str.strip()
    if known <= set(_FIXED):
        return bare + names.map(_FIXED), None
    if len(known) > 1:
        raise KlineError(f"column {name!r} has times of several zones: {', '.join(sorted(known))}")
    zone = known.pop()
    if "/" not in zone:
        row = row_of(series, texts.index[0])
        raise KlineError(
            f"column {name!r} has {str(series.loc[texts.index[0]])[:40]!r} in data row {row}: {zone} is no unambiguous time zone"
        )
    return bare, zone


_ZONES = (
    "America/New_York", "America/Chicago", "Europe/Berlin", "Europe/London", "Europe/Athens", "Australia/Sydney",
    "America/Toronto", "America/Los_Angeles", "America/Sao_Paulo", "Pacific/Auckland", "Asia/Jerusalem", "Africa/Cairo",
)  # fmt: skip


def on_local_clock(times: pd.Series, texts: pd.Series) -> pd.Series:
    """UTC times (n,) in the zone whose clock shows what the texts say; UTC where no zone does."""
    offsets = texts.str.extract(f"({OFFSET})", expand=False).str.replace("Z", "+00:00").str.replace(":", "")
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
