"""Build a training store from market files: read and split them by the paper's rules (arXiv 2508.02739, cleaning).

Each file becomes shards, in parallel and piece by piece, and the shards are then concatenated: memory does not grow with the
data, and a build that was stopped goes on with the files that are missing. No bar is filled in or adjusted: series are split.

Legend: N bars of a file, 6 features, 5 time features.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kronos.io.atomic import write_file
from kronos.io.extras import installed
from kronos.klines.catalog import INDEX as INDEX_CSV
from kronos.klines.catalog import read_catalog
from kronos.klines.features import time_features
from kronos.klines.read_options import ReadOptions
from kronos.klines.splitting import (
    PAPER_RULES,
    SplitRule,
    all_segments,
    find_cuts,
    infer_frequency,
    long_enough,
    nearest_frequency,
)
from kronos.schema import AMOUNT, FEATURES, VOLUME
from kronos.training.bar_store import ARRAYS, INDEX, Segment, Store

REASONS = ("bad prices", "no volume for too long", "same close for too long", "segment too short")
COUNTS = ("bars", "kept", *REASONS)
CATALOGUE, REPORT = "segments.parquet", "report.json"
SHARDS = "shards"


@dataclass(frozen=True)
class CorpusFile:
    """File of bars with its metadata; an unknown frequency is found from each series' times.

    Attributes:
        market: kind of its bars, such as "US equities"; the store balances over market and frequency.
        frequency: as in the paper's table: 1m, 5m, ..., 1w.
        licence, origin: written down in the store's catalogue.
    """

    file: str
    market: str
    frequency: str | None = None
    licence: str = ""
    origin: str = ""
    reading: ReadOptions | None = None
    """Options of the reader for this file; None for the defaults."""

    @property
    def key(self) -> str:
        """Name of the shard; it changes with the file and its metadata."""
        stat = Path(self.file).stat()
        content = json.dumps(
            [
                {k: v for k, v in asdict(self).items() if k != "reading" or v},
                stat.st_size,
                stat.st_mtime_ns,
                "in pieces",
            ],
            sort_keys=True,
        )
        return f"{Path(self.file).name.split('.')[0]}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def find_sources(places: Iterable[Path]) -> list[CorpusFile]:
    """Find the K-line files among files and folders.

    A folder's ``index.csv`` may give metadata of its files (columns file, market, freq, licence, source); without it a file's
    market is its name.

    Raises:
        ValueError: a place that is not there, or a folder without such files.
    """
    from kronos.klines.formats import table_files

    sources: list[CorpusFile] = []
    for place in map(Path, places):
        files = table_files(place, leave_out=INDEX_CSV, deep=True)
        known = read_catalog(place)
        sources += [CorpusFile(str(file), *known.get(file.name, (file.name.split(".")[0],))) for file in files]
    return sources


def make_shards(source: CorpusFile, folder: Path, least: int | None) -> dict[str, Any]:
    """Read a file piece by piece, split its series, and write the kept bars as numbered stores; return the counts.

    A file that is unchanged since an earlier call is not read again.
    """
    target = folder / source.key
    if (target / REPORT).is_file():
        return json.loads((target / REPORT).read_text())
    from kronos.klines.reader import iter_tables

    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    counts, series = dict.fromkeys(COUNTS, 0), 0
    for number, table in enumerate(iter_tables(source.file, options=source.reading)):
        series += _make_shard(table, source, target / f"{number:05}", least, counts)
    report = {"file": source.file, "market": source.market, "series": series, **counts}
    write_file(target / REPORT, json.dumps(report).encode())
    return report


def _make_shard(
    table: pd.DataFrame, source: CorpusFile, target: Path, least: int | None, counts: dict[str, int]
) -> int:
    """Write the shard of one piece of a file, add to the counts, and return the number of series in the piece."""
    symbols = table["symbol"].to_numpy()
    order = np.argsort(pd.factorize(symbols)[0], kind="stable")
    table, symbols = table.iloc[order], symbols[order]
    edges = np.flatnonzero(np.concatenate(([True], symbols[1:] != symbols[:-1], [True])))
    values = {name: table[name].to_numpy(np.float64) for name in FEATURES if name in table}
    naive = table["timestamps"].dt.tz_localize(None)
    times = naive.to_numpy("datetime64[ns]").astype(np.int64)
    rows, catalogue, total = [], [], 0
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        mine = slice(int(start), int(stop))
        frequency = nearest_frequency(source.frequency) if source.frequency else _frequency(times[mine])
        if frequency is None:
            counts["bars"] += int(stop - start)
            counts["segment too short"] += int(stop - start)
            continue
        rule = PAPER_RULES[frequency]
        segments = _split({name: v[mine] for name, v in values.items()}, times[mine], rule, least, counts)
        for first, last in segments:
            rows.append(np.arange(start + first, start + last))
            place = (total, total + last - first)
            known = (source.market, frequency, source.licence, source.origin)
            catalogue.append((str(symbols[start]), *known, *place))
            total = place[1]
    counts["kept"] += total
    if total:
        kept = np.concatenate(rows)
        names = ["symbol", "market", "frequency", "licence", "origin", "start", "stop"]
        listed = pd.DataFrame(catalogue, columns=names)
        groups = (listed["market"] + " " + listed["frequency"]).tolist()
        index = {name: i for i, name in enumerate(dict.fromkeys(groups))}
        kept_as = [Segment(a, b, index[g]) for a, b, g in zip(listed["start"], listed["stop"], groups, strict=True)]
        stamp = time_features(naive.iloc[kept]).astype(np.uint8)
        Store(list(index), _matrix(values, kept), stamp, times[kept], kept_as).save(target)
        listed.to_parquet(target / CATALOGUE, index=False)
    return len(edges) - 1


def _frequency(times_ns: np.ndarray) -> str | None:
    steps = np.diff(times_ns)
    return infer_frequency(times_ns) if (steps > 0).any() else None


def _split(
    values: dict[str, np.ndarray], times: np.ndarray, rule: SplitRule, least: int | None, counts: dict[str, int]
) -> list[tuple[int, int]]:
    """Split one series into segments; every bar is counted once, as kept or under the first reason for leaving it out."""
    open_, high, low, close = (values[name] for name in FEATURES[:4])
    cuts = find_cuts(times, open_, high, low, close, values.get("volume"), rule)
    left = np.zeros(len(times), dtype=bool)
    for reason, mask in zip(REASONS, (cuts.bad, cuts.illiquid, cuts.stagnant), strict=False):
        counts[reason] += int((mask & ~left).sum())
        left |= mask
    wanted = rule if least is None else replace(rule, min_length=least)
    segments = long_enough(*all_segments(cuts), wanted)
    counts["bars"] += len(times)
    counts[REASONS[3]] += int((~left).sum()) - sum(b - a for a, b in segments)
    return segments


def _matrix(values: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return bars [N, 6]; a missing volume is zero, a missing amount is volume times the mean price, as in `to_matrix`."""
    bars = np.zeros((len(rows), len(FEATURES)), np.float32)
    for i, name in enumerate(FEATURES):
        if name in values:
            bars[:, i] = np.nan_to_num(values[name][rows])
    if "volume" in values and "amount" not in values:
        bars[:, AMOUNT] = bars[:, VOLUME] * bars[:, :4].mean(1)
    return bars


