"""KronosTokenizer: bars to token pairs and back (docs/model.md, section 3; arXiv 2508.02739, section 3.1).

Legend: B series, T steps, D model width, K = s1_bits + s2_bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.nn.checkpoint import HubCheckpoint
from kronos.nn.config import TokenizerConfig
from kronos.nn.layers import Block, run_blocks
from kronos.nn.quantizer import BinarySphericalQuantizer


class Quantizer(nn.Module):
    """Quantiser of code vectors: quantised vectors, loss and ids. Holds `bsq` under the name that published checkpoints have."""

    def __init__(
        self,
        s1_bits: int,
        s2_bits: int,
        beta: float,
        gamma0: float,
        gamma: float,
        zeta: float,
        group_size: int,
        codebook_entropy: str = "bits",
        entropy_sharpness: float = 1.0,
    ) -> None:
        super().__init__()
        self.s1_bits, self.s2_bits, self.codebook_dim = s1_bits, s2_bits, s1_bits + s2_bits
        self.bsq = BinarySphericalQuantizer(
            self.codebook_dim, beta, gamma0, gamma, zeta, group_size, codebook_entropy, entropy_sharpness
        )

    def bits_to_indices(self, bits: Tensor) -> Tensor:
        """Return little-endian integers [...] of the signs of bits [..., n]."""
        return self.bsq.ids(bits)

    def forward(
        self, z: Tensor, half: bool = False, collect_metrics: bool = True
    ) -> tuple[Tensor, Tensor, Tensor | list[Tensor]]:
        """Quantise unnormalised code vectors [B, T, K]: (loss, quantised [B, T, K], ids [B, T] or, with half=True, [s1, s2]).

        collect_metrics=False skips the loss, which is then 0.
        """
        quantised, loss, _ = self.bsq(F.normalize(z, dim=-1), collect_metrics=collect_metrics)
        if half:
            s1, s2 = quantised.detach().split((self.s1_bits, self.s2_bits), dim=-1)
            return loss, quantised, [self.bits_to_indices(s1), self.bits_to_indices(s2)]
        return loss, quantised, self.bits_to_indices(quantised.detach())


class KronosTokenizer(nn.Module, HubCheckpoint):
    """Tokenizer of normalised bars [B, T, d_in]: a coarse (s1) and a fine (s2) token for each bar, and back.

    Encoder and decoder are causal: token t depends on bars 0..t, bar t on tokens 0..t. See `TokenizerConfig` for the keys.
    """

    config_class = TokenizerConfig
    config: TokenizerConfig

    def __init__(
        self,
        d_in: int,
        d_model: int,
        n_heads: int,
        ff_dim: int,
        n_enc_layers: int,
        n_dec_layers: int,
        ffn_dropout_p: float,
        attn_dropout_p: float,
        resid_dropout_p: float,
        s1_bits: int,
        s2_bits: int,
        beta: float,
        gamma0: float,
        gamma: float,
        zeta: float,
        group_size: int,
        codebook_entropy: str = "bits",
        entropy_sharpness: float = 1.0,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.config = TokenizerConfig(**given)
        self.d_in, self.d_model, self.n_heads, self.ff_dim = d_in, d_model, n_heads, ff_dim
        self.enc_layers, self.dec_layers = n_enc_layers, n_dec_layers
        self.ffn_dropout_p, self.attn_dropout_p, self.resid_dropout_p = ffn_dropout_p, attn_dropout_p, resid_dropout_p
        self.s1_bits, self.s2_bits, self.codebook_dim = s1_bits, s2_bits, s1_bits + s2_bits
        shape = (d_model, n_heads, ff_dim, ffn_dropout_p, attn_dropout_p, resid_dropout_p)
        self.embed = nn.Linear(d_in, d_model)
        self.encoder = nn.ModuleList(Block(*shape) for _ in range(n_enc_layers - 1))
        self.decoder = nn.ModuleList(Block(*shape) for _ in range(n_dec_layers - 1))
        self.quant_embed = nn.Linear(d_model, self.codebook_dim)
        self.post_quant_embed_pre = nn.Linear(s1_bits, d_model)
        self.post_quant_embed = nn.Linear(self.codebook_dim, d_model)
        self.tokenizer = Quantizer(
            s1_bits, s2_bits, beta, gamma0, gamma, zeta, group_size, codebook_entropy, entropy_sharpness
        )
        self.head = nn.Linear(d_model, d_in)

    @property
    def quantizer(self) -> BinarySphericalQuantizer:
        return self.tokenizer.bsq

    def _embed_bars(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        """Encode bars [B, T, d_in] as unnormalised code vectors [B, T, K]."""
        if x.ndim != 3 or x.shape[-1] != self.d_in:
            raise ValueError(f"expected bars of shape [series, steps, {self.d_in}], found {list(x.shape)}")
        return self.quant_embed(run_blocks(self.encoder, self.embed(x), padding_mask))

    def _decode(self, hidden_BTD: Tensor, padding_mask: Tensor | None) -> Tensor:
        return self.head(run_blocks(self.decoder, hidden_BTD, padding_mask))

    def forward(
        self, x: Tensor, padding_mask: Tensor | None = None
    ) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
        """Encode and decode bars [B, T, d_in].

        Returns:
            ((coarse, full reconstruction), each [B, T, d_in]; L_bsq, a scalar; quantised code vectors [B, T, K]; ids [B, T]).
        """
        bsq_loss, quantised, ids = self.tokenizer(self._embed_bars(x, padding_mask))
        coarse = self._decode(self.post_quant_embed_pre(quantised[..., : self.s1_bits]), padding_mask)
        full = self._decode(self.post_quant_embed(quantised), padding_mask)
        return (coarse, full), bsq_loss, quantised, ids

    def compute_loss(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the training loss of windows x and its parts: (loss, MSE of the coarse and of the full reconstruction, L_bsq)."""
        (coarse, full), bsq_loss, _, _ = self(x)
        mse_coarse, mse_full = F.mse_loss(coarse, x), F.mse_loss(full, x)
        return (mse_coarse + mse_full + bsq_loss) / 2, mse_coarse, mse_full, bsq_loss

    def encode(self, x: Tensor, half: bool = False, padding_mask: Tensor | None = None) -> Tensor | list[Tensor]:
        """Encode bars [B, T, d_in] as composite ids [B, T], or with half=True as the pair [s1, s2] of such tensors."""
        return self.tokens(self._embed_bars(x, padding_mask), half)

    def tokens(self, code_BTK: Tensor, half: bool) -> Tensor | list[Tensor]:
        """Return the ids of unnormalised code vectors [B, T, K], as `encode` does."""
        return self.tokenizer(code_BTK, half=half, collect_metrics=False)[2]

    def indices_to_bits(self, x: Tensor | Sequence[Tensor], half: bool = False) -> Tensor:
        """Return quantised code vectors [B, T, K] of composite ids [B, T], or with half=True of the pair (s1, s2)."""
        if half:
            s1, s2 = x
        else:
            assert isinstance(x, Tensor)
            s1, s2 = x & (2**self.s1_bits - 1), x >> self.s1_bits
        corners = (self.quantizer.corners(s1, self.s1_bits), self.quantizer.corners(s2, self.s2_bits))
        return torch.cat(corners, dim=-1)

    def decode(
        self, x: Tensor | list[Tensor] | tuple[Tensor, Tensor], half: bool = False, padding_mask: Tensor | None = None
    ) -> Tensor:
        """Decode composite ids [B, T], or with half=True the pair (s1, s2), to bars [B, T, d_in] in normalised units."""
        bits = self.indices_to_bits(x, half).to(self.post_quant_embed.weight.dtype)
        return self._decode(self.post_quant_embed(bits), padding_mask)

    def embed_codes(self, s1: Tensor, s2: Tensor) -> Tensor:
        """Return the input of the decoder's blocks [B, T, D] for token pairs [B, T]."""
        return self.post_quant_embed(self.indices_to_bits((s1, s2), half=True).to(self.post_quant_embed.weight.dtype))
