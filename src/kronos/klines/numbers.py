"""Cells of value columns -> numbers: signs of currency, suffixes, grouping, and which sign is the decimal one.

The convention is inferred from a whole column and, where that leaves it open, from the other columns of the table. A table that
stays ambiguous (every price like 150,765) is refused. Reads no files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from kronos.errors import Argument
from kronos.klines.columns import KlineError
from kronos.schema import PRICE_COLUMNS

MISSING = ("", "-", "--", "---", "—", "–", "nan", "none", "null", "na", "n/a", "#n/a", "nat", "n.a.")
_CURRENCY = r"US\$|HK\$|NT\$|R\$|[$€£¥₹₩₽元円원]|USDT|USD|EUR|GBP|JPY|CNY|HKD|INR|KRW|CHF|RUB|BRL|zł|kr"
_SUFFIX = {
    "k": 1e3, "m": 1e6, "mn": 1e6, "mio": 1e6, "b": 1e9, "bn": 1e9, "mrd": 1e9, "t": 1e12,
    "千": 1e3, "万": 1e4, "萬": 1e4, "만": 1e4, "亿": 1e8, "億": 1e8, "억": 1e8, "万亿": 1e12, "萬億": 1e12, "兆": 1e12,
    "тыс": 1e3, "млн": 1e6, "млрд": 1e9,
}  # fmt: skip
_PATTERN = (
    rf"^(?P<open>\()?(?P<sign>[+\-])?(?:{_CURRENCY})?(?P<sign2>[+\-])?"
    r"(?P<body>\d[\d., ']*|[.,]\d+)(?P<exponent>[eE][+\-]?\d+)?"
    rf"\s*(?P<suffix>{'|'.join(sorted(_SUFFIX, key=len, reverse=True))})?\.?(?P<percent>%)?(?:\s*(?:{_CURRENCY}))?"
    r"(?P<after>-)?(?P<close>\))?$"
)
_PLAIN = re.compile(
    r"[\s\"(+\-−$€£¥₹]*\d[\d.,' \u00a0\u2009\u202f’]*(?:[eE][+\-]?\d+)?\s*(?:[KMBTkmbt万亿萬億%)元円원€$£¥₹₽₩ ]|USDT?|EUR)*\s*"
)
DECIMALS = (".", ",")
MOST_DROP = 50.0
"""Highest over lowest price of a column; beyond it 985 and 1.034 are looked at as one scale written in two ways."""


class Convention(NamedTuple):
    """decimal: "." or ","; thousands: the other one, or None for spaces, apostrophes or nothing."""

    decimal: str
    thousands: str | None


def given_convention(decimal: str | None, thousands: str | None) -> Convention | None:
    """The convention that `decimal=` and `thousands=` name; None where neither does.

    Raises:
        KlineError: a sign that is neither point nor comma, or the same for both.
    """
    if decimal is None and thousands is None:
        return None
    for name, value, known in (("decimal", decimal, DECIMALS), ("thousands", thousands, (*DECIMALS, " ", "'"))):
        if value is not None and value not in known:
            raise KlineError(Argument(name, value), f": expected one of {', '.join(map(repr, known))}")
    if decimal is not None and decimal == thousands:
        raise KlineError(Argument("decimal", decimal), " and ", Argument("thousands", thousands), " are the same sign")
    if decimal is None:
        decimal = "," if thousands == "." else "."
    return Convention(decimal, "," if decimal == "." else ".")


def looks_like_number(text: str) -> bool:
    """Whether a cell of text is a number in one of the conventions; an empty cell is not."""
    text = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return len(text) < 60 and _PLAIN.fullmatch(text) is not None


def parse_numbers(
    series: pd.Series, name: str, *, decimal_comma: bool = False, convention: Convention | None = None
) -> pd.Series:
    """Cells -> float64 (n,). Missing stays NaN; 1,234.5 is read as a number, a cell like '12 dogs' is refused.

    convention: how the column writes numbers; default: inferred from it alone, and a point is decimal where it is open.

    Raises:
        KlineError: naming the first row (1 = first data row) and the column.
    """
    if decimal_comma:
        convention = Convention(",", ".")
    if pd.api.types.is_bool_dtype(series.dtype) or pd.api.types.is_datetime64_any_dtype(series.dtype):
        raise KlineError(f"column {name!r} holds {series.dtype} values: expected numbers")
    if pd.api.types.is_numeric_dtype(series.dtype):
        return series.astype("float64")
    return _Column(series, name).numbers(convention)


def parse_table(
    columns: Mapping[str, pd.Series],
    names: Mapping[str, str],
    given: Convention | None,
    comma_locale: bool = False,
    neighbours: Sequence[pd.Series] = (),
) -> dict[str, pd.Series]:
    """The value columns of one table, {role: float64 (n,)}; their conventions are inferred together.

    names: what the file calls each role. given: the convention that the caller states. comma_locale: the file's language or its
    dates are of a country that writes a decimal comma, so that 1.034 stays ambiguous. neighbours: further columns of the table,
    which are only looked at for the signs they use.

    Raises:
        KlineError: a cell is no number, a column mixes two conventions, or the convention stays open.
    """
    texts = {
        role: _Column(cells, names[role])
        for role, cells in columns.items()
        if not (pd.api.types.is_numeric_dtype(cells.dtype) or pd.api.types.is_datetime64_any_dtype(cells.dtype))
    }
    if given is None:
        prices = [texts[role] for role in PRICE_COLUMNS if role in texts]
        if prices and all(one.may_be_thirty_seconds() for one in prices):
            prices[0].refuse_thirty_seconds()
    settled = {} if given is not None else _conventions(texts, columns, comma_locale, _readable(neighbours))
    return {
        role: texts[role].numbers(given or settled[role]) if role in texts else parse_numbers(cells, names[role])
        for role, cells in columns.items()
    }


def suffixed(cells: pd.Series) -> str | None:
    """The first cell (n,) with a suffix such as K, M or 万; None where none has one."""
    if pd.api.types.is_numeric_dtype(cells.dtype):
        return None
    texts = cells[cells.notna()].astype("str").str.normalize("NFKC").str.strip()
    found = texts[texts.str.fullmatch(rf".*\d\s*(?:{'|'.join(_SUFFIX)})\.?\D*", flags=re.IGNORECASE)]
    return None if found.empty else str(found.iloc[0])


def looks_mixed(values: np.ndarray) -> bool:
    """Whether prices such as 985 and 1.034 stand in one numeric column (n,): a scale that breaks where 1,000 is crossed."""
    lowest, highest = (float(f(values)) for f in (np.min, np.max)) if len(values) else (1.0, 1.0)
    if lowest > 0 and (highest < MOST_DROP * lowest or highest >= 1000):
        return False  # the usual case, without a copy
    known = values[np.isfinite(values) & (values > 0)]
    if not len(known) or known.max() < MOST_DROP * known.min() or known.max() >= 1000:
        return False
    whole = known == np.round(known)
    large, small = known[whole & (known >= 100)], known[~whole]
    thousandths = np.abs(small * 1000 - np.round(small * 1000)) < 1e-6
    return bool(len(large) and len(small) and len(large) + len(small) >= 0.99 * len(known) and thousandths.all()
                and small.max() < 100)  # fmt: skip


class _Column:
    """The text cells of one column, taken apart."""

    def __init__(self, series: pd.Series, name: str) -> None:
        self.series, self.name = series, name
        if pd.api.types.is_bool_dtype(series.dtype):
            raise KlineError(f"column {name!r} holds {series.dtype} values: expected numbers")
        cells = series[series.notna()].astype("str").str.normalize("NFKC").str.strip()
        cells = cells.str.replace("[’`´]", "'", regex=True).str.replace("−", "-", regex=False)
        self.cells = cells[~cells.str.lower().isin(MISSING)]
        self.parts = self.cells.str.extract(_PATTERN, flags=re.IGNORECASE) if len(self.cells) else None
        if self.parts is not None:
            self._refuse(self.parts["body"].isna() & ~self.cells.str.lower().str.fullmatch(r"[+\-]?inf(inity)?"))
            self.body = self.parts["body"].str.strip().fillna("")
            signs = [self.body.str.count(re.escape(sign)) for sign in (".", ",")]
            self.points, self.commas = signs

    def _refuse(self, wrong: pd.Series, why: str = "expected a number") -> None:
        if not wrong.any():
            return
        label = wrong.index[wrong.to_numpy()][0]
        row = int(self.series.index.get_indexer(pd.Index([label]))[0]) + 1
        count = int(wrong.sum())
        raise KlineError(
            f"column {self.name!r} has {str(self.series.loc[label])[:40]!r} in data row {row}: {why}"
            + (f" ({count} such cells)" if count > 1 else "")
        )

    def may_be_thirty_seconds(self) -> bool:
        """Whether every cell is like 110'160, which is 110 and 16/32 for American futures."""
        return self.parts is not None and bool(self.body.str.fullmatch(r"\d{1,3}'(?:[0-2]\d|3[01])[0257]").all())

    def refuse_thirty_seconds(self) -> None:
        cell = str(self.cells.iloc[0])
        raise KlineError(
            f"column {self.name!r} is ambiguous: {cell!r} may be {cell.replace(chr(39), '')}, or {cell.split(chr(39))[0]} and "
            f"{int(cell.split(chr(39))[1][:2])}/32: say ",
            Argument("thousands", "'"),
            ", or write the 32nds as decimals",
        )

    def evidence(self) -> tuple[dict[str, str], dict[str, str]]:
        """The signs that are surely decimal and surely thousands, each with a cell that shows it."""
        decimal: dict[str, str] = {}
        thousands: dict[str, str] = {}
        if self.parts is None:
            return decimal, thousands
        for sign, own, other in ((".", self.points, self.commas), (",", self.commas, self.points)):
            escaped = re.escape(sign)
            three = self.body.str.fullmatch(rf"[1-9]\d{{0,2}}{escaped}\d{{3}}") & self.parts["suffix"].isna()
            both = (own > 0) & (other > 0)
            last = both & (self.body.str.rfind(sign) > self.body.str.rfind("," if sign == "." else "."))
            spaced = self.body.str.contains(rf"\d[ ']\d.*{escaped}", regex=True)
            for found, mask in (
                (decimal, last | spaced | ((own == 1) & (other == 0) & ~three) | self.parts["exponent"].notna() & (own == 1)),
                (thousands, (own > 1) | (both & ~last)),
            ):  # fmt: skip
                if mask.any():
                    found[sign] = str(self.cells[mask].iloc[0])
        return decimal, thousands

    def open_signs(self) -> dict[str, str]:
        """The signs that occur, each with a cell."""
        if self.parts is None:
            return {}
        return {s: str(self.cells[c > 0].iloc[0]) for s, c in ((".", self.points), (",", self.commas)) if (c > 0).any()}

    def numbers(self, convention: Convention | None) -> pd.Series:
        """float64 (n,) by the convention; None infers it from this column."""
        if convention is None:
            convention = _settle(self, [self], False, price=False, strict=False)
        out = pd.Series(np.nan, index=self.series.index, dtype="float64")
        if self.parts is None:
            return out
        point = re.escape(convention.decimal)
        group = re.escape("," if convention.decimal == "." else ".")
        whole = rf"\d+|\d{{1,3}}(?:[ '{group}]\d{{3}})+|\d{{1,2}}(?:[ {group}]\d{{2}})+[ {group}]\d{{3}}"
        # a run of groups takes one sign only
        one_sign = ~self.body.str.contains(rf"\d[ ']\d.*{group}|{group}.*\d[ ']\d", regex=True)
        fits = self.body.str.fullmatch(rf"(?:{whole})(?:{point}\d*)?|{point}\d+") & one_sign
        infinite = self.parts["body"].isna()
        self._refuse(
            ~(fits | infinite),
            f"expected a number with {'a point' if convention.decimal == '.' else 'a comma'} for decimals",
        )
        percent = self.parts["percent"].notna()
        if percent.any() and not percent.all():
            self._refuse(~percent & ~infinite, "the other cells are percent")
        text = self.body.str.replace(rf"[ '{group}]", "", regex=True).str.replace(convention.decimal, ".", regex=False)
        text = text + self.parts["exponent"].fillna("")
        text = text.where(~infinite, self.cells)
        values = text.to_numpy(dtype=object).astype("float64")
        if self.parts["suffix"].notna().any():
            scale = self.parts["suffix"].str.lower().map(_SUFFIX).fillna(1.0).to_numpy("float64")
            # by decimal digits, so that 1.2 million is 1200000 and not 1199999.9999999998
            values = np.where(scale > 1, np.round(values * scale, 6), values)
        minus = (
            (self.parts["sign"] == "-") | (self.parts["sign2"] == "-") | self.parts["after"].notna()
            | (self.parts["open"].notna() & self.parts["close"].notna())
        )  # fmt: skip
        out.loc[self.cells.index] = np.where(minus & ~infinite, -values, values)
        return out


