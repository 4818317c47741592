"""Write a Qlib data folder from files of bars, for backtests with Qlib; Qlib itself is not needed.

The format: ``calendars/<freq>.txt`` has a time a line; ``instruments/<list>.txt`` an instrument, its first and its last time, with
tabs between; ``features/<instrument>/<field>.<freq>.bin`` is little-endian float32: the position of the first value in the
calendar, then a value for each time of the calendar from there on, missing ones NaN.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.errors import Argument, KronosError
from kronos.io.atomic import whole_folder
from kronos.io.run_folder import refuse_foreign
from kronos.klines import KlineError, iter_klines
from kronos.klines.cleaning import Policy
from kronos.klines.formats import table_files
from kronos.klines.read_options import ReadOptions
from kronos.qlib.folder import qlib_freq
from kronos.schema import FEATURES, PRICE_COLUMNS

FIELDS = (*FEATURES, "vwap", "change", "factor")
OWNS = ("calendars/*.txt", "instruments/*.txt", "features/*/*.bin", "symbols.csv")
"""Files of a Qlib data folder."""
MOST_TIMES = 2**24
"""Times at most in a calendar: larger positions cannot be represented exactly in float32."""
WINDOWS_NAMES = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}
BENCHMARK_START = 1000.0
DAY = 1440
"""Minutes of a day."""


@dataclass(frozen=True)
class Exported:
    """Result of an export: symbols by their name in the files, and those left out with the reason."""

    freq: str
    calendar: pd.DatetimeIndex
    names: dict[str, str]
    skipped: list[tuple[str, str]] = field(default_factory=list)


def safe_names(symbols: Iterable[str]) -> dict[str, str]:
    """Return for each symbol a name that is safe as a folder and unique, also without case."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for symbol in symbols:
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", symbol).strip("._")[:80].upper() or "_"
        if plain in WINDOWS_NAMES or plain in taken:
            plain = f"{plain}_{hashlib.sha256(symbol.encode()).hexdigest()[:8].upper()}"
        taken.add(plain)
        names[symbol] = plain
    return names


def read_series(
    sources: Sequence[Path],
    tz: str | None = None,
    clean: Policy | None = None,
    columns: Mapping[str, str] | None = None,
    skipped: list[tuple[str, str]] | None = None,
    options: ReadOptions | None = None,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Read every series of files and folders; those with faults are added to ``skipped``."""
    skipped = [] if skipped is None else skipped
    seen: set[str] = set()
    for file in [file for source in sources for file in table_files(source)]:
        try:
            for symbol, bars in iter_klines(file, tz=tz, clean=clean, columns=columns, options=options):
                if isinstance(bars, KlineError):
                    skipped.append((symbol, bars.summary))
                elif symbol in seen:
                    skipped.append((symbol, f"{file} has it a second time"))
                else:
                    seen.add(symbol)
                    yield symbol, bars
        except KlineError as error:
            skipped.append((str(file), error.summary))


def export_qlib(
    series: Mapping[str, pd.DataFrame],
    out: Path,
    freq: str | None = None,
    name: str = "mine",
    benchmark: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a Qlib data folder, whole or not at all.

    Args:
        series: tables of timestamps, open, high, low, close and, where there are, volume and amount, by symbol. Times with a zone
            are written as that zone's local time.
        freq: as Qlib names it; None infers it from the first series.
        name: of the list of all symbols; the list ``all`` has the benchmark too.
        benchmark: name of an instrument to add: the mean daily change of all symbols, compounded.
        overwrite: replace a Qlib folder that is there.

    Raises:
        ValueError: nothing to write, several bars in one day or time, a name that is taken, or a folder that must not go.
    """
    if not series:
        raise ValueError("there is no series to write")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) or name.lower() == "all":
        raise KronosError(Argument("name"), f" must be letters, digits, - and _, and not 'all', found {name!r}")
    check_target(out, overwrite)
    freq = qlib_freq(freq if freq is not None else _inferred(*next(iter(series.items()))))
    _check_one_frequency(series, freq)
    daily = freq.endswith(("day", "week", "month"))
    tables = {symbol: _on_calendar(symbol, bars, daily) for symbol, bars in series.items()}
    calendar = pd.DatetimeIndex(np.unique(np.concatenate([t.index.to_numpy() for t in tables.values()])))
    if len(calendar) > MOST_TIMES:
        raise ValueError(f"the calendar would have {len(calendar):,} times, and Qlib's format holds {MOST_TIMES:,}")
    names = safe_names(tables)
    written = {names[symbol]: fields_of(table) for symbol, table in tables.items()}
    listed = list(written)
    if benchmark is not None:
        safe = safe_names([benchmark])[benchmark]
        if safe in written:
            raise KronosError(Argument("benchmark", benchmark), ": there is a symbol of that name")
        written[safe] = mean_of(tables, calendar)
    with whole_folder(out) as temporary:
        _write(temporary, calendar, freq, daily, written, listed, name.lower())
        pd.DataFrame({"symbol": list(names), "instrument": list(names.values())}).to_csv(
            temporary / "symbols.csv", index=False
        )
    return Exported(freq, calendar, names)


