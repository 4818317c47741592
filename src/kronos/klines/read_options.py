"""How a file of K-lines is to be read: one set of options for the library, the command line and the service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from kronos.errors import Argument
from kronos.klines.columns import CLOSE_ONLY, KlineError

Policy = Literal["drop", "split", "sort"]


@dataclass(frozen=True)
class ReadOptions:
    """Options of `kronos.read_klines`; every one may be left out, and is then inferred or refused.

    Attributes:
        columns: explicit names, {column of the file: role}; the role "ignore" leaves a column out.
        encoding: of text, such as "gb18030" or "cp1252"; None tells it from the content.
        decimal: "." or ",", the decimal sign. thousands: ".", ",", " " or "'", the sign between groups of digits.
        tz: zone of naive times, else the zone to convert to.
        names: names of the columns of a file without a header row, in order.
        symbol: which series of a table that holds several.
        clean: what to do with faulty rows, as in `kronos.klines.clean`; None refuses them.
        close_only: make candles of the closes alone (`kronos.klines.closes`); other prices are not read.
        timeframe: make longer bars of those that were read, a name of `kronos.klines.TIMEFRAMES`; `read_table` leaves it out.
    """

    columns: Mapping[str, str] | None = None
    encoding: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    tz: str | None = None
    names: Sequence[str] | None = None
    symbol: str | None = None
    clean: Policy | None = None
    close_only: bool = False
    timeframe: str | None = None

    def __post_init__(self) -> None:
        from kronos.klines.numbers import given_convention

        if self.close_only:
            object.__setattr__(self, "columns", {**(self.columns or {}), CLOSE_ONLY: "close"})
        given_convention(self.decimal, self.thousands)
        if self.encoding is not None:
            check_encoding(self.encoding)
        if isinstance(self.names, str):
            raise KlineError(Argument("names", self.names), ": expected a list of names, one for each column")

    def but(self, **changes: Any) -> ReadOptions:
        """These options with those of ``changes`` that are not None in place of their own."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    @property
    def dialect(self) -> dict[str, Any]:
        """Those that say how a file is written, as keyword arguments of the reader."""
        return {name: getattr(self, name) for name in ("columns", "encoding", "decimal", "thousands", "names")}


def check_encoding(name: str) -> None:
    """Refuse the name of an encoding that there is not."""
    import codecs

    try:
        codecs.lookup(name)
        b"".decode(name)  # base64, zlib and the like are no encodings of text
    except (LookupError, ValueError) as error:
        raise KlineError(
            "unknown ", Argument("encoding", name), ": use a name like 'utf-8', 'gb18030' or 'cp1252'"
        ) from error