def _conventions(
    texts: Mapping[str, _Column], columns: Mapping[str, pd.Series], comma_locale: bool, neighbours: list[_Column]
) -> dict[str, Convention]:
    """One convention a column; the prices share theirs."""
    prices = [texts[role] for role in PRICE_COLUMNS if role in texts]
    every = [*texts.values(), *neighbours]
    floats = any(
        pd.api.types.is_float_dtype(cells.dtype) and _has_fractions(cells)
        for role, cells in columns.items() if role not in texts
    )  # fmt: skip
    settled: dict[str, Convention] = {}
    if prices:
        shared = _settle(prices[0], prices, comma_locale, price=True, others=every, floats=floats)
        settled |= {role: shared for role in PRICE_COLUMNS if role in texts}
    for role, column in texts.items():
        if role not in settled:
            settled[role] = _settle(column, [column], comma_locale, price=False, others=every, floats=floats)
    return settled


def _readable(columns: Sequence[pd.Series]) -> list[_Column]:
    found = []
    for cells in columns:
        try:
            found.append(_Column(cells, "neighbour"))
        except KlineError:
            continue  # not a column of numbers
    return found


def _has_fractions(cells: pd.Series) -> bool:
    values = cells.to_numpy("float64")
    values = values[np.isfinite(values)]
    return bool((values != np.round(values)).any())


