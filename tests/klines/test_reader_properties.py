"""Property tests of the reader: what is written in any supported way reads back equal, and no bytes crash it."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kronos.klines import KlineError, read_klines

NAMES = {
    "ascii": ("Date", "Open", "High", "Low", "Close", "Volume"),
    "german": ("Datum", "Eröffnung", "Hoch", "Tief", "Schluss", "Stücke"),
    "chinese": ("日期", "开盘", "最高", "最低", "收盘", "成交量"),
    "traditional": ("日期", "開盤價", "最高價", "最低價", "收盤價", "成交量"),
    "japanese": ("日付", "始値", "高値", "安値", "終値", "出来高"),
    "korean": ("날짜", "시가", "고가", "저가", "종가", "거래량"),
    "russian": ("Дата", "Откр.", "Макс.", "Мин.", "Закрытие", "Объём"),
    "spanish": ("Fecha", "Apertura", "Máximo", "Mínimo", "Último", "Vol."),
}
ENCODINGS = {
    "ascii": ("utf-8", "utf-8-sig", "utf-16"), "german": ("utf-8", "utf-16", "cp1252"), "chinese": ("utf-8", "utf-16", "gb18030"),
    "traditional": ("utf-8", "big5"), "japanese": ("utf-8", "cp932"), "korean": ("utf-8", "cp949"), "russian": ("utf-8", "cp1251"),
    "spanish": ("utf-8", "cp1252"),
}  # fmt: skip
CONVENTIONS = ((".", ""), (".", ","), (",", "."), (",", " "), (",", "\u202f"), (".", "'"))
TIMES = ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%Y/%m/%d", "%d-%b-%Y", "%m/%d/%y")


def table(seed: int, level: float) -> pd.DataFrame:
    """Forty daily bars around a level, with two decimals."""
    rng = np.random.default_rng(seed)
    close = np.round(level * np.exp(np.cumsum(rng.normal(0, 0.01, 40))), 2)
    first = np.concatenate([[round(level, 2)], close[:-1]])
    return pd.DataFrame(
        {
            "timestamps": pd.date_range("2024-01-01", periods=40, freq="D").astype("datetime64[ns]"),
            "open": first,
            "high": np.round(np.maximum(first, close) * 1.01 + 0.01, 2),
            "low": np.round(np.minimum(first, close) * 0.99 - 0.01, 2),
            "close": close,
            "volume": rng.integers(1, 5_000_000, 40).astype(float),
        }
    )


def spelled(value: float, decimals: int, convention: tuple[str, str]) -> str:
    text = f"{value:,.{decimals}f}".replace(",", "\0").replace(".", convention[0])
    return text.replace("\0", convention[1])


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, pd.DataFrame]:
    """The content of a text file, and the table that was written into it."""
    frame = table(draw(st.integers(0, 10**6)), draw(st.sampled_from([3.0, 85.0, 990.0, 4_200.0, 61_000.0])))
    language = draw(st.sampled_from(sorted(NAMES)))
    encoding = draw(st.sampled_from(ENCODINGS[language]))
    convention = draw(
        st.sampled_from(CONVENTIONS[:4] if encoding not in ("utf-8", "utf-8-sig", "utf-16") else CONVENTIONS)
    )
    separator, time = draw(st.sampled_from([",", ";", "\t", "|"])), draw(st.sampled_from(TIMES))
    quoted = draw(st.booleans()) or separator == ","
    sign = draw(st.sampled_from(["", "$"]))
    titles, footers = draw(st.integers(0, 2)), draw(st.integers(0, 1))
    header, newest_first = draw(st.booleans()) or language != "ascii" or titles, draw(st.booleans())
    rows = [list(NAMES[language])] if header else []
    for bar in (frame.iloc[::-1] if newest_first else frame).itertuples(index=False):
        prices = [sign + spelled(value, 2, convention) for value in bar[1:5]]
        rows.append([bar[0].strftime(time), *prices, spelled(bar[5], 0, convention)])
    lines = [separator.join(f'"{cell}"' if quoted else cell for cell in row) for row in rows]
    lines = [f"export no {i}" for i in range(titles)] + lines + ["source: somewhere"] * footers
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    return (ending.join(lines) + ending).encode(encoding), frame


def check_round_trip(content: bytes, frame: pd.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(content)
        pd.testing.assert_frame_equal(read_klines(path, clean="sort"), frame, check_flags=False)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(files())
def test_files_of_any_convention_layout_and_encoding_read_back_equal(written):
    check_round_trip(*written)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=2000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(files())
def test_2000_files_read_back_equal(written):
    check_round_trip(*written)


FRAGMENTS = st.sampled_from(
    [b"date,open,high,low,close\n", b"2024-01-01,1,2,1,2\n", b"[[", b'{"t":', b"1,1,1,1,1,1\n", b"\xff\xfe", b"PK\x03\x04",
     b"PAR1", b"\x1f\x8b", b'"', b";", b",", b"\t", b"1.034", b"1,034", b"NaN", b"\r", b"\n", b"\x00", b"\xd0\xcf\x11\xe0",
     b"Price,Close,High,Low,Open\nTicker,A,A,A,A\n", b"99999999999999999999,", b"('Close', 'A')", b"1e999", b"0001-01-01,"]
)  # fmt: skip
BYTES = st.lists(st.one_of(FRAGMENTS, st.binary(max_size=40)), max_size=12).map(b"".join)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(BYTES, st.sampled_from([".csv", ".json", ".xls", ".xlsx", ".zip", ".parquet", ".txt.gz"]))
def test_any_bytes_are_read_or_refused_with_an_error_of_ours(content, ending):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        path.write_bytes(content)
        with contextlib.suppress(KlineError):  # the one kind of error that a user is to see
            assert len(read_klines(path, clean="drop", min_rows=0)) <= len(content)


def test_plain_text_with_a_packed_name_is_read_as_text(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_text("date,open,high,low,close\n2024-01-02,1.5,2.5,1.25,2\n2024-01-03,2,3,1.5,2.75\n")
    assert read_klines(path)["close"].tolist() == [2, 2.75]
