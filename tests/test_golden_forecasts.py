"""The predictor forecasts what the reference forecasts, to 1e-4 relative, under greedy decoding."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import kronos
from kronos import Kronos, KronosPredictor, KronosTokenizer

ROOT_CASES = [
    (folder, name)
    for folder in ("tiny", "tiny-fixed-te")
    for name in (
        "inside_context",
        "fills_context",
        "slides_past_context",
        "lookback_longer_than_context",
        "price_only",
        "no_amount",
    )
]


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("folder", "name"), ROOT_CASES)
def test_greedy_forecast_matches_the_golden_forecast(folder, name, device, golden):
    case = next(c for c in json.loads((golden / folder / "forecasts.json").read_text()) if c["name"] == name)
    bars = pd.read_csv(golden / folder / "bars.csv", parse_dates=["timestamps"])
    want = pd.read_csv(golden / folder / f"forecast_{name}.csv", parse_dates=["timestamps"])
    predictor = KronosPredictor(
        Kronos.from_pretrained(golden / folder / "model"),
        KronosTokenizer.from_pretrained(golden / folder / "tokenizer"),
        device=device,
        max_context=case["max_context"],
        clip=case["clip"],
    )
    past = bars.iloc[case["start"] : case["start"] + case["lookback"]]
    got = predictor.predict(
        past[case["columns"]],
        past["timestamps"],
        want["timestamps"],
        case["pred_len"],
        T=1.0,
        top_k=1,
        top_p=1.0,
        verbose=False,
    )
    assert list(got.columns) == ["open", "high", "low", "close", "volume", "amount"]
    assert (got.index == want["timestamps"]).all()
    # Without volume both columns are rounding noise around zero, so they are held to an absolute bound.
    np.testing.assert_allclose(got.to_numpy(), want[got.columns].to_numpy(), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def predictor():
    """The published Kronos-small, where the Hub can be reached."""
    try:
        return kronos.load("small", device="cpu")
    except kronos.CheckpointError as error:
        pytest.skip(f"the published weights cannot be had here: {error}")


@pytest.mark.hub
@pytest.mark.parametrize("lookback", [256, 512])
def test_published_small_matches_its_published_forecast(lookback, predictor, golden, shared_data):
    bars = pd.read_csv(shared_data / "csv" / "XSHG_5min_600977.csv", parse_dates=["timestamps"])
    want = pd.read_csv(golden / "published" / f"forecast_{lookback}.csv", parse_dates=["timestamps"])
    past = bars.iloc[:lookback]
    got = predictor.predict(
        past.drop(columns="timestamps"),
        past["timestamps"],
        want["timestamps"],
        8,
        T=1.0,
        top_k=1,
        top_p=1.0,
        verbose=False,
        seed=123,
    )
    np.testing.assert_allclose(got.to_numpy(), want[got.columns].to_numpy(), rtol=1e-5)


@pytest.mark.hub
@pytest.mark.parametrize(("lookback", "mse"), [(512, 0.008979), (256, 0.003741)])
def test_published_small_has_its_published_error(lookback, mse, predictor, shared_data):
    bars = pd.read_csv(shared_data / "csv" / "XSHG_5min_600977.csv", parse_dates=["timestamps"])
    origins = bars.iloc[lookback : len(bars) - 30].sample(n=4, random_state=123).index
    prices = ["open", "high", "low", "close"]
    errors = []
    for origin in origins:
        past, future = bars.iloc[origin - lookback : origin], bars.iloc[origin : origin + 30]
        got = predictor.predict(
            past.drop(columns="timestamps"),
            past["timestamps"],
            future["timestamps"],
            30,
            T=1.0,
            top_k=1,
            top_p=1.0,
            verbose=False,
        )
        errors.append(np.square(got[prices].to_numpy() - future[prices].to_numpy()).mean())
    assert np.mean(errors) == pytest.approx(mse, abs=1e-6)