def _settle(
    column: _Column,
    group: list[_Column],
    comma_locale: bool,
    *,
    price: bool,
    others: list[_Column] | None = None,
    floats: bool = False,
    strict: bool = True,
) -> Convention:
    """The convention of a group of columns: by their own cells, then by the other columns, then by custom.

    Raises:
        KlineError: two conventions in the group, or none that is sure.
    """
    own = _joined(group)
    decimal, thousands = own
    both = set(decimal) & set(thousands)
    if both or len(decimal) > 1:
        sign = next(iter(both or decimal))
        first, second = (decimal[sign], thousands[sign]) if both else (decimal["."], decimal[","])
        raise KlineError(
            f"column {column.name!r} has numbers of two conventions, {first!r} and {second!r}; write them in one, ",
            "or say which it is with ",
            Argument("decimal", ","),
            " or ",
            Argument("decimal", "."),
        )
    found = _sure(*own)
    if found is None and others is not None:
        found = _sure(*_joined([one for one in others if one not in group]), floats=floats)
    used: dict[str, str] = {}
    for one in group:
        used = one.open_signs() | used
    broken = price and "." in used and any(_crosses(one, ".") for one in group)
    if not used or (found is not None and not (broken and found.decimal == ".")):
        return found or Convention(".", ",")
    sign, cell = next(iter(used.items()))
    if len(used) > 1:  # 1.034 and 1,034 with nothing to tell them by
        raise KlineError(f"column {column.name!r} has numbers of two conventions, {used['.']!r} and {used[',']!r}")
    mixed = price and any(_crosses(one, sign) for one in group)
    if sign == "," and mixed:
        return Convention(".", ",")  # 985 and 1,034: as decimals the price would fall to a thousandth
    if sign == "." and not mixed and not comma_locale:
        return Convention(".", ",")
    if not strict:
        return Convention(".", ",")
    other = "." if sign == "," else ","
    raise KlineError(
        f"column {column.name!r} is ambiguous: {cell!r} may be "
        f"{cell.replace(sign, '.')} or {cell.replace(sign, '')}; say ",
        Argument("decimal", sign),
        ", or ",
        Argument("thousands", sign),
        f" where the decimal sign is {other!r}",
    )


