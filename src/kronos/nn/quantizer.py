"""Binary spherical quantisation: a vector on the unit sphere becomes the nearest corner of a hypercube inside the sphere.

Method: "Image and Video Tokenization with Binary Spherical Quantization", arXiv 2406.07548;
as Kronos uses it: docs/model.md, section 3.

Legend: B series, T steps, K bits, G groups of g bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def entropy(p: Tensor) -> Tensor:
    """Return -p log(p), elementwise, in nats; finite at 0."""
    return -p * torch.log(p + 1e-8)


class BinarySphericalQuantizer(nn.Module):
    """Quantiser to the corners of the hypercube {-1, +1}^K / sqrt(K), with integer ids, and its loss."""

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
        self.embed_dim, self.group_size = bits, group_size
        self.beta, self.gamma0, self.gamma, self.zeta = beta, gamma0, gamma, zeta
        self.codebook_entropy, self.sharpness = codebook_entropy, sharpness
        self.scale = bits**-0.5
        # Published checkpoints hold these two tables, largest power first; the token ids are little-endian all the same.
        self.register_buffer("basis", 2 ** torch.arange(bits).flip(0))
        self.register_buffer("group_basis", 2 ** torch.arange(group_size).flip(0))

    def ids(self, q: Tensor) -> Tensor:
        """Return little-endian integers [...] of the signs of q [..., n bits]."""
        return ((q >= 0).long() << torch.arange(q.shape[-1], device=q.device)).sum(-1)

    def corners(self, ids: Tensor, bits: int) -> Tensor:
        """Return the coordinates [..., bits], +-1/sqrt(K), of the corners with these integer ids [...]."""
        on = (ids.unsqueeze(-1) >> torch.arange(bits, device=ids.device)) & 1
        return torch.where(on == 1, self.scale, -self.scale)

    def quantize(self, z: Tensor) -> Tensor:
        """Return signs, +-1, of z [..., K], with a straight-through gradient: z + stopgrad(sign(z) - z)."""
        sign = torch.where(z > 0, 1.0, -1.0).to(z.dtype)
        return z + (sign - z).detach()

    def quantise(self, z_BTK: Tensor) -> Tensor:
        """Return the corner nearest to z, with a straight-through gradient: (z + stopgrad(sign(z) - z)) / sqrt(K)."""
        return self.quantize(z_BTK) * self.scale

    def codes_to_indexes(self, zhat: Tensor) -> Tensor:
        """Return big-endian integers [...] of the signs of codes [..., K]; the token ids are little-endian (`ids`)."""
        return ((zhat > 0) * self.basis).sum(-1)

    def codes_to_group_indexes(self, zhat: Tensor) -> Tensor:
        """Return big-endian integers [..., G] of the signs of each group of codes [..., K]."""
        return ((zhat.unflatten(-1, (-1, self.group_size)) > 0) * self.group_basis).sum(-1)

    def indexes_to_codes(self, indices: Tensor) -> Tensor:
        """Invert `codes_to_indexes`: integers [...] -> codes +-1, int64 [..., K]."""
        return indices.unsqueeze(-1) // self.basis % 2 * 2 - 1

    def entropies(self, z_BTK: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entropy of a bar's soft assignment, averaged over bars, and the entropy of the average assignment."""
        p_BTK = torch.sigmoid(-4 * self.sharpness * self.scale * z_BTK)
        per_sample = (entropy(p_BTK) + entropy(1 - p_BTK)).sum(-1).mean()
        if self.codebook_entropy != "bits":
            return per_sample, self.grouped_entropy(z_BTK)
        mean_K = p_BTK.mean(tuple(range(z_BTK.ndim - 1)))
        return per_sample, (entropy(mean_K) + entropy(1 - mean_K)).sum()

    def loss(self, z_BTK: Tensor, q_BTK: Tensor) -> Tensor:
        """Return L_bsq (docs/model.md, section 3): commitment plus weighted entropies, low for each bar, high over all bars."""
        return self.weighted(z_BTK, q_BTK, *self.entropies(z_BTK))

    def weighted(self, z_BTK: Tensor, q_BTK: Tensor, per_sample: Tensor, codebook: Tensor) -> Tensor:
        """Return L_bsq, given both entropies of `entropies`."""
        commitment = self.beta * (q_BTK.detach() - z_BTK).square().sum(-1).mean()
        return commitment + self.zeta * (self.gamma0 * per_sample - self.gamma * codebook)

    def grouped_entropy(self, z_BTK: Tensor) -> Tensor:
        """Return the entropy of the average soft assignment over the 2^g codes of each group, summed over the groups."""
        z_NGg = z_BTK.flatten(0, -2).unflatten(-1, (-1, self.group_size))
        # The soft assignment to a corner of a cube is the product of its bits' assignments, so the average over the bars of
        # 2^g probabilities is one matrix product of two halves of 2^(g/2) each.
        first, second = (
            self._soft_codes(z)
            for z in z_NGg.split((self.group_size // 2, self.group_size - self.group_size // 2), dim=-1)
        )
        return entropy(torch.einsum("ngc,ngd->gcd", first, second) / len(z_NGg)).sum()

    def _soft_codes(self, z: Tensor) -> Tensor:
        """Return the soft assignment, softmax over the codes c in {-1, +1}^n / sqrt(K) of 2 <z, c>: [..., n] -> [..., 2^n]."""
        corners = self.corners(torch.arange(2 ** z.shape[-1], device=z.device), z.shape[-1]).to(z.dtype)
        return torch.softmax(2 * self.sharpness * z @ corners.T, dim=-1)

    def forward(self, z: Tensor, collect_metrics: bool = True) -> tuple[Tensor, Tensor, dict[str, Tensor | None]]:
        """Quantise vectors on the unit sphere [B, T, K] -> quantised [B, T, K], the loss (a scalar), and figures of the codes.

        The figures: "H" (entropy of the codebook), "indices", "group_indices" (as of `codes_to_indexes`) and, in eval mode,
        "used_codes". collect_metrics=False leaves them out and the loss at 0.
        """
        q = self.quantise(z)
        if not collect_metrics:
            return q, q.new_zeros(()), {}
        per_sample, codebook = self.entropies(z)
        loss = self.weighted(z, q, per_sample, codebook)
        indices = self.codes_to_indexes(q.detach())
        used = None if self.training else indices.unique()
        groups = self.codes_to_group_indexes(q.detach())
        return q, loss, {"H": codebook, "used_codes": used, "indices": indices, "group_indices": groups}
