"""Cells of text in rows: the encoding, the header, and plain numbers where they can be no other."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.errors import Argument
from kronos.klines.columns import COMMA_LANGUAGES, KlineError, normalise_name
from kronos.klines.encodings import decode, encodings_of, ranked
from kronos.klines.layout import SPACES, Header, count_footers, find_header, unwrapped
from kronos.klines.needed_columns import first_row, is_wide, narrowed, needed_columns, text_columns
from kronos.klines.numbers import looks_mixed
from kronos.klines.raw_cells import Raw, long_of
from kronos.klines.read_options import ReadOptions
from kronos.schema import FEATURES, PRICE_COLUMNS

# The default of pandas 2 reads some numbers off by the last digit; pandas 3 does not, and deprecates the option.
_EXACT: dict[str, Any] = {"float_precision": "round_trip"} if pd.__version__.startswith("2.") else {}
_Source = Callable[[], Path | io.BytesIO]
"""Opens the text anew: what is read may be read twice."""
_COMMA_LANGUAGES = frozenset(map(normalise_name, COMMA_LANGUAGES))


def read_delimited(file: Path, options: ReadOptions, data: bytes | None, head: bytes) -> Raw:
    """The cells of text in rows, in the first encoding that gives a table.

    Args:
        data: the content where it is not the file's own (unpacked); None reads the file.
        head: its first bytes.
    """
    encodings = [options.encoding] if options.encoding else encodings_of(head)
    problem: KlineError | None = None
    for number, encoding in enumerate(encodings):
        try:
            raw = _decoded(file, data, head, encoding, options)
        except UnicodeDecodeError as error:
            if number == 0 and len(encodings) > 1 and head.isascii():  # other signs come after the head
                encodings[1:] = _ranked_later(file, data)
            if options.encoding:
                raise KlineError(
                    f"text that is not {encoding}, as ", Argument("encoding"), f" says: {error.reason}"
                ) from error
            continue
        except KlineError as error:
            problem = problem or error
            if head.isascii() or number == len(encodings) - 1:
                raise problem from (error.__cause__ if problem is error else error)
            continue
        assumed = options.encoding is None and encoding not in ("utf-8-sig", "utf-16")
        return replace(raw, notes=(f"the text is read as {encoding}", *raw.notes)) if assumed else raw
    raise problem or KlineError(
        "text of no known encoding; name it with ", Argument("encoding"), ", or save it as UTF-8"
    )


def _ranked_later(file: Path, data: bytes | None) -> list[str]:
    """Encodings of a text whose head is plain ASCII, by the lines that are not."""
    content = file.read_bytes() if data is None else data
    lines = content.split(b"\n")
    return ranked(b"\n".join([*lines[:5], *[line for line in lines if not line.isascii()][:500]]))


def _decoded(file: Path, data: bytes | None, head: bytes, encoding: str, options: ReadOptions) -> Raw:
    try:
        text = decode(head, encoding)
    except UnicodeDecodeError:
        raise
    except UnicodeError as error:  # utf-16 without a mark, named by the caller
        raise KlineError(f"text that is not {encoding}: {error}") from error
    header = find_header(re.split("\r\n|\r|\n", text), options.columns, options.names)

    def content() -> Path | io.BytesIO:
        return file if data is None else io.BytesIO(data)

    notes = [f"left out above the header: {title[:80]}" for title in header.titles]
    notes += [header.note] if header.note else []
    if header.tickers:
        table = _parse_text(content(), header, encoding, everything=False)
        return long_of(table, header.names, list(header.tickers), header.separator, tuple(notes))
    every, source, texts = header, content, None
    if is_wide(header):
        header, source, texts = _with_needed_columns(content, every, encoding)
        encoding = "utf-8"
    table = _parse_text(source(), header, encoding, everything=False)
    footers = count_footers(table, header.found)
    table = table.iloc[: len(table) - footers] if footers else table
    comma = sum(normalise_name(name) in _COMMA_LANGUAGES for name in every.names) >= 2
    if _needs_text(table, header, options, comma):
        whole = _parse_text(source(), header, encoding, everything=True)
        table, cut = whole.iloc[: len(table)], whole.iloc[len(table) :]
    else:
        cut = (
            table.iloc[:0] if not footers else _parse_text(source(), header, encoding, everything=True).iloc[-footers:]
        )
    table, again = _without_headers(table, header)
    if again:
        rows = ", ".join(map(str, again[:3])) + (", ..." if len(again) > 3 else "")
        notes.append(f"left out: the header again, in data row{'s' if len(again) > 1 else ''} {rows}")
    for _, row in cut.iterrows():
        line = " ".join(str(cell) for cell in row if isinstance(cell, str) and cell.strip())
        notes.append(f"left out below the last bar: {line[:80]}")
    used = set(every.found.values())
    unused = tuple(name for i, name in enumerate(every.names) if i not in used and name)
    kept, read_texts = table.index, texts
    return Raw(
        table, header.names, header.found, header.separator, unused, tuple(notes), comma,
        texts=None if read_texts is None else lambda: read_texts().reindex(kept),
    )  # fmt: skip


def _with_needed_columns(
    content: _Source, header: Header, encoding: str
) -> tuple[Header, _Source, Callable[[], pd.DataFrame] | None]:
    """The header of a wide table's columns that can matter, their cells as UTF-8, and what reads its other columns of text."""
    first = first_row(content(), header, encoding)
    small, narrow = narrowed(content(), header, encoding, needed_columns(header, first))
    others = {header.names[i]: i for i in text_columns(first) if header.names[i] not in narrow.names}

    def read_others() -> pd.DataFrame:
        cells, named = narrowed(content(), header, encoding, sorted({0, *others.values()}))
        table = _parse_text(io.BytesIO(cells), named, "utf-8", everything=True)
        table.columns = named.names
        return table[[*others]]

    return narrow, lambda: io.BytesIO(small), read_others if others else None


