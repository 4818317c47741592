"""How well the timestamps of the future are derived: hide 60 bars of real series, derive them, compare.

    PYTHONPATH=src python benchmarks/calendars.py [--data ../shared/data] [--cuts 5] [--symbols 6] [--verbose]

Columns: "exact" is the share of positions that are right (one bar that the data lacks shifts all that follow),
"known" the share of the true stamps that were expected at all. Known 100 % with exact below means that the data has
gaps, or that the market was shut without the calendar saying so: nothing that traded was unexpected.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from kronos.calendars import future_timestamps

HORIZON, LOOKBACK = 60, 2000
ROW = "{:<44}{:>7}{:>6} {:<7}{:>8}{:>8}{:>8}{:>8}  {}"


@dataclass
class Tally:
    """Results of one file: exact and known shares per calendar, over all series and cuts."""

    calendar: str
    series: int = 0
    exact: dict[str, list[float]] = field(default_factory=lambda: {"learned": [], "named": []})
    known: dict[str, list[float]] = field(default_factory=lambda: {"learned": [], "named": []})
    mistakes: dict[str, list[str]] = field(default_factory=lambda: {"learned": [], "named": []})


def calendar_of(name: str, symbol: str) -> tuple[str | None, str | None]:
    """The market's calendar and the zone of its naive stamps (None: already exchange-local) for one series."""
    suffixes = {".DE": "XETR", ".PA": "XPAR", ".AS": "XAMS", ".MI": "XMIL", ".L": "XLON", ".SW": "XSWX", ".MC": "XMAD"}
    rules = [
        ("ejtrader", "fx", None), ("binance", "24/7", "UTC"), ("crypto", "24/7", "UTC"), ("india", "XBOM", None),
        ("future", "CMES", None), ("lean_equity", "XNYS", None), ("snowguru_stock", "XNYS", "UTC"),
        ("snowguru_indices", None, "UTC"), ("snowguru", "fx", "UTC"), ("fx", "fx", "UTC"), ("forex", "fx", "UTC"),
        ("cfd", "fx", "UTC"), ("_kr_", "XKRX", None), ("us_", "XNYS", None), ("us.", "XNYS", None),
    ]  # fmt: skip
    if name.startswith("snapshots_eu"):
        return next((cal for end, cal in suffixes.items() if symbol.endswith(end)), "XETR"), None
    if name.startswith("lean_index"):
        return ("XTKS" if "N225" in symbol else "XBOM"), None
    return next(((cal, zone) for part, cal, zone in rules if part in name), (None, None))


def parquet_series(data: Path, symbols: int) -> Iterator[tuple[str, str, pd.DatetimeIndex, str | None]]:
    for path in sorted([*data.glob("evaluation/*.parquet"), *data.glob("corpus/*.parquet")]):
        table = pd.read_parquet(path, columns=["symbol", "timestamp"])
        names = table["symbol"].unique()
        for symbol in names[np.unique(np.linspace(0, len(names) - 1, symbols).astype(int))]:
            calendar, zone = calendar_of(path.stem, symbol)
            stamps = pd.DatetimeIndex(table.loc[table["symbol"] == symbol, "timestamp"]).sort_values().unique()
            yield (
                path.parent.name[:4] + "/" + path.stem,
                symbol,
                (stamps.tz_localize(zone) if zone else stamps),
                calendar,
            )


def csv_series(data: Path) -> Iterator[tuple[str, str, pd.DatetimeIndex, str | None]]:
    folder = data / "csv"
    mt5 = pd.read_csv(folder / "mt5_AUDCAD_H1_tab_separated.csv", sep="\t")
    stamps = {
        ("XSHG_5min_600977.csv", "XSHG"): pd.read_csv(folder / "XSHG_5min_600977.csv")["timestamps"],
        ("akshare_600519_1d", "XSHG"): pd.read_csv(folder / "akshare_600519_1d_chinese_headers.csv")["日期"],
        ("yahoo_TSLA_1d", "XNYS"): pd.read_csv(folder / "yahoo_TSLA_1d.csv")["Date"],
        ("index_VIX_15m", "XNYS"): pd.read_csv(folder / "index_VIX_15m_no_volume.csv")["timestamp"],
        ("mt5_AUDCAD_H1", "fx"): mt5["<DATE>"].str.replace(".", "-") + " " + mt5["<TIME>"],
        ("qlib_cn/calendars/day", "XSHG"): (data / "qlib_cn/calendars/day.txt").read_text().split(),
    }
    for (name, calendar), values in stamps.items():
        yield "csv/" + name, name, pd.DatetimeIndex(pd.to_datetime(pd.Series(values))), calendar
    epochs = pd.read_csv(folder / "binance_ETH_USDT_5m_epoch_ms.csv")["open_time"]
    yield "csv/binance_ETH_5m", "ETH", pd.DatetimeIndex(pd.to_datetime(epochs, unit="ms", utc=True)), "24/7"