def build(
    sources: Sequence[CorpusFile],
    out: Path,
    workers: int = 2,
    least: int | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> pd.DataFrame:
    """Build a store, and return the report with a row for each file.

    Args:
        workers: processes that read files.
        least: bars a segment needs; None takes the paper's rule for its frequency.
        progress: called with a file's report when it is done.

    Raises:
        ValueError: a file cannot be read (finished files are kept for the next try), or no file has bars to keep.
    """
    out = Path(out)
    shards = out / SHARDS
    shards.mkdir(parents=True, exist_ok=True)
    reports: dict[str, dict[str, Any]] = {}
    with ProcessPoolExecutor(max(1, workers)) as pool:
        # Largest first, so that no process is left alone with the longest file.
        biggest = sorted(sources, key=lambda s: -Path(s.file).stat().st_size)
        waiting = {pool.submit(make_shards, source, shards, least): source for source in biggest}
        try:
            for done in as_completed(waiting):
                report = reports[waiting[done].file] = done.result()
                if progress is not None:
                    progress(report)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    keys = [source.key for source in sources]
    _join([file.parent for key in keys for file in sorted((shards / key).glob(f"*/{CATALOGUE}"))], out)
    for old in shards.iterdir():
        if old.name not in keys:
            shutil.rmtree(old)
    table = pd.DataFrame([reports[source.file] for source in sources])
    write_file(out / REPORT, table.to_json(orient="records", indent=1).encode())
    return table


def _join(shards: Sequence[Path], out: Path) -> None:
    """Concatenate the shards' arrays into one store, a shard at a time; the index is written last."""
    if not shards:
        raise ValueError("no bar is left of any file: their segments are shorter than the rules ask (see report.json)")
    (out / INDEX).unlink(missing_ok=True)
    names: dict[str, int] = {}
    segments, catalogues, total = [], [], 0
    for shard in shards:
        part, listed = Store.open(shard), pd.read_parquet(shard / CATALOGUE)
        for start, stop, group in part.segments:
            segments.append(Segment(start + total, stop + total, names.setdefault(part.names[group], len(names))))
        catalogues.append(listed.assign(start=listed["start"] + total, stop=listed["stop"] + total))
        total += len(part.times)
    for name in ARRAYS[:3]:
        _string_together([shard / f"{name}.npy" for shard in shards], out / f"{name}.npy", total)
    np.save(out / "segments.npy", np.asarray(segments))
    pd.concat(catalogues, ignore_index=True).to_parquet(out / CATALOGUE, index=False)
    write_file(out / INDEX, json.dumps({"version": 1, "names": list(names)}).encode())


def _string_together(files: Sequence[Path], out: Path, rows: int) -> None:
    """Concatenate the rows of NumPy files into one, as streams, since memory-mapped pages count as memory in use."""
    with out.open("wb") as whole:
        for number, file in enumerate(files):
            with file.open("rb") as part:
                np.lib.format.read_magic(part)
                shape, _, dtype = np.lib.format.read_array_header_1_0(part)
                if not number:
                    header = {
                        "descr": np.lib.format.dtype_to_descr(dtype),
                        "fortran_order": False,
                        "shape": (rows, *shape[1:]),
                    }
                    np.lib.format.write_array_header_1_0(whole, header)
                shutil.copyfileobj(part, whole, 2**20)


def draw_report(report: pd.DataFrame, out: Path) -> None:
    """Draw ``report.png``, bars kept and dropped by market; does nothing without the extra ``plot``."""
    if not installed("matplotlib"):
        return
    from matplotlib.figure import Figure

    from kronos.plotting.matplotlib_fan import figure_bytes

    by_market = report.groupby("market")[list(COUNTS[1:])].sum()
    by_market = by_market.loc[by_market.sum(axis=1).sort_values().index] / 1e6
    figure = Figure(figsize=(9, 1.5 + 0.28 * len(by_market)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(by_market))
    for name, colour in zip(by_market, ("#2c7fb8", "#c0392b", "#e67e22", "#f1c40f", "#9aa5b1"), strict=True):
        axes.barh(by_market.index, by_market[name], left=left, color=colour, label=name)
        left += by_market[name].to_numpy()
    axes.set(xlabel="million bars")
    axes.legend(frameon=False, loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    write_file(out / "report.png", figure_bytes(figure))
