"""Tables that commands write: a forecast as CSV, JSON or Parquet, and on the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from kronos.forecast.forecast import Forecast

LESS_NEEDED = ("amount", "volume", "open", "high", "low")
"""Columns of the terminal's table that give way where it is narrow, in this order."""
LONGEST, HEAD, TAIL = 40, 20, 10
"""A table of more rows than the first is shown by its beginning and its end."""
WIDE = 160
"""Columns of text where there is no terminal, and lines are not cut."""


def console_of(wide: int = WIDE) -> Console:
    """The terminal; or, for a file or a pipe, one of ``wide`` columns."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=wide)


def show_text(lines: Sequence[str]) -> None:
    """Lines of text, broken between words where the terminal is narrower."""
    console = console_of()
    for line in lines:
        console.print(line, highlight=False, markup=False)


def show_forecast(result: pd.DataFrame, truth: pd.DataFrame | None, title: str) -> None:
    """Print a forecast as a table that fits the terminal: volumes as 3.6B; columns that do not fit are named below."""
    from rich.table import Table

    console = console_of()
    shown = result.copy()
    if truth is not None:
        shown["actual close"] = truth["close"].to_numpy()
    cells, left_out, space = fitting_columns(_cells(shown), console.width)
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    table.padding = (0, space, 0, 0)
    for name in cells:
        table.add_column(name, justify="left" if name == "time" else "right", no_wrap=True)
    spots = list(range(len(shown)))
    if len(spots) > LONGEST:
        spots = [*spots[:HEAD], -1, *spots[-TAIL:]]
    for i in spots:
        table.add_row(*(["..."] if i < 0 else [column[i] for column in cells.values()]))
    console.print(table)
    if left_out:
        console.print(f"too narrow for {', '.join(left_out)}; --out FILE has all columns", style="dim", highlight=False)


def show_table(
    header: list[str], rows: list[list[str]], title: str | None = None, *, wide: int = WIDE, left: tuple[str, ...] = ()
) -> None:
    """Print a table of texts; what is wider than the terminal goes on below, with the first column again. Nothing is cut.

    Args:
        header, rows: texts, as many in each row as in the header.
        wide: columns of text where there is no terminal.
        left: columns besides the first that begin at the left.
    """
    from rich.table import Table

    console = console_of(wide)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    blocks: list[list[int]] = [[]]
    for at in range(1, len(header)):
        if blocks[-1] and widths[0] + sum(2 + widths[i] for i in [*blocks[-1], at]) > console.width:
            blocks.append([])
        blocks[-1].append(at)
    for number, block in enumerate(blocks):
        table = Table(
            title=None if number else title, title_justify="left", box=None, pad_edge=False, header_style="bold"
        )
        for at in (0, *block):
            justify = "left" if at == 0 or header[at] in left else "right"
            table.add_column(header[at], justify=justify, no_wrap=True)  # type: ignore[arg-type]
        for row in rows:
            table.add_row(*(row[at] for at in (0, *block)))
        if number:
            console.print()
        console.print(table)


def show_chart(forecast: Forecast, truth: pd.DataFrame | None, coverages: list[float]) -> None:
    """Draw the one series of a forecast in the terminal, as wide as it is."""
    from kronos.forecast.charts import charts_of
    from kronos.plotting.terminal_fan import terminal_fan

    console = console_of(100)
    known = {} if truth is None else {forecast.ids[0]: truth.set_index("timestamps")}
    (chart,) = charts_of(forecast, 10 * console.width, known, coverages, 0)
    unicode = (console.encoding or "").lower().startswith("utf")
    for line in terminal_fan(chart, console.width, unicode=unicode):
        console.print(line, no_wrap=True, overflow="crop", highlight=False)
    legend = "bands: the middle " + ", ".join(f"{share:.10g} %" for share in sorted(100 * one for one in coverages))
    console.print(f"{legend} of the paths' closes; line: their median", style="dim", highlight=False)


def _cells(shown: pd.DataFrame) -> dict[str, list[str]]:
    """The texts of each column, the time first. All prices have the same decimals."""
    from kronos.plotting.number_format import price_format, short_number

    daily = bool((shown.index.normalize() == shown.index).all())  # type: ignore[attr-defined]
    volumes = [name for name in shown.columns if name in ("volume", "amount")]
    prices = shown.drop(columns=volumes)
    price = price_format(prices.to_numpy().ravel())
    cells = {"time": [f"{at:%Y-%m-%d}" if daily else f"{at:%Y-%m-%d %H:%M}" for at in shown.index]}
    for name in shown.columns:
        cells[name] = [(short_number if name in volumes else price)(value) for value in shown[name]]
    return cells


def fitting_columns(cells: dict[str, list[str]], width: int) -> tuple[dict[str, list[str]], list[str], int]:
    """The columns that fit ``width``, the names of those that do not, and the spaces between columns (two, or one)."""
    kept = dict(cells)
    widths = {name: max(len(name), *map(len, column)) for name, column in cells.items()}
    if sum(widths.values()) + 2 * (len(widths) - 1) <= width:
        return kept, [], 2
    for name in LESS_NEEDED:
        if sum(widths[one] + 1 for one in kept) - 1 <= width:
            break
        kept.pop(name, None)
    return kept, [name for name in cells if name not in kept], 1


def table_of(forecast: Forecast, values: list[str], levels: list[float]) -> pd.DataFrame:
    """Means of what the file has, and quantiles of close, indexed by time."""
    table = forecast.to_frame("wide", quantiles=levels if forecast.n_paths > 1 else (), columns=values)
    return table.drop(columns="id").set_index("timestamps")


def table_bytes(result: pd.DataFrame, ending: str) -> bytes:
    """A table in the format of a file's ending: .csv, .json or .parquet."""
    table = result.reset_index()
    if ending == ".csv":
        return table.to_csv(index=False, float_format="%.8g").encode()
    return _as_json(table) if ending == ".json" else table.to_parquet(index=False)


def _as_json(table: pd.DataFrame) -> bytes:
    """A list of rows, numbers with 8 digits whatever their size: pandas would write a price of 1e-11 as 0."""
    rows = json.loads(table[["timestamps"]].to_json(orient="records", date_format="iso"))
    for row, values in zip(rows, table.drop(columns="timestamps").to_dict("records"), strict=True):
        row |= {name: float(f"{value:.8g}") for name, value in values.items()}
    return json.dumps(rows, indent=1, ensure_ascii=False).encode()
