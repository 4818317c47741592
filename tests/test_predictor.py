"""The front door: every usual form of input gives the same forecast, nothing of the user's is changed, errors say what to do."""

import datetime
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

import kronos
import kronos.predictor.predictor
from kronos import Kronos, KronosPredictor, KronosTokenizer
from kronos.calibration import Calibration
from kronos.forecast.forecast import valid_candles
from kronos.generation.paths import sample_paths
from kronos.generation.reference import auto_regressive_inference, decode_tail, generate_paths
from kronos.generation.sampling import Sampling
from kronos.klines.features import as_timestamps, time_features, to_matrix
from kronos.klines.normalize import Normalizer
from kronos.schema import FEATURES

LOOKBACK, HORIZON, CONTEXT = 20, 6, 32
GREEDY: dict[str, Any] = {"top_k": 1, "verbose": False}
QUIET: dict[str, Any] = {"verbose": False}
Networks = tuple[Kronos, KronosTokenizer]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def bars(golden):
    return pd.read_csv(golden / "tiny" / "bars.csv", parse_dates=["timestamps"])


@pytest.fixture(scope="module")
def networks(golden):
    folder = golden / "tiny"
    return Kronos.from_pretrained(folder / "model"), KronosTokenizer.from_pretrained(folder / "tokenizer")


@pytest.fixture(scope="module")
def predictor(networks: Networks):
    return KronosPredictor(*networks, device="cpu", max_context=CONTEXT)


@pytest.fixture
def past(bars):
    return bars.iloc[:LOOKBACK][list(FEATURES)].copy()


@pytest.fixture
def x(bars):
    return bars["timestamps"].iloc[:LOOKBACK].copy()


@pytest.fixture
def y(bars):
    return bars["timestamps"].iloc[LOOKBACK : LOOKBACK + HORIZON].copy()


@pytest.fixture
def forecast(predictor, past, x, y):
    return predictor.predict(past, x, y, HORIZON, **GREEDY)


# ------------------------------------------------------------------------------------------ forms of input

