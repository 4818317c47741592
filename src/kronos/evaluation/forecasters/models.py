"""Models of an evaluation: a small protocol, Kronos pairs, callables, and models by name.

A model is an object with a name and

    forecast(windows: Sequence[Past], horizon: int, paths: int, seed: int) -> Prediction | array

or a callable of the same arguments. It gets up to 128 windows of one lookback and horizon at once. An array it returns is
paths [S, P, H] or [S, P, H, 6], or points [S, H]; see `Prediction` for normals and quantiles.

Legend: S windows, P paths, H steps.
"""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from kronos.errors import Argument, KronosError
from kronos.evaluation.prediction import Prediction
from kronos.evaluation.rolling_origins import Past
from kronos.evaluation.tasks import Task
from kronos.forecast.anchoring import Anchor

if TYPE_CHECKING:
    from kronos.calibration import Calibration
    from kronos.generation.sampling import Sampling
    from kronos.heads.marginals import HeadMarginals
    from kronos.predictor import Calibrating, KronosPredictor


@runtime_checkable
class Forecaster(Protocol):
    """Protocol of a model (see the top of this file). ``fingerprint`` changes whenever the forecasts could change."""

    name: str

    def forecast(self, windows: Sequence[Past], horizon: int, paths: int, seed: int) -> Prediction | np.ndarray: ...


@dataclass
class PairForecaster:
    """Forecaster of a Kronos pair, by `KronosPredictor.predict_samples`; its forecasts do not depend on the batch.

    Attributes:
        temperature, top_p: None takes the model's own.
        calibration: of the paths; None leaves them as drawn.
    """

    name: str
    predictor: KronosPredictor
    temperature: float | None = None
    top_p: float | None = None
    anchor: Anchor | None = "level"
    calibration: Calibration | HeadMarginals | None = None

    def forecast(self, windows: Sequence[Past], horizon: int, paths: int, seed: int) -> Prediction:
        drawn = self.predictor.predict_samples(
            [w.bars for w in windows],
            [w.times for w in windows],
            [w.future for w in windows],
            horizon,
            T=self.temperature,
            top_p=self.top_p,
            sample_count=paths,
            seed=seed,
            verbose=False,
            anchor=self.anchor,
            calibration=self.calibration,
        )
        return Prediction.of_paths(drawn)

    @property
    def sampling(self) -> Sampling:
        return self.predictor.sampling.with_(self.temperature, top_p=self.top_p)

    @property
    def fingerprint(self) -> str:
        sampling = self.sampling
        content = hashlib.sha256(
            f"{sampling.temperature}|{sampling.top_p}|{self.anchor}|{self.predictor.precision}".encode()
        )
        content.update(f"|{self.predictor.max_context}|{self.predictor.clip}|{self.predictor.sliding}".encode())
        for network in (self.predictor.tokenizer, self.predictor.model):
            for key, value in sorted(network.state_dict().items()):
                content.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        if self.calibration is not None:
            content.update(repr(self.calibration).encode())
        return content.hexdigest()


@dataclass
class HeadForecaster:
    """The distribution head of a Kronos pair: quantiles of close in one pass, without sampling.

    Attributes:
        covariates: the table of the columns that the head was trained with, if it was.
    """

    name: str
    predictor: KronosPredictor
    covariates: pd.DataFrame | None = None

    def forecast(self, windows: Sequence[Past], horizon: int, paths: int, seed: int) -> Prediction:
        from kronos.heads.head import LEVELS

        quantiles_SQH = self.predictor.quantiles_direct(
            [w.bars for w in windows], [w.times for w in windows], [w.future for w in windows], LEVELS, self.covariates
        )
        return Prediction.of_quantiles(np.moveaxis(quantiles_SQH, 1, 2), LEVELS)

    @property
    def fingerprint(self) -> str:
        content = hashlib.sha256(PairForecaster(self.name, self.predictor).fingerprint.encode())
        for key, value in sorted(self.predictor.heads["distribution"].network.state_dict().items()):
            content.update(key.encode() + value.contiguous().numpy().tobytes())
        if self.covariates is not None:
            content.update(repr(list(self.covariates.columns)).encode())
            content.update(pd.util.hash_pandas_object(self.covariates).to_numpy().tobytes())
        return content.hexdigest()


@dataclass
class CallableForecaster:
    """Forecaster of any function, or of any object that has the protocol's ``forecast``."""

    name: str
    call: Callable[..., Any]
    fingerprint: str = ""

    def forecast(self, windows: Sequence[Past], horizon: int, paths: int, seed: int) -> Prediction:
        return as_prediction(self.call(windows, horizon, paths, seed), len(windows), horizon, self.name)


def as_prediction(result: Any, windows: int, horizon: int, name: str) -> Prediction:
    """Check a model's result and return it as a `Prediction`.

    Raises:
        ValueError: a wrong shape or value; the message names the model.
    """
    try:
        if not isinstance(result, Prediction):
            array = np.asarray(result, dtype=np.float64)
            result = Prediction.of_points(array) if array.ndim == 2 else Prediction.of_paths(array)
        if result.mean.shape != (windows, horizon):
            raise ValueError(
                f"forecasts for {windows} windows of {horizon} steps were asked for, found {result.mean.shape}"
            )
    except (TypeError, ValueError) as error:
        raise ValueError(f"model {name}: {error}") from error
    return result


