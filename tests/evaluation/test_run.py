"""Rolling origins, resuming, and models of which theory says where they must land."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import kronos
from kronos.calibration import Calibration
from kronos.evaluation import TASKS, Prediction, cross_validation, evaluate
from kronos.evaluation.forecasters.models import PairForecaster
from kronos.evaluation.report.sentences import headline, sentences
from kronos.evaluation.scores import score
from kronos.evaluation.table import read_forecasts

FREE = ("last", "bootstrap")


def walk(seed, bars=600, freq="D", sigma=0.01, start="2023-01-01"):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, sigma, bars).cumsum())
    opens = np.concatenate(([100.0], close[:-1]))
    return pd.DataFrame(
        {
            "timestamps": pd.date_range(start, periods=bars, freq=freq),
            "open": opens,
            "high": np.maximum(opens, close) * 1.001,
            "low": np.minimum(opens, close) * 0.999,
            "close": close,
            "volume": rng.uniform(1, 2, bars),
        }
    )


@pytest.fixture(scope="module")
def market():
    return {f"walks/{i}": walk(i) for i in range(6)}


class Foresight:
    """Knows what will come, since the test told it."""

    def __init__(self, data):
        self.close = {name: table.set_index("timestamps")["close"] for name, table in data.items()}

    def __call__(self, windows, horizon, paths, seed):
        return np.stack([self.close[w.id].loc[w.future].to_numpy() for w in windows])


class WhiteNoise:
    """Paths that know the level and the width, and nothing else: a random walk of independent normal returns of the right size."""

    def __call__(self, windows, horizon, paths, seed):
        out = []
        for w in windows:
            rng = np.random.default_rng([seed, w.cutoff.value % 2**32, int(w.id[-1])])
            out.append(w.last * np.exp(rng.normal(0, 0.01, (paths, horizon)).cumsum(1)))
        return Prediction.of_paths(np.stack(out))


@pytest.fixture(scope="module")
def scored(market):
    table = cross_validation(
        market,
        {"foresight": Foresight(market), "noise": WhiteNoise()},
        h=12,
        n_windows=None,
        lookback=40,
        baselines=FREE,
        paths=60,
    )
    return table, score(table)


def test_the_table_has_a_row_for_each_model_window_and_step_with_cutoffs_as_nixtla_places_them(scored, market):
    table, _ = scored
    assert list(table.groupby("model", observed=True).size()) == [6 * 46 * 12] * 4
    one = table[(table["model"] == "noise") & (table["id"] == "walks/0")]
    times = market["walks/0"]["timestamps"]
    assert one["timestamp"].iloc[-1] == times.iloc[-1]
    assert one["cutoff"].iloc[-1] == times.iloc[-13]
    assert sorted(one["cutoff"].unique()) == list(times.iloc[range(47, 588, 12)])
    assert (one["timestamp"] > one["cutoff"]).all()


def test_perfect_foresight_has_ic_1_and_crps_0_and_beats_the_last_price(scored):
    _, scores = scored
    row = scores.leaderboard.set_index("model").loc["foresight"]
    for name in ("price_ic", "price_rank_ic", "return_ic", "return_rank_ic", "direction"):
        assert row[name] == pytest.approx(1)
    assert row["crps"] == row["mase"] == row["pinball"] == 0
    said = next(line for line in sentences(scores) if line.startswith("foresight"))
    assert "as a point forecast better than the last price" in said
    assert "as a distribution better than the last price with a random walk's intervals" in said
    assert "Better than the last price as point forecasts: foresight." in headline(scores, ["foresight"])


def test_white_noise_covers_what_it_says_has_no_ic_and_is_called_neither_better_nor_worse_than_a_walk(scored):
    _, scores = scored
    row = scores.leaderboard.set_index("model").loc["noise"]
    assert row["covered"] == pytest.approx(0.8, abs=0.04)
    assert abs(row["return_ic"]) < 0.15
    assert abs(row["price_ic"]) < 0.1
    assert row["direction"] == pytest.approx(0.5, abs=0.1)
    assert row["relative_crps"] == pytest.approx(1, abs=0.03)
    said = next(line for line in sentences(scores) if line.startswith("noise"))
    assert "as a distribution not distinguishable from the last price with a random walk's intervals" in said


def test_the_bootstrap_walk_loses_by_the_drift_of_its_lookback_and_can_be_the_reference(scored):
    table, _ = scored
    against = score(table, distribution_reference="bootstrap")
    row = against.leaderboard.set_index("model").loc["noise"]
    assert row["relative_crps"] < 0.96
    said = next(line for line in sentences(against) if line.startswith("noise"))
    assert "as a distribution better than the bootstrap random walk" in said


def test_on_random_walks_no_baseline_is_better_than_the_last_price():
    data = {f"w/{i}": walk(100 + i, bars=300) for i in range(5)}
    table = cross_validation(
        data,
        {},
        h=12,
        n_windows=None,
        lookback=60,
        baselines=("last", "drift", "seasonal", "bootstrap", "ets", "theta", "garch"),
    )
    scores = score(table)
    assert "No model was better than the last price as a point forecast." in headline(scores, ["garch"])
    assert not [line for line in sentences(scores) if "point forecast better" in line]


def test_results_do_not_depend_on_the_seed_of_the_process_or_on_jobs(market):
    task = TASKS["forecast"].with_(lookback=40, horizon=12, n_windows=2, paths=10)
    data = {name: market[name] for name in list(market)[:2]}
    one = evaluate(data, [], task=task, baselines=("last", "garch", "lightgbm"), progress=False)
    two = evaluate(data, [], task=task, baselines=("last", "garch", "lightgbm"), jobs=2, progress=False)
    pd.testing.assert_frame_equal(one.forecasts, two.forecasts)


def test_an_interrupted_run_ends_with_the_same_table_byte_for_byte(tmp_path, market):
    task = TASKS["forecast"].with_(lookback=40, horizon=12, paths=10)

    class Stops:
        """Ctrl-C in the middle of the third chunk."""

        name, fingerprint, calls = "noise", "1", 0

        def forecast(self, windows, horizon, paths, seed):
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            return WhiteNoise()(windows, horizon, paths, seed)

    class Whole(Stops):
        def forecast(self, windows, horizon, paths, seed):
            self.calls += 1
            return WhiteNoise()(windows, horizon, paths, seed)

    with pytest.raises(KeyboardInterrupt):
        evaluate(market, [Stops()], task=task, baselines=FREE, out=tmp_path / "a", progress=False)
    assert not (tmp_path / "a" / "forecasts.parquet").exists()
    resumed = Whole()
    result = evaluate(market, [resumed], task=task, baselines=FREE, out=tmp_path / "a", progress=False)
    evaluate(market, [Whole()], task=task, baselines=FREE, out=tmp_path / "b", progress=False)
    assert (tmp_path / "a" / "forecasts.parquet").read_bytes() == (tmp_path / "b" / "forecasts.parquet").read_bytes()
    assert resumed.calls == len(list((tmp_path / "a" / "parts" / "noise").glob("*.parquet"))) - 2
    again = evaluate(market, [Whole()], task=task, baselines=FREE, out=tmp_path / "a", progress=False)
    assert again.computed == 0
    pd.testing.assert_frame_equal(again.forecasts, result.forecasts)
    pd.testing.assert_frame_equal(read_forecasts(tmp_path / "a" / "forecasts.parquet"), result.forecasts)


def test_a_model_added_later_is_all_that_is_computed(tmp_path, market):
    task = TASKS["forecast"].with_(lookback=40, horizon=12, n_windows=2, paths=10)
    evaluate(market, [], task=task, baselines=("last",), out=tmp_path / "a", progress=False)
    assert evaluate(market, [], task=task, baselines=FREE, out=tmp_path / "a", progress=False).computed == 1


def test_a_folder_made_with_other_settings_or_other_files_is_refused(tmp_path, market):
    task = TASKS["forecast"].with_(lookback=40, horizon=12, n_windows=2, paths=10)
    evaluate(market, [], task=task, baselines=("last",), out=tmp_path / "a", progress=False)
    with pytest.raises(ValueError, match=r"a was made with other settings: settings\.seed was 0 and is 1; "):
        evaluate(market, [], task=task, baselines=("last",), out=tmp_path / "a", seed=1, progress=False)
    evaluate(market, [], task=task, baselines=("last",), out=tmp_path / "a", seed=1, overwrite=True, progress=False)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "letter.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"holds other files.*letter\.txt"):
            evaluate(
                market, [], task=task, baselines=("last",), out=tmp_path / "c", overwrite=overwrite, progress=False
            )
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["letter.txt"]


def test_settings_that_are_cut_off_or_of_another_command_are_refused(tmp_path, market):
    task = TASKS["forecast"].with_(lookback=40, horizon=12, n_windows=2, paths=10)
    for content, says in (('{"settings": {', "cannot be read as JSON"), ('{"model": "nano"}', "of such a run")):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / "settings.json").write_text(content)
        for overwrite in (False, True):
            with pytest.raises(ValueError, match=says):
                evaluate(
                    market, [], task=task, baselines=("last",), out=tmp_path / "a", overwrite=overwrite, progress=False
                )


def test_evaluation_begun_by_the_version_before_goes_on(tmp_path, market):
    task = TASKS["forecast"].with_(lookback=40, horizon=12, n_windows=2, paths=10)
    evaluate(market, [], task=task, baselines=("last",), out=tmp_path / "a", progress=False)
    for name in ("settings.json", "parts/last/model.json"):  # indented by one, or not at all, as they were then
        record = tmp_path / "a" / name
        record.write_text(json.dumps(json.loads(record.read_text()), indent=None if "parts" in name else 1))
    assert evaluate(market, [], task=task, baselines=("last",), out=tmp_path / "a", progress=False).computed == 0


def test_a_broken_part_is_named(tmp_path, market):
    task = TASKS["forecast"].with_(lookback=40, horizon=12, n_windows=2, paths=10)
    evaluate(market, [], task=task, baselines=("last",), out=tmp_path / "a", progress=False)
    part = tmp_path / "a" / "parts" / "last" / "00000.parquet"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"00000.parquet is no readable table"):
        evaluate(market, [], task=task, baselines=("last",), out=tmp_path / "a", progress=False)


def test_user_tables_are_never_changed(market):
    before = {name: table.copy() for name, table in market.items()}
    cross_validation(market, {"noise": WhiteNoise()}, h=12, n_windows=1, lookback=40, paths=5)
    for name, table in market.items():
        pd.testing.assert_frame_equal(table, before[name])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda w, h, p, s: np.zeros((len(w), h + 1)), "steps were asked for"),
        (lambda w, h, p, s: np.full((len(w), h), np.nan), "no numbers"),
        (lambda w, h, p, s: "up", "model bad"),
        (3, "a model is a callable or an object"),
    ],
)
def test_a_model_that_answers_wrongly_is_named_with_what_it_gave(market, model, message):
    with pytest.raises(ValueError, match=message):
        cross_validation(market, {"bad": model}, h=12, lookback=40)


def test_a_kronos_pair_is_forecast_in_batches_and_agrees_with_its_own_predictor(golden, tmp_path):
    shutil.copytree(golden / "tiny", tmp_path / "tiny")
    data = {"a": walk(1, bars=120), "b": walk(2, bars=120)}
    spec = str(tmp_path / "tiny")
    table = cross_validation(data, [spec], h=8, n_windows=2, lookback=24, paths=7, seed=3)
    import kronos

    predictor = kronos.load(spec, device="cpu")
    past, future = data["b"].iloc[88:112], data["b"].iloc[112:120]
    values = ["open", "high", "low", "close", "volume"]
    paths = predictor.predict_samples(
        past[values], past["timestamps"], future["timestamps"], 8, top_p=0.9, sample_count=7, seed=3, verbose=False
    )
    mine = table[(table["id"] == "b") & (table["cutoff"] == past["timestamps"].iloc[-1])]
    np.testing.assert_allclose(mine["mean"], paths[0, :, :, 3].astype(float).mean(0), rtol=1e-6)
    assert np.isfinite(mine["price_ic"]).all()


def test_a_pair_is_scored_once_more_with_calibrated_paths(golden, market, tmp_path):
    own = Calibration(shrink=0.5, spread=0.4)
    own.save(tmp_path / "cal.json")
    task = TASKS["forecast"].with_(lookback=64, horizon=4, n_windows=1, paths=10)
    nano = kronos.load("nano", device="cpu")
    found = evaluate(market, {"nano": nano}, task=task, baselines=[], progress=False, calibration=tmp_path / "cal.json")
    assert found.models == ["nano", "nano calibrated"]
    raw, made = (found.forecasts.query("model == @name") for name in found.models)
    width = [np.log(one["q0.9"] / one["q0.1"]).mean() for one in (raw, made)]
    stretch = np.exp(0.4)  # and the paths' mean, of the other nine, is shrunk by .5
    assert width[1] / width[0] == pytest.approx(stretch + (stretch - 0.5) / 9, rel=1e-4)
    alone = PairForecaster("nano", nano, calibration=own)
    assert alone.fingerprint != PairForecaster("nano", nano).fingerprint
    with pytest.warns(UserWarning, match="nano has no calibration for this sampling"):
        colder = evaluate(
            market, {"nano": nano}, task=task.with_(temperature=0.6), baselines=[], progress=False, calibration="auto"
        )
    assert colder.models == ["nano"]
    with pytest.raises(ValueError, match="none of the models is one"):
        evaluate(market, [], task=task, baselines=["last"], progress=False, calibration=own)


def test_figures_agree_with_the_earlier_benchmark_where_both_measure_the_same(golden, tmp_path):

    import kronos
    from kronos.evaluation.window_losses import window_losses
    from tests.metrics.test_probabilistic import benchmark

    data = {"a": walk(5, bars=100)}
    earlier = benchmark()
    predictor = kronos.load("nano", device="cpu")
    # Origins after 40, 64 and 88 bars.
    rows = earlier.forecasts("nano", predictor, [("f", "a", data["a"])], 3, 40, 12, 20)
    table = cross_validation(
        data, ["nano"], h=12, n_windows=3, step_size=24, lookback=40, paths=20, baselines=("last",)
    )
    mine = window_losses(table)
    nano, last = (mine[mine["model"] == m].sort_values("cutoff") for m in ("nano", "last"))
    np.testing.assert_allclose(last["mase"], rows["mae_last"], rtol=1e-9)
    # nano's pair.json says top-p 1; the plain predictor draws with the same
    np.testing.assert_allclose(nano["mase"], rows["mae"], rtol=1e-5)
    np.testing.assert_allclose(nano["crps"], rows["crps"], rtol=1e-5)
    np.testing.assert_array_equal(nano["direction"], rows["direction"])
