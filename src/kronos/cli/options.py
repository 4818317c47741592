"""The options of ``kronos forecast``, checked before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import click

from kronos.generation.precision import PRECISIONS
from kronos.io.extras import need

if TYPE_CHECKING:
    from kronos.calibration import Calibration
    from kronos.cli.window import SeriesWindow
    from kronos.forecast.price_limits import PriceLimit
    from kronos.generation.precision import Precision
    from kronos.klines.read_options import ReadOptions

TABLE_ENDINGS = (".csv", ".parquet", ".json")
PICTURE_ENDINGS = (".png", ".svg", ".pdf", ".html")

device_option = click.option("--device", help="cpu, cuda, cuda:1, mps.  [default: the best there is]")
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Of the model's weights; bfloat16 and int8 are faster for few paths on a CPU, bfloat16 and float16 for many on a "
    "GPU, at a small drift.",
)
calibration_option = click.option(
    "--calibration",
    default="auto",
    show_default=True,
    metavar="FILE",
    help="auto: the model's own, if it has one; none; or a file of kronos calibrate.",
)

model_option = click.option(
    "--model", default="nano", show_default=True, help="nano, mini, small, base, a Hub id, or a folder."
)
tokenizer_option = click.option(
    "--tokenizer", help="Hub id or folder of the tokenizer, where it does not follow from the model."
)
models_option = click.option(
    "--model",
    "models",
    multiple=True,
    default=("nano",),
    show_default=True,
    help="A model to offer: nano, mini, small, base, or a folder. Repeatable; the first is the default.",
)
until_option = click.option("--until", help="Use no bars after this day: the beginning of what you will test on.")
cutoffs_option = click.option(
    "--cutoffs",
    multiple=True,
    metavar="DATE|RANGE",
    help="As of this date or time, or of each in START..END/FREQ (FREQ: D, B, W-FRI, ME, 4h). Repeatable.  "
    "[default: each series' last bar]",
)
max_age_option = click.option(
    "--max-age", type=float, metavar="DAYS", help="Reject series whose last bar is older at the cut-off."
)

tz_option = click.option(
    "--tz", help="Time zone of the timestamps, such as Asia/Shanghai; zoned ones are converted to it."
)
clean_option = click.option(
    "--clean",
    type=click.Choice(["drop", "split", "sort"]),
    help="What to do with faulty rows (see: kronos check FILE).",
)

_Command = TypeVar("_Command", bound=Callable[..., Any])
_READING = (
    click.option(
        "--map", "mapping", multiple=True, metavar="ROLE=COLUMN", help="Name a column: --map close=Last. Repeatable."
    ),
    click.option(
        "--encoding", help="Encoding of the text, such as gb18030 or cp1252.  [default: told from the content]"
    ),
    click.option(
        "--decimal", type=click.Choice([".", ","]), help="The decimal sign.  [default: told from the columns]"
    ),
    click.option(
        "--thousands",
        type=click.Choice([".", ",", " ", "'"]),
        help="The sign between groups of digits.  [default: told]",
    ),
    click.option("--names", metavar="A,B,...", help="Names of the columns of a file without a header row."),
)
timeframe_option = click.option(
    "--timeframe",
    metavar="5min|15min|30min|1h|4h|1d|1w",
    help="Make bars of this length of shorter ones; a last one that is not complete is left out.  [default: as they are]",
)
close_only_option = click.option(
    "--close-only",
    is_flag=True,
    help="FILE has closes alone, or is read as if it had: candles are made of them, and highs and lows are no forecasts.",
)
url_option = click.option(
    "--allow-url", is_flag=True, help="FILE may be an http(s) address; it is fetched, at most 256 MiB in 120 s."
)


def reading_options(command: _Command) -> _Command:
    """The options of how a file is written, for every command that reads files; `read_options` takes them."""
    for option in reversed(_READING):
        command = option(command)
    return command


_WORKERS = (
    click.option("--threads", type=int, default=1, show_default=True, help="Processor threads of each worker."),
    click.option(
        "--part", type=int, default=512, show_default=True, help="Rows that are written, and if stopped lost, together."
    ),
    tz_option,
    clean_option,
    reading_options,
    click.option("--ray", metavar="ADDRESS", help="Work on a Ray cluster: auto, local, or its address."),
    click.option("--workers", type=int, help="Ray: actors that hold a model.  [default: one a device]"),
    click.option("--overwrite", is_flag=True, help="Begin anew instead of going on."),
    click.option("--quiet", is_flag=True, help="No progress."),
)


def worker_options(command: _Command) -> _Command:
    """The options of how a market is read, and worked on by whom, for ``kronos score`` and ``kronos features``."""
    for option in reversed(_WORKERS):
        command = option(command)
    return command


def listed(text: str) -> tuple[str, ...]:
    """Split A,B,... into its names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read_options(
    given: dict[str, Any], *, tz: str | None = None, symbol: str | None = None, clean: Any = None
) -> ReadOptions:
    """Take what `reading_options` was told out of the parameters of a command."""
    from kronos.klines.read_options import ReadOptions

    names = given.pop("names", None)
    return ReadOptions(
        columns=mapped_columns(given.pop("mapping", ())),
        encoding=given.pop("encoding", None),
        decimal=given.pop("decimal", None),
        thousands=given.pop("thousands", None),
        names=None if names is None else tuple(name.strip() for name in names.split(",")),
        tz=tz,
        symbol=symbol,
        clean=clean,
        close_only=bool(given.pop("close_only", False)),
        timeframe=given.pop("timeframe", None),
    )


