"""The same parts on a Ray cluster, through Ray Data: parts are its rows, an actor a device holds the model once and is restarted,
and its rows are given out again, when its process dies. What a part writes follows from the part alone, so nothing is missing and
nothing is there twice.

Data and output must be reachable from every node: object storage, or a disk that all of them mount.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from kronos.errors import Argument, KronosError
from kronos.scoring.config import ScoreSettings
from kronos.scoring.parts import Part, PartScorer
from kronos.scoring.run import Executor

LOCAL = "local"


class _Actor:
    """What Ray Data calls with a batch of one part."""

    def __init__(self, data: str, out: str, settings: dict[str, Any]) -> None:
        self.scorer = PartScorer(data, out, settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        parts = [Part.from_json(str(text)) for text in batch["part"]]
        reports = [self.scorer(part) for part in parts]
        return {
            "number": [part.number for part in parts],
            "scores": [report["scores"] for report in reports],
            "worker": [os.getpid()] * len(parts),
        }


def on_ray(address: str = "auto", workers: int | None = None) -> Executor:
    """An executor for `kronos.scoring.score`.

    Args:
        address: "auto" for the cluster this machine belongs to, "local" to start one here, or what `ray.init` takes.
        workers: actors; None takes as many as the cluster has devices for (GPUs, or processor cores over ``threads``).

    Raises:
        ValueError: Ray is not installed, or there is no cluster at the address.
    """

    def execute(parts: Sequence[Part], data: str, out: str, settings: ScoreSettings) -> Iterator[dict[str, Any]]:
        ray = _connect(address, workers)
        data, out = _everywhere(data), _everywhere(out)
        gpu = settings.device.startswith("cuda")
        count = workers or max(1, _devices(ray, gpu, settings.threads))
        resources = {"num_gpus": 1} if gpu else {"num_cpus": settings.threads}
        ray.data.DataContext.get_current().enable_progress_bars = False  # there is one of our own
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = ray.data.from_items([{"part": part.to_json()} for part in parts], override_num_blocks=len(parts))
        scored = rows.map_batches(
            _Actor,
            fn_constructor_kwargs={"data": data, "out": out, "settings": settings.to_dict()},
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(count, len(parts))),
            **resources,
        )
        yield from scored.iter_rows()

    return execute


def _connect(address: str, workers: int | None) -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError(
            f"Ray Data cannot be imported ({error}); install it: pip install 'kronos-forecast[ray]'"
        ) from error
    if ray.is_initialized():
        return ray
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address == LOCAL:
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise KronosError(
            f"no Ray cluster at {address!r}: {reason} Start one (ray start --head), or give ", Argument("ray", "local")
        ) from error
    return ray


def _devices(ray: Any, gpu: bool, threads: int) -> int:
    found = ray.cluster_resources()
    return int(found.get("GPU", 0)) if gpu else int(found.get("CPU", 1) // threads)


def _everywhere(place: str) -> str:
    """Workers run in folders of their own."""
    return place if "://" in place else os.path.abspath(place)
