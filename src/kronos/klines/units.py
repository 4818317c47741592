"""Units in the names of columns, `成交量(万手)`, `Volume (K)`, `Turnover, mn` -> the factor of the column. Reads no files."""

from __future__ import annotations

import re
import unicodedata

_LETTERS = {
    "k": 1e3, "thousand": 1e3, "thousands": 1e3, "ths": 1e3, "thsd": 1e3, "tsd": 1e3, "milliers": 1e3, "miles": 1e3, "тыс": 1e3,
    "000": 1e3, "000s": 1e3, "m": 1e6, "mm": 1e6, "mn": 1e6, "mln": 1e6, "mio": 1e6, "million": 1e6, "millions": 1e6,
    "millionen": 1e6, "millones": 1e6, "milhões": 1e6, "млн": 1e6, "b": 1e9, "bn": 1e9, "bln": 1e9, "mrd": 1e9, "billion": 1e9,
    "billions": 1e9, "milliards": 1e9, "milliarden": 1e9, "млрд": 1e9, "tn": 1e12, "trn": 1e12, "trillion": 1e12,
    "trillions": 1e12, "lakh": 1e5, "lakhs": 1e5, "lac": 1e5, "lacs": 1e5, "crore": 1e7, "crores": 1e7, "cr": 1e7,
    "hundred": 1e2, "hundreds": 1e2,
}  # fmt: skip
_UNCLEAR = ("mil", "t", "mille", "bil", "tril")
"""Thousand or million, thousand or trillion or tonne, by language."""
_SIGNS = {
    "百": 1e2, "千": 1e3, "万": 1e4, "萬": 1e4, "亿": 1e8, "億": 1e8, "兆": 1e12,
    "백": 1e2, "천": 1e3, "만": 1e4, "억": 1e8, "조": 1e12,
}  # fmt: skip
_TEN = {"十": 10.0, "십": 10.0}
_COUNTED = "手股张張份元円圆圓枚口株주원계枚单位單人民币幣美港日新台欧英镑韩元原计計数數"
_BRACKETS = re.compile(r"[(（\[【]([^)）\]】]*)[)）\]】]?")
_BEHIND = re.compile(r"[\s_,/，:：\-]+((?:in[\s_]+)?[^\s_,/，:：()\[\]]+)$")
_CURRENCIES = (
    "usd", "usdt", "us", "eur", "gbp", "jpy", "cny", "rmb", "hkd", "inr", "krw", "chf", "rub", "brl", "twd", "sgd", "aud", "cad",
    "try", "rs", "rupees", "dollars", "euro", "euros", "yuan", "yen", "won", "руб",
)  # fmt: skip
_THINGS = (
    "shares",
    "share",
    "lots",
    "lot",
    "contracts",
    "units",
    "stück",
    "stücke",
    "stk",
    "pcs",
    "шт",
    "of",
    "in",
    "actions",
    "títulos",
)


def scale_of(name: str) -> float | None:
    """The factor that the name of a column states for its numbers: 1.0 where it states none; None where it is unclear.

    `成交量(万手)` is 1e4: lots stay lots. `Volume (shares)` and `Close (USD)` are 1.0.
    """
    text = unicodedata.normalize("NFKC", str(name)).strip()
    if re.sub(r"[\s_]+", "_", text).lower() == "turnover_lacs":
        return 1e5
    inside = _BRACKETS.search(text)
    if inside is not None:
        return _factor(inside[1])
    behind = _BEHIND.search(text)
    return (_factor(behind[1]) if behind is not None else None) or 1.0


def without_scale(name: str) -> str:
    """`Volume, mn` and `成交额_亿元` without the unit behind them; other names as they are.

    Units in brackets are left out by `columns.normalise_name`.
    """
    text = unicodedata.normalize("NFKC", str(name)).strip()
    found = None if _BRACKETS.search(text) else _BEHIND.search(text)
    if found is None or _factor(found[1]) in (None, 1.0):
        return str(name)
    return text[: found.start()]


def is_unit(text: str) -> bool:
    """Whether a cell is nothing but a unit: `USD`, `shares`, `万手`, `thousands`."""
    plain = unicodedata.normalize("NFKC", text).strip().lower()
    words = _words(plain)
    named = bool(words) and all(w in _CURRENCIES or w in _THINGS or w in _LETTERS or _joined(w) for w in words)
    return bool(plain) and (named or _chinese(plain) is not None or re.fullmatch(r"[$€£¥₹₩₽]", plain) is not None)


def _factor(unit: str) -> float | None:
    """Of a unit such as `万手`, `USD mn`, `'000`, `in thousands`; 1.0 for one that scales nothing; None where it is unclear."""
    text = re.sub(r"^(?:单位|單位|unit|units)?\s*[:：]?\s*", "", unit.strip().lower())
    plain = re.fullmatch(r"(?:[x×*]\s*)?(1(?:[ ,.']?0{3})+|10{2,12}|1e\+?\d{1,2}|10\^\d{1,2})(?:s)?(?:\s*(\D+))?", text)
    if plain is not None and not plain[2]:
        base = plain[1]
        if base.startswith("10^"):
            return float(10.0 ** int(base[3:]))
        return float(base) if "e" in base else float(re.sub(r"\D", "", base))
    text = re.sub(r"(?:us|hk|nt|sg|[sacr])?[$€£¥₹₩₽]", " ", text).strip()
    factor = _chinese(text)
    if factor is not None:
        return factor
    if any(sign in text for sign in _SIGNS):
        return None
    words = _words(text)
    known = [_LETTERS.get(word) or _joined(word) for word in words]
    factors = [factor for factor in known if factor]
    rest = [word for word, factor in zip(words, known, strict=True) if not factor]
    if len(factors) > 1 or any(word in _UNCLEAR or re.fullmatch(r"10*", word) for word in words):
        return None
    if factors:
        return factors[0] if all(word in _CURRENCIES or word in _THINGS for word in rest) else None
    return 1.0


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"(?<=\d)[,'](?=\d)", "", text))


def counts_money(name: str) -> bool:
    """Whether the unit in a name is one of money: `Volume (USD mn)`, `成交量(亿元)`."""
    whole = unicodedata.normalize("NFKC", str(name)).strip()
    found = _BRACKETS.search(whole) or _BEHIND.search(whole)
    if found is None:
        return False
    text = found[1].lower()
    words = _words(text)
    named = any(word in _CURRENCIES or (_joined(word) is not None) for word in words)
    return named or re.search(r"[$€£¥₹₩₽元円圆圓원]|人民[币幣]", text) is not None


def _joined(word: str) -> float | None:
    """`musd`, `teur`, `kusd`: thousand or million of a currency in one word."""
    if word[1:] in _CURRENCIES and len(word) == 4:
        return {"k": 1e3, "t": 1e3, "m": 1e6, "b": 1e9}.get(word[0])
    return None


def _chinese(text: str) -> float | None:
    found = re.fullmatch(rf"([十십]?)([{''.join(_SIGNS)}]*)([{_COUNTED}]*)", re.sub(r"\s", "", text))
    if found is None:
        return None
    factor = _TEN.get(found[1], 1.0)
    for sign in found[2]:
        factor *= _SIGNS[sign]
    return factor
