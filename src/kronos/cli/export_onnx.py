"""``kronos export-onnx``: a pair as ONNX graphs, checked against PyTorch."""

from __future__ import annotations

import click

from kronos.cli.options import tokenizer_option


@click.command("export-onnx", short_help="Export a model for onnxruntime.")
@click.argument("model")
@click.option("--out", required=True, type=click.Path(), help="Folder for the graphs.")
@tokenizer_option
@click.option("--check/--no-check", default=True, show_default=True, help="Compare with PyTorch over 64 greedy steps.")
def export_onnx(model: str, out: str, tokenizer: str | None, check: bool) -> None:
    """Write MODEL (nano, mini, small, base, a Hub id or a folder) and its tokenizer as five ONNX graphs: encoder, decoder,
    prefill, step, fine. src/kronos/export/onnx_runtime.py runs them with NumPy and onnxruntime alone.
    Needs: pip install 'kronos-forecast[onnx]'.

    \b
    Example:
      kronos export-onnx nano --out nano-onnx/
    """
    from kronos.export.onnx import check_onnx
    from kronos.export.onnx import export_onnx as export
    from kronos.loading import load

    predictor = load(model, tokenizer=tokenizer, device="cpu")
    files = export(predictor, out, model)
    size = sum(file.stat().st_size for file in files)
    click.echo(f"{len(files)} files, {size / 1e6:.1f} MB, in {out}", err=True)
    if not check:
        return
    try:
        results = list(check_onnx(predictor, out))
    except ImportError as error:
        raise ValueError(f"the check needs onnxruntime ({error}); install it, or give --no-check") from error
    for one in results:
        click.echo(
            f"batch {one.batch}, lookback {one.lookback}: ids {'equal' if one.ids_equal else 'DIFFER'}, "
            f"bars apart by at most {one.bars_apart:.1e}",
            err=True,
        )
    if not all(one.ids_equal for one in results):
        raise ValueError(f"the graphs in {out} do not give PyTorch's tokens; do not use them")
