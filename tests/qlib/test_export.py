"""A Qlib folder written from files of bars, and read back by Qlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from kronos.cli.export_qlib import export_qlib_command
from kronos.qlib.export import FIELDS, export_qlib, fields_of, mean_of, read_series, safe_names
from kronos.qlib.folder import QlibFolder, qlib_freq
from tests import backtest_bars


def market_files(folder: Path, symbols: int = 3) -> Path:
    folder.mkdir()
    for name, bars in backtest_bars.market(symbols).items():
        bars.to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_the_bytes_are_the_position_in_the_calendar_and_float32_values(tmp_path: Path) -> None:
    early, late = backtest_bars.bars(0, 10), backtest_bars.bars(1, 5, "2024-01-04")
    late = late.drop(index=2)
    export_qlib({"early": early, "late": late}, tmp_path / "q")
    assert (tmp_path / "q/calendars/day.txt").read_text().split()[:2] == ["2024-01-01", "2024-01-02"]
    assert (tmp_path / "q/instruments/mine.txt").read_text().splitlines()[1] == "LATE\t2024-01-04\t2024-01-10"
    raw = np.fromfile(tmp_path / "q/features/late/close.day.bin", dtype="<f4")
    assert raw[0] == 3
    np.testing.assert_array_equal(raw[[1, 2, 4, 5]], late["close"].to_numpy(np.float32))
    assert np.isnan(raw[3])
    assert {p.name for p in (tmp_path / "q/features/early").iterdir()} == {f"{f}.day.bin" for f in FIELDS}


def test_qlib_reads_back_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("qlib", reason="needs pyqlib")
    from qlib.data import D

    from kronos.qlib.session import start_qlib

    market_files(tmp_path / "files")
    result = CliRunner().invoke(
        export_qlib_command,
        [str(tmp_path / "files"), "--out", str(tmp_path / "q"), "--name", "syn", "--benchmark", "mean"],
    )
    assert result.exit_code == 0, result.output
    start_qlib(tmp_path / "q")
    series = backtest_bars.market(3)
    values = D.features(D.instruments("syn"), [f"${field}" for field in FIELDS])
    assert values.index.get_level_values("instrument").unique().tolist() == sorted(series)
    for name, bars in series.items():
        mine = values.loc[name]
        assert mine.index.tolist() == bars["timestamps"].tolist()
        for column in ("open", "high", "low", "close", "volume", "amount"):
            np.testing.assert_allclose(mine[f"${column}"], bars[column], rtol=1e-6)
        np.testing.assert_allclose(mine["$change"].iloc[1:], bars["close"].pct_change().iloc[1:], rtol=1e-3, atol=1e-6)
    change = pd.DataFrame({n: b.set_index("timestamps")["close"].pct_change() for n, b in series.items()}).mean(axis=1)
    mean = D.features(["MEAN"], ["$close/Ref($close, 1) - 1"]).droplevel("instrument").iloc[:, 0]
    np.testing.assert_allclose(mean.iloc[1:], change.iloc[1:], atol=1e-6)
    assert "MEAN" in D.list_instruments(D.instruments("all"), as_list=True)


@pytest.mark.parametrize(("step", "freq"), [("5min", "5min"), ("1h", "60min"), ("1W-FRI", "1week"), ("1min", "1min")])
def test_other_frequencies_are_inferred_and_read_back(tmp_path: Path, step: str, freq: str) -> None:
    pytest.importorskip("qlib", reason="needs pyqlib")
    from qlib.data import D

    from kronos.qlib.session import start_qlib

    bars = backtest_bars.bars(0, 50)
    bars["timestamps"] = pd.date_range("2024-03-01 09:30", periods=50, freq=step)
    written = export_qlib({"a": bars}, tmp_path / "q")
    assert written.freq == freq
    start_qlib(tmp_path / "q", "us")
    values = D.features(["A"], ["$close"], freq=freq)
    np.testing.assert_allclose(values["$close"], bars["close"], rtol=1e-6)
    times = values.index.get_level_values("datetime")
    expected = bars["timestamps"].dt.normalize() if freq == "1week" else bars["timestamps"]
    assert times.tolist() == expected.tolist()
    assert len(QlibFolder(tmp_path / "q", freq).calendar()) == 50


def test_frequencies_are_named_as_qlib_names_them() -> None:
    assert [qlib_freq(t) for t in ("day", "1d", "D", "week", "5min", "1h", "minute", "4h")] == [
        "day", "day", "day", "1week", "5min", "60min", "1min", "240min",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="none that Qlib knows"):
        qlib_freq("5s")


def test_symbols_become_safe_and_different_names() -> None:
    names = safe_names(["BTC/USDT", "btc_usdt", "../../etc", "^GSPC", "CON", "600000.SH", "平安", "招商"])
    assert names["BTC/USDT"] == "BTC_USDT" and names["600000.SH"] == "600000.SH" and names["^GSPC"] == "GSPC"
    assert len({name.lower() for name in names.values()}) == len(names)
    assert all("/" not in name and not name.startswith(".") for name in names.values())
    assert names["CON"] != "CON"


def test_volume_and_amount_that_are_absent_get_values_that_qlib_can_use() -> None:
    bars = backtest_bars.bars(0, 5).drop(columns=["volume", "amount"]).set_index("timestamps")
    fields = fields_of(bars)
    assert (fields[["volume", "amount"]] == 0).all().all()
    np.testing.assert_allclose(fields["vwap"], bars[["open", "high", "low", "close"]].mean(axis=1), rtol=1e-6)


def test_an_amount_in_other_units_gives_no_price() -> None:
    bars = backtest_bars.bars(0, 5).set_index("timestamps")
    right, wrong = fields_of(bars), fields_of(bars.assign(amount=bars["amount"] / 1000))
    np.testing.assert_allclose(right["vwap"], (bars["amount"] / bars["volume"]), rtol=1e-6)
    np.testing.assert_allclose(wrong["vwap"], bars[["open", "high", "low", "close"]].mean(axis=1), rtol=1e-6)


def test_the_benchmark_is_the_mean_change_of_those_that_have_one() -> None:
    days = pd.bdate_range("2024-01-01", periods=4)
    a = pd.DataFrame({"close": [100.0, 110.0, 110.0, 121.0]}, index=days)
    b = pd.DataFrame({"close": [50.0, 50.0, 60.0]}, index=days[[0, 1, 3]])  # suspended on the third day
    change = mean_of({"a": a, "b": b}, days)["change"]
    np.testing.assert_allclose(change, [0, 0.05, 0, 0.15], atol=1e-6)


def test_what_cannot_be_written_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    bars = backtest_bars.bars(0, 50)
    twice = bars.assign(timestamps=bars["timestamps"].where(bars.index != 5, bars["timestamps"][4]))
    with pytest.raises(ValueError, match="several bars a day"):
        export_qlib({"a": twice}, tmp_path / "q", "day")
    with pytest.raises(ValueError, match="a symbol of that name"):
        export_qlib({"mean": bars}, tmp_path / "q", benchmark="MEAN")
    with pytest.raises(ValueError, match="b has a bar every 5 minutes, which is not day"):
        export_qlib(
            {"a": bars, "b": bars.assign(timestamps=pd.date_range("2024", periods=50, freq="5min"))}, tmp_path / "q"
        )
    with pytest.raises(ValueError, match="name= must be letters"):
        export_qlib({"a": bars}, tmp_path / "q", name="../x")
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="full holds other files"):
        export_qlib({"a": bars}, tmp_path / "full", overwrite=True)
    export_qlib({"a": bars}, tmp_path / "q")
    with pytest.raises(ValueError, match="overwrite=True"):
        export_qlib({"a": bars}, tmp_path / "q")
    mine = tmp_path / "q" / "features" / "notes.txt"
    mine.write_text("mine")
    with pytest.raises(ValueError, match=r"q holds other files.*: features/notes\.txt"):
        export_qlib({"b": bars}, tmp_path / "q", overwrite=True)
    assert mine.read_text() == "mine"
    mine.unlink()
    export_qlib({"b": bars}, tmp_path / "q", overwrite=True)
    assert [p.name for p in (tmp_path / "q/features").iterdir()] == ["b"]


def test_faulty_and_repeated_series_are_left_out_with_the_reason(tmp_path: Path) -> None:
    folder = market_files(tmp_path / "files", 2)
    backtest_bars.bars(5).assign(close=-1.0).to_csv(folder / "broken.csv", index=False)
    (folder / "notes.csv").write_text("hello\nworld\n")
    skipped: list[tuple[str, str]] = []
    read = dict(read_series([folder, folder / "SYN000.csv"], skipped=skipped))
    assert sorted(read) == ["SYN000", "SYN001"]
    assert len(skipped) == 3
    assert any("second time" in reason for _, reason in skipped)
    with pytest.raises(ValueError, match="no such file"):
        list(read_series([tmp_path / "absent"]))


def test_a_folder_that_is_no_qlib_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        QlibFolder(tmp_path / "absent")
    with pytest.raises(ValueError, match="no folder 'calendars'"):
        QlibFolder(tmp_path)
    backtest_bars.qlib_folder(tmp_path / "q")
    folder = QlibFolder(tmp_path / "q")
    with pytest.raises(ValueError, match="it has day"):
        QlibFolder(tmp_path / "q", "5min")
    with pytest.raises(ValueError, match=r"no instrument list 'csi300' .* it has all, syn"):
        folder.instruments("csi300")
    assert not (tmp_path / "q/instruments/csi300.txt").exists()
    with pytest.raises(ValueError, match="SYN001"):
        folder.check_instrument("SYN01", "benchmark")
