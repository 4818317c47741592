"""Heads: what they find and do not find, that nothing of the future is read, splits without overlap, files, and the predictor."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import kronos
from kronos.calibration.fitting import PastWindow
from kronos.cli import main
from kronos.heads import Head, HeadSettings, collect_examples, fit_head, purged_folds, purged_split, train_head
from kronos.heads.head import LEVELS, HeadTask, model_digest
from kronos.heads.head_losses import loss_of, targets_of
from kronos.metrics.probabilistic import crps_quantiles

BACK, AHEAD, SERIES, DATES = 24, 3, 10, 66
TASKS: tuple[HeadTask, ...] = ("distribution", "direction", "rank")


def noise(seed: int, bars: int) -> pd.DataFrame:
    """Bars with independent returns."""
    close = 100 * np.exp(np.random.default_rng(seed).normal(0, 0.01, bars).cumsum())
    open_ = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close})


def window(bars: pd.DataFrame, stop: int) -> PastWindow:
    times = pd.date_range("2020-01-01", periods=len(bars))
    past = bars.iloc[stop - BACK : stop].reset_index(drop=True)
    close = bars["close"].to_numpy()
    return PastWindow(past, times[stop - BACK : stop], times[stop : stop + AHEAD], close[stop : stop + AHEAD])


@pytest.fixture(scope="module")
def predictor():
    return kronos.load("nano", device="cpu")


@pytest.fixture(scope="module")
def windows():
    bars = [noise(seed, BACK + AHEAD * (DATES + 1)) for seed in range(SERIES)]
    stops = [BACK + AHEAD * date for date in range(DATES)]
    return [window(one, stop) for stop in stops for one in bars]


@pytest.fixture(scope="module")
def white(predictor, windows):
    return collect_examples(predictor, windows)


@pytest.fixture(scope="module")
def planted(white, windows):
    """The same lookbacks, but what comes turns against the last two bars where both moved the same way."""
    last = np.array([np.diff(np.log(one.bars["close"].to_numpy()))[-2:] for one in windows])
    turn = -np.sign(last[:, 1]) * (last[:, 0] * last[:, 1] > 0)
    return replace(white, truth=white.truth + (0.03 * turn)[:, None])


@pytest.fixture(scope="module")
def found(planted):
    return {task: fit_head(planted, HeadSettings(task)) for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_head_finds_a_planted_pattern(found, task):
    verdict = found[task].verdict
    assert verdict["ic"] > 0.2 and verdict["ic_interval"][0] > 0
    if task == "distribution":
        assert verdict["over_features_interval"][1] < 1


@pytest.mark.parametrize("task", TASKS)
def test_head_finds_nothing_in_white_noise(white, task):
    verdict = fit_head(white, HeadSettings(task)).verdict
    assert verdict["ic_interval"][0] <= 0 <= verdict["ic_interval"][1]
    if task == "distribution":
        assert verdict["over_features"] < 1.02
        assert verdict["coverage_80_interval"][0] <= 0.8 <= verdict["coverage_80_interval"][1]


@pytest.mark.parametrize("task", TASKS)
def test_trees_that_read_the_same_are_scored_beside_the_head(white, found, task):
    pytest.importorskip("lightgbm")
    verdict, of_noise = found[task].verdict, fit_head(white, HeadSettings(task, epochs=1)).verdict
    assert verdict["ic_of_trees"] > 0.2 and verdict["ic_of_trees_interval"][0] > 0
    assert of_noise["ic_of_trees_interval"][0] <= 0 <= of_noise["ic_of_trees_interval"][1]
    assert ("over_trees" in verdict) == (task == "distribution")
    if task == "distribution":
        assert 0.9 < of_noise["over_trees"] < 1.02


def test_inputs_do_not_move_when_the_future_does(predictor):
    bars = noise(3, BACK + AHEAD)
    moved = bars.copy()
    moved.iloc[BACK:] *= 1.7
    before, after = (collect_examples(predictor, [window(one, BACK)]) for one in (bars, moved))
    for name in ("states", "features", "volatility", "frequency", "start"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert (before.truth != after.truth).all()


def test_training_does_not_read_the_windows_of_the_verdict(planted, found):
    test = purged_split(planted.start, planted.end, embargo=(planted.end - planted.start).max()).test
    truth = planted.truth.copy()
    truth[test] = np.random.default_rng(0).normal(0, 1, truth[test].shape)
    again = fit_head(replace(planted, truth=truth), HeadSettings("direction"))
    for name, value in again.network.state_dict().items():
        assert value.equal(found["direction"].network.state_dict()[name])
    assert again.verdict["ic"] != found["direction"].verdict["ic"]


def test_train_head_gives_the_head_of_the_examples_and_knows_its_model_and_lookback(predictor, windows, white):
    head = train_head(predictor, windows, HeadSettings(epochs=1))
    assert (head.model, head.lookback) == (model_digest(predictor.model), BACK)
    same = fit_head(white, HeadSettings(epochs=1)).network.state_dict()
    assert all(value.equal(same[name]) for name, value in head.network.state_dict().items())
    shorter = windows[0]._replace(bars=windows[0].bars.iloc[4:], past=windows[0].past[4:])
    with pytest.raises(ValueError, match=r"windows must be of one lookback, found lookbacks of 20 to 24 bars"):
        train_head(predictor, [*windows, shorter], HeadSettings())


def test_purged_split_keeps_labels_and_the_embargo_apart():
    start = np.datetime64("2024-01-01") + np.random.default_rng(0).permutation(300).astype("timedelta64[D]")
    end, embargo = start + np.timedelta64(5, "D"), np.timedelta64(3, "D")
    parts = purged_split(start, end, embargo=embargo)
    for earlier, later in zip(parts[:-1], parts[1:], strict=True):
        assert end[earlier].max() + embargo < start[later].min()
        assert start[later].min() - start[earlier].max() == np.timedelta64(9, "D")  # nothing more is left out
    with pytest.raises(ValueError, match="purging leaves no row for train"):
        purged_split(start, end + np.timedelta64(400, "D"))


@pytest.mark.parametrize("together", [1, 2])
def test_purged_folds_share_no_time_with_their_test(together):
    start = np.datetime64("2024-01-01") + np.arange(100).astype("timedelta64[D]")
    end, embargo = start + np.timedelta64(4, "D"), np.timedelta64(2, "D")
    tested = np.zeros(100, int)
    for fold in purged_folds(start, end, 5, embargo, together):
        tested[fold.test] += 1
        for row in fold.test:
            apart = (end[fold.train] < start[row]) | (start[fold.train] > end[row] + embargo)
            assert apart.all()
    assert (tested == (1 if together == 1 else 4)).all()


def test_window_that_ends_behind_a_long_gap_is_left_out(white):
    late = white.end.copy()
    late[5] += np.timedelta64(400, "D")
    windows = [fit_head(replace(white, end=end), HeadSettings(epochs=1)).trained_on for end in (white.end, late)]
    assert windows[1]["windows"]["train"] == windows[0]["windows"]["train"] - 1
    assert windows[1]["last"] == windows[0]["last"]


def test_distribution_loss_is_the_crps_of_its_quantiles(planted, found):
    import torch

    spec, rows = found["distribution"].spec, planted.part(np.arange(20))
    target = targets_of(spec, rows)
    quantiles = np.sort(np.random.default_rng(0).normal(size=(20, AHEAD, len(LEVELS))), -1)
    loss = loss_of(spec, torch.from_numpy(quantiles), torch.from_numpy(target), torch.zeros(20))
    assert float(loss) == pytest.approx(crps_quantiles(target, quantiles, np.array(LEVELS)).mean(), rel=1e-5)


def test_rank_loss_is_minus_the_correlation_within_a_date(found):
    import torch

    rng = np.random.default_rng(0)
    x, y, date = rng.normal(size=60), rng.normal(size=60), np.repeat([0, 1, 2], 20)
    each = [np.corrcoef(x[date == one], y[date == one])[0, 1] for one in range(3)]
    scores, target = (torch.from_numpy(values.astype(np.float32)) for values in (x, y))
    assert float(loss_of(found["rank"].spec, scores, target, torch.from_numpy(date))) == pytest.approx(
        -np.mean(each), abs=1e-6
    )


def test_same_seed_gives_the_same_weights(planted, found):
    again = fit_head(planted, HeadSettings("rank"))
    assert again.verdict == found["rank"].verdict
    for name, value in again.network.state_dict().items():
        assert value.equal(found["rank"].network.state_dict()[name])


@pytest.fixture(scope="module")
def pair(tmp_path_factory, predictor, found):
    digest = model_digest(predictor.model)
    heads = {task: replace(head, model=digest, lookback=BACK) for task, head in found.items()}
    with_heads = kronos.KronosPredictor(predictor.model, predictor.tokenizer, "cpu", heads=heads)
    return with_heads.save_pretrained(tmp_path_factory.mktemp("pair"), overwrite=True)


def test_loaded_pair_answers_as_the_heads_that_were_saved(pair, windows, planted, found):
    loaded = kronos.load(pair, device="cpu")
    some = windows[:7]
    inputs = [one.bars for one in some], [one.past for one in some], [one.future for one in some]
    expected = {task: head(planted.part(np.arange(7))) for task, head in found.items()}
    last = np.array([one.bars["close"].iloc[-1] for one in some])
    quantiles = loaded.quantiles_direct(*inputs, quantile_levels=(0.1, 0.33, 0.9))
    assert quantiles.shape == (7, 3, AHEAD) and (np.diff(quantiles, axis=1) > 0).all()
    low = last[:, None] * np.exp(expected["distribution"][..., LEVELS.index(0.1)])
    np.testing.assert_allclose(quantiles[:, 0], low, rtol=1e-5)
    np.testing.assert_allclose(loaded.direction_direct(*inputs), expected["direction"], atol=1e-5)
    np.testing.assert_allclose(loaded.direction_direct(*inputs).sum(1), 1)
    np.testing.assert_allclose(loaded.rank_direct(*inputs), expected["rank"], atol=1e-5)
    alone = loaded.quantiles_direct(inputs[0][3], inputs[1][3], inputs[2][3][:2], (0.1, 0.33, 0.9))
    np.testing.assert_allclose(alone[0], quantiles[3, :, :2], rtol=1e-5)


def test_evaluate_scores_a_head_as_its_quantiles(pair, golden):
    from kronos.evaluation.forecasters.models import forecaster_of
    from kronos.evaluation.run import evaluate
    from kronos.evaluation.tasks import TASKS as PRESETS

    bars = noise(5, 90).assign(timestamps=pd.date_range("2024-01-01", periods=90))
    task = PRESETS["forecast"].with_(lookback=BACK, horizon=AHEAD, n_windows=2, step_size=AHEAD)
    found = evaluate({"a": bars}, [f"head:{pair}"], task=task, baselines=(), progress=False).forecasts
    times = pd.DatetimeIndex(bars["timestamps"])
    past, future = bars.iloc[-BACK - AHEAD : -AHEAD].drop(columns="timestamps"), times[-AHEAD:]
    own = kronos.load(pair, device="cpu").quantiles_direct(past, past.index.map(times.__getitem__), future, (0.1, 0.5))
    last = found[found["cutoff"] == times[-AHEAD - 1]]
    np.testing.assert_allclose(last["mean"], own[0, 1], rtol=1e-5)
    with pytest.raises(ValueError, match="has no head for distribution: train one with kronos heads train"):
        forecaster_of(f"head:{golden / 'tiny'}", task)


def test_still_close_gets_the_last_price(pair, windows):
    one = windows[0]
    still = one.bars.assign(open=5.0, high=5.0, low=5.0, close=5.0)
    assert (kronos.load(pair, device="cpu").quantiles_direct(still, one.past, one.future) == 5.0).all()


def test_head_of_another_model_is_refused(pair, tmp_path):
    import shutil

    shutil.copytree(pair, tmp_path / "other")
    values = json.loads((tmp_path / "other/heads/rank.json").read_text())
    (tmp_path / "other/heads/rank.json").write_text(json.dumps({**values, "model": "0" * 16}))
    with pytest.raises(ValueError, match=r"rank\.json was trained on another model"):
        kronos.load(tmp_path / "other", device="cpu")


def test_overwriting_a_pair_removes_the_heads_before(pair, predictor, tmp_path):
    import shutil

    shutil.copytree(pair, tmp_path / "other")
    predictor.save_pretrained(tmp_path / "other", overwrite=True)
    assert kronos.load(tmp_path / "other", device="cpu").heads == {}


def test_broken_head_is_refused(pair, tmp_path):
    (tmp_path / "rank.json").write_bytes((pair / "heads/rank.json").read_bytes())
    (tmp_path / "rank.safetensors").write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"cannot be read as a head \(.*\): train it again"):
        Head.load(tmp_path / "rank.json")


def test_what_heads_cannot_answer_is_refused(pair, predictor, windows):
    one, loaded = windows[0], kronos.load(pair, device="cpu")
    with pytest.raises(ValueError, match=r"the pair has no head for distribution \(it has none\): train one with"):
        predictor.quantiles_direct(one.bars, one.past, one.future)
    later = pd.date_range(one.future[0], periods=AHEAD + 1)
    with pytest.raises(ValueError, match="trained for at most 3 bars ahead, found 4 y_timestamps"):
        loaded.quantiles_direct(one.bars, one.past, later)
    with pytest.raises(ValueError, match="trained for exactly 3 bars ahead, found 2"):
        loaded.rank_direct(one.bars, one.past, later[:2])
    with pytest.raises(ValueError, match="one of the history is not positive"):
        loaded.quantiles_direct(one.bars.assign(low=-1.0), one.past, one.future)
    with pytest.raises(ValueError, match="series 1: a head answers for one horizon, found 2"):
        loaded.quantiles_direct([one.bars] * 2, [one.past] * 2, [one.future, one.future[:2]])


def test_settings_out_of_range_are_refused(white):
    with pytest.raises(ValueError, match="task must be one of distribution, direction, rank"):
        HeadSettings("price")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rate must lie in"):
        HeadSettings(rate=-1.0)
    with pytest.raises(ValueError, match="windows are left to train on, 100 are needed"):
        fit_head(white.part(np.arange(0, len(white), 6)), HeadSettings())
    with pytest.raises(ValueError, match="no date has 5 windows"):
        fit_head(white.part(np.arange(0, len(white), SERIES)), HeadSettings("rank"))


@pytest.fixture
def market(tmp_path):
    times = pd.date_range("2020-01-01", periods=160)
    tables = [noise(seed, 160).assign(symbol=f"S{seed}", timestamps=times) for seed in range(8)]
    pd.concat(tables).to_parquet(tmp_path / "bars.parquet", index=False)
    return str(tmp_path / "bars.parquet")


def test_heads_train_adds_heads_to_one_pair(market, tmp_path):
    out, common = str(tmp_path / "mine"), ["--lookback", "32", "--horizon", "2", "--epochs", "2", "--quiet"]
    common += ["--verdict-windows", "0"]
    for task, model in (("rank", "nano"), ("distribution", out)):
        told = ["heads", "train", market, "--task", task, "--out", out, "--model", model, "--windows", "200", *common]
        done = CliRunner().invoke(main, told, catch_exceptions=False)
        assert done.exit_code == 0 and "IC: " in done.stdout, done.output
    assert sorted(kronos.load(out, device="cpu").heads) == ["distribution", "rank"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--lookback", "200"], "has no series of 200 + 24 bars"),
        (["--embargo", "-1"], "embargo must lie in"),
        (["--band", "0"], "band must be a positive number"),
    ],
)
def test_heads_train_refuses_what_cannot_be(market, tmp_path, more, message):
    done = CliRunner().invoke(main, ["heads", "train", market, "--out", str(tmp_path / "mine"), *more])
    assert done.exit_code == 2 and message in done.stderr and not (tmp_path / "mine").exists()


def test_heads_train_refuses_a_folder_that_is_no_pair(market, tmp_path):
    done = CliRunner().invoke(main, ["heads", "train", market, "--out", str(tmp_path)])
    assert done.exit_code == 2 and "is no pair and not empty" in done.stderr
