"""What the index of a folder says of its files."""

import pytest

from kronos.io.storage import Storage
from kronos.klines.catalog import CatalogEntry, read_catalog
from kronos.klines.formats import table_files
from kronos.scoring import universe


def catalog_of(folder, text):
    (folder / "index.csv").write_text(text)
    return read_catalog(folder)


def test_entry_has_all_columns_and_is_known_by_file_name(tmp_path):
    found = catalog_of(tmp_path, "file,market,freq,licence,source\na/fx_1h.parquet,FX,1h,MIT,somewhere\n")
    assert found == {"fx_1h.parquet": CatalogEntry("FX", "1h", "MIT", "somewhere")}


@pytest.mark.parametrize(("freq", "expected"), [("1h", "1h"), ("60min", "1h"), ("hourly", None), ("", None)])
def test_frequency_is_the_nearest_known_or_none(tmp_path, freq, expected):
    assert catalog_of(tmp_path, f"file,market,freq\nx.csv,FX,{freq}\n")["x.csv"].frequency == expected


def test_market_named_na_is_a_name(tmp_path):
    assert catalog_of(tmp_path, "file,market\nx.csv,NA\n")["x.csv"].market == "NA"


def test_rows_without_market_are_left_out(tmp_path):
    assert list(catalog_of(tmp_path, "file,market\nx.csv,\ny.csv,FX\n")) == ["y.csv"]


def test_index_without_needed_columns_is_ignored(tmp_path):
    assert catalog_of(tmp_path, "symbol,market\nx.csv,FX\n") == {}


def test_folder_without_index_has_no_entries(tmp_path):
    assert read_catalog(tmp_path) == {}


LISTING = "file,market,freq,licence,source\na.csv,FX,1h,MIT,somewhere\n"
BARS = "date,open,high,low,close\n2024-01-01,1,2,1,2\n2024-01-02,2,3,2,3\n"


@pytest.mark.parametrize("index", [LISTING, "\ufeff" + LISTING.replace("file", '"file"')])
def test_an_index_is_left_out_of_the_tables_of_a_folder_by_name(tmp_path, index):
    (tmp_path / "a.csv").write_text(BARS)
    (tmp_path / "index.csv").write_text(index, encoding="utf-8")
    with pytest.warns(UserWarning, match=r"index\.csv lists files and holds no bars: it is left out"):
        assert [file.name for file in table_files(tmp_path)] == ["a.csv"]
    with pytest.warns(UserWarning, match=r"index\.csv lists files and holds no bars: it is left out"):
        assert [entry.name for entry in universe.table_files(Storage(str(tmp_path)))] == ["a.csv"]


def test_bars_called_index_are_read_as_bars(tmp_path, recwarn):
    (tmp_path / "index.csv").write_text(BARS)
    assert [file.name for file in table_files(tmp_path)] == ["index.csv"]
    assert [entry.name for entry in universe.table_files(Storage(str(tmp_path)))] == ["index.csv"]
    assert not recwarn.list


def test_a_folder_with_an_index_alone_has_no_tables(tmp_path):
    (tmp_path / "index.csv").write_text(LISTING)
    with pytest.warns(UserWarning, match="left out"), pytest.raises(ValueError, match="has no CSV, TSV, Parquet"):
        table_files(tmp_path)
