"""KronosTokenizer: bars to token pairs and back (spec, section 3; paper, section 3.1).

Legend: B series, T steps, D model width, K = s1_bits + s2_bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.nn.checkpoint import HubCheckpoint
from kronos.nn.config import TokenizerConfig
from kronos.nn.layers import Block, Visibility, run_blocks
from kronos.nn.quantizer import BinarySphericalQuantizer


class Quantizer(nn.Module):
    """Holds the quantiser where published checkpoints have it (``tokenizer.bsq``)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.bsq = BinarySphericalQuantizer(
            config.s1_bits + config.s2_bits,
            config.beta,
            config.gamma0,
            config.gamma,
            config.zeta,
            config.group_size,
            config.codebook_entropy,
            config.entropy_sharpness,
        )


class KronosTokenizer(nn.Module, HubCheckpoint):
    """Turns a window of normalised bars [B, T, d_in] into a coarse (s1) and a fine (s2) token a bar, and back.

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
        self.config = config = TokenizerConfig(**given)
        self.d_in, self.d_model = d_in, d_model
        self.s1_bits, self.s2_bits, self.codebook_dim = s1_bits, s2_bits, s1_bits + s2_bits
        shape = (d_model, n_heads, ff_dim, ffn_dropout_p, attn_dropout_p, resid_dropout_p)
        self.embed = nn.Linear(d_in, d_model)
        self.encoder = nn.ModuleList(Block(*shape) for _ in range(n_enc_layers - 1))
        self.decoder = nn.ModuleList(Block(*shape) for _ in range(n_dec_layers - 1))
        self.quant_embed = nn.Linear(d_model, self.codebook_dim)
        self.post_quant_embed_pre = nn.Linear(s1_bits, d_model)
        self.post_quant_embed = nn.Linear(self.codebook_dim, d_model)
        self.tokenizer = Quantizer(config)
        self.head = nn.Linear(d_model, d_in)

    @property
    def quantizer(self) -> BinarySphericalQuantizer:
        return self.tokenizer.bsq

    def _embed_bars(self, x: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, Visibility]:
        """[B, T, d_in] -> unnormalised code vectors [B, T, K]."""
        if x.ndim != 3 or x.shape[-1] != self.d_in:
            raise ValueError(f"expected bars of shape [series, steps, {self.d_in}], found {list(x.shape)}")
        sight = Visibility.of(x, padding_mask)
        return self.quant_embed(run_blocks(self.encoder, self.embed(x), sight)), sight

    def _decode(self, hidden_BTD: Tensor, sight: Visibility) -> Tensor:
        return self.head(run_blocks(self.decoder, hidden_BTD, sight))

    def forward(
        self, x: Tensor, padding_mask: Tensor | None = None
    ) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
        """Bars [B, T, d_in] -> ((coarse, full reconstruction [B, T, d_in]), L_bsq, quantised [B, T, K], ids [B, T])."""
        code, sight = self._embed_bars(x, padding_mask)
        quantised, bsq_loss = self.quantizer(code)
        coarse = self._decode(self.post_quant_embed_pre(quantised[..., : self.s1_bits]), sight)
        full = self._decode(self.post_quant_embed(quantised), sight)
        return (coarse, full), bsq_loss, quantised, self.quantizer.ids(quantised.detach())

    def compute_loss(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Training loss of a window and its parts: (loss, MSE of the coarse, MSE of the full reconstruction, L_bsq)."""
        (coarse, full), bsq_loss, _, _ = self(x)
        mse_coarse, mse_full = F.mse_loss(coarse, x), F.mse_loss(full, x)
        return (mse_coarse + mse_full + bsq_loss) / 2, mse_coarse, mse_full, bsq_loss

    def encode(self, x: Tensor, half: bool = False, padding_mask: Tensor | None = None) -> Tensor | list[Tensor]:
        """Bars [B, T, d_in] -> composite ids [B, T], or with half=True the pair [s1, s2] of them."""
        return self.tokens(self._embed_bars(x, padding_mask)[0], half)

    def tokens(self, code_BTK: Tensor, half: bool) -> Tensor | list[Tensor]:
        """Unnormalised code vectors [B, T, K] -> ids, as `encode` gives them."""
        quantised = self.quantizer.quantise(F.normalize(code_BTK, dim=-1))
        if half:
            s1, s2 = quantised.split((self.s1_bits, self.s2_bits), dim=-1)
            return [self.quantizer.ids(s1), self.quantizer.ids(s2)]
        return self.quantizer.ids(quantised)

    def decode(
        self, x: Tensor | list[Tensor] | tuple[Tensor, Tensor], half: bool = False, padding_mask: Tensor | None = None
    ) -> Tensor:
        """Composite ids [B, T], or with half=True the pair (s1, s2) of them -> bars [B, T, d_in] in normalised units."""
        if half:
            s1, s2 = x
        else:
            assert isinstance(x, Tensor)
            s1, s2 = x & (2**self.s1_bits - 1), x >> self.s1_bits
        hidden = self.embed_codes(s1, s2)
        return self._decode(hidden, Visibility.of(hidden, padding_mask))

    def embed_codes(self, s1: Tensor, s2: Tensor) -> Tensor:
        """Token pairs [B, T] -> what the decoder's blocks read [B, T, D]."""
        corners = (self.quantizer.corners(s1, self.s1_bits), self.quantizer.corners(s2, self.s2_bits))
        return self.post_quant_embed(torch.cat(corners, dim=-1).to(self.post_quant_embed.weight.dtype))
