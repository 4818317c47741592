"""What the index of a folder says of its files."""

import pytest

from kronos.klines.catalog import CatalogEntry, read_catalog


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
