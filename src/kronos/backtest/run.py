"""Step 4 of the fine-tuning workflow: signals, Qlib's backtest, scores and the report, in one folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from kronos.backtest.panel import Panel
from kronos.backtest.signals import SIGNALS, SignalSettings, generate_signals, read_signals, signal_columns
from kronos.backtest.simulate import check_held, curves_of, last_tradable, risk_of, simulate, totals_of
from kronos.backtest.verdict import verdict
from kronos.errors import Argument, KronosError
from kronos.finetune.config import FinetuneConfig
from kronos.io.atomic import write_file
from kronos.metrics.ic import daily_ic, returns_after, summary, wide
from kronos.qlib.folder import QlibFolder, check_qlib
from kronos.qlib.prepare import load_bars
from kronos.qlib.session import require_qlib, start_qlib

if TYPE_CHECKING:
    from kronos.predictor import KronosPredictor

REPORT, DAILY, PICTURE, PAGE = "report.json", "report.parquet", "backtest.png", "report.html"
OUTPUTS = (REPORT, DAILY, PICTURE, PAGE)
Echo = Callable[[str], None]


def run_backtest(
    config: FinetuneConfig,
    model: str | None = None,
    tokenizer: str | None = None,
    signals: Path | None = None,
    traded: Sequence[str] = (),
    overwrite: bool = False,
    verbose: bool = True,
    echo: Echo = print,
) -> dict[str, Any]:
    """Run step 4, write its files to ``config.backtest_folder``, and return the report.

    Args:
        model: a short name, Hub id or folder of a pair to forecast with, without fine-tuning; None takes the fine-tuned networks.
        tokenizer: where it does not follow from ``model``.
        signals: a user's Parquet of signals to take instead; no model is needed then.
        traded: signals to trade by; default `backtest_signal` of the config, or the first of a user's signals.
        overwrite: begin anew where the folder holds signals of other settings.
        echo: called with each line of progress.

    Raises:
        ValueError: data, model, signals or dates are missing or do not fit; this is checked before anything is forecast.
    """
    require_qlib()
    if config.freq != "day":
        raise ValueError(f"the backtest trades days; freq is {config.freq!r}")
    folder = check_qlib(config, ("backtest",))
    known = None if signals is None else read_signals(signals)
    names = list(SIGNALS) if known is None else signal_columns(known)
    traded = list(traded) or ([config.backtest_signal] if config.backtest_signal in names else names[:1])
    for name in traded:
        if name not in names:
            raise ValueError(f"there is no signal {name!r}; there are {', '.join(names)}")
    out = config.backtest_folder
    start_qlib(folder.path, config.region)
    if known is None:
        source = model or f"{config.finetuned_predictor_path} with {config.finetuned_tokenizer_path}"
        panel = _panel(config, folder, verbose)
        check_held(config, len(set(panel.symbols_N[panel.ends])))
        predictor = load_pair(config, model, tokenizer)
        table = generate_signals(panel, predictor, signal_settings(config), out, overwrite, verbose, shared=OUTPUTS)
    else:
        source, table = str(signals), known
        check_held(config, table["instrument"].nunique())
        out.mkdir(parents=True, exist_ok=True)
    echo(
        f"{len(table):,} signals of {table['instrument'].nunique():,} instruments on {table['datetime'].nunique():,} days"
    )
    report, daily, curves = evaluate(config, folder, table, traded, verbose)
    report = {"signals_from": source, **report}
    report["verdict"] = verdict(report)
    write_outputs(out, report, daily, curves)
    return report


def signal_settings(config: FinetuneConfig) -> SignalSettings:
    return SignalSettings(
        config.lookback_window,
        config.predict_window,
        config.inference_sample_count,
        config.inference_T,
        config.inference_top_k,
        config.inference_top_p,
        config.seed,
        config.backtest_batch_size,
    )


def load_pair(config: FinetuneConfig, model: str | None, tokenizer: str | None = None) -> KronosPredictor:
    """Load the networks to forecast with.

    Raises:
        ValueError: there are no fine-tuned networks yet; the message says what to do.
    """
    from kronos.loading import load, load_model, load_tokenizer, pair_settings
    from kronos.nn.device import best_device
    from kronos.predictor import KronosPredictor

    device = best_device() if config.device == "auto" else config.device
    if model is not None:
        return load(model, tokenizer=tokenizer, device=device, clip=config.clip)
    tuned = Path(config.finetuned_predictor_path)
    if "checkpoints" in tuned.parts and not (tuned / "config.json").is_file():
        raise KronosError(
            f"there is no fine-tuned model in {tuned}: train it first (finetune/train_predictor.py, kronos finetune), or backtest ",
            "a model as it is (",
            Argument("model", "nano"),
            "), or signals of your own (",
            Argument("signals"),
            ")",
        )
    tokenizer = tokenizer or config.finetuned_tokenizer_path
    if not (Path(tokenizer) / "config.json").is_file() and not config.tune_tokenizer:
        tokenizer = config.pretrained_tokenizer_path
    sampling = pair_settings(config.pretrained_predictor_path).sampling
    return KronosPredictor(
        load_model(str(tuned)), load_tokenizer(tokenizer), device, config.max_context, config.clip, sampling=sampling
    )


def _panel(config: FinetuneConfig, folder: QlibFolder, verbose: bool) -> Panel:
    """Return the panel of the bars that step 1 prepared, or with an empty ``dataset_path`` of the Qlib folder's bars."""
    if config.dataset_path:
        file = Path(config.dataset_path) / "test.parquet"
        if not file.is_file():
            raise ValueError(f"{file}: no such file; prepare the data first (kronos prepare qlib)")
        bars = pd.read_parquet(file)
    else:
        bars = load_bars(config, folder, verbose).table
    calendar = folder.calendar()
    first, last = signal_days(config, calendar)
    return Panel.of(bars, calendar, config.lookback_window, config.predict_window, first, last)


