"""The sheets of a workbook (.xlsx) as texts, with tabs between cells."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path
from typing import Any

from kronos.io.extras import need
from kronos.klines.columns import KlineError

MAX_SHEET_BYTES = 512 * 2**20
"""A workbook may unpack to no more."""


def sheet_texts(file: Path, size: int) -> list[tuple[str, str]]:
    """(title, text) of each sheet, in order; the text of an empty one is blank.

    size: bytes that the file unpacks to.

    Raises:
        KlineError: openpyxl is missing, the file is damaged or too large.
    """
    try:
        need("openpyxl", "excel", "an Excel file")
    except ValueError as error:
        raise KlineError(f"{error}; or save the sheet as CSV") from error
    import openpyxl  # type: ignore[import-untyped,unused-ignore]

    if size > MAX_SHEET_BYTES:
        raise KlineError(f"a workbook that unpacks to {size / 2**20:.0f} MiB: save the sheet as CSV")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            texts = [(str(sheet.title), _text(sheet)) for sheet in book.worksheets]
            book.close()
    except Exception as error:  # openpyxl raises whatever its XML parser and its own code raise
        raise KlineError(f"a damaged Excel file: {str(error)[:80]}") from error
    return texts


def _text(sheet: Any) -> str:
    target = io.StringIO()
    writer = csv.writer(target, delimiter="\t", lineterminator="\n")
    for row in sheet.iter_rows(values_only=True):
        cells = [
            "" if cell is None else cell.isoformat(" ") if hasattr(cell, "hour") and hasattr(cell, "day") else str(cell)
            for cell in row
        ]
        while cells and not cells[-1]:
            cells.pop()
        writer.writerow(cells)
    return target.getvalue()
