"""Planted leaks are found, and clean data is called clean."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import kronos
from kronos.calibration import Calibration
from kronos.cli import main
from kronos.evaluation import audit
from kronos.evaluation.dataset import make_series
from kronos.evaluation.forecasters import make_baseline
from kronos.evaluation.forecasters.models import CallableForecaster
from kronos.evaluation.leakage.causality import check_networks, check_scale
from kronos.evaluation.leakage.splits import check_splits, windows_table
from kronos.evaluation.tasks import TASKS
from tests import evaluation_bars

TASK = TASKS["forecast"].with_(lookback=20, horizon=8)


def bars(seed=0, n=120, start="2025-01-01", freq="D"):
    return evaluation_bars.bars(seed, n, start, freq)


@pytest.fixture
def data():
    return {"a": bars(0), "b": bars(1)}


@pytest.fixture
def pair(golden, tmp_path):
    shutil.copytree(golden / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "pair.json").write_text(json.dumps({"max_context": 32}))
    return str(tmp_path / "tiny")


def status(report):
    return {f.check: f.status for f in report}


def test_a_clean_pair_on_clean_data_has_no_leak(pair, data):
    report = audit(pair, data, task=TASK, train={"a": bars(2, start="2023-01-01")})
    assert not report.leaks, str(report)
    found = status(report)
    for check in ("tokens", "reconstruction", "coarse logits", "fine logits", "forecasts", "train and test"):
        assert found[check] == "ok"
    assert found["training data"] == "unknown"


@pytest.mark.parametrize(
    ("fitted", "expected"),
    [
        ({"first": "2023-01-01", "last": "2024-12-31"}, "ok"),
        ({"first": "2024-06-01", "last": "2025-02-01"}, "leak"),
        ({}, "unknown"),
    ],
)
def test_calibration_fitted_on_the_test_is_found_and_its_forecasts_do_not_see_the_future(pair, data, fitted, expected):
    calibration = Calibration(shrink=0.5, spread=0.2, own_spread=-0.5, fitted_on=fitted)
    found = status(audit(pair, data, task=TASK, calibration=calibration))
    assert found["calibrated forecasts"] == "ok"
    assert found["calibration"] == expected


def test_pair_without_a_calibration_has_no_finding_on_one(pair, data):
    assert "calibration" not in status(audit(pair, data, task=TASK))


# ------------------------------------------------------------------ 1: normalised over lookback and horizon


class NormalisesOverTheHorizonToo:
    """Scales by mean and deviation of lookback and horizon together, and forecasts the mean."""

    name = "leaky"

    def __init__(self, series, reach):
        self.series, self.reach = {s.id: s.bars for s in series}, reach

    def forecast(self, windows, horizon, paths, seed):
        out = []
        for w in windows:
            close = self.series[w.id]["close"].to_numpy()
            seen = int(np.flatnonzero(self.series[w.id]["timestamps"] == w.cutoff)[0]) + 1
            part = close[seen - len(w.close) : seen + (horizon if self.reach else 0)]
            out.append(np.full(horizon, part.mean()))
        return np.stack(out)


@pytest.mark.parametrize("reach", [True, False])
def test_a_forecast_normalised_over_lookback_and_horizon_is_found(data, reach):
    report = audit(lambda series: NormalisesOverTheHorizonToo(series, reach), data, task=TASK)
    assert status(report)["forecasts"] == ("leak" if reach else "ok")


@pytest.mark.parametrize("reach", [8, 0])
def test_a_pipelines_own_normalisation_is_looked_at(data, reach):
    scale = lambda table, seen: table["close"].iloc[seen - 20 : seen + reach].agg(["mean", "std"]).to_numpy()
    report = audit(make_baseline("bootstrap"), data, task=TASK, scale=scale)
    assert status(report)["normalisation"] == ("leak" if reach else "ok")


def test_a_scaler_fitted_on_the_whole_series_is_found():
    series = [make_series("a", bars(0))]
    assert check_scale(lambda table, seen: table["close"].max(), series, [60]).status == "leak"
    assert check_scale(lambda table, seen: table["close"].iloc[:seen].max(), series, [60]).status == "ok"


# ------------------------------------------------------------------ 2: validation that is not causal


def networks(pair):
    predictor = kronos.load(pair, device="cpu")
    series = [make_series(str(i), bars(i)) for i in range(3)]
    return lambda: check_networks(predictor.tokenizer, predictor.model, series, [40, 60, 80], 20, 8), predictor


def test_a_dependency_layer_that_is_causal_in_training_only_is_found(pair, monkeypatch):
    """The fault of the published training code: attention of the fine token sees later bars in eval mode."""
    run, predictor = networks(pair)
    assert {f.status for f in run()} == {"ok"}
    layer = predictor.model.dep_layer
    real = type(layer).forward

    def forward(self, context, coarse, **given):
        return real(self, context + context.mean(1, keepdim=True) * (not self.training), coarse, **given)

    monkeypatch.setattr(type(layer), "forward", forward)
    found = {f.check: f.status for f in run()}
    assert found["fine logits"] == "leak"
    assert found["coarse logits"] == found["tokens"] == "ok"


def test_a_transformer_and_a_tokenizer_that_look_ahead_are_found(pair, monkeypatch):
    run, predictor = networks(pair)
    embed = predictor.tokenizer.embed.forward
    monkeypatch.setattr(predictor.tokenizer.embed, "forward", lambda x: embed(x + x.mean(1, keepdim=True)))
    assert {f.check: f.status for f in run()}["tokens"] == "leak"
    monkeypatch.undo()
    norm = predictor.model.norm.forward
    monkeypatch.setattr(predictor.model.norm, "forward", lambda x: norm(x + torch.flip(x, (1,))))
    found = {f.check: f.status for f in run()}
    assert found["coarse logits"] == "leak"
    assert found["tokens"] == "ok"


# ------------------------------------------------------------------ 3 and 4: splits


def windows(symbols, start, count, length=10):
    first = pd.date_range(start, periods=count, freq="D")
    parts = [windows_table([s] * count, first, first + pd.Timedelta(days=length)) for s in symbols]
    return pd.concat(parts, ignore_index=True)


def test_a_split_by_time_with_a_gap_is_clean():
    splits = {
        "train": windows("AB", "2023-01-01", 300),
        "valid": windows("AB", "2024-01-01", 60),
        "test": windows("ABC", "2024-06-01", 60),
    }
    assert [f.status for f in check_splits(splits)] == ["ok", "ok", "ok"]


@pytest.mark.parametrize("length", [0, 10])
def test_a_shuffled_split_is_found_with_and_without_overlapping_windows(length):
    whole = windows("AB", "2023-01-01", 400, length)
    order = np.random.default_rng(0).permutation(len(whole))
    findings = check_splits({"train": whole.iloc[order[:600]], "test": whole.iloc[order[600:]]})
    assert [f.status for f in findings] == ["leak"]
    assert "shuffled" in findings[0].text


def test_test_symbols_in_training_with_the_same_dates_are_found():
    findings = check_splits({"train": windows("AB", "2023-01-01", 300), "test": windows("B", "2023-06-01", 400)})
    assert findings[0].status == "leak"
    assert "symbols of test are in train with the same dates" in findings[0].text


def test_a_lookback_that_reaches_into_training_is_found():
    train, test = windows("A", "2023-01-01", 100), windows("A", "2023-04-15", 50)
    assert train["last"].max() >= test["first"].min()
    assert check_splits({"train": train, "test": test})[0].status == "leak"


def test_other_symbols_with_the_same_dates_are_a_warning():
    findings = check_splits({"train": windows("AB", "2023-01-01", 300), "test": windows("C", "2023-06-01", 100)})
    assert findings[0].status == "warning"


def test_a_test_before_training_is_found():
    findings = check_splits({"train": windows("A", "2023-01-01", 300), "test": windows("A", "2020-01-01", 100)})
    assert findings[0].status == "leak"
    assert "what came later was known" in findings[0].text


def test_splits_of_a_wrong_form_are_refused():
    with pytest.raises(ValueError, match="'test' is needed"):
        check_splits({"train": windows("A", "2023-01-01", 3)})
    with pytest.raises(ValueError, match="lacks the columns first, last"):
        check_splits({"train": pd.DataFrame({"id": ["A"]}), "test": windows("A", "2023-01-01", 3)})


# ------------------------------------------------------------------ what the checkpoint says


@pytest.mark.parametrize(
    ("provenance", "training", "tuned"),
    [
        ({"training": {"last": "2024-06-30"}, "tuning": {"first": "2024-01-01", "last": "2024-06-30"}}, "ok", "ok"),
        ({"training": {"last": "2025-02-01"}}, "warning", "unknown"),
        (
            {
                "training": {"last": "2024-06-30"},
                "tuning": {"settings": ["temperature"], "first": "2025-02-01", "last": "2025-03-01"},
            },
            "ok",
            "leak",
        ),
        ({}, "unknown", "unknown"),
    ],
)
def test_training_and_tuning_spans_of_the_checkpoint_are_compared_with_the_test(
    pair, data, tmp_path, provenance, training, tuned
):
    (tmp_path / "tiny" / "provenance.json").write_text(json.dumps(provenance))
    found = status(audit(pair, data, task=TASK))
    assert (found["training data"], found["tuned settings"]) == (training, tuned)


def test_training_on_the_test_itself_is_told_by_the_hash_of_the_store(pair, data, tmp_path):
    from kronos.evaluation import read_series

    store = read_series(data).digest
    (tmp_path / "tiny" / "provenance.json").write_text(json.dumps({"training": {"last": "2024-06-30", "store": store}}))
    assert status(audit(pair, data, task=TASK))["training data"] == "leak"


def test_data_from_before_a_published_models_cut_off_is_warned_of():
    from kronos.evaluation.leakage.provenance import check_provenance

    early, late = (pd.Timestamp(t) for t in ("2024-05-01", "2024-07-01"))
    assert check_provenance("small", early, late)[0].status == "warning"
    assert check_provenance("NeoQuasar/Kronos-base", late, late)[0].status == "ok"


# ------------------------------------------------------------------ the command


def test_the_command_says_no_leak_with_0_and_a_leak_with_1(pair, tmp_path):
    bars(0).to_csv(tmp_path / "test.csv", index=False)
    arguments = ["audit", pair, str(tmp_path / "test.csv"), "--lookback", "20", "--horizon", "8"]
    clean = CliRunner().invoke(main, arguments)
    assert clean.exit_code == 0, clean.output
    assert clean.output.strip().endswith("no leak found")
    leaky = CliRunner().invoke(main, [*arguments, "--train", str(tmp_path / "test.csv")])
    assert leaky.exit_code == 1
    assert "1 leak found" in leaky.output
    wrong = CliRunner().invoke(main, ["audit", pair, str(tmp_path / "nothing.csv")])
    assert wrong.exit_code == 2
    assert len(wrong.output.strip().splitlines()) == 1


def test_any_model_with_the_protocol_can_be_audited(data):
    report = audit(CallableForecaster("flat", lambda w, h, p, s: np.zeros((len(w), h))), data, task=TASK)
    assert status(report) == {"forecasts": "ok", "splits": "unknown"}