def signal_days(config: FinetuneConfig, calendar: pd.DatetimeIndex) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and last day of signals: a day trades by the signals of the day before."""
    first, last = (pd.Timestamp(time) for time in config.backtest_time_range)
    before = int(calendar.searchsorted(first)) - 1
    return (calendar[before] if before >= 0 else first), last


def evaluate(
    config: FinetuneConfig, folder: QlibFolder, table: pd.DataFrame, traded: Sequence[str], verbose: bool = True
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, pd.DataFrame]]:
    """Score every signal, and simulate trading by those of ``traded``.

    Args:
        folder: the Qlib data.
        table: signals (datetime, instrument, a column for each signal).
        traded: names of the signals to trade by.

    Returns:
        The report, a table of scores with a row for each day and signal, and curves of daily returns by signal.

    Raises:
        ValueError: no instrument of the signals has data, or no two days are left to trade.
    """
    calendar = folder.calendar()
    first, last = signal_days(config, calendar)
    table = table[(table["datetime"] >= first) & (table["datetime"] <= last)]
    closes = _closes(table, calendar)
    known = closes.columns[closes.notna().any()]
    absent = sorted(set(table["instrument"]) - set(known))
    if len(absent) == table["instrument"].nunique():
        examples = ", ".join(absent[:3]) or "none between the dates of backtest_time_range"
        raise ValueError(f"no instrument of the signals has data in {folder.path}: {examples}")
    table = table[table["instrument"].isin(known)]
    horizon = config.predict_window
    ic: dict[str, Any] = {}
    frames = []
    for name in signal_columns(table):
        by_day = {h: daily_ic(wide(table, name), returns_after(closes, h)) for h in sorted({1, horizon})}
        ic[name] = {f"{h}d": summary(frame, h) for h, frame in by_day.items()}
        frames += [
            frame.drop(columns="count").add_suffix(f"_{h}d").assign(signal=name).set_index("signal", append=True)
            for h, frame in by_day.items()
        ]
    scores = pd.concat(frames).groupby(level=["datetime", "signal"], sort=True).first()
    benchmark: str | list[str] = config.backtest_benchmark or [str(name) for name in known]
    # Without signals of the day before, nothing is held on the first day, and the benchmark's move would count as skill.
    start, end = calendar[calendar > table["datetime"].min()][0], last_tradable(calendar, last)
    if start >= end:
        raise ValueError(
            f"the signals go from {table['datetime'].min().date()} on: no two days of {folder.path} are left to trade"
        )
    report: dict[str, Any] = {
        "instrument": config.instrument,
        "instruments": len(known),
        "instruments_without_data": absent,
        "benchmark": config.backtest_benchmark or f"mean of the {len(known)} instruments",
        "horizon": horizon,
        "ic": ic,
        "strategy": {},
    }
    curves, accounts = {}, []
    for name in traded:
        simulated = simulate(table, name, config, start, end, benchmark, verbose)
        report["strategy"][name] = {"risk": risk_of(simulated), "totals": totals_of(simulated)}
        curves[name] = curves_of(simulated)
        accounts.append(simulated.assign(signal=name).set_index("signal", append=True))
    report["settings"] = {
        key: value
        for key, value in config.to_dict().items()
        if key.startswith(("backtest_", "inference_")) or key in ("lookback_window", "predict_window", "seed", "region")
    }
    daily = pd.concat(accounts).join(scores, how="outer").reset_index()
    return report, daily, curves


def _closes(table: pd.DataFrame, calendar: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the closes of the signals' instruments, day x instrument, from their first day to the calendar's end."""
    from qlib.data import D

    if not len(table):
        return pd.DataFrame()
    names = sorted(table["instrument"].unique())
    values = D.features(names, ["$close"], table["datetime"].min(), calendar[-1], freq="day")["$close"]
    closes = values.unstack(level="instrument").reindex(calendar[calendar >= table["datetime"].min()])
    return closes.reindex(columns=names)


def write_outputs(out: Path, report: dict[str, Any], daily: pd.DataFrame, curves: dict[str, pd.DataFrame]) -> None:
    """Write report.json, report.parquet, the figure and the page."""
    from kronos.backtest.equity_curve import draw
    from kronos.backtest.report import report_page

    contents = {
        REPORT: (json.dumps(_plain(report), indent=2, allow_nan=False) + "\n").encode(),
        DAILY: daily.to_parquet(index=False),
        PICTURE: draw(curves, report),
        PAGE: report_page(curves, report, daily).encode(),
    }
    for name, content in contents.items():
        write_file(out / name, content)


def _plain(value: Any) -> Any:
    """Replace NaN by None, since JSON has no NaN."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
