"""Wide text tables are read by the columns that can matter, and mean the same as when all are read."""

import io
import tracemalloc

import pandas as pd
import pytest

from kronos.klines import KlineError, list_symbols, needed_columns, read_klines

MORE = [f"factor{i}" for i in range(40)]


def table(days, head="date,open,high,low,close,volume", cells="10.5,11,9.25,10,1e3", more=lambda row: "0.5", sep=","):
    """A table whose rows go on with a cell for each of MORE."""
    lines = [sep.join([*head.split(","), *MORE])]
    lines += [sep.join([day, *cells.split(","), *(more(row) for _ in MORE)]) for row, day in enumerate(days)]
    return "\n".join(lines) + "\n"


DAYS = [f"2024-01-{day:02}" for day in range(1, 21)]
SHAPES = {
    "plain": table(DAYS),
    "semicolons and decimal commas": table(DAYS, cells="10,5;11;9,25;10;1000".replace(",", "\0"), sep=";").replace(
        "\0", ","
    ),
    "quoted separators": table(DAYS, more=lambda row: '"a, b"'),
    "quoted line breaks": table(DAYS, more=lambda row: '"a\nb"'),
    "title above": "Prices of ABC\n\n" + table(DAYS),
    "a footer": table(DAYS) + "Total,,,,,20000\n",
    "the header again": table(DAYS[:10]) + table(DAYS[10:]),
    "empty lines and short rows": table(DAYS).replace(",0.5\n", "\n").replace("2024-01-07", "\n   \n2024-01-07"),
    "carriage returns": table(DAYS).replace("\n", "\r\n"),
    "symbols with zeros": table(DAYS, "date,symbol,open,high,low,close", "000001,10,11,9,10.5"),
}


def read(path, **options):
    frame = read_klines(path, **options)
    return frame, frame.attrs


@pytest.mark.parametrize("shape", SHAPES)
def test_a_narrowed_table_reads_like_the_whole_one(tmp_path, monkeypatch, shape):
    file = tmp_path / "a.csv"
    file.write_bytes(SHAPES[shape].encode())
    frame, attrs = read(file)
    monkeypatch.setattr(needed_columns, "WIDE", 10**6)
    whole, said = read(file)
    pd.testing.assert_frame_equal(frame, whole)
    assert attrs == said and len(frame) == len(DAYS)
    assert set(MORE) <= set(attrs["unused"])


@pytest.mark.parametrize("column", ["contract", "factor39"])
def test_columns_that_tell_repeated_times_apart_are_found_in_a_wide_table(tmp_path, column):
    """A likely name holds numbers; another one texts, far to the right."""
    frame = pd.read_csv(io.StringIO(table(DAYS)))
    frame[column] = 1 if column == "contract" else "A"
    frame[[f"note{i}" for i in range(12)]] = "same"
    other = frame.assign(**{column: 2 if column == "contract" else "B"})
    file = tmp_path / "a.csv"
    pd.concat([frame, other]).to_csv(file, index=False)
    assert list_symbols(file) == (["1", "2"] if column == "contract" else ["A", "B"])


def test_a_wide_row_with_more_cells_than_the_header_is_refused_by_its_line(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("Title\n" + table(DAYS).replace("2024-01-05,", "2024-01-05,,"), encoding="utf-8")
    with pytest.raises(KlineError, match=r"line 7 has 47 cells, expected 46 \(separator ','\)"):
        read_klines(file)


def test_a_wide_table_takes_memory_for_its_needed_columns(tmp_path, monkeypatch):
    days = pd.date_range("2000-01-01", periods=3000).strftime("%Y-%m-%d")
    file = tmp_path / "a.csv"
    file.write_text(table(days), encoding="utf-8")

    def peak():
        tracemalloc.start()
        read_klines(file)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    narrow = peak()
    monkeypatch.setattr(needed_columns, "WIDE", 10**6)
    assert narrow < 0.6 * peak()
