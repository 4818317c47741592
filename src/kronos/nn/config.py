"""Settings of the two networks: the keys of a checkpoint's ``config.json`` (docs/model.md, sections 3 and 4), checked once, here.

Keys that are absent from published checkpoints are optional, and are written only where they differ from their default, so
that a configuration read from a published file is written back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, TypeVar

from kronos.errors import KronosError
from kronos.number_checks import is_plain_number, is_plain_whole

Config = TypeVar("Config", bound="NetworkConfig")


class ConfigError(KronosError):
    """Error for a network's configuration with missing, unknown or invalid values; the message names them."""


@dataclass(frozen=True)
class NetworkConfig:
    """Base class of both networks' settings: reads and writes the mapping of ``config.json``, and checks it."""

    @classmethod
    def from_dict(cls: type[Config], values: Mapping[str, Any], source: str = "the configuration") -> Config:
        """Build from the mapping that ``config.json`` holds.

        Raises:
            ConfigError: naming every missing and every unknown key, or the invalid value.
        """
        known = {f.name: f for f in fields(cls)}
        required = [name for name, f in known.items() if f.default is MISSING]
        missing = [name for name in required if name not in values]
        unknown = [name for name in values if name not in known]
        problems = []
        if missing:
            problems.append(f"lacks {', '.join(missing)}")
        if unknown:
            problems.append(f"has unknown {', '.join(map(str, unknown))} (known: {', '.join(known)})")
        if problems:
            raise ConfigError(f"{source} {' and '.join(problems)}")
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping for ``config.json``: all required keys, and the optional ones that differ from their default."""
        defaults = {f.name: f.default for f in fields(self)}
        return {
            name: value for name, value in asdict(self).items() if defaults[name] is MISSING or value != defaults[name]
        }

    def _check_counts(self, *names: str, least: int = 1) -> None:
        for name in names:
            value = getattr(self, name)
            if not is_plain_whole(value, least):
                raise ConfigError(f"{name} must be a whole number of at least {least}, found {value!r}")

    def _check_fractions(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not is_plain_number(value) or not 0.0 <= value < 1.0:
                raise ConfigError(f"{name} is a dropout probability and must be in [0, 1), found {value!r}")

    def _check_weights(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not is_plain_number(value) or not 0.0 <= value < float("inf"):
                raise ConfigError(f"{name} must be a finite number of at least 0, found {value!r}")

    def _check_flags(self, *names: str) -> None:
        for name in names:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be true or false, found {getattr(self, name)!r}")

    def _check_heads(self, d_model: int, n_heads: int, what: str) -> None:
        if d_model % n_heads or (d_model // n_heads) % 2:
            raise ConfigError(
                f"d_model {d_model} cannot be split over {n_heads} {what}: rotary positions need an even, whole head size"
            )

    def _check_bits(self, s1_bits: int, s2_bits: int) -> None:
        if max(s1_bits, s2_bits) > 20:
            raise ConfigError(f"s1_bits and s2_bits must be at most 20 each, found {s1_bits} and {s2_bits}")


@dataclass(frozen=True)
class TokenizerConfig(NetworkConfig):
    """Settings of `KronosTokenizer` (docs/model.md, section 3).

    ``n_enc_layers`` and ``n_dec_layers`` count one block more than the network has: published checkpoints depend on it.
    ``codebook_entropy`` chooses the codebook term of the loss: "bits" as the published code computes it, "groups" as the
    method describes it (entropy of the average soft assignment over the 2^group_size codes of each group).
    ``entropy_sharpness`` multiplies what goes into the sigmoid and the softmax of both entropies (published: 1).
    """

    d_in: int
    d_model: int
    n_heads: int
    ff_dim: int
    n_enc_layers: int
    n_dec_layers: int
    ffn_dropout_p: float
    attn_dropout_p: float
    resid_dropout_p: float
    s1_bits: int
    s2_bits: int
    beta: float
    gamma0: float
    gamma: float
    zeta: float
    group_size: int
    codebook_entropy: str = "bits"
    entropy_sharpness: float = 1.0

    def __post_init__(self) -> None:
        self._check_counts("d_in", "d_model", "n_heads", "ff_dim", "n_enc_layers", "n_dec_layers")
        self._check_counts("s1_bits", "s2_bits", "group_size")
        self._check_fractions("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p")
        self._check_weights("beta", "gamma0", "gamma", "zeta", "entropy_sharpness")
        self._check_heads(self.d_model, self.n_heads, "heads")
        self._check_bits(self.s1_bits, self.s2_bits)
        if (self.s1_bits + self.s2_bits) % self.group_size:
            raise ConfigError(
                f"group_size {self.group_size} does not divide s1_bits + s2_bits = {self.s1_bits + self.s2_bits}"
            )
        if self.codebook_entropy not in ("bits", "groups"):
            raise ConfigError(f'codebook_entropy must be "bits" or "groups", found {self.codebook_entropy!r}')
        if self.codebook_entropy == "groups" and self.group_size > 12:
            raise ConfigError(f'codebook_entropy "groups" needs a group_size of at most 12, found {self.group_size}')


@dataclass(frozen=True)
class ModelConfig(NetworkConfig):
    """Settings of `Kronos` (docs/model.md, section 4).

    ``dependency_rotary``: whether generation rotates the queries and keys of the dependency layer as training does. Published
    checkpoints are generated from without it (absent, False), although they were trained with it; our own training writes
    True, so that a model generates as it was trained (docs/model.md, sections 4 and 7).
    """

    s1_bits: int
    s2_bits: int
    n_layers: int
    d_model: int
    n_heads: int
    ff_dim: int
    ffn_dropout_p: float
    attn_dropout_p: float
    resid_dropout_p: float
    token_dropout_p: float
    learn_te: bool
    dependency_rotary: bool = False

    def __post_init__(self) -> None:
        self._check_counts("s1_bits", "s2_bits", "n_layers", "d_model", "n_heads", "ff_dim")
        self._check_fractions("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p", "token_dropout_p")
        self._check_flags("learn_te", "dependency_rotary")
        self._check_heads(self.d_model, self.n_heads, "heads")
        self._check_heads(self.d_model, 4, "heads of the dependency layer")
        self._check_bits(self.s1_bits, self.s2_bits)
