"""Features of a whole market in Qlib: what the loader gives, and the example workflow from files to a backtest."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kronos.qlib.export import export_qlib
from kronos.scoring import FeatureSettings, parse_cutoffs, read_scores, score
from kronos.scoring.qlib_loader import KronosFeatureLoader
from tests import backtest_bars
from tests.processes import run_process

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "qlib_kronos_features.yaml"


@pytest.fixture(scope="module")
def features(tmp_path_factory, golden):
    root = tmp_path_factory.mktemp("features")
    backtest_bars.long_table(backtest_bars.market(6)).to_parquet(root / "bars.parquet", index=False)
    cutoffs = parse_cutoffs(["2024-02-01..2024-10-04/W-FRI"])
    told = FeatureSettings(model=str(golden / "tiny"), lookback=20, cutoffs=cutoffs, groups=("embedding", "volatility"))
    score(str(root / "bars.parquet"), str(root / "features"), told)
    return str(root / "features")


def test_loader_gives_rows_of_the_table_by_day_and_instrument(features):
    table, loader = read_scores(features), KronosFeatureLoader(features)
    frame = loader.load(["syn003", "SYN004"], "2024-03-01", pd.Timestamp("2024-03-31"))
    assert frame.index.names == ["datetime", "instrument"] and frame.index.is_monotonic_increasing
    assert set(frame.index.get_level_values("instrument")) == {"SYN003", "SYN004"}
    days = frame.index.get_level_values("datetime")
    assert days.min() == pd.Timestamp("2024-03-01") and days.max() == pd.Timestamp("2024-03-29")
    row = table[(table["symbol"] == "SYN003") & (table["last_bar"] == "2024-03-15")].iloc[0]
    found = frame["feature"].xs((pd.Timestamp("2024-03-15"), "SYN003"))
    assert found["kronos_e001"] == row["e001"]
    assert found["kronos_recent"] == pytest.approx(row["recent"])
    assert not {"kronos_last_close", "kronos_lookback"} & set(frame.columns.get_level_values(1))


def test_loader_of_chosen_columns_has_no_others(features):
    frame = KronosFeatureLoader(features, ["volatility"], prefix="k_").load()
    assert frame.columns.equals(pd.MultiIndex.from_tuples([("feature", "k_volatility")]))
    with pytest.raises(ValueError, match="has no column 'e9999'"):
        KronosFeatureLoader(features, ["e9999"])


def test_example_workflow_runs_from_files_to_a_backtest(features, tmp_path):
    pytest.importorskip("qlib", reason="needs pyqlib")
    pytest.importorskip("lightgbm", reason="needs lightgbm")
    export_qlib(backtest_bars.market(6), tmp_path / "qlib", name="mine", benchmark="MEAN")
    environment = {**os.environ, "QLIB_DATA": str(tmp_path / "qlib"), "FEATURES": features}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "qlib.cli.run", str(EXAMPLE)]
    run_process(command, cwd=tmp_path, env=environment, check=True)
    written = {path.name for path in (tmp_path / "mlruns").rglob("*.pkl")}
    assert {"pred.pkl", "ic.pkl", "report_normal_1day.pkl"} <= written
    pred = pd.read_pickle(next((tmp_path / "mlruns").rglob("pred.pkl")))
    assert len(pred) > 200 and np.isfinite(pred["score"]).all() and pred["score"].nunique() > 10
