"""The recipe of the embedded pair "nano": a small tokenizer, then a small model on its tokens, from a folder of K-line files.

    python -m kronos.training.nano tokenizer --corpus FOLDER --run runs/nano
    python -m kronos.training.nano model     --corpus FOLDER --run runs/nano
    python -m kronos.training.nano export    --run runs/nano --out FOLDER

Each command resumes where it was stopped. Only public data under MIT or Apache-2.0 went into the pair that ships (docs/nano.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from kronos.nn import Kronos, KronosTokenizer, ModelConfig, TokenizerConfig, save_checkpoint
from kronos.training.distributed import world
from kronos.training.loop import LoopSettings, Metrics, Task, train
from kronos.training.objectives import ModelObjective, TokenizerObjective, tokens_of
from kronos.training.store import Store, read_corpus
from kronos.training.windows import Batch, Sampler, WindowSettings

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
COMPILED = True


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


def train_tokenizer(store: Store, held_out: Store, folder: Path, steps: int, learning_rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    tokenizer = KronosTokenizer(**TOKENIZER.to_dict())
    sampler = Sampler(store, TOKENIZER_WINDOWS, seed)
    held = Sampler(held_out, TOKENIZER_WINDOWS, seed + 1)
    fixed = [held.batch(i) for i in range(VALIDATION_BATCHES)]
    task = Task(
        tokenizer,
        TokenizerObjective(tokenizer),
        lambda step, part, parts: (sampler.batch(step, part, parts).bars,),
        [(batch.bars,) for batch in fixed],
        save_checkpoint,
        watch="mse",
        more=lambda network: tokenizer_validation(network, fixed),  # type: ignore[arg-type]
    )
    settings = LoopSettings(steps=steps, learning_rate=learning_rate, compiled=COMPILED)
    with world("cpu") as processes:
        if train(task, settings, folder, processes, say=flushed):
            save_checkpoint(tokenizer.eval(), folder / "checkpoint")


def train_model(
    store: Store,
    held_out: Store,
    tokenizer: KronosTokenizer,
    folder: Path,
    steps: int,
    learning_rate: float,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    model = Kronos(**MODEL.to_dict())
    samplers = [Sampler(store, windows, seed) for windows in MODEL_WINDOWS]
    held = Sampler(held_out, MODEL_WINDOWS[0], seed + 1)

    def tokens(batch: Batch) -> tuple[Tensor, ...]:
        s1, s2 = tokens_of(tokenizer, batch.bars)
        return s1, s2, batch.stamp, torch.zeros(s1.shape)

    task = Task(
        model,
        # The published recipe conditions the fine token on a coarse token drawn from the model, which trains a blurred p(s2 | s1);
        # the true one trains the factor that generation samples from.
        ModelObjective(model, "true"),
        lambda step, part, parts: tokens(samplers[step % len(samplers)].batch(step, part, parts)),
        [tokens(held.batch(i)) for i in range(VALIDATION_BATCHES)],
        save_checkpoint,
    )
    settings = LoopSettings(steps=steps, learning_rate=learning_rate, report_every=51, compiled=COMPILED)
    with world("cpu") as processes:
        if train(task, settings, folder, processes, say=flushed):
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
    corpus, held_out = read_corpus(options.corpus or parser.error(f"{options.what} needs --corpus")).split(
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