def night_series() -> Iterator[tuple[str, str, pd.DatetimeIndex, str | None]]:
    """Futures with night sessions, built from the exchanges' hours and trading days: no data of them is at hand.

    Bars of each product at 5, 15, 30 and 60 minutes, labelled with their opening and with their close.
    """
    import exchange_calendars

    day_cn, day_hk = ["09:00-10:15", "10:30-11:30", "13:30-15:00"], ["09:15-12:00", "13:00-16:30"]
    kinds = [
        ("cn-futures", "XSHG", day_cn, "21:00", ("", "23:00", "25:00", "26:30")),
        ("hk-futures", "XHKG", day_hk, "17:15", ("27:00",)),
    ]
    for calendar, base, runs, night, ends in kinds:
        held = exchange_calendars.get_calendar(base, start="2023-06-01", end="2026-10-31")
        days, early = held.sessions, set(held.early_closes)
        for end in ends:
            for minutes in (5, 15, 30, 60):
                for side in ("left", "right"):
                    stamps = [
                        label
                        for day, after in zip(days[:-1], days[1:], strict=True)
                        for label in _bars_of(
                            day,
                            ["09:15-12:30"]
                            if day in early
                            else [*runs, f"{night}-{end}"]
                            if end and (calendar == "hk-futures" or after == day + pd.offsets.BDay())
                            else runs,
                            minutes,
                            side,
                        )
                    ]
                    yield (
                        f"night/{calendar}_{minutes}m",
                        f"{end or 'no night'} {side}",
                        pd.DatetimeIndex(stamps),
                        calendar,
                    )


def _bars_of(day: pd.Timestamp, runs: list[str], minutes: int, side: str) -> list[pd.Timestamp]:
    """Labels of a day's bars: each run of trading is cut from its opening, the last bar may be short."""
    step = pd.Timedelta(minutes=minutes)
    labels = []
    for start, end in (run.split("-") for run in runs):
        first, last = (pd.Timedelta(hours=int(each[:2]), minutes=int(each[3:])) for each in (start, end))
        edges = [*pd.timedelta_range(first, last, freq=step), *([last] if (last - first) % step else [])]
        labels += [day + each for each in (edges[:-1] if side == "left" else edges[1:])]
    return labels


def compare(stamps: pd.DatetimeIndex, cut: int, calendar: str | None) -> tuple[float, float, str]:
    """(exact share, known share, first mistake) of the ``HORIZON`` stamps from position ``cut`` on."""
    truth = stamps[cut : cut + HORIZON]
    try:
        expected = future_timestamps(stamps[max(0, cut - LOOKBACK) : cut], 3 * HORIZON, calendar)
    except ValueError as error:
        if "knows only" not in str(error):
            raise
        expected = future_timestamps(stamps[max(0, cut - LOOKBACK) : cut], HORIZON, calendar)
    right = expected[:HORIZON] == truth
    if right.all():
        return 1.0, 1.0, ""
    wrong = int(np.argmin(right))
    first = f"{truth[wrong]:%a %Y-%m-%d %H:%M} was, {expected[wrong]:%a %Y-%m-%d %H:%M} expected"
    return float(right.mean()), float(truth.isin(expected).mean()), first


def cut_points(length: int, cuts: int) -> list[int]:
    """Cuts spread over the recent part, the last one with exactly ``HORIZON`` bars hidden."""
    latest = length - HORIZON
    earliest = max(min(200, latest), latest - 4 * LOOKBACK)
    return sorted({int(each) for each in np.linspace(earliest, latest, cuts)}) if latest >= 20 else []


def measure(data: Path, cuts: int, symbols: int, verbose: bool) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for name, symbol, stamps, calendar in [*parquet_series(data, symbols), *csv_series(data), *night_series()]:
        tally = tallies.setdefault(name, Tally(calendar or "-"))
        tally.series += 1
        for cut in cut_points(len(stamps), cuts):
            for way, used in (("learned", None), ("named", calendar)):
                if way == "named" and used is None:
                    continue
                exact, known, mistake = compare(stamps, cut, used)
                tally.exact[way].append(exact)
                tally.known[way].append(known)
                if mistake:
                    tally.mistakes[way].append(f"{symbol}: {mistake}")
                    if verbose:
                        print(f"{way:<8}{name} {symbol} cut {cut} exact {exact:.2f} known {known:.2f}: {mistake}")
    return tallies


def speed() -> float:
    """Milliseconds to learn from 5,000 bars and derive 500."""
    days = pd.bdate_range("2025-01-06", periods=65)
    slots = pd.timedelta_range("9h 35min", periods=78, freq="5min")
    minutes = pd.DatetimeIndex([day + slot for day in days for slot in slots])[:5000]
    future_timestamps(minutes, 500)
    start = time.perf_counter()
    for _ in range(10):
        future_timestamps(minutes, 500)
    return 100 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--cuts", type=int, default=5)
    parser.add_argument("--symbols", type=int, default=6)
    parser.add_argument("--verbose", action="store_true", help="print every cut that is not exact")
    options = parser.parse_args()
    tallies = measure(options.data, options.cuts, options.symbols, options.verbose)

    def percent(values: list[float]) -> str:
        return f"{100 * np.mean(values):.1f}" if values else "-"

    print(ROW.format("file", "series", "cuts", "calendar", "learned", "known", "named", "known", "first mistake"))
    for name, tally in tallies.items():
        shares = [percent(kind[way]) for way in ("learned", "named") for kind in (tally.exact, tally.known)]
        example = (tally.mistakes["named"] or tally.mistakes["learned"] or [""])[0]
        print(ROW.format(name, tally.series, len(tally.exact["learned"]), tally.calendar, *shares, example))
    summary = {
        name: {
            way: {
                "exact": round(float(np.mean(tally.exact[way])), 4),
                "known": round(float(np.mean(tally.known[way])), 4),
            }
            for way in ("learned", "named")
            if tally.exact[way]
        }
        for name, tally in tallies.items()
    }
    print(
        json.dumps({"benchmark": "calendars", "horizon": HORIZON, "milliseconds": round(speed(), 1), "files": summary})
    )


if __name__ == "__main__":
    main()
