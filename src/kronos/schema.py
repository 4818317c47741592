"""Names and order of what all of Kronos shares: the columns of a bar and the fields of a time."""

from __future__ import annotations

PRICE_COLUMNS: tuple[str, ...] = ("open", "high", "low", "close")
OPTIONAL_COLUMNS: tuple[str, ...] = ("volume", "amount")
FEATURES: tuple[str, ...] = PRICE_COLUMNS + OPTIONAL_COLUMNS
"""Columns of a bar in the order of every array [..., 6]."""
OPEN, HIGH, LOW, CLOSE, VOLUME, AMOUNT = range(len(FEATURES))
"""Index of each column in an array [..., 6]."""
TIME_FIELDS: tuple[str, ...] = ("minute", "hour", "weekday", "day", "month")
"""Fields of a time in the order of every array [..., 5]."""
PICKLE_FEATURES: tuple[str, ...] = (*PRICE_COLUMNS, "vol", "amt")
"""`FEATURES` as the published project names them in the tables that its training reads (``.pkl``)."""
