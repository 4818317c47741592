"""Export of a Kronos pair as ONNX: five graphs and a small JSON file, and their check against PyTorch.

    encoder   bars [B, L, 6] -> s1, s2 [B, L]
    decoder   s1, s2 [B, L] -> bars [B, L, 6]
    prefill   s1, s2 [B, L], stamp [B, L, 5] -> coarse logits, context, and the caches of L bars
    fine      s1 [B] of the next bar, context, caches of the dependency layer -> fine logits
    step      s1, s2 [B], stamp [B, 5], caches of L bars -> as prefill, with L + 1

Batch and length are free in all of them. `kronos.export.onnx_runtime` runs them with NumPy and onnxruntime alone.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn

from kronos.export.onnx_graphs import Decoder, Encoder, Fine, Prefill, Step
from kronos.export.onnx_runtime import SETTINGS, OnnxKronos
from kronos.io.atomic import write_file

if TYPE_CHECKING:
    from kronos.predictor import KronosPredictor

OPSET = 20
CACHES = ("keys", "values", "dep_keys", "dep_values")
READ = ("coarse", "context", *CACHES)


class Graph(NamedTuple):
    """Module to export, with example inputs, and the names of its inputs and outputs. dynamic: axis names by input."""

    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    dynamic: tuple[dict[int, Any], ...]


def export_onnx(predictor: KronosPredictor, folder: str | Path, source: str = "") -> list[Path]:
    """Write the pair of a predictor to a folder; return the files written.

    Raises:
        ValueError: PyTorch's exporter lacks a library, or the folder cannot be made.
    """
    target = Path(folder)
    if not target.resolve().parent.is_dir():
        raise ValueError(f"{folder}: there is no folder {target.resolve().parent}")
    target.mkdir(exist_ok=True)
    model, tokenizer = predictor.model.cpu().eval(), predictor.tokenizer.cpu().eval()
    written = []
    for name, graph in graphs_of(model, tokenizer).items():
        path = target / f"{name}.onnx"
        write_file(path, _serialised(graph, name))
        written.append(path)
    settings = {
        "source": source,
        "max_context": predictor.max_context,
        "clip": predictor.clip,
        "temperature": predictor.sampling.temperature,
        "top_p": predictor.sampling.top_p,
        "s1_bits": model.s1_bits,
        "s2_bits": model.s2_bits,
        "opset": OPSET,
    }
    write_file(target / SETTINGS, (json.dumps(settings, indent=1) + "\n").encode())
    return [*written, target / SETTINGS]


def graphs_of(model: Any, tokenizer: Any) -> dict[str, Graph]:
    """Make the five graphs, with examples of two series and five bars (the exporter treats sizes of one as fixed)."""
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    both, one = {0: batch, 1: length}, {0: batch}
    past = ({1: batch, 3: length}, {1: batch, 3: length}, {0: batch, 2: length}, {0: batch, 2: length})
    bars = torch.randn(2, 5, tokenizer.d_in)
    s1, s2 = (torch.randint(0, 2**bits, (2, 5)) for bits in (model.s1_bits, model.s2_bits))
    stamp = torch.ones(2, 5, 5, dtype=torch.long)
    prefill, step, fine = Prefill(model), Step(model), Fine(model)
    with torch.no_grad():
        _, context, *caches = prefill(s1, s2, stamp)
    step_inputs = (s1[:, 0], s2[:, 0], stamp[:, 0], *caches)
    return {
        "encoder": Graph(Encoder(tokenizer), (bars,), ("bars",), ("s1", "s2"), (both,)),
        "decoder": Graph(Decoder(tokenizer), (s1, s2), ("s1", "s2"), ("bars",), (both, both)),
        "prefill": Graph(prefill, (s1, s2, stamp), ("s1", "s2", "stamp"), READ, (both, both, both)),
        "step": Graph(step, step_inputs, ("s1", "s2", "stamp", *CACHES), READ, (one, one, one, *past)),
        "fine": Graph(
            fine, (s1[:, 0], context, *caches[2:]), ("s1", "context", *CACHES[2:]), ("fine",), (one, one, *past[2:])
        ),
    }


def _serialised(graph: Graph, name: str) -> bytes:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                graph.module.eval(),
                graph.inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(graph.input_names),
                output_names=[f"new_{n}" if n in graph.input_names else n for n in graph.output_names],
                dynamic_shapes=graph.dynamic,
                verbose=False,
            )
    except ImportError as error:
        raise ValueError(
            f"the export needs onnx and onnxscript ({error}): pip install 'kronos-forecast[onnx]'"
        ) from error
    assert program is not None
    program.optimize()
    return bytes(program.model_proto.SerializeToString())


class OnnxCheck(NamedTuple):
    """Result of one comparison: batch, lookback, whether all ids were equal, and the largest difference of decoded bars."""

    batch: int
    lookback: int
    ids_equal: bool
    bars_apart: float


def check_onnx(
    predictor: KronosPredictor,
    folder: str | Path,
    steps: int = 64,
    batches: tuple[int, ...] = (1, 3),
    lookbacks: tuple[int, ...] = (2, 90),
) -> Iterator[OnnxCheck]:
    """Compare greedy decoding by ONNX and PyTorch, step by step on a growing cache, from the same random bars.

    Args:
        steps: bars to decode.
        batches, lookbacks: sizes to compare; every combination is one result.
    """
    from kronos.generation.reference import generate_tokens
    from kronos.generation.sampling import Sampling

    exported = OnnxKronos(folder)
    rng = np.random.default_rng(0)
    for batch in batches:
        for lookback in lookbacks:
            steps_here = min(steps, predictor.max_context - lookback)
            bars = rng.normal(0, 1, (batch, lookback, 6)).astype(np.float32)
            low, high = [0, 0, 0, 1, 1], [60, 24, 7, 29, 13]
            stamp = rng.integers(low, high, (batch, lookback + steps_here, 5))
            s1, s2 = (torch.from_numpy(ids) for ids in exported.encode(bars))
            with torch.inference_mode():
                k1, k2 = predictor.tokenizer.encode(torch.from_numpy(bars), half=True)
                expected = generate_tokens(
                    predictor.model, k1, k2, torch.from_numpy(stamp), steps_here, predictor.max_context, Sampling(0.0)
                )
                truth = predictor.tokenizer.decode(expected, half=True).numpy()
            found = exported.generate(s1.numpy(), s2.numpy(), stamp, steps_here)
            equal = all(np.array_equal(a, b.numpy()) for a, b in zip(found, expected, strict=True))
            apart = float(np.abs(exported.decode(*found) - truth).max()) if equal else float("nan")
            yield OnnxCheck(batch, lookback, equal, apart)
