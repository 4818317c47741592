"""A whole fine-tuning run: both stages, then the comparison with the pair as it was, and the pair that is better."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kronos.finetune.comparison import MOST, Pair, compare, sampling_of, verdict
from kronos.finetune.config import FinetuneConfig
from kronos.finetune.datasets import open_parts
from kronos.finetune.estimate import Estimate, estimate, in_words
from kronos.finetune.stages import SUMMARY, tokenizer_for, train_predictor, train_tokenizer
from kronos.io.atomic import json_bytes, write_file
from kronos.loading import load_model, load_tokenizer
from kronos.nn import save_checkpoint
from kronos.training.distributed import World

if TYPE_CHECKING:
    from kronos.klines.read_options import ReadOptions
    from kronos.klines.time_splits import Splits

BEFORE, AFTER = "as it was", "fine-tuned"
PAIR = "pair"


def finetune(config: FinetuneConfig, world: World, echo: Callable[[str], None] = print) -> bool:
    """Tune the tokenizer, then the model, then compare; goes on from where a stopped run was.

    Returns:
        True when everything is done; False when it was stopped, and saved.
    """
    expected, clock = estimate(config, world), time.perf_counter()
    if expected is not None and world.is_main_process:
        echo(expected.sentence(world.device))
    ends = [clock]
    if config.tune_tokenizer and not train_tokenizer(config, world, echo):
        return False
    ends.append(time.perf_counter() if config.tune_tokenizer else clock)
    if not train_predictor(config, world, echo):
        return False
    ends.append(time.perf_counter())
    if world.is_main_process:
        evaluate_finetuned(config, world, echo)
        if expected is not None:
            ends.append(time.perf_counter())
            took = Estimate(*(after - before for before, after in zip(ends, ends[1:], strict=False)))
            echo(
                f"took {in_words(took.seconds)} ({took.parts()}); the estimate was {in_words(expected.seconds)} "
                f"({expected.parts()})"
            )
    world.wait()
    return True


def evaluate_finetuned(
    config: FinetuneConfig, world: World, echo: Callable[[str], None] = print, most: int = MOST
) -> dict[str, Any]:
    """Compare forecasts before and after; prints the table, writes the better pair to ``{save_path}/pair`` and the figures to
    ``{save_path}/summary.json``.

    Raises:
        ValueError: a stage has not been trained yet.
    """
    if not (Path(config.finetuned_predictor_path) / "config.json").is_file():
        raise ValueError(f"there is no fine-tuned model in {config.finetuned_predictor_path}: train it first")
    pairs = [
        Pair(BEFORE, load_tokenizer(config.pretrained_tokenizer_path), load_model(config.pretrained_predictor_path)),
        Pair(AFTER, load_tokenizer(tokenizer_for(config)), load_model(config.finetuned_predictor_path)),
    ]
    for pair in pairs:
        pair.tokenizer.to(world.device)
        pair.model.to(world.device)
    alone = World(0, 1, world.device)  # the others wait
    parts = {name: store for name, store in open_parts(config.dataset_path, alone).items() if name != "train"}
    found = compare(pairs, parts, config, world.device, most, echo)
    table = found.table
    better, sentence = verdict(found, BEFORE, AFTER)
    echo("\n" + show(table))
    echo(sentence)
    kept = pairs[[BEFORE, AFTER].index(better)]
    folder = Path(config.save_path)
    save_checkpoint(kept.tokenizer.cpu(), folder / PAIR / "tokenizer")
    save_checkpoint(kept.model.cpu(), folder / PAIR / "model")
    drawn = sampling_of(config)
    advice = {"max_context": config.max_context, "temperature": drawn.temperature, "top_p": drawn.top_p}
    write_file(folder / PAIR / "pair.json", json_bytes(advice))
    summary = {
        "better": better,
        "verdict": sentence,
        "pair": str(folder / PAIR),
        "comparison": json.loads(table.to_json(orient="records")),
        "settings": config.to_dict(),
    }
    write_file(folder / SUMMARY, (json.dumps(summary, indent=2, default=str) + "\n").encode())
    echo(f"the pair is in {folder / PAIR}: kronos forecast FILE --model {folder / PAIR}")
    return summary


def show(table: pd.DataFrame) -> str:
    """The table of `compare` as text."""
    columns = ["part", "name", "token_loss", "mae", "mae_ratio", "crps", "crps_ratio", "rank_ic", "windows"]
    shown = table.reindex(columns=columns).rename(columns={"name": "pair"})
    return shown.to_string(index=False, float_format=lambda value: f"{value:.4f}", na_rep="")


def prepare_files(
    files: Sequence[Path],
    target: Path,
    lookback: int,
    horizon: int,
    until: tuple[str, str] | None = None,
    clean: Any = None,
    echo: Callable[[str], None] = print,
    reading: ReadOptions | None = None,
) -> Splits:
    """Tables of one or many symbols, split by time, to ``train.parquet``, ``val.parquet`` and ``test.parquet`` in a folder.

    Args:
        until: the last dates of the training and of the validation part; None cuts 70, 15 and 15 % of the dates.
        clean: what to do with faulty rows, as in `kronos.read_klines`; None leaves a faulty series out, and says so.
        reading: how the files are written.

    Raises:
        ValueError: a file that cannot be read, two series of one name, no series that is long enough, or parts that would leak.
    """
    from kronos.klines.time_splits import cut_dates, split_by_time

    table = read_series(files, lookback + horizon + 1, clean, echo, reading)
    ranges: Any
    if until is None:
        ranges = cut_dates(table)
    else:
        times = table["timestamp"]
        first = [times.min(), *(pd.Timestamp(date) + pd.Timedelta(days=1) for date in until)]
        ranges = dict(zip(("train", "val", "test"), zip(first, (*until, times.max()), strict=True), strict=True))
    splits = split_by_time(table, ranges, lookback, lookback + horizon + 1)
    splits.check()
    for part in ("train", "val"):
        if not len(splits.parts[part]):
            raise ValueError(
                f"the {part} part is empty: no series has {lookback + horizon + 1} bars in it; give longer series, other "
                "dates, or a shorter lookback"
            )
    target.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.parts.items():
        if len(rows):
            write_file(target / f"{name}.parquet", rows.to_parquet(index=False))
    for line in splits.report():
        echo(
            "  {part}: {symbols} symbols, {rows:,} rows, targets {first} to {last}, {dropped} too short".format(**line)
        )
    write_file(target / "report.json", (json.dumps(splits.report(), indent=2, default=str) + "\n").encode())
    return splits


def read_series(
    files: Sequence[Path], least: int, clean: Any, echo: Callable[[str], None], reading: ReadOptions | None = None
) -> pd.DataFrame:
    """One long table of all series, sorted by symbol and time, with volume and amount."""
    from kronos.klines import iter_klines
    from kronos.klines.features import to_matrix
    from kronos.schema import FEATURES

    tables: dict[str, pd.DataFrame] = {}
    faults: list[str] = []
    for file in files:
        for symbol, rows in iter_klines(file, clean=clean, min_rows=least, options=reading):
            if isinstance(rows, ValueError):
                faults.append(f"{symbol}: {str(rows).splitlines()[0]}")
                continue
            if symbol in tables:
                raise ValueError(
                    f"the symbol {symbol!r} of {file} is also in another file: give each series a name of its own"
                )
            whole = pd.DataFrame(to_matrix(rows[[c for c in FEATURES if c in rows]]), columns=list(FEATURES))
            times = pd.DatetimeIndex(rows["timestamps"])
            whole.insert(0, "timestamp", times.tz_localize(None))
            whole.insert(0, "symbol", symbol)
            tables[symbol] = whole
    for fault in faults[:10]:
        echo(f"left out: {fault}")
    if len(faults) > 10:
        echo(f"left out: {len(faults) - 10} more")
    if not tables:
        raise ValueError(
            f"no series to train on: {faults[0]}" if faults else "no series to train on: the files hold no K-lines"
        )
    return pd.concat([tables[name] for name in sorted(tables)], ignore_index=True)
