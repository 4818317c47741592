"""Initialise Qlib: one process, no network, no folder of experiments in the working directory, no internal messages."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from kronos.io.extras import need


def require_qlib() -> None:
    """Check that pyqlib is installed, without importing it.

    Raises:
        ValueError: it is not; the message says how to install it.
    """
    need("qlib", "qlib", "a Qlib folder or backtest")


def start_qlib(path: Path, region: str = "cn") -> None:
    """Initialise Qlib with a data folder; it may be called again with another one."""
    require_qlib()
    # mlflow, which Qlib imports to record experiments, would report its use over the network.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import qlib

    nowhere = Path(tempfile.gettempdir()) / "kronos-qlib-experiments"  # by default it is the working directory
    qlib.init(
        provider_uri=str(path.expanduser()),
        region=region,
        kernels=1,  # starting processes takes longer than reading daily bars
        logging_level=logging.ERROR,
        exp_manager={
            "class": "MLflowExpManager",
            "module_path": "qlib.workflow.expm",
            "kwargs": {"uri": nowhere.as_uri(), "default_exp_name": "kronos"},
        },
    )