def _joined(group: list[_Column]) -> tuple[dict[str, str], dict[str, str]]:
    decimal: dict[str, str] = {}
    thousands: dict[str, str] = {}
    for one in group:
        d, t = one.evidence()
        decimal, thousands = d | decimal, t | thousands
    return decimal, thousands


def _sure(decimal: Mapping[str, str], thousands: Mapping[str, str], floats: bool = False) -> Convention | None:
    """The one convention that the signs leave; None where they leave none or two."""
    signs = {"." if floats else ""} | set(decimal) | {"," if t == "." else "." for t in thousands}
    signs.discard("")
    if len(signs) != 1:
        return None
    sign = signs.pop()
    return Convention(sign, "," if sign == "." else ".")


def _crosses(column: _Column, sign: str) -> bool:
    """Whether whole prices below 1,000 stand beside ones like 1.034, so that one of the readings breaks the scale."""
    if column.parts is None:
        return False
    plain = column.body.str.fullmatch(r"\d{1,3}")
    signed = column.body.str.fullmatch(rf"\d{{1,2}}{re.escape(sign)}\d{{3}}")
    if not plain.any() or not signed.any():
        return False
    whole = column.body[plain].astype("float64")
    parts = column.body[signed].str.replace(sign, ".", regex=False).astype("float64")
    return bool(whole.max() > MOST_DROP * parts.min())
