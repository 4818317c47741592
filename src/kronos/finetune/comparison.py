"""Did it help? The pair as it was against the fine-tuned one, on bars that neither was tuned on, beside the last price.

Legend: W windows, P paths, L lookback, K horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from kronos.finetune.config import FinetuneConfig
from kronos.generation.sampling import Sampling
from kronos.loading import pair_settings
from kronos.metrics.probabilistic import crps_paths
from kronos.nn import Kronos, KronosTokenizer
from kronos.training.bar_store import Store
from kronos.training.losses import ModelObjective, tokens_of
from kronos.training.rollouts import Sample, forecast_closes, sample_of
from kronos.training.windows import Windows

FEWEST_SYMBOLS = 5
"""On a day, for a rank correlation across symbols to mean something."""
MOST = 600
"""Windows of a part that are forecast."""
MOST_TOKENS = 2000
"""Windows of a part that the token loss is taken of."""
SYMBOLS_A_DAY = 12
"""Of a sample: the symbols of one day move together, so that many days say more than many symbols."""
ROLLOUT_PATHS = 16
"""Paths of each forecast; more where inference_sample_count is larger."""
KEEP_FROM = 1.0
"""Standard errors that the fine-tuned pair must be better by to be kept: otherwise the gain may be chance, and the loss on later
bars as large."""


class Pair(NamedTuple):
    """A tokenizer and a model, with the name they stand under in the table."""

    name: str
    tokenizer: KronosTokenizer
    model: Kronos


class Comparison(NamedTuple):
    """``table``: see `compare`. ``crps``: that of every window, by part and pair; ``days``: the windows' days, by part."""

    table: pd.DataFrame
    crps: dict[tuple[str, str], np.ndarray]
    days: dict[str, np.ndarray]


def draw_sample(store: Store, lookback: int, horizon: int, clip: float, most: int) -> Sample:
    """At most about ``most`` windows: `SYMBOLS_A_DAY` symbols, drawn anew for each day but always alike, at days spread over the
    part.

    Raises:
        ValueError: no series is long enough for one.
    """
    windows = Windows(store, lookback, horizon, clip)
    if not len(windows):
        raise ValueError(
            f"no series of the part has {windows.length} bars, a lookback of {lookback} and a horizon of {horizon}"
        )
    day = store.times[windows.first + lookback - 1]
    days, counts = np.unique(day, return_counts=True)
    a_day = min(SYMBOLS_A_DAY, counts.mean())
    chosen = days[np.linspace(0, len(days) - 1, max(1, min(len(days), int(most / a_day)))).round().astype(int)]
    rng = np.random.default_rng(0)
    of_day = (np.flatnonzero(day == one) for one in chosen)
    numbers = np.sort(np.concatenate([rng.permutation(found)[:SYMBOLS_A_DAY] for found in of_day]))
    if len(numbers) > most:
        numbers = numbers[np.linspace(0, len(numbers) - 1, most).round().astype(int)]
    return sample_of(windows, numbers)


def sampling_of(config: FinetuneConfig) -> Sampling:
    """What the settings say, else what the pretrained pair is best drawn with."""
    own = pair_settings(config.pretrained_predictor_path).sampling
    return own.with_(config.inference_T, config.inference_top_k, config.inference_top_p)


def compare(
    pairs: list[Pair],
    parts: dict[str, Store],
    config: FinetuneConfig,
    device: torch.device,
    most: int = MOST,
    echo: Callable[[str], None] = print,
) -> Comparison:
    """Figures of each part and pair, and of the last price.

    Columns: ``token_loss`` (nats a token; comparable only between pairs of one tokenizer), ``mae`` of the mean path and ``crps``
    of the paths (closes, in deviations of the lookback, averaged over the horizon), both also relative to the last price
    (``mae_ratio``, ``crps_ratio``: below 1 is better), ``rank_ic`` of the return over the horizon (across symbols by day, or over
    all windows where days have too few symbols), ``windows``.
    """
    rows = []
    each: dict[tuple[str, str], np.ndarray] = {}
    days: dict[str, np.ndarray] = {}
    for part, store in parts.items():
        sample = draw_sample(store, config.lookback_window, config.predict_window, config.clip, most)
        days[part] = sample.day
        naive = np.abs(sample.truth - sample.last[:, None]).mean()
        rows.append({"part": part, "name": "last price", "mae": naive, "crps": naive, "windows": len(sample.windows)})
        for pair in pairs:
            echo(f"forecasting {len(sample.windows):,} windows of {part} with {pair.name}")
            close_WPK = closes_of(pair, sample, config)
            each[part, pair.name] = crps_paths(close_WPK, sample.truth).mean(1)
            rows.append(
                {"part": part, "name": pair.name, "token_loss": token_loss(pair, store, config, device)}
                | scores(close_WPK, sample)
                | {"windows": len(sample.windows)}
            )
    table = pd.DataFrame(rows)
    reference = table[table["name"] == "last price"].set_index("part")
    for name in ("mae", "crps"):
        table[f"{name}_ratio"] = table[name] / table["part"].map(reference[name])
    return Comparison(table, each, days)