def check_target(out: Path, overwrite: bool) -> None:
    """Refuse to write over anything but an empty folder or, with ``overwrite``, a Qlib data folder.

    Raises:
        ValueError: it is a file, holds other files, or is a Qlib data folder and ``overwrite`` is not given.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ValueError(f"{out} is a file; give a folder")
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir())
    refuse_foreign(str(out), files, OWNS)
    if files and not overwrite:
        raise KronosError(
            f"{out} is there already; give another folder, or ", Argument("overwrite", True), " to replace it"
        )


def _minutes(bars: pd.DataFrame) -> float:
    """Return the median step, in minutes; 0 where there is none."""
    steps = np.diff(bars["timestamps"].to_numpy().astype("datetime64[s]").astype(np.int64))
    return float(np.median(steps)) / 60 if len(steps) else 0.0


def _inferred(symbol: str, bars: pd.DataFrame) -> str:
    minutes = round(_minutes(bars))
    if minutes < 1:
        raise KronosError(
            f"the frequency of {symbol} cannot be told; give it with ", Argument("freq"), " (day, 5min, ...)"
        )
    if minutes >= 6 * DAY:
        return "week" if minutes < 20 * DAY else "month"
    return "day" if minutes > DAY / 2 else f"{minutes}min"


def _check_one_frequency(series: Mapping[str, pd.DataFrame], freq: str) -> None:
    """Check that all series have one frequency, since a calendar of Qlib holds one."""
    count, base = re.fullmatch(r"([0-9]*)([a-z]+)", freq).groups()  # type: ignore[union-attr]
    expected = int(count or 1) * {"min": 1, "day": DAY, "week": 7 * DAY, "month": 30 * DAY}[base]
    for symbol, bars in series.items():
        minutes = _minutes(bars)
        if minutes and not expected / 2 < minutes < expected * 2:
            raise KronosError(
                f"{symbol} has a bar every {minutes:g} minutes, which is not {freq}: give files of one frequency, and ",
                Argument("freq"),
            )


def _on_calendar(symbol: str, bars: pd.DataFrame, daily: bool) -> pd.DataFrame:
    """Index bars by local time, daily bars by the day."""
    times = pd.DatetimeIndex(bars["timestamps"])
    times = times.tz_localize(None) if times.tz is not None else times
    times = (times.normalize() if daily else times).as_unit("ns")
    if times.has_duplicates:
        first = times[times.duplicated()][0]
        more = "a day" if daily else "a time"
        raise KronosError(
            f"{symbol} has several bars {more}, the first on {first}; give the right ",
            Argument("freq"),
            ", such as 5min",
        )
    return bars.drop(columns="timestamps").set_axis(times)


def fields_of(table: pd.DataFrame) -> pd.DataFrame:
    """Return the fields of `FIELDS`, float32, of a table indexed by time."""
    prices = table[list(PRICE_COLUMNS)].astype(np.float64)
    mean = prices.mean(axis=1)
    volume = table["volume"].astype(np.float64).fillna(0.0) if "volume" in table else pd.Series(0.0, table.index)
    amount = table["amount"].astype(np.float64).fillna(volume * mean) if "amount" in table else volume * mean
    fair = (volume > 0) & (amount > 0)
    vwap = (amount / volume.where(fair)).fillna(mean)
    # An amount in other units than price times volume gives no price.
    vwap = vwap.where((vwap >= prices["low"] * 0.999) & (vwap <= prices["high"] * 1.001), mean)
    values = {
        **{name: prices[name] for name in prices},
        "volume": volume,
        "amount": amount,
        "vwap": vwap,
        "change": prices["close"].pct_change(),
        "factor": pd.Series(1.0, table.index),
    }
    return pd.DataFrame(values)[list(FIELDS)].astype(np.float32)


def mean_of(tables: Mapping[str, pd.DataFrame], calendar: pd.DatetimeIndex) -> pd.DataFrame:
    """Compute the equal-weighted benchmark: the mean change of all symbols that have one, compounded."""
    closes = pd.DataFrame({symbol: table["close"] for symbol, table in tables.items()}, index=calendar)
    change = closes.ffill().pct_change().where(closes.notna()).mean(axis=1).fillna(0.0)
    level = BENCHMARK_START * (1 + change).cumprod()
    prices = dict.fromkeys((*PRICE_COLUMNS, "vwap"), level)
    zero = pd.Series(0.0, calendar)
    values = {**prices, "volume": zero, "amount": zero, "change": change, "factor": zero + 1}
    return pd.DataFrame(values)[list(FIELDS)].astype(np.float32)


def _write(
    folder: Path,
    calendar: pd.DatetimeIndex,
    freq: str,
    daily: bool,
    written: Mapping[str, pd.DataFrame],
    listed: Sequence[str],
    name: str,
) -> None:
    for part in ("calendars", "instruments", "features"):
        (folder / part).mkdir()
    form = "%Y-%m-%d" if daily else "%Y-%m-%d %H:%M:%S"
    (folder / "calendars" / f"{freq}.txt").write_text("".join(f"{time}\n" for time in calendar.strftime(form)))
    lines = {}
    for symbol, table in written.items():
        first, last = table.index[0], table.index[-1]
        lines[symbol] = f"{symbol}\t{first.strftime(form)}\t{last.strftime(form)}\n"
        start = int(calendar.get_indexer(pd.DatetimeIndex([first]))[0])
        span = calendar[start : int(calendar.get_indexer(pd.DatetimeIndex([last]))[0]) + 1]
        values = table.reindex(span)
        target = folder / "features" / symbol.lower()
        target.mkdir()
        for column in FIELDS:
            content = np.concatenate(([start], values[column].to_numpy())).astype("<f4")
            (target / f"{column}.{freq}.bin").write_bytes(content.tobytes())
    (folder / "instruments" / "all.txt").write_text("".join(lines.values()))
    (folder / "instruments" / f"{name}.txt").write_text("".join(lines[symbol] for symbol in listed))
