"""A part of a run: some series at some cut-offs, read, scored and written by one worker. What is written follows from the part
alone, so that it may be done twice, anywhere, and is the same.

Legend: S series, P paths, H horizon.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kronos.io.atomic import parquet_bytes
from kronos.io.storage import Storage
from kronos.schema import CLOSE
from kronos.scoring.config import FeatureSettings, settings_from
from kronos.scoring.feature_columns import embedded, feature_columns
from kronos.scoring.signal_names import signals_of
from kronos.scoring.universe import Member, Piece

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from kronos.predictor import KronosPredictor
    from kronos.scoring.cutoffs import ScoreWindow

SCORES, DONE = "scores", "parts"
PATH_BYTES = 2**27
"""Paths that are in memory at once."""


class Part(NamedTuple):
    """Some consecutive series of the universe at some consecutive cut-offs."""

    number: int
    members: tuple[Member, ...]
    cutoffs: tuple[str, ...]

    @property
    def windows(self) -> int:
        return len(self.members) * len(self.cutoffs)

    @property
    def file(self) -> str:
        return f"part-{self.number:06d}"

    @property
    def marker(self) -> str:
        """Written last: the part is done."""
        return f"{DONE}/{self.file}.json"

    def to_json(self) -> str:
        return json.dumps([self.number, [[m.name, m.pieces] for m in self.members], self.cutoffs])

    @classmethod
    def from_json(cls, text: str) -> Part:
        number, members, cutoffs = json.loads(text)
        return cls(
            number,
            tuple(Member(name, tuple(Piece(*piece) for piece in pieces)) for name, pieces in members),
            tuple(cutoffs),
        )


def parts_of(members: Sequence[Member], cutoffs: tuple[str, ...], size: int) -> Iterator[Part]:
    """All parts of a universe, ``size`` windows each: cut by series first, and a small universe takes several cut-offs at once."""
    number = 0
    for first in range(0, len(members), size):
        some = tuple(members[first : first + size])
        together = max(1, size // len(some))
        for start in range(0, len(cutoffs), together):
            yield Part(number, some, cutoffs[start : start + together])
            number += 1


class PartScorer:
    """Holds the model once and scores one part after the other."""

    def __init__(self, data: str, out: str, settings: dict[str, Any]) -> None:
        import torch

        from kronos.loading import load

        self.settings = told = settings_from(settings)
        torch.set_num_threads(told.threads)
        self.predictor: KronosPredictor = load(
            told.model,
            tokenizer=told.tokenizer,
            device=told.device,
            precision=told.precision,
            memory=told.batch_bytes,
        )
        self.data, self.out = Storage(data), Storage(out)

    def __call__(self, part: Part) -> dict[str, Any]:
        """Score a part unless it is done; what its marker says: scores, rejected, seconds."""
        known = self.out.read(part.marker)
        if known is not None:
            return dict(json.loads(known))
        began = time.monotonic()
        rejected: list[tuple[str, str, str]] = []
        tables = self._tables(part, rejected)
        count = 0
        for cutoff, table in tables.items():
            count += table.num_rows
            self.out.write(f"{SCORES}/cutoff={cutoff}/{part.file}.parquet", parquet_bytes(table))
        report = {"scores": count, "rejected": rejected, "seconds": round(time.monotonic() - began, 3)}
        self.out.write(part.marker, json.dumps(report).encode())
        return report

    def _tables(self, part: Part, rejected: list[tuple[str, str, str]]) -> dict[str, pa.Table]:
        """A table of scores for each cut-off that has any."""
        import pyarrow as pa

        windows = self._windows(part, rejected)
        rows: dict[str, list[pa.Table]] = {}
        one = self.predictor.model.d_model * 4 if self._embeds else self.settings.paths * self.settings.horizon * 24
        together = max(1, PATH_BYTES // one)
        for start in range(0, len(windows), together):
            group = windows[start : start + together]
            table = self._features(group) if self._embeds else self._score(group)
            cutoffs = [window.cutoff for window in group]
            for cutoff in dict.fromkeys(cutoffs):
                rows.setdefault(cutoff, []).append(table.filter(pa.array([c == cutoff for c in cutoffs])))
        return {cutoff: pa.concat_tables(tables).combine_chunks() for cutoff, tables in rows.items()}

    def _windows(self, part: Part, rejected: list[tuple[str, str, str]]) -> list[ScoreWindow]:
        from kronos.scoring.cutoffs import lookback_at, window_at
        from kronos.scoring.members import read_members
        from kronos.scoring.universe import first_line

        columns = dict(self.settings.columns) or None
        cut = lookback_at if self._embeds else window_at
        windows = []
        for name, rows in read_members(self.data, part.members, self.settings.tz, columns, self.settings.reading()):
            if isinstance(rows, str):
                rejected += [(name, cutoff, rows) for cutoff in part.cutoffs]
                continue
            for cutoff in part.cutoffs:
                try:
                    windows.append(cut(name, rows, cutoff, self.settings, self.predictor.trained_context))
                except ValueError as error:
                    rejected.append((name, cutoff, first_line(error)))
        windows.sort(key=lambda window: part.cutoffs.index(window.cutoff))
        return windows

    @property
    def _embeds(self) -> bool:
        return isinstance(self.settings, FeatureSettings)

    def _features(self, windows: Sequence[ScoreWindow]) -> pa.Table:
        import pyarrow as pa

        assert isinstance(self.settings, FeatureSettings)
        states = embedded(self.predictor, windows, self.settings)
        columns = feature_columns(self.predictor, windows, self.settings)
        return pa.table(
            {
                **_described(windows),
                "last_close": pa.array([float(w.past["close"].iloc[-1]) for w in windows], pa.float64()),
                **{name: pa.array(values, pa.float32()) for name, values in {**columns, **states}.items()},
            }
        )

    def _score(self, windows: Sequence[ScoreWindow]) -> pa.Table:
        import pyarrow as pa

        from kronos.schema import FEATURES

        told = self.settings
        forecast = self.predictor.forecast(
            [window.past[[c for c in FEATURES if c in window.past]] for window in windows],
            [window.past["timestamps"] for window in windows],
            [window.future for window in windows],
            T=told.temperature,
            top_k=told.top_k,
            top_p=told.top_p,
            sample_count=told.paths,
            seed=told.seed,
            verbose=False,
            calibration=told.calibration,
        )
        if told.price_limit is not None:
            forecast = forecast.within_price_limits([window.limit for window in windows if window.limit is not None])
        assert forecast.last is not None
        described = _described(windows)
        described["horizon_end"] = _instants([window.future[-1] for window in windows])
        order = ("symbol", "last_bar", "horizon_end", "tz", "lookback")
        return pa.table(
            {
                **{name: described[name] for name in order},
                "last_close": pa.array(forecast.last[:, CLOSE], pa.float64()),
                **{name: pa.array(v, pa.float64()) for name, v in signals_of(forecast, told.signals).items()},
            }
        )


def _described(windows: Sequence[ScoreWindow]) -> dict[str, pa.Array]:
    """Name, last bar, zone and length of each lookback."""
    import pyarrow as pa

    lasts = [window.past["timestamps"].iloc[-1] for window in windows]
    return {
        "symbol": pa.array([window.name for window in windows], pa.string()),
        "last_bar": _instants(lasts),
        "tz": pa.array([None if last.tz is None else str(last.tz) for last in lasts], pa.string()),
        "lookback": pa.array([len(window.past) for window in windows], pa.int32()),
    }


def _instants(stamps: Sequence[pd.Timestamp]) -> pa.Array:
    """Microseconds, in UTC where the stamp has a zone, as it is where it has none (the column ``tz`` says which)."""
    import pyarrow as pa

    plain = [stamp if stamp.tz is None else stamp.tz_convert("UTC").tz_localize(None) for stamp in stamps]
    return pa.array([stamp.as_unit("us").asm8.astype("int64").item() for stamp in plain], pa.timestamp("us"))
