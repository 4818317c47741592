"""Wide text tables: keep the columns that can matter before the cells are parsed.

Parsing takes some 30 bytes a cell while it lasts, so 90,000 rows of 305 columns take 900 MB; the rows pass here one at a time.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kronos.errors import Argument
from kronos.klines.columns import WEAK_SYMBOLS, KlineError, normalise_name
from kronos.klines.layout import SPACES, Header
from kronos.klines.numbers import looks_like_number

WIDE = 32
"""Columns without a role from which on a table is narrowed; below it, parsing all of them is the faster way."""
NEIGHBOURS = 8
"""Columns of text without a role that are kept: their signs may tell which sign is the decimal one."""
_WEAK = frozenset(map(normalise_name, WEAK_SYMBOLS))


def is_wide(header: Header) -> bool:
    """Whether the table has so many columns without a role that it is worth narrowing."""
    unused = len(header.names) - len(set(header.found.values()))
    return unused >= WIDE and header.separator != SPACES and not header.tickers


def needed_columns(header: Header, first: Sequence[str]) -> list[int]:
    """The places of the columns that can matter, ascending.

    They are the first one, where the words of a footer stand; those with a role; those that may tell series apart; a few of text.

    Args:
        first: the cells of the first data row.
    """
    used = set(header.found.values())
    weak = {i for i, name in enumerate(header.names) if normalise_name(name) in _WEAK}
    texts = [i for i in text_columns(first) if i not in used and i < len(header.names)]
    return sorted({0} | used | weak | set(texts[:NEIGHBOURS]))


def text_columns(first: Sequence[str]) -> list[int]:
    """The places of the cells of a row that are neither empty nor numbers."""
    return [i for i, cell in enumerate(first) if cell.strip() and not looks_like_number(cell)]


def first_row(source: Path | io.BytesIO, header: Header, encoding: str) -> list[str]:
    """The cells of the first data row; none where there is no row."""
    return next((row for _, row in _rows(source, header, encoding)), [])


def narrowed(source: Path | io.BytesIO, header: Header, encoding: str, keep: Sequence[int]) -> tuple[bytes, Header]:
    """The data rows with the columns ``keep`` alone, as UTF-8 text without a header, and the header that fits them.

    Raises:
        KlineError: a row has more cells than the header, or cannot be split.
        UnicodeDecodeError: the text is not of that encoding.
    """
    out = io.StringIO()
    write = csv.writer(out, delimiter=header.separator, lineterminator="\n").writerow
    width, most = len(header.names), max(keep) + 1
    for line, row in _rows(source, header, encoding):
        if len(row) > width:
            raise KlineError(
                f"line {line} has {len(row)} cells, expected {width} (separator {header.separator!r}): one cell for each "
                "column name"
            )
        if len(row) < most:
            row += [""] * (most - len(row))
        write([row[i] for i in keep])
    place = {old: new for new, old in enumerate(keep)}
    found = {role: place[i] for role, i in header.found.items() if i in place}
    names = [header.names[i] for i in keep]
    return out.getvalue().encode(), replace(header, names=names, found=found, skip=0)


def _rows(source: Path | io.BytesIO, header: Header, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """The number of the last line and the cells of each data row, without blank ones."""
    opened = source.open("rb") if isinstance(source, Path) else source
    with io.TextIOWrapper(opened, encoding=encoding, newline="") as stream:
        lines = itertools.islice(stream, header.skip, None)
        rows = csv.reader(lines, delimiter=header.separator, skipinitialspace=True)
        try:
            for row in rows:
                if len(row) > 1 or (row and row[0].strip()):
                    yield header.skip + rows.line_num, row
        except csv.Error as error:
            raise KlineError(
                f"line {header.skip + rows.line_num} is no row of a table ({error}): leave columns out in the file, or name the "
                "encoding with ",
                Argument("encoding"),
            ) from error
