"""Other foundation models, through their own libraries: Chronos (Bolt, 2) and TimesFM 2.5. They see closes alone.

Closes are divided by the last one, since both work in single precision.

Legend: S windows, L lookback, H steps, Q levels.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from kronos.evaluation.prediction import Prediction
from kronos.evaluation.rolling_origins import Past
from kronos.evaluation.tasks import LEVELS
from kronos.io.extras import need

TENTHS = tuple(round(0.1 * i, 1) for i in range(1, 10))
FOUNDATION_MODELS = {"chronos": "chronos", "timesfm": "timesfm"}
"""Module by name, which is also the name of the extra."""


def _units(windows: Sequence[Past]) -> np.ndarray:
    return np.array([abs(w.last) or 1.0 for w in windows])


class ChronosForecaster:
    """Forecaster of a Chronos pipeline: Bolt and 2 give quantiles directly, the first Chronos from its samples."""

    def __init__(self, name: str, checkpoint: str, device: str | None = None) -> None:
        from chronos import BaseChronosPipeline

        self.name = name
        self.pipeline = BaseChronosPipeline.from_pretrained(checkpoint, device_map=device or "cpu", dtype="float32")
        trained = {round(float(q), 4) for q in getattr(self.pipeline, "quantiles", TENTHS)}
        self.levels = tuple(q for q in LEVELS if q in trained) or TENTHS
        self.fingerprint = f"{checkpoint} chronos-forecasting {importlib.metadata.version('chronos-forecasting')}"

    def forecast(self, windows: Sequence[Past], horizon: int, paths: int, seed: int) -> Prediction:
        import torch

        unit = _units(windows)
        inputs = [torch.tensor(w.close / u, dtype=torch.float32) for w, u in zip(windows, unit, strict=True)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            quantiles, mean = self.pipeline.predict_quantiles(
                inputs, prediction_length=horizon, quantile_levels=list(self.levels)
            )
        # Chronos-2 gives a list with a leading axis of variates, the others one tensor
        q = np.stack([np.asarray(v).reshape(horizon, len(self.levels)) for v in quantiles]).astype(np.float64)
        m = np.stack([np.asarray(v).reshape(horizon) for v in mean]).astype(np.float64)
        return Prediction.of_quantiles(q * unit[:, None, None], self.levels, m * unit[:, None])


class TimesFMForecaster:
    """Forecaster of TimesFM 2.5 in PyTorch, which gives a point and the nine deciles."""

    def __init__(self, name: str, checkpoint: str, device: str | None = None) -> None:
        import timesfm

        self.name = name
        self.model: Any = timesfm.TimesFM_2p5_200M_torch.from_pretrained(checkpoint, torch_compile=False)
        self.shape = (0, 0)
        self.fingerprint = f"{checkpoint} timesfm {importlib.metadata.version('timesfm')}"

    def forecast(self, windows: Sequence[Past], horizon: int, paths: int, seed: int) -> Prediction:
        import timesfm

        shape = (max(len(w.close) for w in windows), horizon)
        if shape != self.shape:
            self.model.compile(
                timesfm.ForecastConfig(
                    max_context=shape[0],
                    max_horizon=horizon,
                    normalize_inputs=True,
                    per_core_batch_size=32,
                    use_continuous_quantile_head=True,
                    infer_is_positive=True,
                    fix_quantile_crossing=True,
                )
            )
            self.shape = shape
        unit = _units(windows)
        point, quantiles = self.model.forecast(
            horizon=horizon, inputs=[(w.close / u).astype(np.float32) for w, u in zip(windows, unit, strict=True)]
        )
        deciles = np.asarray(quantiles, dtype=np.float64)[: len(windows), :, 1:]  # the first is the mean
        return Prediction.of_quantiles(
            deciles * unit[:, None, None], TENTHS, np.asarray(point, dtype=np.float64)[: len(windows)] * unit[:, None]
        )


def make_foundation_model(
    kind: str, checkpoint: str, device: str | None = None
) -> ChronosForecaster | TimesFMForecaster:
    """Load another foundation model: ``kind`` "chronos" or "timesfm", ``checkpoint`` a Hub id or a folder.

    Raises:
        ValueError: the library is not installed, or the checkpoint cannot be loaded.
    """
    module = FOUNDATION_MODELS[kind]
    if not checkpoint:
        raise ValueError(f"{kind}: name a checkpoint, a Hub id or a folder, such as {kind}:folder")
    need(module, kind, f"{kind}:{checkpoint}")
    made = ChronosForecaster if kind == "chronos" else TimesFMForecaster
    try:
        return made(f"{kind}:{checkpoint}", checkpoint, device)
    except Exception as error:  # the libraries' errors share no base class
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{kind}:{checkpoint} cannot be loaded ({type(error).__name__}: {reason}); give a folder that holds its "
            "config.json and model.safetensors, or set HF_ENDPOINT to a mirror of the Hub"
        ) from error
