"""The recipe of the embedded pair "nano": a small tokenizer, then a small model on its tokens, from a folder of K-line files.

    python -m kronos.training.nano tokenizer --corpus FOLDER --run runs/nano
    python -m kronos.training.nano model     --corpus FOLDER --run runs/nano
    python -m kronos.training.nano export    --run runs/nano --out FOLDER

Each command resumes where it was stopped. Only public data under MIT or Apache-2.0 went into the pair that ships (docs/nano.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from kronos.nn import Kronos, KronosTokenizer, ModelConfig, TokenizerConfig, save_checkpoint
from kronos.training.loop import LoopSettings, Metrics, train
from kronos.training.windows import Batch, Corpus, Sampler, WindowSettings

TOKENIZER = TokenizerConfig(
    d_in=6, d_model=128, n_heads=4, ff_dim=256, n_enc_layers=3, n_dec_layers=3,
    ffn_dropout_p=0.0, attn_dropout_p=0.0, resid_dropout_p=0.0, s1_bits=10, s2_bits=10,
    beta=0.05, gamma0=1.0, gamma=1.1, zeta=0.03, group_size=10, codebook_entropy="groups", entropy_sharpness=10.0,
)  # fmt: skip
MODEL = ModelConfig(
    s1_bits=10, s2_bits=10, n_layers=4, d_model=128, n_heads=4, ff_dim=320,
    ffn_dropout_p=0.0, attn_dropout_p=0.0, resid_dropout_p=0.0, token_dropout_p=0.0, learn_te=True, dependency_rotary=True,
)  # fmt: skip

TOKENIZER_WINDOWS = WindowSettings(length=256, batch=32)
MODEL_WINDOWS = (
    WindowSettings(length=512, batch=16),
    WindowSettings(length=256, batch=32),
    WindowSettings(length=128, batch=64),
)
"""The model sees short and long lookbacks in turn, so that both work at inference."""
VALIDATION_BATCHES = 8

Losses = tuple[Tensor, Tensor, Tensor]


def tokenizer_validation(tokenizer: KronosTokenizer, batches: list[Batch]) -> Metrics:
    """Reconstruction errors (normalised units) and the share of codes in use, on fixed batches."""
    full, coarse, absolute, codes = [], [], [], []
    with torch.no_grad():
        for batch in batches:
            (x1, x), _, _, ids = tokenizer(batch.bars)
            full.append((x - batch.bars).square().mean())
            coarse.append((x1 - batch.bars).square().mean())
            absolute.append((x - batch.bars).abs().mean())
            codes.append(ids.flatten())
    ids = torch.cat(codes)
    figures = {
        "mse": torch.stack(full).mean(),
        "mse_coarse": torch.stack(coarse).mean(),
        "mae": torch.stack(absolute).mean(),
    }
    named = {"s1": ids & (2**tokenizer.s1_bits - 1), "s2": ids >> tokenizer.s1_bits}
    return {k: v.item() for k, v in figures.items()} | {
        f"{use}_{name}": value
        for name, token in named.items()
        for use, value in code_use(token, 2**tokenizer.s1_bits).items()
    }


def code_use(ids: Tensor, codes: int) -> Metrics:
    """Share of the codes that occur, and the entropy of their frequencies in nats."""
    counts = torch.bincount(ids, minlength=codes).double()
    p = counts[counts > 0] / counts.sum()
    return {"used": (counts > 0).double().mean().item(), "entropy": -(p * p.log()).sum().item()}


def train_tokenizer(
    corpus: Corpus, held_out: Corpus, folder: Path, steps: int, learning_rate: float, seed: int
) -> None:
    torch.manual_seed(seed)
    tokenizer = KronosTokenizer(**TOKENIZER.to_dict())
    sampler = corpus.sampler(TOKENIZER_WINDOWS, seed)
    fixed = [held_out.sampler(TOKENIZER_WINDOWS, seed + 1).batch(i) for i in range(VALIDATION_BATCHES)]
    compute = torch.compile(tokenizer.compute_loss)

    def loss_of(step: int) -> tuple[Tensor, Metrics]:
        loss, coarse, full, bsq = compute(sampler.batch(step).bars)
        return loss, {"mse_coarse": coarse.item(), "mse": full.item(), "bsq": bsq.item()}

    settings = LoopSettings(steps=steps, learning_rate=learning_rate)
    if train(tokenizer, loss_of, partial(tokenizer_validation, tokenizer, fixed), settings, folder, flushed):
        save_checkpoint(tokenizer.eval(), folder / "checkpoint")


def token_losses(
    model: Kronos, tokenizer: KronosTokenizer, batch: Batch, compute: Callable[..., Losses] | None = None
) -> Losses:
    """(mean, s1, s2) cross entropy in nats of a batch, the fine token conditioned on the true coarse token.

    The published recipe conditions on a coarse token drawn from the model, which trains a blurred p(s2 | s1); the true one
    trains the factor that generation samples from.
    """
    with torch.no_grad():
        s1, s2 = tokenizer.encode(batch.bars, half=True)
    return (compute or model_losses)(model, s1, s2, batch.stamp)


def model_losses(model: Kronos, s1: Tensor, s2: Tensor, stamp: Tensor) -> Losses:
    s1_logits, s2_logits = model(s1[:, :-1], s2[:, :-1], stamp[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:])
    return model.head.compute_loss(s1_logits, s2_logits, s1[:, 1:], s2[:, 1:])


def train_model(
    corpus: Corpus,
    held_out: Corpus,
    tokenizer: KronosTokenizer,
    folder: Path,
    steps: int,
    learning_rate: float,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    model = Kronos(**MODEL.to_dict())
    samplers: list[Sampler] = [corpus.sampler(w, seed) for w in MODEL_WINDOWS]
    fixed = [held_out.sampler(MODEL_WINDOWS[0], seed + 1).batch(i) for i in range(VALIDATION_BATCHES)]
    compute = torch.compile(model_losses, dynamic=False)

    def loss_of(step: int) -> tuple[Tensor, Metrics]:
        batch = samplers[step % len(samplers)].batch(step)
        loss, s1_loss, s2_loss = token_losses(model, tokenizer, batch, compute)
        return loss, {"s1": s1_loss.item(), "s2": s2_loss.item()}

    def validate() -> Metrics:
        with torch.no_grad():
            losses = (
                torch.stack([torch.stack(token_losses(model, tokenizer, batch)) for batch in fixed]).mean(0).tolist()
            )
        return dict(zip(("loss", "s1", "s2"), losses, strict=True))

    settings = LoopSettings(steps=steps, learning_rate=learning_rate, report_every=51)
    if train(model, loss_of, validate, settings, folder, flushed):
        save_checkpoint(model.eval(), folder / "checkpoint")


def flushed(text: str) -> None:
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tokenizer", "model", "export"])
    parser.add_argument("--run", type=Path, required=True, help="folder of the run; resumed where it stands")
    parser.add_argument(
        "--corpus", type=Path, help="folder of Parquet long tables (symbol, timestamp, open, high, low, close, ...)"
    )
    parser.add_argument(
        "--out", type=Path, help="export: the folder to write tokenizer/ and model/ to, in half precision"
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.what == "export":
        export(options.run, options.out or parser.error("export needs --out"))
        return
    corpus, held_out = Corpus.read(options.corpus or parser.error(f"{options.what} needs --corpus")).split(
        share=0.02, least=512
    )
    recipe = (options.run / options.what, options.steps, options.learning_rate, options.seed)
    if options.what == "tokenizer":
        train_tokenizer(corpus, held_out, *recipe)
    else:
        train_model(
            corpus, held_out, KronosTokenizer.from_pretrained(options.run / "tokenizer" / "checkpoint"), *recipe
        )


def export(run: Path, out: Path) -> None:
    """The pair as it ships: parameters in float16, config.json and model.safetensors each."""
    save_checkpoint(KronosTokenizer.from_pretrained(run / "tokenizer" / "checkpoint"), out / "tokenizer", half=True)
    save_checkpoint(Kronos.from_pretrained(run / "model" / "checkpoint"), out / "model", half=True)


if __name__ == "__main__":
    main()
