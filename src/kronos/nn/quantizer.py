"""Binary spherical quantisation: a vector on the unit sphere becomes the corner of the cube nearest to it.

Method: "Image and Video Tokenization with Binary Spherical Quantization", arXiv 2406.07548; as Kronos uses it: spec, section 3.

Legend: B series, T steps, K bits, G groups of g bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def entropy(p: Tensor) -> Tensor:
    """-p log(p), elementwise, in nats; finite at 0."""
    return -p * torch.log(p + 1e-8)


class BinarySphericalQuantizer(nn.Module):
    """Corners of the cube {-1, +1}^K / sqrt(K), their integer names, and the loss that keeps them in use."""

    basis: Tensor
    group_basis: Tensor

    def __init__(
        self,
        bits: int,
        beta: float,
        gamma0: float,
        gamma: float,
        zeta: float,
        group_size: int,
        codebook_entropy: str = "bits",
        sharpness: float = 1.0,
    ) -> None:
        super().__init__()
        self.bits, self.group_size = bits, group_size
        self.beta, self.gamma0, self.gamma, self.zeta = beta, gamma0, gamma, zeta
        self.codebook_entropy, self.sharpness = codebook_entropy, sharpness
        self.scale = bits**-0.5
        # Published checkpoints hold these two tables, largest power first; the token ids are little-endian all the same.
        self.register_buffer("basis", 2 ** torch.arange(bits).flip(0))
        self.register_buffer("group_basis", 2 ** torch.arange(group_size).flip(0))

    def ids(self, q: Tensor) -> Tensor:
        """Little-endian integers of the signs of q [..., n bits] -> [...]."""
        return ((q >= 0).long() << torch.arange(q.shape[-1], device=q.device)).sum(-1)

    def corners(self, ids: Tensor, bits: int) -> Tensor:
        """Integers [...] -> the corner's coordinates [..., bits], +-1/sqrt(K)."""
        on = (ids.unsqueeze(-1) >> torch.arange(bits, device=ids.device)) & 1
        return torch.where(on == 1, self.scale, -self.scale)

    def quantise(self, z_BTK: Tensor) -> Tensor:
        """The corner nearest to z, with the gradient passed straight through: (z + stopgrad(sign(z) - z)) / sqrt(K)."""
        sign = torch.where(z_BTK > 0, 1.0, -1.0).to(z_BTK.dtype)
        return (z_BTK + (sign - z_BTK).detach()) * self.scale

    def loss(self, z_BTK: Tensor, q_BTK: Tensor) -> Tensor:
        """Commitment plus weighted entropies (spec, section 3): certain about each bar, undecided over all of them."""
        commitment = self.beta * (q_BTK.detach() - z_BTK).square().sum(-1).mean()
        p_BTK = torch.sigmoid(-4 * self.sharpness * self.scale * z_BTK)
        per_sample = (entropy(p_BTK) + entropy(1 - p_BTK)).sum(-1).mean()
        if self.codebook_entropy == "bits":
            mean_K = p_BTK.mean((0, 1))
            codebook = (entropy(mean_K) + entropy(1 - mean_K)).sum()
        else:
            codebook = self.grouped_entropy(z_BTK)
        return commitment + self.zeta * (self.gamma0 * per_sample - self.gamma * codebook)

    def grouped_entropy(self, z_BTK: Tensor) -> Tensor:
        """Entropy of the average soft assignment over the 2^g codes of each group, summed over the groups."""
        z_NGg = z_BTK.flatten(0, 1).unflatten(-1, (-1, self.group_size))
        # The soft assignment to a corner of a cube is the product of its bits' assignments, so the average over the bars of
        # 2^g probabilities is one matrix product of two halves of 2^(g/2) each.
        first, second = (
            self._soft_codes(z)
            for z in z_NGg.split((self.group_size // 2, self.group_size - self.group_size // 2), dim=-1)
        )
        return entropy(torch.einsum("ngc,ngd->gcd", first, second) / len(z_NGg)).sum()

    def _soft_codes(self, z: Tensor) -> Tensor:
        """softmax over the codes c in {-1, +1}^n / sqrt(K) of 2 <z, c>: [..., n] -> [..., 2^n]."""
        corners = self.corners(torch.arange(2 ** z.shape[-1], device=z.device), z.shape[-1]).to(z.dtype)
        return torch.softmax(2 * self.sharpness * z @ corners.T, dim=-1)

    def forward(self, x_BTK: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, K], any length -> quantised [B, T, K] and the loss (a scalar)."""
        z_BTK = F.normalize(x_BTK, dim=-1)
        q_BTK = self.quantise(z_BTK)
        return q_BTK, self.loss(z_BTK, q_BTK)
