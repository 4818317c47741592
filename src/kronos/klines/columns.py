"""Map the column names of K-line tables to roles. Lowest module of `kronos.klines`; reads no files.

`files` finds a table's columns with `find_columns`; `timestamps` and `numbers` turn their cells into values.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kronos.errors import Argument, KronosError, Message
from kronos.klines.units import without_scale
from kronos.schema import PRICE_COLUMNS

if TYPE_CHECKING:
    from kronos.klines.validation import Report

# Accepted names by role, best first: where a file has several names of one role, the first listed here is used
# (JoinQuant's `money` loses to `amount`, a Chinese feed's turnover *rate* loses to its amount).
ALIASES: dict[str, tuple[str, ...]] = {
    "timestamps": (
        "timestamps", "candle_date_time_utc", "timestamp", "datetime", "date/time",
        "open_time", "gmt time", "local time", "utc time", "trade_time",
        "time_key", "window_start", "ts_event", "ts_recv",
        "kline_time", "bar_time", "candle_begin_time", "start_time", "begin",
        "begins_at", "日期时间", "日期時間", "交易时间", "交易時間",
        "日時", "일시", "fecha y hora", "data e hora", "дата и время",
        "mts", "start_at", "ticks", "unix", "epoch", "ts", "t", "ds", "__index_level_0__",
    ),
    "date": (
        "date", "trade_date", "trading_date", "trading_day", "day",
        "price_date", "exchange_date", "日期", "交易日期", "交易日",
        "日付", "日付け", "年月日", "날짜", "일자", "datum", "fecha", "data", "дата", "tarih",
        "dtyyyymmdd",
    ),
    "time": ("time", "时间", "時間", "時刻", "시간", "uhrzeit", "zeit", "heure", "hora", "ora", "время", "saat"),
    "open": (
        "open", "open_price", "o", "开盘", "开盘价", "今开", "開盤",
        "開盤價", "開市價", "始値", "시가", "오픈", "eröffnung", "eröffn.",
        "eröffnungskurs", "erster", "ouverture", "ouv.", "premier",
        "apertura", "apert.", "abertura", "открытие", "откр.",
        "otwarcie", "açılış", "opening", "opening_price", "open_rate", "adj_open_price",
        "px_open", "openprc",
    ),
    "high": (
        "high", "high_price", "h", "最高", "最高价", "最高價",
        "高", "高値", "고가", "hoch", "höchst", "höchstkurs", "tageshoch",
        "plus haut", "haut", "+ haut", "máximo", "máxima", "máx.", "max", "massimo", "максимум", "макс.", "najwyższy",
        "najwyzszy", "yüksek", "hoog", "day_high", "highest",
        "px_high", "askhi",
    ),
    "low": (
        "low", "low_price", "l", "最低", "最低价", "最低價",
        "低", "安値", "저가", "tief", "tiefst", "tiefstkurs", "tagestief",
        "plus bas", "bas", "+ bas", "mínimo", "mínima", "mín.",
        "min", "minimo", "минимум", "мин.", "najniższy", "najnizszy",
        "düşük", "laag", "day_low", "lowest",
        "px_low", "bidlo",
    ),
    "close": (
        "close", "close_price", "c", "收盘", "收盘价", "收盤",
        "收盤價", "收市價", "終値", "종가", "schluss", "schlusskurs",
        "schlußkurs", "schlusspreis", "clôture", "clot", "cierre",
        "fechamento", "chiusura", "закрытие", "закр.", "zamknięcie",
        "zamkniecie", "slot", "close/last", "closing", "closing_price",
        "last", "last_price", "latest", "last_trade", "zuletzt",
        "letzter", "dernier", "último", "ultimo", "laatste", "şimdi",
        "price", "preço", "precio", "prix", "prezzo", "kurs",
        "цена", "最新价", "现价", "ltp", "settle", "settlement", "settle_price",
        "px_last", "px_close", "trade_price", "prc",
    ),
    "volume": (
        "volume", "vol", "v", "real_volume", "base_volume", "成交量",
        "总手", "總手", "总量", "交易量", "成交股數", "成交股数",
        "出来高", "거래량", "stücke", "stück", "stuecke",
        "umsatz stück", "shares", "total_volume", "trade_volume", "tottrdqty",
        "ttl_trd_qnty", "total_traded_quantity", "traded_qty", "volumen", "volumes",
        "volumi", "объём", "объем", "об.", "wolumen",
        "hac.", "no. of shares",
        "px_volume", "shares_traded", "traded_shares", "candle_acc_trade_volume",
    ),
    "tick_volume": ("tickvol", "tick_volume"),
    "amount": (
        "amount", "amt", "money", "quote_volume", "quote_asset_volume", "total_turnover",
        "成交额", "成交金额", "成交額", "成交金額", "金额",
        "金額", "売買代金", "거래대금", "turnover_value", "traded_value", "tottrdval",
        "total_turnover_(rs.)", "turnover_lacs", "value", "turnover", "umsatz",
        "candle_acc_trade_price",
    ),
    "symbol": (
        "symbol", "ticker", "code", "unique_id", "item_id",
        "instrument", "ts_code", "order_book_id", "stock_code", "tic", "secid",
        "sec_code", "stkcd", "permno", "isin", "ric", "act_symbol",
        "代码", "股票代码", "证券代码", "代號", "證券代號", "股票代號",
        "銘柄コード", "コード", "종목코드", "тикер",
        "#ric",
    ),
}  # fmt: skip

MONEY_IF_IT_FITS = ("turnover", "value", "turnover_value", "traded_value", "umsatz", "turnover_lacs")
"""Names of `amount` that also stand for rates and counts: taken only where they fit price times volume."""
WEAK_SYMBOLS = (
    "name", "stock", "stock_name", "security", "company", "asset", "pair", "contract", "id", "简称", "股票名称", "证券简称", "名称",
    "證券名稱", "銘柄名", "종목명", "key", "market", "series",
)  # fmt: skip
"""Names of columns that tell series apart only where times repeat, best first."""
COMMA_LANGUAGES = (
    "datum", "zuletzt", "eröffnung", "eröffn.", "hoch", "tief", "schluss", "schlusskurs", "erster", "fecha", "cierre", "apertura",
    "último", "data", "abertura", "fechamento", "ouverture", "ouv.", "clôture", "dernier", "plus haut", "дата", "открытие",
    "закрытие", "otwarcie", "tarih", "açılış", "chiusura", "massimo",
)  # fmt: skip
"""Names of columns in languages that write a decimal comma."""
_QUOTES = ("currency", "usd", "usdt", "usdc", "busd", "fdusd", "tusd", "dai", "eur", "gbp", "jpy", "krw",
    "try", "brl", "aud", "cad",
           "chf", "cny", "btc", "eth", "bnb")  # fmt: skip
"""In `Volume X` beside `Volume Y`, the one listed first is what prices are in."""

_UNNAMED = 10_000
_INDEX = len(ALIASES["timestamps"]) - 1
"""Rank from which a name of a time is one that pandas made up."""

# Instead of a role, in an explicit mapping: leave this column out.
IGNORE = "ignore"

# Binance's public klines have no header row.
BINANCE_COLUMNS: tuple[str, ...] = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_asset_volume", "trades",
    "taker_buy_base", "taker_buy_quote", "ignore",
)  # fmt: skip


CLOSE_ONLY = "(close only)"
"""A key of ``columns`` that stands for no column: the close is read for all four prices (`kronos.klines.closes`)."""


class KlineError(KronosError):
    """A K-line table that cannot be used as it is.

    summary: the first line of the message, complete on its own (a command line shows just this).
    report: the `Report` of faults when validation refused the table, else None.
    """

    def __init__(self, *parts: str | Argument, report: Report | None = None) -> None:
        super().__init__(*parts)
        self.report = report

    @property
    def summary(self) -> Message:
        return self.message.first_line()


def normalise_name(name: object) -> str:
    """`<OPEN>`, ` Open `, `open`, `成交量(手)` -> the form in which names are compared."""
    text = str(name).replace("\ufeff", "").strip().strip("<>").lower()
    text = re.sub(r"^\d+[a-z]?\.\s+", "", text)  # Alpha Vantage: 1. open
    money = re.fullmatch(r"(vol(?:ume)?)[\s_.]*[(（]?([a-z]{3,8})[)）]?", text)
    if money and money[2] in _QUOTES:
        return money[1] + money[2]
    text = re.sub(r"[(（\[].*$", "", text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return re.sub(r"[\s_\-./:\"']+", "", unicodedata.normalize("NFC", text))


_ROLE_OF: dict[str, tuple[str, int]] = {
    normalise_name(alias): (role, rank) for role, aliases in ALIASES.items() for rank, alias in enumerate(aliases)
}


def find_columns(names: Sequence[str], columns: Mapping[str, str] | None = None) -> dict[str, int]:
    """The position of each role (keys of `ALIASES`) among a table's column names; absent roles are left out.

    columns: explicit names first, e.g. `{"Price": "close"}`; any alias may stand for the role, and "ignore" leaves a
    column out (then its name may also be the role: `{"amount": "ignore"}` for 成交额).
    Raises KlineError when an explicit name or role is unknown, or when two columns claim a role equally.
    """
    found: dict[str, tuple[int, int]] = {}  # role -> (rank, position)
    mapped: set[int] = set()
    for name, wanted in (columns or {}).items():
        if name == CLOSE_ONLY:
            continue
        role = IGNORE if wanted == IGNORE else _ROLE_OF.get(normalise_name(wanted), (None, 0))[0]
        if role is None:
            known = ", ".join((*ALIASES, IGNORE))
            raise KlineError(Argument("columns"), f" maps {name!r} to {wanted!r}, which is no column role: use {known}")
        positions = [i for i, n in enumerate(names) if n == name]
        positions = positions or [i for i, n in enumerate(names) if normalise_name(n) == normalise_name(name)]
        if role == IGNORE:
            positions = positions or [
                i for i, n in enumerate(names) if _ROLE_OF.get(normalise_name(n), ("",))[0] == name
            ]
            mapped.update(positions)
            if positions:
                continue
        if not positions:
            raise KlineError(Argument("columns"), f" names {name!r}, but the file has {_listed(names)}")
        found[role] = (-1, positions[0])
        mapped.add(positions[0])
    pairs = _volumes(names)
    for position, name in enumerate(names):
        key = normalise_name(name)
        claim = pairs.get(position) or _ROLE_OF.get(key) or _ROLE_OF.get(normalise_name(without_scale(name)))
        if position == 0 and (str(name).strip() == "" or key.startswith("unnamed")):
            claim = ("timestamps", _UNNAMED)  # a DatetimeIndex without a name, as pandas writes it
        if claim is None or position in mapped:
            continue
        role, rank = claim
        held = found.get(role)
        if held is not None and rank == held[0] and len(str(name)) == 1 and names[held[1]] == str(name).swapcase():
            found[role] = (
                rank,
                position if str(name).islower() else held[1],
            )  # t and T of exchanges' candles: begin and end
            continue
        if held is None or rank < held[0]:
            found[role] = (rank, position)
        elif rank == held[0]:
            raise KlineError(
                f"two columns could be {role}: {names[held[1]]!r} and {name!r}; choose one with ",
                Argument("columns", {name: role}),
            )
    if found.get("timestamps", (0, 0))[0] >= _INDEX and ("date" in found or "time" in found):
        del found["timestamps"]  # a counter of rows beside a column of times
    places = {role: position for role, (_, position) in found.items()}
    if columns and CLOSE_ONLY in columns and "close" in places:
        places |= dict.fromkeys(PRICE_COLUMNS, places["close"])
    return places


def _volumes(names: Sequence[str]) -> dict[int, tuple[str, int]]:
    """Columns named `Volume BTC` and `Volume USD`: (role, rank) by position."""
    keys = {i: normalise_name(name) for i, name in enumerate(names)}
    units = {i: re.sub("^vol(ume)?", "", key) for i, key in keys.items() if re.fullmatch(r"vol(ume)?[a-z]{3,8}", key)}
    codes = {i: unit for i, unit in units.items() if unit in _QUOTES}
    if not codes:
        return {}
    others = [i for i, key in keys.items() if i not in codes and re.fullmatch(r"volume|vol|vol(ume)?[a-z]{2,5}", key)]
    ordered = sorted(codes, key=lambda i: _QUOTES.index(codes[i]))
    if len(codes) == 1 and not others:  # Volume BTC alone counts coins, Volume USD alone money
        crypto = codes[ordered[0]] in ("btc", "eth", "bnb")
        return {ordered[0]: ("volume" if crypto else "amount", 0)}
    result = {ordered[0]: ("amount", 0)}
    rest = [*ordered[1:], *others]
    return result | {rest[0]: ("volume", 0)} if len(rest) == 1 else result


MOST_ALIASES = 12
"""Accepted names that a refusal lists."""


def missing_roles(found: Mapping[str, int]) -> list[str]:
    """The required roles that `find_columns` did not find."""
    timed = any(role in found for role in ("timestamps", "date", "time"))
    return ([] if timed else ["timestamps"]) + [role for role in PRICE_COLUMNS if role not in found]


def describe_missing(missing: Sequence[str], names: Sequence[str]) -> Message:
    """The message for a table whose columns are not understood: what was looked for, found, and the fix."""
    sides = _sides(names)
    if sides and set(missing) <= {*PRICE_COLUMNS, "timestamps"} and "close" in missing:
        said = " and ".join(sides)
        side = sides.get("mid") or next(iter(sides.values()))
        if set(side.values()) < set(PRICE_COLUMNS):
            return Message(
                f"quotes of {said} in {_listed(names)}, not bars: make bars of them first, for example by pandas' resample"
            )
        return Message(
            f"the prices are quotes of {said}: choose one side with ",
            Argument("columns", side),
            ", or with the other names among " + _listed(names),
        )
    wanted = []
    for role in missing:
        aliases = ALIASES[role] + (ALIASES["date"] + ALIASES["time"] if role == "timestamps" else ())
        shown = [alias for alias in aliases if not alias.startswith("__")]
        more = f" and {len(shown) - MOST_ALIASES} more" if len(shown) > MOST_ALIASES else ""
        wanted.append(f"  {role}: {', '.join(shown[:MOST_ALIASES])}{more}")
    return Message(
        f"no column for {', '.join(missing)} among {_listed(names)}",
        *_advice(missing, names),
        "\naccepted names (any case):\n" + "\n".join(wanted),
    )


def _advice(missing: Sequence[str], names: Sequence[str]) -> tuple[str | Argument, ...]:
    """How to map the columns: by likeness of the names, else by an example in their order, or as a table of closes alone."""
    if len(names) == 1:
        return ("; a table has a column for each, and one of closes alone a time and a close",)
    required = ("timestamps", *PRICE_COLUMNS)
    known = {str(name): _ROLE_OF[normalise_name(name)][0] for name in names if normalise_name(name) in _ROLE_OF}
    letters = {name: role for name, role in known.items() if len(name.strip()) == 1}
    if sum(role in PRICE_COLUMNS for role in letters.values()) < 2:  # columns a, b, c: c is not the close
        known = {name: role for name, role in known.items() if name not in letters}
        missing = [role for role in required if role in missing or role in letters.values()]
    free = [str(name) for name in names if str(name).strip() and str(name) not in known]
    alike = _alike(missing, free)
    if len(alike) == len(missing):
        return "; map it with ", Argument("columns", alike)
    if len(free) >= len(missing):
        like = {role: name for name, role in alike.items()}
        others = iter(name for name in free if name not in alike)
        example = {like.get(role) or next(others): role for role in missing}
        return "; say which is which, for example ", Argument("columns", example)
    prices = [role for role in PRICE_COLUMNS if role in missing]
    if prices == [role for role in PRICE_COLUMNS if role != "close"]:
        time = alike or (dict.fromkeys(free[:1], "timestamps") if "timestamps" in missing else {})
        mapped = (Argument("columns", time), " ") if time else ()
        return "; a table of closes alone is read with ", *mapped, Argument("close_only", True)
    if len(prices) < len(PRICE_COLUMNS) or not free:
        return "; map it with ", Argument("columns", alike or {next(iter(free), "Price"): missing[-1]})
    timed = ("timestamps",) if "timestamps" in missing and len(free) > 1 else ()
    closes = dict(zip(free, (*timed, "close"), strict=False))
    return "; a table of closes alone is read with ", Argument("columns", closes), " ", Argument("close_only", True)


def _sides(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """{side: {name: role}} of names such as `Bid Open`, `ask_close`, `mid.h`, `Bid`."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        key = normalise_name(name)
        for side in ("bid", "ask", "mid", "offer"):
            rest = re.sub(f"^{side}(?:price)?|(?:price)?{side}$", "", key)
            role = _ROLE_OF.get(rest, ("",))[0]
            if rest != key and (role in PRICE_COLUMNS or not rest):
                found.setdefault(side, {})[str(name)] = role or "close"
    return {side: found[side] for side in ("bid", "ask", "offer", "mid") if side in found}


def _alike(missing: Sequence[str], free: Sequence[str]) -> dict[str, str]:
    """{name: role} of missing roles, by likeness of the names."""
    pairs: dict[str, str] = {}
    scores = sorted(
        ((_likeness(name, role), name, role) for name in free for role in missing), key=lambda found: -found[0]
    )
    for score, name, role in scores:
        if score >= 0.55 and name not in pairs and role not in pairs.values():
            pairs[name] = role
    return pairs


def _likeness(name: str, role: str) -> float:
    key = normalise_name(name)
    if len(key) < 2:
        return 0.0
    aliases = ALIASES[role] + (ALIASES["date"] if role == "timestamps" else ())
    best = 0.0
    for alias in map(normalise_name, aliases):
        whole = difflib.SequenceMatcher(None, key, alias).ratio()
        best = max(best, whole, 0.9 if len(alias) > 2 and alias in key else 0.0)
    return best


def _listed(names: Sequence[str], most: int = 20) -> str:
    text = ", ".join(repr(str(n)[:40]) for n in names[:most])
    return text + (f" and {len(names) - most} more" if len(names) > most else "")
