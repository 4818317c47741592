"""A file's cells before they have a meaning, whatever the file was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from kronos.klines.columns import KlineError
from kronos.klines.layout import found_or_raise


@dataclass(frozen=True)
class Raw:
    """A file's cells as they are. found: the position of each role (see `columns.find_columns`)."""

    table: pd.DataFrame  # columns by position
    names: list[str]
    found: dict[str, int]
    separator: str | None  # None where the file is no text
    unused: tuple[str, ...] = ()
    """Names of the columns that have no role."""
    notes: tuple[str, ...] = ()
    """Assumptions, and lines that were left out, for people."""
    comma_locale: bool = False
    """The names of the columns are in a language that writes a decimal comma."""
    texts: Callable[[], pd.DataFrame] | None = None
    """Reads the columns of text without a role, by name, where `table` does not hold them."""


def long_of(
    table: pd.DataFrame, fields: list[str], tickers: list[str], separator: str | None, notes: tuple[str, ...]
) -> Raw:
    """A table with the columns of several tickers side by side, as rows of each ticker after the other."""
    names = list(dict.fromkeys(ticker for ticker in tickers if ticker))
    times = [i for i, ticker in enumerate(tickers) if not ticker]
    if len(times) != 1:
        raise KlineError(
            f"columns of {len(names)} tickers side by side, and {len(times)} columns beside them: expected one of times"
        )
    wanted = list(dict.fromkeys(field for field, ticker in zip(fields, tickers, strict=True) if ticker))
    parts = []
    for name in names:
        own = {f: i for i, (f, t) in enumerate(zip(fields, tickers, strict=True)) if t == name}
        try:
            found_or_raise(["Date", *own], None)
        except KlineError as error:
            raise KlineError(f"columns of {len(names)} tickers side by side; {name}: ", error.message) from error
        cells = table.iloc[:, [times[0], *own.values()]].set_axis(["Date", *own], axis=1)
        cells = cells[~cells[list(own)].isna().all(axis=1)] if len(names) > 1 else cells
        cells.insert(1, "Ticker", name)
        parts.append(cells.reindex(columns=["Date", "Ticker", *wanted]))
    long = pd.concat(parts, ignore_index=True)
    all_names = list(map(str, long.columns))
    found = found_or_raise(all_names, None)
    unused = tuple(name for i, name in enumerate(all_names) if i not in found.values())
    return Raw(long.set_axis(range(long.shape[1]), axis=1), all_names, found, separator, unused, notes)
