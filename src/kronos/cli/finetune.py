"""``kronos finetune``, and the training scripts in ``finetune/``, which are the same code under their documented names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from kronos.cli.options import read_options, reading_options, tz_option
from kronos.cli.settings import read_settings, settings_options

if TYPE_CHECKING:
    from kronos.finetune.config import FinetuneConfig
    from kronos.klines.read_options import ReadOptions

ANY_DATES = {
    "dataset_begin_time": "1800-01-01",
    "dataset_end_time": "2200-01-01",
    "train_time_range": ("1800-01-01", "1900-01-01"),
    "val_time_range": ("2000-01-01", "2010-01-01"),
    "test_time_range": ("2100-01-01", "2200-01-01"),
    "backtest_time_range": ("2100-01-01", "2200-01-01"),
}
"""Until the files are split, which says the true ones."""
HELD_OUT = 1000
"""Windows of a validation."""
CLEANING = click.Choice(["drop", "sort", "split"])


@click.command()
@click.option(
    "--data",
    "data",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A CSV, TSV, Parquet or Feather file of one or many symbols, or a folder of such; may be repeated.",
)
@click.option(
    "--model",
    default="nano",
    show_default=True,
    help="The pair to start from: nano, mini, small, base, or a folder with model/ and tokenizer/.",
)
@click.option("--tokenizer", help="Folder or Hub id of the tokenizer, where it does not follow from --model.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the run; a stopped run goes on there."
)
@click.option("--lookback", type=int, default=90, show_default=True, help="Bars to look back on.")
@click.option("--horizon", type=int, default=10, show_default=True, help="Bars to forecast.")
@click.option(
    "--until",
    nargs=2,
    metavar="DATE DATE",
    help="Last date of training and of validation; what follows is the test part.  [default: 70, 15 and 15 % of the dates]",
)
@click.option(
    "--clean", type=CLEANING, help="What to do with faulty rows.  [default: leave the series out, and say so]"
)
@click.option("--epochs", type=int, default=6, show_default=True, help="Passes, each with a validation at its end.")
@click.option("--steps", type=int, default=20, show_default=True, help="Steps a pass at most, with one process.")
@click.option("--batch-size", type=int, help="Windows a step and process.  [default: 50]")
@click.option("--learning-rate", type=float, help="Peak rate of the model's last layers.  [default: 1e-5]")
@click.option(
    "--tuning",
    type=click.Choice(["all", "last", "lora"]),
    help="Weights that are trained: all, the last blocks, or low-rank additions.  [default: all]",
)
@click.option(
    "--tune-tokenizer/--keep-tokenizer",
    default=False,
    show_default=True,
    help="Whether the tokenizer is trained too, before the model.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps, or auto.")
@tz_option
@reading_options
@settings_options
def finetune(data: tuple[Path, ...], out: Path, yaml: str | None, sets: tuple[str, ...], **options: Any) -> None:
    """Fine-tune a pair on your own bars, and see whether it helped.

    The series are split by time into training, validation and test. The model is tuned; after each pass it forecasts validation
    bars, and the weights whose forecasts are best are kept: those it began with, where none are better. Then both pairs, before
    and after, forecast the validation and test bars beside the last price, and the better one is written to OUT/pair.
    How long it will take is said at the start. Ctrl-C saves; the same command goes on.

    \b
    kronos finetune --data prices/ --out run
    kronos forecast prices/a.csv --model run/pair
    torchrun --nproc_per_node=2 -m kronos finetune --data prices/ --out run     (several processes)
    """
    from kronos.finetune.config import FinetuneConfig
    from kronos.finetune.run import finetune as work
    from kronos.training.distributed import world

    reading = read_options(options, tz=options["tz"])
    config = _settings(out, yaml, sets, options)
    with world(config.device) as processes:
        if processes.is_main_process:
            _prepare(data, Path(config.dataset_path), config, options, reading, click.echo)
        processes.wait()
        done = work(_with_dates(config), processes, click.echo)
    assert isinstance(config, FinetuneConfig)
    if not done:
        sys.exit(130)


def _settings(out: Path, yaml: str | None, sets: tuple[str, ...], options: dict[str, Any]) -> FinetuneConfig:
    """The settings of a run in one folder: options, then the YAML file, then the environment and --set."""
    from kronos.finetune.config import FinetuneConfig

    tokenizer = options["tokenizer"] or options["model"]
    chosen: dict[str, Any] = {
        **ANY_DATES,
        "lookback_window": options["lookback"],
        "predict_window": options["horizon"],
        "dataset_path": str(out / "data"),
        "save_path": str(out),
        "tokenizer_save_folder_name": "tokenizer",
        "predictor_save_folder_name": "model",
        "pretrained_predictor_path": options["model"],
        "pretrained_tokenizer_path": tokenizer,
        "device": options["device"],
        "tune_tokenizer": options["tune_tokenizer"],
    }
    named = {
        "batch_size": options["batch_size"],
        "predictor_learning_rate": options["learning_rate"],
        "tuning": options["tuning"],
    }
    chosen |= {name: value for name, value in named.items() if value is not None}
    size = chosen.get("batch_size", FinetuneConfig.batch_size)
    chosen |= {
        "epochs": options["epochs"],
        "n_train_iter": options["steps"] * size,
        "n_val_iter": HELD_OUT,
        "log_interval": 20,
    }
    return FinetuneConfig(**chosen).with_overrides(sets, yaml)


def _with_dates(config: FinetuneConfig) -> FinetuneConfig:
    """The settings with the dates that the files were split at."""
    import json

    report = json.loads((Path(config.dataset_path) / "report.json").read_text())
    ranges = {f"{line['part']}_time_range": (line["first"], line["last"]) for line in report if line["first"]}
    last = list(ranges.values())[-1]
    return config.replace(
        dataset_begin_time=ranges["train_time_range"][0],
        dataset_end_time=last[1],
        backtest_time_range=last,
        **({"test_time_range": last} | ranges),
    )


def _prepare(
    data: tuple[Path, ...],
    target: Path,
    config: FinetuneConfig,
    options: dict[str, Any],
    reading: ReadOptions,
    echo: Callable[[str], None],
) -> None:
    """Split the files, unless that was done already from the same files in the same way."""
    import json

    from kronos.finetune.run import prepare_files
    from kronos.io.atomic import write_file
    from kronos.klines.formats import table_files

    files = [file for source in data for file in table_files(source)]
    source = {
        "files": {str(f.resolve()): [f.stat().st_size, f.stat().st_mtime_ns] for f in files},
        "lookback": config.lookback_window,
        "horizon": config.predict_window,
        "until": list(options["until"] or ()),
        "clean": options["clean"],
    }
    dialect = {name: value for name, value in (reading.dialect | {"tz": reading.tz}).items() if value}
    source |= {"reading": json.loads(json.dumps(dialect))} if dialect else {}
    record = target / "source.json"
    if record.is_file():
        if json.loads(record.read_text()) != source:
            raise ValueError(
                f"--out {target.parent} holds a run on other files, or split otherwise: give the same ones, or another folder"
            )
        return
    echo(f"reading {len(files)} file{'s' * (len(files) != 1)}")
    prepare_files(
        files,
        target,
        config.lookback_window,
        config.predict_window,
        options["until"] or None,
        options["clean"],
        echo,
        reading,
    )
    write_file(record, json.dumps(source, indent=1).encode())


def stage_command(which: Literal["tokenizer", "predictor"]) -> click.Command:
    """What ``finetune/train_tokenizer.py`` and ``finetune/train_predictor.py`` run."""

    @click.command(help=f"Train the {which} on the prepared data; resumes where it was stopped.")
    @settings_options
    @click.option("--device", help="cpu, cuda, mps, or auto.  [setting device]")
    @click.pass_context
    def command(ctx: click.Context, yaml: str | None, sets: tuple[str, ...], device: str | None) -> None:
        from kronos.finetune import run, stages
        from kronos.training.distributed import world

        config = read_settings(ctx, yaml, sets, device=device)
        train = stages.train_tokenizer if which == "tokenizer" else stages.train_predictor
        with world(config.device) as processes:
            complete = train(config, processes, click.echo)
            if complete and which == "predictor" and processes.is_main_process:
                run.evaluate_finetuned(config, processes, click.echo)
            processes.wait()
        if not complete:
            sys.exit(130)

    return command