FORMS = {
    "DatetimeIndex": pd.DatetimeIndex,
    "Series with an odd index": lambda t: t.set_axis(range(100, 100 - len(t), -1)),
    "Series with a string index": lambda t: t.set_axis([f"row {i}" for i in range(len(t))]),
    "Series of strings": lambda t: t.dt.strftime("%Y-%m-%d %H:%M:%S"),
    "list of strings": lambda t: t.dt.strftime("%Y/%m/%d %H:%M").tolist(),
    "list of Timestamps": list,
    "list of datetimes": lambda t: [stamp.to_pydatetime() for stamp in t],
    "tuple": tuple,
    "generator": iter,
    "object Series": lambda t: t.astype(object),
    "numpy": lambda t: t.to_numpy(),
    "numpy seconds": lambda t: t.to_numpy().astype("datetime64[s]"),
    "tz-aware Series": lambda t: t.dt.tz_localize("Asia/Shanghai"),
    "tz-aware DatetimeIndex": lambda t: pd.DatetimeIndex(t).tz_localize("America/New_York"),
    "strings with an offset": lambda t: (t.dt.strftime("%Y-%m-%d %H:%M:%S") + "+08:00").tolist(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_timestamps_of_any_usual_form_give_the_same_forecast(form, predictor, past, x, y, forecast):
    got = predictor.predict(past, form(x), form(y), HORIZON, **GREEDY)
    np.testing.assert_array_equal(got.to_numpy(), forecast.to_numpy())
    assert isinstance(got.index, pd.DatetimeIndex)
    assert (got.index.tz_localize(None) == forecast.index).all()
    assert got.index.equals(as_timestamps(form(y)))  # the zone is kept


def test_the_forecast_has_the_kept_columns_and_the_future_as_index(forecast, y):
    assert list(forecast.columns) == list(FEATURES)
    assert forecast.index.equals(pd.DatetimeIndex(y))
    assert forecast.notna().all().all()


FRAMES = {
    "extra columns": lambda f: f.assign(symbol="600977", note=None, timestamps=pd.Timestamp("2020")),
    "another order of columns": lambda f: f[list(f.columns[::-1])],
    "a DatetimeIndex": lambda f: f.set_axis(pd.date_range("2024", periods=len(f)), axis=0),
    "a duplicate index": lambda f: f.set_axis([0] * len(f), axis=0),
    "float32": lambda f: f.astype("float32"),
    "nullable floats": lambda f: f.astype("Float64"),
    "arrow floats": lambda f: f.astype("float64[pyarrow]"),
    "objects": lambda f: f.astype(object),
}


@pytest.mark.parametrize("form", FRAMES.values(), ids=FRAMES.keys())
def test_tables_of_any_usual_form_give_the_same_forecast(form, predictor, past, x, y, forecast):
    got = predictor.predict(form(past), x, y, HORIZON, **GREEDY)
    pd.testing.assert_frame_equal(got, forecast, rtol=1e-6)


def test_an_amount_without_volume_is_kept(predictor, past, x, y):
    matrix = to_matrix(past.drop(columns="volume"))
    np.testing.assert_array_equal(matrix[:, 5], past["amount"].astype("float32"))
    assert (matrix[:, 4] == 0).all()
    kept = predictor.predict(past.drop(columns="volume"), x, y, HORIZON, **GREEDY)
    neither = predictor.predict(past.drop(columns=["volume", "amount"]), x, y, HORIZON, **GREEDY)
    assert past["amount"].between(*past["amount"].quantile([0, 1])).all()
    deviations = (kept["amount"] - past["amount"].mean()) / past["amount"].std(ddof=0)
    assert deviations.abs().max() < 5  # on the scale of the amounts given, not around zero
    assert neither["amount"].abs().max() < 1e-3 and kept["volume"].abs().max() < 1e-3


def test_a_missing_amount_is_volume_times_the_mean_price_and_missing_both_is_zero(past):
    derived = to_matrix(past.drop(columns="amount"))
    want = past["volume"] * past[["open", "high", "low", "close"]].mean(axis=1)
    np.testing.assert_allclose(derived[:, 5], want, rtol=1e-6)
    assert (to_matrix(past[["open", "high", "low", "close"]])[:, 4:] == 0).all()


def test_the_users_tables_and_timestamps_are_never_changed(predictor, past, x, y):
    past = past.assign(symbol="a", count=range(LOOKBACK)).astype({"open": "float32", "volume": "Float64"})
    past.index = pd.Index([f"row {i}" for i in range(LOOKBACK)], name="rows")
    past.attrs, x.attrs = {"source": {"name": "test"}}, {"zone": "none"}
    past_copy, x_copy, y_index = past.copy(deep=True), x.copy(deep=True), pd.DatetimeIndex(y, name="future")
    index_copy = y_index.copy(deep=True)
    for _ in range(2):
        got = predictor.predict(past, x, y_index, HORIZON, valid_candles=True, **GREEDY)
        predictor.predict_samples([past, past], [x, x], [y_index, y_index], HORIZON, sample_count=2, **GREEDY)
        got.iloc[:] = 0
        got.index = range(HORIZON)
        got["more"] = 1
    pd.testing.assert_frame_equal(past, past_copy, check_exact=True, check_flags=True)
    pd.testing.assert_series_equal(x, x_copy, check_exact=True, check_flags=True)
    assert past.attrs == {"source": {"name": "test"}} and x.attrs == {"zone": "none"}
    assert y_index.equals(index_copy) and y_index.name == "future" and y_index.dtype == index_copy.dtype


def test_read_only_arrays_are_enough(predictor, past, x, y, forecast):
    values = past.to_numpy()
    values.flags.writeable = False
    stamps = x.to_numpy().copy()
    stamps.flags.writeable = False
    got = predictor.predict(pd.DataFrame(values, columns=past.columns, copy=False), stamps, y, HORIZON, **GREEDY)
    pd.testing.assert_frame_equal(got, forecast)


# ---------------------------------------------------------------------------------------------- forecasting


@pytest.mark.parametrize(
    ("lookback", "horizon", "context"), [(20, 14, 8), (20, 30, 8), (5, 20, 8), (4, 9, 1), (3, 40, 32)]
)
def test_a_horizon_beyond_the_context_works(lookback, horizon, context, networks: Networks, bars):
    past, future = bars.iloc[:lookback], pd.date_range("2024-03-01", periods=horizon, freq="h")
    predictor = KronosPredictor(*networks, device="cpu", max_context=context)
    got = predictor.predict(past, past["timestamps"], future, horizon, sample_count=2, **QUIET)
    assert got.shape == (horizon, 6) and got.notna().all().all()


@pytest.mark.parametrize(
    ("total", "rows", "context"), [(30, 4, 8), (30, 8, 8), (30, 9, 8), (30, 29, 8), (30, 30, 7), (5, 5, 8), (9, 6, 1)]
)
def test_the_decoded_tail_covers_the_rows_asked_for_and_its_last_window_is_decoded_whole(
    networks: Networks, total, rows, context
):
    tokenizer = networks[1]
    s1, s2 = torch.randint(64, (2, 3, total), generator=torch.Generator().manual_seed(1))
    tail = decode_tail(tokenizer, s1, s2, rows, context)
    window = min(context, total)
    assert max(rows, window) <= tail.shape[1] <= total
    last = tokenizer.decode((s1[:, -window:], s2[:, -window:]), half=True)
    torch.testing.assert_close(tail[:, -window:], last)
    if context >= total:
        assert tail.shape[1] == total


class Echo:
    """A tokenizer that decodes a token to [its number, how many tokens of its window stand before it]."""

    def decode(self, pair, half):
        s1, _ = pair
        assert half and s1.shape[1] <= self.most
        return torch.stack((s1, torch.arange(s1.shape[1]).expand_as(s1)), dim=-1)

    def __init__(self, most):
        self.most = most


@pytest.mark.parametrize("context", [1, 2, 7, 8, 32])
@pytest.mark.parametrize("rows", [1, 8, 9, 23, 40])
def test_the_decoded_tail_has_every_bar_once_in_order_with_at_least_half_a_context_before_it(rows, context):
    total = 40
    tokens = torch.arange(total)[None]
    tail = decode_tail(cast(KronosTokenizer, Echo(context)), tokens, tokens, rows, context)[0]
    assert tail[:, 0].tolist() == list(range(total - len(tail), total))
    window = min(context, total)
    assert len(tail) >= max(rows, window)
    numbers, before = tail[:-window].T
    assert (before >= torch.minimum(numbers, torch.tensor(window // 2))).all()


def test_off_means_off_for_top_k_and_top_p(predictor, past, x, y):
    draw = lambda **settings: predictor.predict(past, x, y, HORIZON, seed=5, **settings, **QUIET)
    plain = draw(top_k=0, top_p=1.0)
    for settings in ({"top_k": None, "top_p": None}, {"top_k": None, "top_p": 1}, {"top_k": 64, "top_p": None}):
        pd.testing.assert_frame_equal(draw(**settings), plain)
    assert not draw(top_k=2, top_p=None).equals(plain)


def test_greedy_is_temperature_zero_or_top_k_one(predictor, past, x, y, forecast):
    pd.testing.assert_frame_equal(predictor.predict(past, x, y, HORIZON, T=0, **QUIET), forecast)
    pd.testing.assert_frame_equal(predictor.predict(past, x, y, HORIZON, sample_count=3, **GREEDY), forecast, rtol=1e-5)


def test_seeds_repeat_and_differ_whatever_the_global_stream_and_leave_it_alone(predictor, past, x, y):
    draw = lambda seed: predictor.predict(past, x, y, HORIZON, sample_count=2, seed=seed, **QUIET)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = draw(42)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(2)
    pd.testing.assert_frame_equal(draw(42), first)
    pd.testing.assert_frame_equal(draw(np.int64(42)), first)
    assert not draw(43).equals(first) and not draw(0).equals(first)


def test_without_a_seed_the_draw_follows_torch_manual_seed(predictor, past, x, y):
    draw = lambda: predictor.predict(past, x, y, HORIZON, **QUIET)
    torch.manual_seed(9)
    first, second = draw(), draw()
    torch.manual_seed(9)
    pd.testing.assert_frame_equal(draw(), first)
    assert not second.equals(first)


def test_predict_is_the_mean_of_the_paths_of_the_same_seed(predictor, past, x, y, monkeypatch):
    paths = lambda: predictor.predict_samples(past, x, y, HORIZON, sample_count=7, seed=3, anchor=None, **QUIET)
    mean = predictor.predict(past, x, y, HORIZON, sample_count=7, seed=3, **QUIET).to_numpy()
    valid = paths()
    assert valid.shape == (1, 7, HORIZON, 6) and valid.dtype == np.float32
    np.testing.assert_array_equal(valid, valid_candles(valid))
    np.testing.assert_allclose(valid.mean(1)[0][:, [0, 3]], mean[:, [0, 3]], rtol=1e-6)  # open and close are kept
    monkeypatch.setattr(kronos.predictor.predictor, "make_valid", lambda bars: bars)
    raw = paths()
    np.testing.assert_allclose(raw.mean(1)[0], mean, rtol=1e-6)
    np.testing.assert_array_equal(valid_candles(raw), valid)
    assert len(np.unique(raw[0, :, -1, 3])) > 1


def test_samples_are_anchored_and_predict_is_when_asked(predictor, past, x, y):
    draw = {"sample_count": 7, "seed": 3, **QUIET}
    raw, moved = (
        predictor.predict(past, x, y, HORIZON, **draw),
        predictor.predict(past, x, y, HORIZON, anchor="level", **draw),
    )
    shift = (moved - raw)[["open", "high", "low", "close"]].to_numpy()
    np.testing.assert_allclose(shift, shift[0, 0], atol=1e-4)
    assert abs(shift[0, 0]) > 0.01
    np.testing.assert_array_equal(raw[["volume", "amount"]], moved[["volume", "amount"]])
    samples = predictor.predict_samples(past, x, y, HORIZON, **draw)
    np.testing.assert_allclose(samples.mean(1)[0][:, 3], moved["close"], rtol=1e-6)  # opens: `align_opens`


def test_a_forecast_holds_the_samples_with_their_times_and_series_may_differ_in_horizon(predictor, past, x, y):
    draw = {"sample_count": 5, "seed": 3, **QUIET}
    forecast = predictor.forecast([past, past.iloc[4:]], [x, x.iloc[4:]], [y, y.iloc[:2]], ids=["a", "b"], **draw)
    assert forecast.horizons == (HORIZON, 2)
    samples = predictor.predict_samples(past, x, y, HORIZON, **draw)
    np.testing.assert_allclose(forecast["a"].paths, samples, rtol=1e-5)
    assert list(forecast["b"].timestamps[0]) == list(y.iloc[:2])
    np.testing.assert_allclose(forecast.last[0], forecast.last[1])
    assert forecast.last[0, 3] == past["close"].iloc[-1]
    assert 0 <= forecast.prob_up()["a"] <= 1


def test_sliding_is_strided_where_paths_are_drawn_and_exact_under_greedy(predictor, bars, monkeypatch):
    """A lookback of 30 and 20 bars more do not fit in a context of 32."""
    seen: list[str] = []
    real = sample_paths

    def noted(*arguments, sliding, **more):
        seen.append(sliding)
        return real(*arguments, sliding=sliding, **more)

    monkeypatch.setattr(kronos.predictor.predictor, "sample_paths", noted)
    arguments = (bars.iloc[:30], bars["timestamps"].iloc[:30], bars["timestamps"].iloc[30:50], 20)
    predictor.predict(*arguments, **QUIET)
    predictor.predict(*arguments, **GREEDY)
    assert seen == ["strided", "exact"]


def test_ragged_batches_equal_one_by_one(predictor, bars):
    spans = [(0, 20), (3, 34), (5, 25), (0, 45), (10, 12), (1, 21)]
    frames = [bars.iloc[start:stop] for start, stop in spans]
    pasts = [frame["timestamps"] for frame in frames]
    futures = [bars["timestamps"].iloc[stop : stop + HORIZON] for _, stop in spans]
    batch = predictor.predict_batch(frames, pasts, futures, HORIZON, **GREEDY)
    samples = predictor.predict_samples(frames, pasts, futures, HORIZON, sample_count=1, anchor=None, **GREEDY)
    assert len(batch) == len(spans) and samples.shape == (len(spans), 1, HORIZON, 6)
    for i, parts in enumerate(zip(frames, pasts, futures, strict=True)):
        alone = predictor.predict(*parts, HORIZON, **GREEDY)
        pd.testing.assert_frame_equal(batch[i], alone, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(samples[i, 0], valid_candles(alone.to_numpy()), rtol=1e-5, atol=1e-4)


def test_the_order_of_a_batch_does_not_matter_under_greedy(predictor, bars, past, x, y, forecast):
    other = bars.iloc[4 : 4 + LOOKBACK]
    future = bars["timestamps"].iloc[4 + LOOKBACK : 4 + LOOKBACK + HORIZON]
    one = predictor.predict_batch((past, other), (x, other["timestamps"]), (y, future), HORIZON, **GREEDY)
    two = predictor.predict_batch((other, past), (other["timestamps"], x), (future, y), HORIZON, **GREEDY)
    pd.testing.assert_frame_equal(one[0], two[1], rtol=1e-5)
    pd.testing.assert_frame_equal(one[1], two[0], rtol=1e-5)
    pd.testing.assert_frame_equal(one[0], forecast, rtol=1e-5)


def test_networks_in_train_mode_end_in_eval_mode_and_dropout_is_off(networks: Networks, past, x, y, forecast):
    dropped = Kronos(
        **{**networks[0].config.to_dict(), "resid_dropout_p": 0.5, "ffn_dropout_p": 0.5, "attn_dropout_p": 0.5}
    )
    dropped.load_state_dict(networks[0].state_dict())
    tokenizer = KronosTokenizer(**{**networks[1].config.to_dict(), "resid_dropout_p": 0.5})
    tokenizer.load_state_dict(networks[1].state_dict())
    predictor = KronosPredictor(dropped.train(), tokenizer.train(), device="cpu", max_context=CONTEXT)
    assert not any(module.training for module in (*dropped.modules(), *tokenizer.modules()))
    pd.testing.assert_frame_equal(predictor.predict(past, x, y, HORIZON, **GREEDY), forecast)


# ------------------------------------------------------------------------------------------- valid candles


def test_valid_candles_are_possible_bars_and_keep_what_was_possible():
    raw = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
    kept = raw.copy()
    candles = valid_candles(raw)
    np.testing.assert_array_equal(raw, kept)
    open_, high, low, close = candles[:, :4].T
    assert (high >= np.maximum(open_, close)).all() and (low <= np.minimum(open_, close)).all()
    assert (candles[:, 4:] >= 0).all()
    np.testing.assert_array_equal(candles[:, [0, 3]], raw[:, [0, 3]])
    possible = (raw[:, 1] == raw[:, :4].max(1)) & (raw[:, 2] == raw[:, :4].min(1)) & (raw[:, 4:] >= 0).all(1)
    assert possible.any()
    np.testing.assert_array_equal(candles[possible], raw[possible])
    np.testing.assert_array_equal(valid_candles(candles), candles)
    assert candles.dtype == raw.dtype


def test_predict_keeps_raw_values_unless_asked(predictor, past, x, y):
    raw = predictor.predict(past, x, y, HORIZON, seed=1, **QUIET)
    valid = predictor.predict(past, x, y, HORIZON, seed=1, valid_candles=True, **QUIET)
    np.testing.assert_array_equal(valid.to_numpy(), valid_candles(raw.to_numpy()))
    assert not raw.equals(valid)  # random weights make impossible candles


# -------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None, pd.NA])
@pytest.mark.parametrize("column", ["close", "volume"])
def test_a_missing_or_infinite_value_is_named_by_column_and_row(predictor, past, x, y, column, value):
    past = past.set_axis(x, axis=0).astype({column: object})
    past.iloc[7, past.columns.get_loc(column)] = value
    with pytest.raises(ValueError, match=rf"1 values are .* column '{column}', row 7 \(index Timestamp\('2024-02-28"):
        predictor.predict(past, x, y, HORIZON, **GREEDY)


TABLES = {
    "a missing column": (lambda f: f.drop(columns=["high", "close"]), "lacks high, close; its columns are open, low"),
    "capital letters": (lambda f: f.rename(columns=str.title), "lacks open, high, low, close; .* Open, High"),
    "text": (lambda f: f.assign(low="1,200"), "column 'low' must hold numbers, found .* '1,200.*pd.to_numeric"),
    "some text": (
        lambda f: f.assign(low=[*f["low"][:-1].astype(object), "n/a"]),
        "column 'low' must hold numbers, found .* 'n/a'",
    ),
    "truth values": (lambda f: f.assign(open=True), "column 'open' must hold numbers, found boolean"),
    "dates": (lambda f: f.assign(volume=pd.Timestamp("2024")), "column 'volume' must hold numbers, found datetime"),
    "a column twice": (lambda f: pd.concat([f, f[["close"]]], axis=1), "2 columns named 'close'"),
    "values beyond float32": (lambda f: f.assign(amount=1e39), r"amount in row 0 \(index 0\) is beyond 1e\+30"),
    "products beyond float32": (
        lambda f: f.drop(columns="amount").assign(volume=1e29),
        r"amount in row 0 .* larger unit",
    ),
    "one row": (lambda f: f.iloc[:1], "at least 2 bars is needed to forecast from, found 1"),
    "no rows": (lambda f: f.iloc[:0], "at least 2 bars is needed to forecast from, found 0"),
    "an array": (lambda f: f.to_numpy(), "df must be a pandas DataFrame, found ndarray"),
    "one column": (lambda f: f["close"], "df must be a pandas DataFrame, found Series"),
}


@pytest.mark.parametrize(("form", "named"), TABLES.values(), ids=TABLES.keys())
@pytest.mark.filterwarnings("error")
def test_a_table_that_cannot_be_used_says_why(form, named, predictor, past, x, y):
    with pytest.raises(ValueError, match=named):
        predictor.predict(form(past), x, y, HORIZON, **GREEDY)


FUTURES = {
    "nothing": (lambda t: [], r"y_timestamp has 0 timestamps, pred_len is 6.*kronos\.future_timestamps"),
    "an empty Series": (lambda t: t.iloc[:0], "y_timestamp has 0 timestamps"),
    "an empty index": (lambda t: pd.DatetimeIndex([]), "y_timestamp has 0 timestamps"),
    "too few": (lambda t: t.iloc[:-1], "y_timestamp has 5 timestamps, pred_len is 6"),
    "None": (lambda t: None, "y_timestamp must be a sequence of timestamps, found NoneType"),
    "one string": (lambda t: "2024-01-01", "y_timestamp must be a sequence of timestamps, found str"),
    "a table": (lambda t: t.to_frame(), "y_timestamp must be a sequence of timestamps, found DataFrame"),
    "numbers": (lambda t: list(range(6)), "y_timestamp must be timestamps, found numbers"),
    "epochs as objects": (lambda t: t.astype("int64").astype(object), "y_timestamp must be timestamps, found numbers"),
    "truth values": (lambda t: [True] * 6, "y_timestamp must be timestamps, found numbers"),
    "a gap": (lambda t: [*t[:2], pd.NaT, *t[3:]], "y_timestamp has no timestamp at position 2"),
    "words": (lambda t: ["2024-01-01"] * 5 + ["soon"], "y_timestamp cannot be read as timestamps: .*soon"),
}


@pytest.mark.parametrize(("form", "named"), FUTURES.values(), ids=FUTURES.keys())
def test_timestamps_that_cannot_be_used_say_why_in_one_line(form, named, predictor, past, x, y):
    with pytest.raises(ValueError, match=named) as error:
        predictor.predict(past, x, form(y), HORIZON, **GREEDY)
    assert "\n" not in str(error.value)


def test_a_past_of_another_length_than_the_table_is_refused(predictor, past, x, y):
    with pytest.raises(ValueError, match="x_timestamp has 19 timestamps for 20 bars"):
        predictor.predict(past, x.iloc[1:], y, HORIZON, **GREEDY)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        *(({"pred_len": n}, "pred_len must be a whole number") for n in (0, -1, 6.0, True, "6", None)),
        *(({"sample_count": n}, "sample_count must be a whole number") for n in (0, -3, 2.0, False, None)),
        *(({"T": t}, "temperature must be") for t in (-0.5, float("nan"), float("inf"), "1")),
        *(({"top_p": p}, "top_p must lie") for p in (float("nan"), "all")),
        *(({"top_k": k}, "top_k must be") for k in (2.5, "3", True)),
        *(({"seed": s}, "seed must be") for s in (1.5, "a", True, 2**64, -(2**63) - 1)),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(arguments, named, predictor, past, x, y):
    value = next(iter(arguments.values()))
    for call in (predictor.predict, predictor.predict_samples):
        with pytest.raises(ValueError, match=named) as error:
            call(past, x, y, **{"pred_len": HORIZON, "verbose": False, **arguments})
        assert repr(value) in str(error.value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        *(({"max_context": c}, "max_context must be a whole number") for c in (0, -1, 32.0, "32", None, True)),
        *(({"clip": c}, "clip must be a positive number") for c in (0, -5, float("nan"), "5", None)),
        ({"device": "abacus"}, "device 'abacus' cannot be used here"),
    ],
)
def test_a_predictor_that_cannot_be_is_refused_at_construction(settings, named, networks: Networks):
    with pytest.raises(ValueError, match=named):
        KronosPredictor(*networks, **{"device": "cpu", **settings})


def test_a_faulty_series_of_a_batch_is_named_by_its_number(predictor, past, x, y):
    broken = past.copy()
    broken.iloc[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"^series 1: .* column 'open', row 3"):
        predictor.predict_batch([past, broken], [x, x], [y, y], HORIZON, **GREEDY)


def test_a_batch_of_unequal_lists_or_nothing_is_refused(predictor, past, x, y):
    with pytest.raises(ValueError, match="found 2 tables, 1 x_timestamps and 2 y_timestamps"):
        predictor.predict_batch([past, past], [x], [y, y], HORIZON, **GREEDY)
    with pytest.raises(ValueError, match="found 0 tables"):
        predictor.predict_batch([], [], [], HORIZON, **GREEDY)
    with pytest.raises(ValueError, match=r"one DataFrame; use predict\(\)"):
        predictor.predict_batch(past, [x], [y], HORIZON, **GREEDY)


# ------------------------------------------------------------------------------------------ kept interface


def test_the_kept_names_are_importable_from_model():
    import model
    import model.kronos as module

    for name in ("Kronos", "KronosTokenizer", "KronosPredictor"):
        assert getattr(model, name) is getattr(module, name) is getattr(kronos, name)
    assert module.auto_regressive_inference is auto_regressive_inference
    assert callable(module.sample_from_logits) and callable(module.calc_time_stamps)


def test_calc_time_stamps_gives_a_column_for_each_time_feature_on_the_index_of_the_series():
    from model.kronos import calc_time_stamps

    stamps = pd.Series(pd.to_datetime(["2024-02-29 23:59", "2023-01-01 00:00"]), index=[8, 3])
    for form in (stamps, stamps.dt.tz_localize("Asia/Tokyo")):
        table = calc_time_stamps(form)
        assert list(table.columns) == ["minute", "hour", "weekday", "day", "month"]
        assert table.to_numpy().tolist() == [[59, 23, 3, 29, 2], [0, 0, 6, 1, 1]]
        assert list(table.index) == [8, 3]
    assert calc_time_stamps(pd.DatetimeIndex(stamps)).equals(calc_time_stamps(stamps).reset_index(drop=True))


def test_time_features_are_of_the_bars_own_local_time():
    utc = pd.DatetimeIndex(["2024-06-30 16:30"], tz="UTC")
    assert time_features(utc).tolist() == [[30, 16, 6, 30, 6]]
    assert time_features(utc.tz_convert("Asia/Shanghai")).tolist() == [[30, 0, 0, 1, 7]]
    assert time_features([datetime.date(2024, 12, 31)]).tolist() == [[0, 0, 1, 31, 12]]
    assert time_features(utc).dtype == np.int64


@pytest.fixture
def arrays(bars):
    """Normalised windows [2, L, 6] and the time features of past and future."""
    frames = [bars.iloc[start : start + LOOKBACK] for start in (0, 9)]
    futures = [bars["timestamps"].iloc[start + LOOKBACK : start + LOOKBACK + HORIZON] for start in (0, 9)]
    matrices = [to_matrix(frame) for frame in frames]
    return (
        np.stack([Normalizer.of(m).normalise(m, 5) for m in matrices]),
        np.stack([time_features(frame["timestamps"]) for frame in frames]),
        np.stack([time_features(future) for future in futures]),
    )


@pytest.mark.parametrize(("context", "rows"), [(CONTEXT, LOOKBACK + HORIZON), (10, 10)])
def test_auto_regressive_inference_returns_the_mean_window_in_normalised_units(
    networks: Networks, arrays: Arrays, past, x, y, context, rows
):
    model, tokenizer = networks
    got = auto_regressive_inference(tokenizer, model, *arrays, context, HORIZON, top_k=1, sample_count=2)
    assert isinstance(got, np.ndarray) and got.shape == (2, rows, 6)
    predictor = KronosPredictor(model, tokenizer, device="cpu", max_context=context)
    want = predictor.predict(past, x, y, HORIZON, **GREEDY).to_numpy()
    np.testing.assert_allclose(Normalizer.of(to_matrix(past)).restore(got[0, -HORIZON:]), want, rtol=1e-5)


def test_auto_regressive_inference_evaluates_and_gives_the_modes_back(networks: Networks, arrays: Arrays):
    model = Kronos(**{**networks[0].config.to_dict(), "resid_dropout_p": 0.9}).train()
    model.load_state_dict(networks[0].state_dict())
    tokenizer = networks[1]
    run = lambda m: auto_regressive_inference(tokenizer, m, *arrays, CONTEXT, HORIZON, top_k=1, sample_count=1)
    np.testing.assert_array_equal(run(model), run(networks[0]))
    assert model.training and not tokenizer.training
    with pytest.raises(ValueError, match="temperature"):
        auto_regressive_inference(tokenizer, model, *arrays, CONTEXT, HORIZON, T=-1)
    assert model.training and not tokenizer.training


def test_paths_are_those_that_are_averaged(networks: Networks, arrays: Arrays):
    model, tokenizer = networks
    torch.manual_seed(4)
    mean = auto_regressive_inference(tokenizer, model, *arrays, CONTEXT, HORIZON, sample_count=3, top_p=None)
    torch.manual_seed(4)
    paths = generate_paths(tokenizer, model, *arrays, CONTEXT, HORIZON, sample_count=3)
    assert paths.shape == (2, 3, LOOKBACK + HORIZON, 6)
    np.testing.assert_allclose(paths.mean(1).numpy(), mean, rtol=1e-6)


def test_bars_beyond_the_clip_are_clipped_for_tensors_as_for_arrays(networks: Networks, arrays: Arrays):
    model, tokenizer = networks
    bars, *stamps = arrays
    x_stamp, y_stamp = map(torch.as_tensor, stamps)
    wild = bars.copy()
    wild[0, 0, 4] = 1e6
    clipped = np.clip(wild, -5, 5)
    run = lambda x: generate_paths(tokenizer, model, x, x_stamp, y_stamp, CONTEXT, HORIZON)
    torch.manual_seed(0)
    first = run(torch.as_tensor(wild))
    torch.manual_seed(0)
    assert run(clipped).equal(first)


@pytest.mark.parametrize("memory", [1, 300_000, 2_000_000])
def test_however_the_work_is_cut_for_memory_the_paths_are_the_same(predictor, past, x, y, memory, monkeypatch):
    frames = [past, past.iloc[3:], past.iloc[7:]]
    arguments = (frames, [x, x.iloc[3:], x.iloc[7:]], [y] * 3, HORIZON)
    whole = predictor.predict_samples(*arguments, sample_count=5, seed=1, verbose=False)
    monkeypatch.setattr("kronos.generation.paths.memory_budget", lambda device: memory)
    cut = predictor.predict_samples(*arguments, sample_count=5, seed=1, verbose=False)
    np.testing.assert_allclose(cut, whole, rtol=1e-5, atol=1e-3)


# ------------------------------------------------------------------------------------------ save_pretrained


def test_a_saved_pair_forecasts_byte_for_byte_the_same(networks: Networks, past, x, y, tmp_path):
    calibration = Calibration(shrink=0.5, spread=0.1)
    sampling = Sampling(0.8, top_k=50, top_p=0.7)
    ours = KronosPredictor(
        *networks,
        "cpu",
        CONTEXT,
        clip=3,
        sampling=sampling,
        trained_bars=(4, 32),
        calibration=calibration,
    )
    again = kronos.load(ours.save_pretrained(tmp_path / "pair"), device="cpu")
    assert (again.sampling, again.trained_bars, again.calibration) == (sampling, (4, 32), calibration)
    drawn = [one.forecast(past, x, y, sample_count=8, seed=1, verbose=False).paths for one in (ours, again)]
    assert drawn[0].tobytes() == drawn[1].tobytes()


def test_a_pair_saved_over_another_leaves_nothing_of_it(networks: Networks, tmp_path):
    KronosPredictor(*networks, "cpu", CONTEXT, calibration=Calibration(shrink=0.5)).save_pretrained(tmp_path / "pair")
    KronosPredictor(*networks, "cpu", CONTEXT).save_pretrained(tmp_path / "pair", overwrite=True)
    assert kronos.load(tmp_path / "pair", device="cpu").calibration is None


def test_a_pair_is_not_saved_over_what_is_there(predictor, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match="is not empty: name another one, or give overwrite=True"):
        predictor.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"mine.txt is a file"):
        predictor.save_pretrained(tmp_path / "mine.txt", overwrite=True)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_networks_with_hooks_are_not_saved_as_if_they_had_none(golden, tmp_path):
    folder = golden / "tiny"
    model = Kronos.from_pretrained(folder / "model")
    model.register_forward_hook(lambda *_: None)
    hooked = KronosPredictor(model, KronosTokenizer.from_pretrained(folder / "tokenizer"), "cpu", CONTEXT)
    with pytest.raises(ValueError, match=r"the model is more than its weights \(a forward hook\)"):
        hooked.save_pretrained(tmp_path / "pair")
    assert not (tmp_path / "pair").exists()