def as_forecaster(name: str, model: Any, task: Task | None = None) -> Forecaster:
    """Make a forecaster of an object with the protocol, a callable, or a `KronosPredictor` with the task's sampling.

    Raises:
        ValueError: it is neither.
    """
    if hasattr(model, "predict_samples"):  # a KronosPredictor; its module is slow to import for those that have none
        if task is None:
            return PairForecaster(name, model)
        return PairForecaster(name, model, task.temperature, task.top_p, task.anchor)
    if hasattr(model, "forecast"):
        if getattr(model, "name", None) == name:
            return model  # type: ignore[no-any-return]
        return CallableForecaster(name, model.forecast, str(getattr(model, "fingerprint", "")))
    if callable(model):
        return CallableForecaster(name, model)
    raise ValueError(
        f"model {name}: found {type(model).__name__}; a model is a callable or an object with "
        "forecast(windows, horizon, paths, seed)"
    )


def forecaster_of(
    spec: str,
    task: Task,
    *,
    tokenizer: str | None = None,
    device: str | None = None,
    covariates: pd.DataFrame | None = None,
) -> Forecaster:
    """Return the model of a name.

    A baseline (see `kronos.evaluation.forecasters.BASELINES`); ``head:FOLDER`` (the distribution head of a
    pair); ``chronos:ID`` or ``timesfm:ID`` (their libraries, ID a Hub id or a
    folder); ``python:module:attribute`` (a callable or an object with the protocol, imported from Python's path); else a
    Kronos pair, as `kronos.load` takes it, with the task's sampling. ``covariates``: the table, indexed by time, of the
    columns that a head was trained with; other models take none.
    """
    from kronos.evaluation.forecasters import BASELINES, make_baseline

    if spec in BASELINES:
        return make_baseline(spec)
    kind, colon, rest = spec.partition(":")
    if colon and kind in ("chronos", "timesfm"):
        from kronos.evaluation.forecasters.foundation_models import make_foundation_model

        return make_foundation_model(kind, rest, device)
    if colon and kind == "python":
        return as_forecaster(rest.replace(":", "."), _imported(rest))
    from kronos.loading import load

    if colon and kind == "head":
        predictor = load(rest, tokenizer=tokenizer, device=device)
        if "distribution" not in predictor.heads:
            raise ValueError(
                f"{rest} has no head for distribution: train one with kronos heads train, into that folder"
            )
        head = predictor.heads["distribution"].spec
        names = (*head.past_covariates, *head.known_covariates)
        if names and covariates is None:
            raise KronosError(
                f"{spec} was trained with the covariates {', '.join(names)}: give their table, ",
                Argument("covariates", "FILE"),
            )
        if not names or covariates is None:
            return HeadForecaster(spec, predictor)
        from kronos.heads.covariates import check_table

        return HeadForecaster(spec, predictor, check_table(covariates, names))
    predictor = load(spec, tokenizer=tokenizer, device=device)
    return PairForecaster(spec, predictor, task.temperature, task.top_p, task.anchor)


def _imported(path: str) -> Any:
    module, colon, attribute = path.partition(":")
    if not colon:
        raise ValueError(f"python:{path}: write python:module:attribute")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"python:{path} cannot be imported: {error}") from error


def with_calibration(one: PairForecaster, calibration: Calibrating) -> PairForecaster | None:
    """Return the pair with calibrated paths, named "NAME calibrated"; None where "auto" finds none that fits its sampling.

    Raises:
        ValueError: a calibration that cannot be read, or that is given for paths without an anchor.
    """
    found = one.predictor.calibration_of(calibration, one.sampling, one.anchor)
    return None if found is None else replace(one, name=f"{one.name} calibrated", calibration=found)


def forecasters_of(
    models: Sequence[str | Forecaster] | Mapping[str, Any],
    baselines: Sequence[str],
    task: Task,
    calibration: Calibrating = None,
    **options: Any,
) -> list[Forecaster]:
    """Make all forecasters of an evaluation: models, each Kronos pair with a calibration once more with it, then baselines.

    Raises:
        ValueError: a name that is unknown or stands twice, or a calibration that no model takes.
    """
    from kronos.evaluation.forecasters import BASELINES

    unknown = [name for name in baselines if name not in BASELINES]
    if unknown:
        raise ValueError(f"no baseline {unknown[0]!r}: there are {', '.join(BASELINES)}")
    items = models.items() if isinstance(models, Mapping) else [(getattr(m, "name", m), m) for m in models]
    result: list[Forecaster] = []
    for name, model in [*items, *((b, b) for b in baselines)]:
        one = forecaster_of(model, task, **options) if isinstance(model, str) else as_forecaster(str(name), model, task)
        if any(one.name == other.name for other in result):
            raise ValueError(f"the model {one.name!r} is named twice")
        result.append(one)
        if calibration is not None and isinstance(one, PairForecaster):
            made = with_calibration(one, calibration)
            if made is None:
                warnings.warn(f"{one.name} has no calibration for this sampling: it is scored as drawn", stacklevel=3)
            else:
                result.append(made)
    if options.get("covariates") is not None and not any(
        getattr(one, "covariates", None) is not None for one in result
    ):
        raise ValueError("covariates are for heads that were trained with some, and none of the models is one")
    if calibration not in (None, "auto") and not any(getattr(one, "calibration", None) for one in result):
        raise ValueError("a calibration is for Kronos pairs, and none of the models is one")
    if not result:
        raise ValueError("there is no model to evaluate: give at least one model or baseline")
    return result