def mapped_columns(mapping: Sequence[str]) -> dict[str, str] | None:
    """What --map was told, as {column of the file: role} for the reader."""
    pairs = [item.partition("=") for item in mapping]
    for role, equals, column in pairs:
        if not (role and equals and column):
            raise ValueError(f"--map takes ROLE=COLUMN, such as close=Last, found {role + equals + column!r}")
    return {column: role for role, _, column in pairs} or None


def calibration_told(text: str) -> Calibration | Literal["auto"] | None:
    """What ``--calibration`` was told, as the library takes it.

    Raises:
        ValueError: there is no such file, or it holds no calibration.
    """
    from kronos.calibration import Calibration

    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    if not Path(text).is_file():
        raise ValueError(f"--calibration takes auto, none or a file of kronos calibrate; there is no {text}")
    return Calibration.load(text)


class Options(NamedTuple):
    """What `kronos forecast` was told."""

    model: str
    tokenizer: str | None
    lookback: int | None
    horizon: int
    holdout: bool
    windows: int
    calendar: str | None
    paths: int
    temperature: float | None
    top_p: float | None
    top_k: int
    price_limit: str | None
    calibration: str
    seed: int
    device: str | None
    precision: Precision
    symbol: str | None
    timeframe: str | None
    tz: str | None
    clean: Literal["drop", "split", "sort"] | None
    mapping: tuple[str, ...]
    encoding: str | None
    decimal: str | None
    thousands: str | None
    names: str | None
    close_only: bool
    allow_url: bool
    show: bool
    out: str | None
    plot: str | None
    save: str | None
    quantiles: str | None
    interval: tuple[float, ...]
    overwrite: bool
    quiet: bool

    @property
    def many(self) -> bool:
        """--out names a folder: every series is forecast into it."""
        return self.out is not None and (not Path(self.out).suffix or Path(self.out).is_dir())

    def check(self) -> None:
        """What can be known to be wrong before anything is read."""
        ranges = (("horizon", 1, 10_000), ("lookback", 2, 100_000), ("paths", 1, 10_000), ("windows", 1, 1_000))
        for name, least, most in ranges:
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"--{name} must lie in {least:,}..{most:,}, found {value:,}")
        if self.windows > 1 and (not self.holdout or self.many):
            raise ValueError(
                f"--windows {self.windows} measures forecasts of one file's held-out bars: give --holdout with it"
                + (", and no folder; many series are measured by kronos evaluate" if self.many else "")
            )
        self.levels()
        self.calibrating()
        if self.price_limit is not None and self.price_limit.strip().lower() != "cn":
            from kronos.forecast.price_limits import price_limit

            price_limit(self.price_limit)
        if self.plot is not None:
            need("plotly" if Path(self.plot).suffix.lower() == ".html" else "matplotlib", "plot", f"--plot {self.plot}")
        files = (
            ("--out", self.out, TABLE_ENDINGS),
            ("--plot", self.plot, PICTURE_ENDINGS),
            ("--save", self.save, (".parquet",)),
        )
        for option, path, endings in files:
            if path is None or (option == "--out" and self.many):
                continue
            if Path(path).suffix.lower() not in endings:
                raise ValueError(f"{option} {path}: the ending must be one of {', '.join(endings)}")
            if not Path(path).resolve().parent.is_dir():
                raise ValueError(f"{option} {path}: there is no folder {Path(path).resolve().parent}")

    def calibrating(self) -> Calibration | Literal["auto"] | None:
        """What `KronosPredictor.forecast` takes for it."""
        return calibration_told(self.calibration)

    def limit(self, symbol: str, window: SeriesWindow) -> PriceLimit | None:
        """The daily price limit of a series, known to fit its window."""
        from kronos.forecast.price_limits import series_limit

        return series_limit(self.price_limit, symbol, window.past, window.future)

    def levels(self) -> list[float]:
        """Quantile levels to report, from --quantiles and from the ends of each --interval."""
        levels: set[float] = set()
        if self.quantiles is not None:
            for text in self.quantiles.split(","):
                try:
                    level = float(text)
                except ValueError:
                    level = -1
                if not 0 <= level <= 1:
                    raise ValueError(
                        f"--quantiles takes numbers from 0 to 1 with commas between, such as 0.1,0.5,0.9; found {text!r}"
                    )
                levels.add(level)
        for coverage in self.interval:
            if not 0 < coverage < 1:
                raise ValueError(f"--interval takes a share between 0 and 1, such as 0.8, found {coverage:g}")
            levels |= {round((1 - coverage) / 2, 10), round((1 + coverage) / 2, 10)}
        return sorted(levels) or [0.1, 0.9]

    def coverages(self) -> list[float]:
        """Bands of the fan chart: each --interval, else those that the quantiles make in pairs, else the usual three."""
        if self.interval:
            return sorted(set(self.interval))
        levels = self.levels()
        pairs = {round(1 - 2 * q, 10) for q in levels if q < 0.5 and round(1 - q, 10) in levels}
        return sorted(c for c in pairs if 0 < c < 1) if self.quantiles and pairs else [0.5, 0.8, 0.95]

    def columns(self) -> dict[str, str] | None:
        """{column of the file: role} for the reader."""
        return mapped_columns(self.mapping)

    def reading(self) -> ReadOptions:
        """How the file is to be read."""
        return read_options(self._asdict(), tz=self.tz, symbol=self.symbol, clean=self.clean)

    def check_sampling(self) -> None:
        """Temperature, top-k and top-p; apart from `check` because PyTorch takes a while to import."""
        from kronos.generation.sampling import Sampling

        Sampling().with_(self.temperature, self.top_k, self.top_p)
