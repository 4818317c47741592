"""Import names when they are first used, and modules by the names that they had before version 0.1.

`install` puts one finder in front of ``sys.meta_path``: a folder that an older checkout left behind is not taken for a package.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOVED = {
    "adapters.series": "adapters.tables",
    "anchoring": "forecast.anchoring",
    "backtest.export": "qlib.export",
    "backtest.page": "backtest.report",
    "backtest.picture": "backtest.equity_curve",
    "backtest.prepare": "qlib.prepare",
    "backtest.qlib_folder": "qlib.folder",
    "backtest.scores": "metrics.ic",
    "backtest.session": "qlib.session",
    "backtest.windows": "backtest.panel",
    "calibration.features": "calibration.volatility_features",
    "chart": "plotting.plotly_fan",
    "evaluation.baselines": "evaluation.forecasters",
    "evaluation.baselines.naive": "evaluation.forecasters.naive",
    "evaluation.baselines.registry": "evaluation.forecasters.baselines",
    "evaluation.baselines.statistical": "evaluation.forecasters.statistical",
    "evaluation.baselines.trees": "evaluation.forecasters.trees",
    "evaluation.baselines.volatility": "evaluation.forecasters.volatility",
    "evaluation.figures": "evaluation.report.figures",
    "evaluation.leaks": "evaluation.leakage",
    "evaluation.leaks.causality": "evaluation.leakage.causality",
    "evaluation.leaks.checks": "evaluation.leakage.run",
    "evaluation.leaks.findings": "evaluation.leakage.findings",
    "evaluation.leaks.provenance": "evaluation.leakage.provenance",
    "evaluation.leaks.splits": "evaluation.leakage.splits",
    "evaluation.losses": "evaluation.window_losses",
    "evaluation.lstm": "evaluation.synthetic.lstm",
    "evaluation.metrics": "metrics.probabilistic",
    "evaluation.models": "evaluation.forecasters.models",
    "evaluation.page": "evaluation.report.page",
    "evaluation.peers": "evaluation.forecasters.foundation_models",
    "evaluation.series": "evaluation.dataset",
    "evaluation.significance": "metrics.significance",
    "evaluation.stylised": "evaluation.synthetic.stylized_facts",
    "evaluation.synthetic_report": "evaluation.synthetic.run",
    "evaluation.verdict": "evaluation.report.sentences",
    "evaluation.windows": "evaluation.rolling_origins",
    "export.onnx_run": "export.onnx_runtime",
    "finetune.data": "finetune.datasets",
    "finetune.splits": "klines.time_splits",
    "forecast_checks": "forecast.checks",
    "forecast_file": "forecast.parquet",
    "forecast_paths": "forecast.sample_paths",
    "generation.modules": "generation.module_path",
    "generation.planning": "generation.batch_plan",
    "hub.loading": "loading",
    "hub.zoo": "hub.registry",
    "klines.files": "klines.formats",
    "live.on_akshare": "live.sources.akshare",
    "live.on_ccxt": "live.sources.ccxt",
    "live.on_yfinance": "live.sources.yfinance",
    "long_table": "forecast.long_table",
    "picture": "plotting.matplotlib_fan",
    "prepared": "generation.prepared",
    "quantiles": "metrics.quantiles",
    "risk": "metrics.risk",
    "samples": "klines.samples",
    "scoring.on_ray": "scoring.ray_executor",
    "scoring.reading": "scoring.members",
    "scoring.settings": "scoring.config",
    "scoring.signals": "scoring.signal_names",
    "scoring.windows": "scoring.cutoffs",
    "serving.bars": "serving.inputs",
    "serving.documents": "serving.openapi",
    "serving.files": "serving.page_files",
    "serving.guard": "serving.middleware",
    "serving.reading": "serving.requests",
    "serving.results": "serving.responses",
    "serving.settings": "serving.config",
    "training.advice": "training.sampling_search",
    "training.building": "training.corpus",
    "training.judging": "training.rollouts",
    "training.loop": "training.trainer",
    "training.objectives": "training.losses",
    "training.state": "training.run_state",
    "training.store": "training.bar_store",
}
"""Module before -> module now, both without the leading ``kronos.``."""


class MovedFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Find a module by its former name: an empty module that passes every attribute on to the module of today."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.removeprefix("kronos.") not in MOVED or not fullname.startswith("kronos."):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: types.ModuleType) -> None:
        name = module.__name__
        now = "kronos." + MOVED[name.removeprefix("kronos.")]
        warnings.warn(f"{name} is now {now}", DeprecationWarning, stacklevel=2)
        moved = importlib.import_module(now)

        def passed_on(attribute: str) -> Any:
            return getattr(moved, attribute)

        module.__dict__.update(__doc__=moved.__doc__, __getattr__=passed_on, __dir__=lambda: dir(moved))
        if hasattr(moved, "__all__"):
            module.__dict__["__all__"] = moved.__all__


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package whose names are imported when they are first used.

    Args:
        package: the package's name.
        homes: name -> the module that it is imported from.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(homes)


def install() -> None:
    """Add the finder of former names once."""
    if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedFinder())
