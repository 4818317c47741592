"""A tokenizer and a model on a device, with the settings that they are used with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from kronos.calibration.calibration import Calibration
from kronos.generation.module_path import special_part, unwrapped
from kronos.generation.paths import Sliding
from kronos.generation.precision import PRECISIONS, Precision
from kronos.generation.prepared import PreparedSeries, Timestamps, prepare_series
from kronos.generation.sampling import Sampling
from kronos.heads.head import Head, write_heads
from kronos.hub.generation_config import CALIBRATION_FILE, GenerationConfig
from kronos.hub.pairing import check_pair
from kronos.io.atomic import whole_folder
from kronos.nn import Kronos, KronosTokenizer
from kronos.nn.checkpoint import save_checkpoint
from kronos.nn.device import best_device
from kronos.number_checks import is_real, whole
from kronos.schema import FEATURES, TIME_FIELDS


class LoadedPair:
    """What every way of asking a pair has in common. Arguments and errors as of `KronosPredictor`, which is made of it."""

    def __init__(
        self,
        model: Kronos,
        tokenizer: KronosTokenizer,
        device: str | torch.device | None = None,
        max_context: int = 512,
        clip: float = 5,
        *,
        sliding: Sliding | Literal["auto"] = "auto",
        precision: Precision = "float32",
        memory: int | None = None,
        sampling: Sampling = Sampling(1.0, top_p=0.9),
        trained_bars: tuple[int, int] | None = None,
        calibration: Calibration | None = None,
        heads: Mapping[str, Head] | None = None,
    ) -> None:
        check_pair(unwrapped(tokenizer), unwrapped(model))
        if sliding not in ("auto", "exact", "strided"):
            raise ValueError(f"sliding must be 'auto', 'exact' or 'strided', found {sliding!r}")
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(map(repr, PRECISIONS))}, found {precision!r}")
        if memory is not None:
            whole(memory, "memory", 1)
        whole(max_context, "max_context", 1)
        if not is_real(clip) or not clip > 0:
            raise ValueError(f"clip must be a positive number, found {clip!r}")
        try:
            self.device = best_device() if device is None else device
            self.tokenizer = tokenizer.to(self.device).eval()
            self.model = model.to(self.device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}") from error
        self.max_context, self.clip = max_context, clip
        self.sliding, self.precision, self.memory = sliding, precision, memory
        self.sampling, self.trained_bars, self.calibration = sampling, trained_bars, calibration
        self.heads = dict(heads or {})
        # Names of the published class.
        self.price_cols, self.vol_col, self.amt_vol = list(FEATURES[:4]), "volume", "amount"
        self.time_cols = list(TIME_FIELDS)

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write tokenizer and model with settings, calibration and heads, so that `kronos.load` of the folder forecasts the same.

        The folder gets ``model/``, ``tokenizer/``, ``pair.json`` (context, sampling, clip, trained lengths) and, where there are,
        ``calibration.json`` and ``heads/``. Device, precision, sliding and memory belong to the machine: give them to `kronos.load`
        again.

        Args:
            folder: made where it does not exist.
            overwrite: replace the pair that lies there; other files of the folder stay.

        Returns:
            The folder.

        Raises:
            ValueError: the folder is a file or holds something, or a network is more than its weights (adapters, hooks).
        """
        target = Path(folder)
        if target.exists() and not target.is_dir():
            raise ValueError(f"{target} is a file: name a folder for the pair")
        if not overwrite and target.is_dir() and any(target.iterdir()):
            raise ValueError(f"the folder {target} is not empty: name another one, or give overwrite=True")
        networks = {"tokenizer": unwrapped(self.tokenizer), "model": unwrapped(self.model)}
        for name, network in networks.items():
            if (more := special_part(network)) is not None:
                raise ValueError(
                    f"the {name} is more than its weights ({more}), and a copy of the weights would forecast otherwise: "
                    "merge adapters (merge_and_unload) and remove hooks first"
                )
        with nullcontext(target) if overwrite else whole_folder(target) as written:
            written.mkdir(parents=True, exist_ok=True)
            for name, network in networks.items():
                save_checkpoint(network, written / name)
            if self.calibration is None:
                (written / CALIBRATION_FILE).unlink(missing_ok=True)
            else:
                self.calibration.save(written / CALIBRATION_FILE)
            write_heads(self.heads, written)
            drawn = self.sampling
            top_p = 1.0 if drawn.top_p is None else drawn.top_p
            GenerationConfig(
                self.max_context, drawn.temperature, top_p, self.trained_bars, drawn.top_k or 0, self.clip
            ).write(written)
        return target

    @property
    def trained_context(self) -> int:
        """Bars that lookback and horizon should fill at most together: the context, as far as it was trained."""
        return self.max_context if self.trained_bars is None else min(self.max_context, self.trained_bars[1])

    def prepare(self, df: pd.DataFrame, x_timestamp: Timestamps, y_timestamp: Timestamps) -> PreparedSeries:
        """One series checked and normalised, for `sample_prepared`. Arguments and errors as of `forecast`."""
        series = PreparedSeries(df, x_timestamp, y_timestamp, None, self.clip)
        for text in series.doubts_of_times().values():
            raise ValueError(text)
        return series

    def _series(
        self,
        frames: Sequence[pd.DataFrame],
        pasts: Sequence[Timestamps],
        futures: Sequence[Timestamps],
        pred_len: int | None,
        strict: bool = True,
    ) -> list[PreparedSeries]:
        """The series checked and normalised; what is doubtful about their times is refused if ``strict``, else warned of."""
        return prepare_series(
            frames, pasts, futures, pred_len, self.clip, self.trained_bars, strict=strict, stacklevel=4
        )