def closes_of(pair: Pair, sample: Sample, config: FinetuneConfig) -> np.ndarray:
    """Forecast paths of close [W, P, K] of a pair, drawn as the settings say."""
    paths, sampling = max(ROLLOUT_PATHS, config.inference_sample_count), sampling_of(config)
    return forecast_closes(pair.tokenizer, pair.model, sample, paths, config.max_context, sampling, config.seed)


def scores(close_WPK: np.ndarray, sample: Sample) -> dict[str, float]:
    """MAE of the mean path, CRPS of the paths, and RankIC."""
    mean_WK = close_WPK.mean(1)
    expected = (mean_WK[:, -1] - sample.last) * sample.to_return
    came = (sample.truth[:, -1] - sample.last) * sample.to_return
    return {
        "mae": float(np.abs(mean_WK - sample.truth).mean()),
        "crps": float(crps_paths(close_WPK, sample.truth).mean()),
        "rank_ic": rank_ic(expected, came, sample.day),
    }


def rank_ic(expected: np.ndarray, came: np.ndarray, day: np.ndarray) -> float:
    """Spearman's correlation across the symbols of a day, averaged over days; over everything where days are too small."""
    table = pd.DataFrame({"expected": expected, "came": came, "day": day})
    groups = [rows for _, rows in table.groupby("day") if len(rows) >= FEWEST_SYMBOLS] or [table]
    return float(np.nanmean([rows["expected"].rank().corr(rows["came"].rank()) for rows in groups]))


@torch.no_grad()
def token_loss(
    pair: Pair, store: Store, config: FinetuneConfig, device: torch.device, most: int = MOST_TOKENS
) -> float:
    """Mean cross entropy of both tokens of the horizon and lookback, in nats, teacher-forced."""
    windows = Windows(store, config.lookback_window, config.predict_window, config.clip)
    objective = ModelObjective(pair.model, "true").eval()
    losses, counts = [], []
    for numbers in np.array_split(windows.spread(most), max(1, most // 100)):
        if not len(numbers):
            continue
        bars, stamp = (t.to(device) for t in windows.take(numbers))
        s1, s2 = tokens_of(pair.tokenizer, bars)
        losses.append(objective(s1, s2, stamp, torch.zeros(s1.shape, device=device))[0].item())
        counts.append(len(numbers))
    return float(np.average(losses, weights=counts))


def verdict(found: Comparison, before: str, after: str, part: str = "val") -> tuple[str, str]:
    """(the pair to keep, a sentence). Chosen by CRPS on validation bars, so that the test part stays a test.

    The fine-tuned pair is kept where it is better by `KEEP_FROM` standard errors, over days.
    """
    at = found.table[found.table["part"] == part].set_index("name")
    score, mae, loss = (
        dict(zip(at.index, at[name].to_numpy(float), strict=True)) for name in ("crps", "mae", "token_loss")
    )
    low, high = difference(found.crps[part, after] - found.crps[part, before], found.days[part])
    gain, error = score[before] - score[after], (high - low) / (2 * 1.96)
    same = gain == 0 and low == high
    better = after if gain > KEEP_FROM * error and not same else before
    text = f"CRPS of close on the {part} part {score[after]:.4f} after, {score[before]:.4f} before ({-gain / score[before]:+.1%}); "
    text += f"token loss {loss[after]:.4f} after, {loss[before]:.4f} before. "
    interval = f"95 % interval of the difference {low:+.4f} to {high:+.4f}"
    if same:
        text += "Fine-tuning changed nothing: no epoch forecast better than the pair as it was"
    elif high < 0:
        text += f"Fine-tuning helped ({interval})"
    elif low > 0:
        text += f"Fine-tuning made it worse ({interval}): try a lower rate, or more data"
    else:
        text += f"The difference may be chance ({interval}): no proof that fine-tuning helped"
        text += ", though it is the more likely" if better == after else ""
    versus = "better" if mae[better] < mae["last price"] else "worse"
    figures = f"MAE {mae[better]:.4f} against {mae['last price']:.4f}"
    return better, f"{text}. Kept is the pair {better}; its mean path is {versus} than the last price ({figures})"


def difference(values: np.ndarray, days: np.ndarray, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of a mean whose values of one day belong together (bootstrap over days)."""
    _, group = np.unique(days, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    chosen = np.random.default_rng(0).integers(len(sums), size=(draws, len(sums)))
    means = sums[chosen].sum(1) / counts[chosen].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