def _unwrapped(table: pd.DataFrame) -> pd.DataFrame:
    """The cells without the signs that make them texts for a spreadsheet, where the first row has any."""
    if not len(table):
        return table
    for at, cell in enumerate(table.iloc[0]):
        if isinstance(cell, str) and cell.lstrip()[:1] in ("=", "'"):
            cells = table.iloc[:, at].astype("str").where(table.iloc[:, at].notna())
            table[table.columns[at]] = cells.map(lambda text: unwrapped(text.strip()), na_action="ignore")
    return table


def _without_headers(table: pd.DataFrame, header: Header) -> tuple[pd.DataFrame, list[int]]:
    """Rows that are not the header once more, under their old labels, and the numbers of those that are (1 = first)."""
    places = [header.found[role] for role in PRICE_COLUMNS]
    if any(pd.api.types.is_numeric_dtype(table.iloc[:, at].dtype) for at in places):
        return table, []
    repeated = np.ones(len(table), dtype=bool)
    for at in places:
        repeated &= (table.iloc[:, at].str.strip().str.lower() == header.names[at].lower()).to_numpy(
            dtype=bool, na_value=False
        )
    return (table[~repeated], (np.flatnonzero(repeated) + 1).tolist()) if repeated.any() else (table, [])


def _needs_text(table: pd.DataFrame, header: Header, options: ReadOptions, comma_language: bool) -> bool:
    """Whether numbers must be read from their text: some column is no plain number, or the numbers may mean something else."""
    values = [table.iloc[:, at] for role, at in header.found.items() if role in (*FEATURES, "tick_volume")]
    if any(not pd.api.types.is_numeric_dtype(cells.dtype) for cells in values):
        return True
    if options.decimal == "," or options.thousands == ".":
        return True
    if options.decimal == "." or options.thousands is not None:
        return False
    prices = [table.iloc[:, header.found[role]].to_numpy("float64") for role in PRICE_COLUMNS]
    if comma_language and header.separator != ",":
        return True
    return any(looks_mixed(cells) for cells in prices)


def _parse_text(source: Path | io.BytesIO, header: Header, encoding: str, *, everything: bool) -> pd.DataFrame:
    """The data rows. everything: every column as text; otherwise plain numbers are parsed.

    Raises:
        KlineError: a row has more cells than the header.
    """
    # as text: symbols keep their zeros (000001), times their digits
    as_text: Any = {i: "str" for role, i in header.found.items() if role in ("symbol", "timestamps", "date", "time")}
    try:
        with warnings.catch_warnings():
            # pandas only warns when it throws surplus cells away
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                source,
                sep=header.separator,
                encoding=encoding,
                header=None,
                names=range(len(header.names)),
                skiprows=header.skip,
                index_col=False,
                dtype="str" if everything else as_text,
                skipinitialspace=True,
                low_memory=False,
                compression=None,  # told by the first bytes, never by the name
                **_EXACT,
            )
            return _unwrapped(table)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        if "out of memory" in str(error):
            raise MemoryError(str(error)) from error
        lost = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        what = "some rows have more cells than the header"
        if lost:
            what = f"line {lost[2]} has {lost[3]} cells, expected {lost[1]}"
        apart = "spaces" if header.separator == SPACES else repr(header.separator)
        raise KlineError(f"{what} (separator {apart}): one cell for each column name") from error
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=range(len(header.names)))
