"""The settings of fine-tuning and backtest, documented once and checked as a whole before any work starts.

``finetune/config.py`` holds the same names as plain attributes to edit in place; `FinetuneConfig.from_object` reads it. Any of
them is overridden without editing by a YAML file, by environment variables and by ``--set``, in this order.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import os
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kronos.finetune.overrides import coerce, from_environment, from_pairs, from_yaml, unknown
from kronos.schema import PICKLE_FEATURES, TIME_FIELDS

BENCHMARKS = {"csi300": "SH000300", "csi500": "SH000905", "csi800": "SH000906", "csi1000": "SH000852"}
LIMITS = {"cn": 0.095, "tw": 0.1}
HOLIDAYS = 21
"""Days that a lookback may last longer than its share of working days."""


def setting(default: Any, about: str) -> Any:
    """A field with its documentation."""
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings; what each means stands beside it (`describe` lists them).

    Raises:
        ValueError: a value of the wrong kind or out of range, or ranges that do not follow one another.
    """

    # ---- data
    qlib_data_path: str = setting(
        "~/.qlib/qlib_data/cn_data", "the Qlib data folder (calendars, instruments, features)"
    )
    instrument: str = setting("csi300", "the list of instruments: a file in its folder instruments")
    freq: str = setting("day", "frequency of the bars, as Qlib names it: day, 1min, 5min, ...")
    region: Literal["cn", "us", "tw"] = setting("cn", "Qlib's trading rules: lots and limits")
    dataset_begin_time: str = setting(
        "", "first date to load (a lookback before it comes on top); empty: train's first"
    )
    dataset_end_time: str = setting("", "last date to load (a horizon after it comes on top); empty: test's last")
    lookback_window: int = setting(90, "bars to look back on")
    predict_window: int = setting(10, "bars to forecast")
    max_context: int = setting(512, "bars that the model sees at most")
    feature_list: tuple[str, ...] = setting(
        PICKLE_FEATURES, "columns of the .pkl tables; the model takes these six in this order"
    )
    time_feature_list: tuple[str, ...] = setting(TIME_FIELDS, "time features; the model takes these five")
    train_time_range: tuple[str, str] = setting(("2011-01-01", "2022-12-31"), "first and last date trained on")
    val_time_range: tuple[str, str] = setting(
        ("2022-09-01", "2024-06-30"),
        "first and last date validated on; where it begins within a lookback of the training range, as the reference's does, "
        "its first target is the bar after that range",
    )
    test_time_range: tuple[str, str] = setting(
        ("2024-04-01", "2025-06-05"), "first and last test date; overlap as above"
    )
    backtest_time_range: tuple[str, str] = setting(
        ("", ""), "days to trade, inside the test range; empty: all of its targets"
    )
    dataset_path: str = setting(
        "./data/processed_datasets", "folder of the prepared data; empty: the backtest reads the Qlib folder itself"
    )
    clip: float = setting(5.0, "normalised values are clipped to [-clip, clip]")
    # ---- training
    epochs: int = setting(30, "passes over n_train_iter samples, each with a validation at its end")
    log_interval: int = setting(100, "steps between reports")
    batch_size: int = setting(50, "windows a step and device")
    n_train_iter: int = setting(0, "training samples an epoch; 0: 2000 * batch_size")
    n_val_iter: int = setting(0, "validation samples; 0: 400 * batch_size")
    tokenizer_learning_rate: float = setting(2e-4, "peak rate of the tokenizer")
    predictor_learning_rate: float = setting(1e-5, "peak rate of the model's last layers; see layer_decay")
    accumulation_steps: int = setting(1, "parts that a step's gradient is summed over")
    adam_beta1: float = setting(0.9, "AdamW's first beta")
    adam_beta2: float = setting(0.95, "AdamW's second beta")
    adam_weight_decay: float = setting(0.1, "AdamW's weight decay")
    seed: int = setting(100, "the same seed draws the same batches and paths")
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps")
    schedule: Literal["onecycle", "cosine", "constant"] = setting("onecycle", "how the learning rate goes")
    warmup_steps: int = setting(100, "steps of rising rate, of cosine and constant")
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "of products in training; auto: bfloat16 where a product measured at the start is faster in it"
    )
    compile: bool = setting(False, "torch.compile")
    layer_decay: float = setting(
        0.5, "rate of each block of the model over that of the block after it; 1 is one rate for all"
    )
    mirrored: float = setting(
        0.5,
        "share of the model's training windows that are turned upside down, so that it does not learn the years' trend",
    )
    select_by: Literal["crps", "loss"] = setting(
        "crps",
        "the figure that chooses the best epoch of the model: CRPS of short forecasts of validation windows, or the token loss",
    )
    select_windows: int = setting(480, "validation windows that are forecast after each epoch, for select_by=crps")
    ema: float = setting(0.0, "decay of an average of the weights that is kept instead of them; 0 is off")
    early_stopping: int = setting(3, "validations without progress after which a run ends; 0 is off")
    save_every: int = setting(200, "steps between saves to resume from")
    sharded: bool = setting(False, "split weights over processes (FSDP)")
    balanced: bool = setting(False, "draw every symbol equally often, not every window")
    coarse: Literal["auto", "sampled", "true"] = setting(
        "auto",
        "coarse token that the fine one is trained on: drawn from the model, as published models were, or the true one, as "
        "models of our own were (dependency_rotary in their config.json), whose fine tokens the other would blur; auto: as it was",
    )
    tune_tokenizer: bool = setting(True, "whether the tokenizer is tuned at all")
    tuning: Literal["all", "last", "lora"] = setting("all", "weights that are trained")
    tuned_blocks: int = setting(1, "blocks that tuning=last trains")
    lora_rank: int = setting(8, "rank of tuning=lora")
    lora_alpha: float = setting(16.0, "scale of tuning=lora, over its rank")
    trackers: tuple[str, ...] = setting((), "tensorboard, comet, wandb; files are always written")
    use_comet: bool = setting(False, "the same as comet among trackers")
    comet_config: dict[str, Any] = field(default_factory=dict, metadata={"about": "api_key, project_name, workspace"})
    comet_tag: str = setting("finetune_demo", "tag of the experiment")
    comet_name: str = setting("finetune_demo", "name of the experiment")
    # ---- where things are
    save_path: str = setting("./outputs/models", "folder of the runs")
    tokenizer_save_folder_name: str = setting("finetune_tokenizer_demo", "the tokenizer's run, in save_path")
    predictor_save_folder_name: str = setting("finetune_predictor_demo", "the model's run, in save_path")
    pretrained_tokenizer_path: str = setting("nano", "folder, Hub id or zoo name (nano, mini, small, base)")
    pretrained_predictor_path: str = setting("nano", "folder, Hub id or zoo name")
    finetuned_tokenizer_path: str = setting("", "empty: checkpoints/best_model in the tokenizer's run")
    finetuned_predictor_path: str = setting("", "empty: checkpoints/best_model in the model's run")
    backtest_result_path: str = setting("./outputs/backtest_results", "folder of backtests")
    backtest_save_folder_name: str = setting("finetune_backtest_demo", "this backtest, in backtest_result_path")
    # ---- forecasts and backtest
    inference_T: float | None = setting(None, "temperature; none: that of the pretrained pair")
    inference_top_p: float | None = setting(None, "top-p; none: that of the pretrained pair")
    inference_top_k: int = setting(0, "top-k; 0 is off")
    inference_sample_count: int = setting(5, "paths a forecast")
    backtest_batch_size: int = setting(1000, "windows that are forecast, and saved, together (at least a day)")
    backtest_benchmark: str = setting(
        "",
        "instrument to compare with; empty: the index of the list (csi300: SH000300, ...), or else the mean of the list",
    )
    backtest_signal: str = setting("return", "signal to trade by: return, last, mean, max, min")
    backtest_n_symbol_hold: int = setting(50, "instruments held (topk)")
    backtest_n_symbol_drop: int = setting(5, "instruments replaced a day (n_drop)")
    backtest_hold_thresh: int = setting(5, "days that an instrument is held at least")
    backtest_account: float = setting(1e8, "cash at the start")
    backtest_deal_price: Literal["open", "close", "vwap"] = setting("open", "price of the next day that is dealt at")
    backtest_open_cost: float = setting(0.001, "cost of buying, as a share")
    backtest_close_cost: float = setting(0.0015, "cost of selling, as a share")
    backtest_min_cost: float = setting(5.0, "least cost of an order")
    backtest_limit_threshold: float = setting(-1.0, "daily move at which nothing is dealt; 0: none; -1: the region's")

    def __post_init__(self) -> None:
        for name, hint in hints().items():
            object.__setattr__(self, name, coerce(name, getattr(self, name), hint))
        for name, (empty, rule) in DERIVED.items():
            if getattr(self, name) == empty:
                object.__setattr__(self, name, rule(self))
        check_numbers(self)
        check_ranges(self)

    @classmethod
    def from_object(cls, source: object) -> FinetuneConfig:
        """From the public attributes of an object, such as ``finetune/config.py``'s ``Config()``."""
        values = {name: value for name, value in vars(source).items() if not name.startswith("_")}
        for name in values:
            if name not in hints():
                raise unknown(name, hints(), type(source).__name__)
        return cls(**values)

    def with_overrides(
        self,
        sets: Sequence[str] = (),
        yaml: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> FinetuneConfig:
        """A copy with values of a YAML file, then of the environment, then of ``--set`` pairs, then ``options``; checked once.

        ``environ`` None takes the process's own.
        """
        known = hints()
        changes: dict[str, Any] = {} if yaml is None else from_yaml(Path(yaml), known)
        changes |= from_environment(os.environ if environ is None else environ, known)
        changes |= from_pairs(sets, known)
        return self.replace(**{**changes, **options})

    def replace(self, **changes: Any) -> FinetuneConfig:
        """A copy; a value that follows from others, and was not set apart from them, follows them again."""
        for name in changes:
            if name not in hints():
                raise unknown(name, hints(), "settings")
        follow = {
            name: empty
            for name, (empty, rule) in DERIVED.items()
            if name not in changes and same_value(getattr(self, name), rule(self))
        }
        return dataclasses.replace(self, **{**follow, **changes})

    def target_ranges(self) -> dict[str, tuple[str, str]]:
        """First and last date of the targets of train, val and test: no date is in two of them."""
        ranges: dict[str, tuple[str, str]] = {}
        end: dt.datetime | None = None
        for part in ("train", "val", "test"):
            first, last = getattr(self, f"{part}_time_range")
            if end is not None and date_of(first) <= end:
                first = str((end + dt.timedelta(days=1)).date())
            ranges[part], end = (first, last), date_of(last)
        return ranges

    def to_dict(self) -> dict[str, Any]:
        """Plain values, to write down; without the key of a tracker."""
        values = dataclasses.asdict(self)
        values["comet_config"] = {k: v for k, v in values["comet_config"].items() if k != "api_key"}
        return values

    @property
    def backtest_folder(self) -> Path:
        return Path(self.backtest_result_path) / self.backtest_save_folder_name


def _test_targets(config: FinetuneConfig) -> tuple[str, str]:
    try:
        return config.target_ranges()["test"]
    except ValueError:  # a date that is none: the check says it better
        return config.test_time_range


DERIVED: dict[str, tuple[Any, Any]] = {
    "dataset_begin_time": ("", lambda c: c.train_time_range[0]),
    "dataset_end_time": ("", lambda c: c.test_time_range[1]),
    "backtest_time_range": (("", ""), _test_targets),
    "n_train_iter": (0, lambda c: 2000 * c.batch_size),
    "n_val_iter": (0, lambda c: 400 * c.batch_size),
    "finetuned_tokenizer_path": ("", lambda c: f"{c.save_path}/{c.tokenizer_save_folder_name}/checkpoints/best_model"),
    "finetuned_predictor_path": ("", lambda c: f"{c.save_path}/{c.predictor_save_folder_name}/checkpoints/best_model"),
    "backtest_benchmark": ("", lambda c: BENCHMARKS.get(c.instrument.lower(), "")),
    "backtest_limit_threshold": (-1.0, lambda c: LIMITS.get(c.region, 0.0)),
}
"""Settings that follow from others while they have the first value."""


def same_value(one: Any, other: Any) -> bool:
    return bool(one == other or (isinstance(one, str) and one and os.path.normpath(one) == os.path.normpath(other)))


def hints() -> dict[str, Any]:
    """The type of every setting."""
    return typing.get_type_hints(FinetuneConfig)


def describe() -> list[tuple[str, Any, str]]:
    """Name, default and meaning of every setting, for help and documentation."""
    return [
        (f.name, {} if f.default is dataclasses.MISSING else f.default, f.metadata["about"])
        for f in dataclasses.fields(FinetuneConfig)
    ]


POSITIVE = [
    "lookback_window",
    "predict_window",
    "max_context",
    "epochs",
    "log_interval",
    "batch_size",
    "n_train_iter",
    "n_val_iter",
    "accumulation_steps",
    "save_every",
    "select_windows",
    "layer_decay",
    "lora_rank",
    "inference_sample_count",
    "backtest_batch_size",
    "backtest_n_symbol_hold",
    "clip",
    "tokenizer_learning_rate",
    "predictor_learning_rate",
    "lora_alpha",
    "backtest_account",
]
NOT_NEGATIVE = [
    "seed",
    "tuned_blocks",
    "warmup_steps",
    "early_stopping",
    "adam_weight_decay",
    "inference_T",
    "inference_top_k",
    "backtest_n_symbol_drop",
    "backtest_hold_thresh",
    "backtest_open_cost",
    "backtest_close_cost",
    "backtest_min_cost",
    "backtest_limit_threshold",
]
FOLDER_NAMES = ("tokenizer_save_folder_name", "predictor_save_folder_name", "backtest_save_folder_name")


def check_numbers(config: FinetuneConfig) -> None:
    """Numbers, lists and names that are out of range by themselves or together."""
    for name in POSITIVE:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be above zero, found {getattr(config, name)!r}")
    for name in NOT_NEGATIVE:
        if (getattr(config, name) or 0) < 0:
            raise ValueError(f"{name} must be at least zero, found {getattr(config, name)!r}")
    for name in ("adam_beta1", "adam_beta2", "ema"):
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name} must lie in [0, 1), found {getattr(config, name)!r}")
    if config.layer_decay > 1:
        raise ValueError(f"layer_decay must lie in (0, 1], found {config.layer_decay!r}")
    if not 0 <= config.mirrored <= 1:
        raise ValueError(f"mirrored must lie in [0, 1], found {config.mirrored!r}")
    if config.inference_top_p is not None and not 0 < config.inference_top_p <= 1:
        raise ValueError(f"inference_top_p must lie in (0, 1], found {config.inference_top_p!r}")
    if config.lookback_window < 2:
        raise ValueError(f"lookback_window must be at least 2, found {config.lookback_window}")
    if config.backtest_n_symbol_drop > config.backtest_n_symbol_hold:
        raise ValueError(
            f"backtest_n_symbol_drop ({config.backtest_n_symbol_drop}) must be at most backtest_n_symbol_hold "
            f"({config.backtest_n_symbol_hold})"
        )
    for name, right in (("feature_list", PICKLE_FEATURES), ("time_feature_list", TIME_FIELDS)):
        if getattr(config, name) != right:
            raise ValueError(
                f"{name} must be {', '.join(right)}: the model takes no others; found {getattr(config, name)}"
            )
    for name in FOLDER_NAMES:
        value = getattr(config, name)
        if not value or value in (".", "..") or "/" in value or os.sep in value:
            raise ValueError(f"{name} must be the name of a folder, not a path, found {value!r}")


