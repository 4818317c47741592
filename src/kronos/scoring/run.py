"""A scoring run from end to end: plan, score what is not done yet, gather what was rejected.

OUT/settings.json                               settings and data of the run
OUT/scores/cutoff=2024-07-01/part-000003.parquet  a row a series
OUT/parts/part-000003.json                      written last: the part is done
OUT/rejected.csv                                series, cut-off, reason
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kronos.io.run_folder import SETTINGS, RunFolder
from kronos.io.storage import Storage, StorageEntry
from kronos.scoring.config import ScoreSettings
from kronos.scoring.parts import DONE, SCORES, Part, PartScorer, parts_of
from kronos.scoring.universe import Universe, find_series, table_files

if TYPE_CHECKING:
    import pandas as pd

REJECTED = "rejected.csv"
OWNS = (f"{DONE}/part-[0-9]*.json", f"{SCORES}/cutoff=*/part-[0-9]*.parquet", REJECTED)
"""Files of a run, besides its settings."""

Executor = Callable[[Sequence[Part], str, str, ScoreSettings], Iterator[dict[str, Any]]]


class ScoreReport(NamedTuple):
    """What a run came to.

    scores, rejected: numbers of rows, all parts together; parts: of them; resumed: parts that were there already;
    seconds: of this call.
    """

    scores: int
    rejected: int
    parts: int
    resumed: int
    seconds: float


def in_this_process(parts: Sequence[Part], data: str, out: str, settings: ScoreSettings) -> Iterator[dict[str, Any]]:
    """Part after part, with one model."""
    scorer = PartScorer(data, out, settings.to_dict())
    for part in parts:
        yield {"number": part.number, **scorer(part)}


def score(
    data: str,
    out: str,
    settings: ScoreSettings,
    *,
    execute: Executor = in_this_process,
    overwrite: bool = False,
    verbose: bool = False,
) -> ScoreReport:
    """Score every series of ``data`` at every cut-off into the folder ``out``; what is there of the same run is kept.

    Args:
        data: a folder of tables, or a table of many series: a path or a URI (see `kronos.io.storage`).
        execute: where the parts are scored; `kronos.scoring.ray_executor.on_ray` for a cluster.
        overwrite: begin anew where ``out`` holds a run; what is not of a run is never deleted.

    Raises:
        ValueError: no data, nothing could be scored, or ``out`` holds something else.
    """
    from tqdm.auto import tqdm

    began = time.monotonic()
    source, target = Storage(data), Storage(out)
    files = table_files(source)
    folder = begin(target, files, settings, overwrite)
    universe = find_series(source, files, dict(settings.columns) or None, verbose, settings.reading())
    parts = list(parts_of(universe.members, settings.cutoffs, settings.part))
    done = set(folder.done(f"{DONE}/*.json"))
    todo = [part for part in parts if part.marker not in done]
    windows = {part.number: part.windows for part in parts}
    total = sum(windows.values())
    with tqdm(total=total, desc="scoring", unit="score", disable=not verbose) as bar:
        bar.update(total - sum(part.windows for part in todo))
        for report in execute(todo, data, out, settings) if todo else ():
            bar.update(windows[report["number"]])
    scores, rejected = _finish(folder, parts, universe)
    if not scores:
        raise ValueError(f"nothing could be scored; see {out}/{REJECTED}")
    return ScoreReport(scores, rejected, len(parts), len(parts) - len(todo), time.monotonic() - began)


def begin(target: Storage, files: Sequence[StorageEntry], settings: ScoreSettings, overwrite: bool) -> RunFolder:
    """Open the folder of the run that scores these files.

    Raises:
        ValueError: the folder holds other files, or a run of other settings or data.
    """
    listing = hashlib.sha256(json.dumps([list(entry) for entry in files]).encode()).hexdigest()
    record = {**settings.to_dict(), "files": len(files), "bytes": sum(e.size for e in files), "data": listing}
    return RunFolder(target, record, overwrite, OWNS)


def _finish(folder: RunFolder, parts: Sequence[Part], universe: Universe) -> tuple[int, int]:
    """Gather the rejected ones of all parts; the number of scores and of them."""
    scores = 0
    rejected = [(file, "", reason) for file, reason in universe.refused]
    for part in parts:
        text = folder.read(part.marker)
        if text is None:
            raise ValueError(f"part {part.number} is not done although the run has ended; start it again")
        report = json.loads(text)
        scores += report["scores"]
        rejected += map(tuple, report["rejected"])
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("series", "cutoff", "reason"))
    writer.writerows(rejected)
    folder.write(REJECTED, lines.getvalue().encode())
    return scores, len(rejected)


def read_scores(out: str) -> pd.DataFrame:
    """All scores of a run, by cut-off and symbol: cutoff, symbol, last_bar, horizon_end, tz, lookback, last_close, signals.

    ``last_bar`` and ``horizon_end`` are in UTC where the data has a zone (``tz``), and as in the data where it has none.
    """
    import pyarrow.dataset as ds

    store = Storage(out)
    if not store.has(SETTINGS):
        raise ValueError(f"{out} is no folder of scores")
    data = ds.dataset(store.path(SCORES), filesystem=store.fs, format="parquet", partitioning=_partitioning())
    table = data.to_table().to_pandas()
    order = ["cutoff", *(column for column in table.columns if column != "cutoff")]
    return table[order].sort_values(["cutoff", "symbol"], kind="stable", ignore_index=True)


def _partitioning() -> Any:
    import pyarrow as pa
    import pyarrow.dataset as ds

    return ds.partitioning(pa.schema([("cutoff", pa.string())]), flavor="hive")
