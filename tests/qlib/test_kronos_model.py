"""Kronos as a model of Qlib: the example workflow from files to a backtest, and what its scores are."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos.qlib.export import export_qlib
from tests import backtest_bars
from tests.processes import run_process

pytest.importorskip("qlib", reason="needs pyqlib")
ROOT = Path(__file__).resolve().parents[2]
LOOKBACK = 20


def trending_market(symbols: int) -> dict[str, pd.DataFrame]:
    """Random walks, each with a trend of its own, which a window of the past shows."""
    market = backtest_bars.market(symbols)
    for number, table in enumerate(market.values()):
        rise = np.exp(0.004 * (number - (symbols - 1) / 2) * np.arange(len(table)))
        table[["open", "high", "low", "close"]] *= rise[:, None]
    return market


@pytest.fixture(scope="module")
def workflow(tmp_path_factory, golden):
    """A run of the example: its folder, and the market it was run on."""
    folder = tmp_path_factory.mktemp("workflow")
    market = trending_market(8)
    export_qlib(market, folder / "qlib", name="mine", benchmark="MEAN")
    environment = {
        **os.environ,
        "QLIB_DATA": str(folder / "qlib"),
        "MODEL": str(golden / "tiny"),
        "LOOKBACK": str(LOOKBACK),
    }
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    example = ROOT / "examples" / "qlib_kronos_model.yaml"
    run_process([sys.executable, "-m", "qlib.cli.run", str(example)], cwd=folder, env=environment, check=True)
    return folder, market


def artefact(folder: Path, name: str):
    return pd.read_pickle(next((folder / "mlruns").rglob(name)))


def test_example_workflow_trains_a_head_and_backtests_its_scores(workflow):
    folder, market = workflow
    written = {path.name for path in (folder / "mlruns").rglob("*.pkl")}
    assert {"pred.pkl", "ic.pkl", "report_normal_1day.pkl"} <= written
    scores = artefact(folder, "pred.pkl")
    days = scores.index.get_level_values("datetime")
    assert days.min() == pd.Timestamp("2024-08-01") and days.max() == pd.Timestamp("2024-10-02")
    assert set(scores.index.get_level_values("instrument")) == set(market)
    assert np.isfinite(scores.to_numpy()).all()
    assert artefact(folder, "ic.pkl").mean() > 0.2


def test_scores_are_those_of_the_head_on_the_bars_up_to_the_day(workflow, golden):
    folder, market = workflow
    model = next(
        found
        for path in (folder / "mlruns").rglob("params.pkl")
        if type(found := pd.read_pickle(path)).__name__ == "KronosModel"
    )
    trained = model.head.trained_on
    assert trained["last"] <= "2024-07-31" and model.head.lookback == LOOKBACK
    day, name = pd.Timestamp("2024-09-10"), "SYN003"
    bars = market[name]
    at = int(np.flatnonzero(bars["timestamps"] == day)[0]) + 1
    past = bars.iloc[at - LOOKBACK : at]
    predictor = kronos.load(golden / "tiny", device="cpu")
    predictor.heads["rank"] = model.head
    columns = ["open", "high", "low", "close", "volume"]
    alone = predictor.rank_direct(past[columns], past["timestamps"], bars["timestamps"].iloc[at : at + 5])
    assert artefact(folder, "pred.pkl").loc[(day, name), "score"] == pytest.approx(float(alone[0]), abs=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"signal": "up"}, "signal must be"),
        ({"horizon": 0}, "horizon must be"),
        ({"head": {"epochs": 0}}, "epochs must be"),
    ],
)
def test_wrong_settings_raise(given, message):
    from kronos.qlib.kronos_model import KronosModel

    with pytest.raises(ValueError, match=message):
        KronosModel(**given)
