"""Run an exported pair with NumPy and onnxruntime alone. This file needs nothing else of Kronos and can be copied.

Legend: B series, P paths, L lookback, H horizon, 6 features (open, high, low, close, volume, amount), 5 time features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS = "kronos.json"
CACHES = ("keys", "values", "dep_keys", "dep_values")


class OnnxKronos:
    """Forecaster from the five graphs of a folder that `kronos export-onnx` wrote.

    Lookback and horizon together must stay within the model's context: the window does not slide here.
    """

    def __init__(
        self, folder: str | Path, threads: int = 0, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        import onnxruntime

        path = Path(folder)
        if not (path / SETTINGS).is_file():
            raise ValueError(f"{folder} holds no exported Kronos: {SETTINGS} is missing")
        self.settings: dict[str, Any] = json.loads((path / SETTINGS).read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._graphs = {
            name: onnxruntime.InferenceSession(str(path / f"{name}.onnx"), options, providers=list(providers))
            for name in ("encoder", "decoder", "prefill", "step", "fine")
        }

    def _run(self, name: str, *inputs: np.ndarray) -> list[np.ndarray]:
        graph = self._graphs[name]
        names = [one.name for one in graph.get_inputs()]
        return list(graph.run(None, dict(zip(names, inputs, strict=True))))

    def encode(self, bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode normalised bars float32 [B, L, 6] as tokens s1, s2 int64 [B, L]."""
        s1, s2 = self._run("encoder", bars.astype(np.float32))
        return s1, s2

    def decode(self, s1: np.ndarray, s2: np.ndarray) -> np.ndarray:
        """Decode tokens [B, L] to normalised bars float32 [B, L, 6]."""
        return self._run("decoder", s1, s2)[0]

    def generate(
        self,
        s1: np.ndarray,
        s2: np.ndarray,
        stamp: np.ndarray,
        steps: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw the tokens of ``steps`` bars after tokens [B, L]: returns those of both, [B, L + steps]. Temperature 0 is greedy.

        stamp: time features of lookback and horizon, int64 [B, L + steps, 5].

        Raises:
            ValueError: lookback and horizon exceed the context, or the stamps are not as many.
        """
        length, most = s1.shape[1], self.settings["max_context"]
        if length + steps > most:
            raise ValueError(f"{length} bars of lookback and {steps} to come exceed the context of {most}; shorten one")
        if stamp.shape[1] != length + steps:
            raise ValueError(f"{length + steps} time stamps are needed, found {stamp.shape[1]}")
        rng = np.random.default_rng(0) if rng is None else rng
        stamp = stamp.astype(np.int64)
        coarse, context, *caches = self._run("prefill", s1, s2, np.ascontiguousarray(stamp[:, :length]))
        for step in range(steps):
            new1 = _sample_top_p(coarse, temperature, top_p, rng)
            new2 = _sample_top_p(self._run("fine", new1, context, *caches[2:])[0], temperature, top_p, rng)
            s1, s2 = np.concatenate([s1, new1[:, None]], 1), np.concatenate([s2, new2[:, None]], 1)
            if step + 1 < steps:
                at = np.ascontiguousarray(stamp[:, length + step])
                coarse, context, *caches = self._run("step", new1, new2, at, *caches)
        return s1, s2

    def forecast(
        self,
        bars: np.ndarray,
        times: np.ndarray,
        future: np.ndarray,
        paths: int = 30,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Sample paths of one series: bars [L, 6] in prices, times datetime64 [L], future [H] -> [P, H, 6] in prices.

        temperature, top_p: None takes the model's own.
        """
        own = {"temperature": 1.0, "top_p": 0.9, **self.settings}  # older exports do not say
        bars = np.asfortranarray(bars, np.float32)
        unit = units(bars)
        scaled = np.asfortranarray(bars * unit)
        mean, std = scaled.mean(0), scaled.std(0) + np.float32(1e-5)
        clip = self.settings["clip"]
        s1, s2 = self.encode(np.clip((scaled - mean) / std, -clip, clip)[None])
        stamp = time_features(np.concatenate([times.astype("M8[s]"), future.astype("M8[s]")]))
        tokens = self.generate(
            np.repeat(s1, paths, 0),
            np.repeat(s2, paths, 0),
            np.repeat(stamp[None], paths, 0),
            len(future),
            own["temperature"] if temperature is None else temperature,
            (own["top_p"] or 1.0) if top_p is None else top_p,
            np.random.default_rng(seed),
        )
        drawn = (self.decode(*tokens)[:, len(bars) :] * std + mean) / unit
        half = bars[-1, 3].astype(np.float64) / 2
        if (bars[:, :4] > 0).all():  # then no price that is drawn may be at or below zero: docs/forecasts.md
            low = drawn[..., :4]
            mapped = half * (half / np.maximum(2 * half - low.astype(np.float64), half))
            drawn[..., :4] = np.where(low < half, np.maximum(mapped, np.finfo(np.float32).tiny), low)
        return drawn


def units(bars: np.ndarray) -> np.ndarray:
    """Return the powers of ten float32 [6] by which the columns of bars [L, 6] are multiplied before they are normalised.

    1 for all but columns that vary by less than 20 times the 1e-5 that is added to their deviation, and those beyond 1e16. The four
    prices share one.
    """
    result = np.ones(6, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        deviations = bars.std(0)
    for group in (slice(0, 4), slice(4, 5), slice(5, 6)):
        largest, std = np.abs(bars[:, group]).max(), deviations[group].max()
        if largest > 1e16:
            result[group] = 10.0 ** (5 - np.floor(np.log10(largest)))
        elif std < 2e-4 and std > 1e-6 * largest:
            result[group] = 10.0 ** -np.floor(np.log10(std))
        elif std < 2e-4 and 0 < largest < 1:
            result[group] = 10.0 ** -np.floor(np.log10(largest))
    return result


def _sample_top_p(logits: np.ndarray, temperature: float, top_p: float, rng: np.random.Generator) -> np.ndarray:
    """Draw one code for each row of logits [B, V] from the likeliest codes that hold ``top_p`` of the probability."""
    if temperature == 0:
        return logits.argmax(-1)
    scaled = (logits - logits.max(-1, keepdims=True)) / temperature
    p = np.exp(scaled.astype(np.float64))
    p /= p.sum(-1, keepdims=True)
    if top_p < 1:
        order = np.argsort(-p, axis=-1)
        ranked = np.take_along_axis(p, order, -1)
        dropped = ranked.cumsum(-1) - ranked > top_p
        np.put_along_axis(p, order, np.where(dropped, 0.0, ranked), -1)
    cumulative = p.cumsum(-1)
    draws = rng.random((len(p), 1)) * cumulative[:, -1:]
    return np.minimum((cumulative <= draws).sum(-1), p.shape[-1] - 1)


def time_features(times: np.ndarray) -> np.ndarray:
    """Return the time features int64 [T, 5] of local times datetime64 [T]: minute, hour, weekday (Monday 0), day, month."""
    seconds = times.astype("M8[s]").astype(np.int64)
    days = times.astype("M8[D]")
    months = days.astype("M8[M]")
    return np.stack(
        [
            seconds // 60 % 60,
            seconds // 3600 % 24,
            (days.astype(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday
            (days - months.astype("M8[D]")).astype(np.int64) + 1,
            months.astype(np.int64) % 12 + 1,
        ],
        axis=1,
    )