def date_of(text: str) -> dt.datetime:
    date = dt.datetime.fromisoformat(text)
    if date.tzinfo is not None:
        raise ValueError("dates are those of the market, without a zone")
    return date


def check_ranges(config: FinetuneConfig) -> None:
    """Dates that are none, reversed ranges, and ranges that do not follow one another."""
    ranges: dict[str, tuple[dt.datetime, dt.datetime]] = {}
    names = [f"{part}_time_range" for part in ("train", "val", "test", "backtest")]
    pairs = {name: getattr(config, name) for name in names}
    pairs = {"dataset_begin_time to dataset_end_time": (config.dataset_begin_time, config.dataset_end_time), **pairs}
    for name, (first, last) in pairs.items():
        try:
            ranges[name] = (date_of(first), date_of(last))
        except ValueError as error:
            raise ValueError(f"{name} must be two dates such as 2024-07-01, found {first!r} and {last!r}") from error
        if ranges[name][0] > ranges[name][1]:
            raise ValueError(f"{name} is reversed: it begins {first} and ends {last}")
    whole, train, val, test, backtest = ranges.values()
    for name, (first, last) in zip(names, (train, val, test, backtest), strict=True):
        if first < whole[0] or last > whole[1]:
            raise ValueError(
                f"{name} ({first.date()} to {last.date()}) must lie within dataset_begin_time and dataset_end_time "
                f"({whole[0].date()} to {whole[1].date()})"
            )
    lookback = dt.timedelta(days=math.ceil(config.lookback_window * 7 / 5) + HOLIDAYS)
    for (name, (first, last)), (before, (_, end)) in zip(
        ((names[1], val), (names[2], test)), ((names[0], train), (names[1], val)), strict=True
    ):
        if last <= end:
            raise ValueError(f"{name} must end after {before} does ({end.date()}), found {last.date()}")
        if first + lookback <= end:
            raise ValueError(
                f"{name} begins {first.date()}, but {before} lasts until {end.date()}: they may overlap by a lookback of "
                f"{config.lookback_window} bars, whose bars are only looked back on, and not by more"
            )
    if backtest[0] <= val[1]:
        raise ValueError(
            f"backtest_time_range begins {backtest[0].date()}, but val_time_range lasts until {val[1].date()}: days that the "
            "model was chosen by prove nothing"
        )
    if backtest[0] < test[0] or backtest[1] > test[1]:
        raise ValueError(
            f"backtest_time_range ({backtest[0].date()} to {backtest[1].date()}) must lie within test_time_range "
            f"({test[0].date()} to {test[1].date()})"
        )
