"""A head: a small network on the model's last hidden state and the lookback's volatility, and its two files.

It answers in one pass, without sampling: the quantiles of the return at every step ("distribution"), the probabilities of a fall,
of little change and of a rise over the horizon ("direction"), or a score to order series by ("rank").

Every output is a part that reads the volatility features alone plus a part that reads the hidden state. The second begins at zero,
so that a head without it is the baseline that training starts from and is compared with.

Legend: N windows, K steps, D model width, F features, G frequencies, O outputs of the state's part, Q quantile levels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kronos.calibration.volatility_features import FEATURES
from kronos.io.atomic import json_bytes, write_file
from kronos.number_checks import check_plain_whole, is_plain_number

if TYPE_CHECKING:
    from kronos.heads.examples import HeadInputs

VERSION = 1
HEADS_FOLDER = "heads"
"""Folder of a pair that holds its heads."""
HeadTask = Literal["distribution", "direction", "rank"]
TASKS: tuple[HeadTask, ...] = ("distribution", "direction", "rank")
LEVELS = (0.005, 0.01, *(k / 40 for k in range(1, 40)), 0.99, 0.995)
"""Quantile levels of a distribution head; others are interpolated, and those beyond take the outermost."""
STATE_CLIP = 8.0
"""Standardised states are clipped to this absolute value."""
LOG_SCALES = (-2.5, 2.5)
"""Bounds of the logarithm of the scale, in units of the lookback's volatility and the root of the step."""


@dataclass(frozen=True)
class HeadSpec:
    """Shape of a head.

    Attributes:
        task: one of `TASKS`.
        horizon: steps K that it was trained for.
        width: D of the model.
        frequencies: those with an offset of their own, sorted; 0 for others.
        hidden: units of one hidden layer between state and output; 0 is a linear map.
        past_covariates, known_covariates: names of further columns, those read at past times and those known ahead.
        band: "direction": a return within this many lookback volatilities times the root of the horizon is little change.
    """

    task: HeadTask
    horizon: int
    width: int
    frequencies: tuple[str, ...] = ()
    hidden: int = 0
    band: float = 0.4
    past_covariates: tuple[str, ...] = ()
    known_covariates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        both = (*self.past_covariates, *self.known_covariates)
        if len(set(both)) < len(both):
            raise ValueError(f"a covariate is named twice: {', '.join(both)}")
        if self.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}, found {self.task!r}")
        for name, least in (("horizon", 1), ("width", 1), ("hidden", 0)):
            check_plain_whole(getattr(self, name), name, least)
        if not is_plain_number(self.band) or not 0 < self.band < 10:
            raise ValueError(f"band must be a positive number below 10, found {self.band!r}")

    @property
    def outputs(self) -> int:
        """O: level and slope over the steps of scale and location; three logits; or one score."""
        return {"distribution": 4, "direction": 3, "rank": 1}[self.task]

    @property
    def covariates(self) -> int:
        """Columns of `covariate_columns`: two of each name."""
        return 2 * (len(self.past_covariates) + len(self.known_covariates))

    @property
    def known(self) -> int:
        """Columns of `known_NKC`: the features, two products with the step, 1, and two a frequency."""
        return len(FEATURES) + 3 + 2 * len(self.frequencies)


class HeadNetwork(nn.Module):
    """The network of a head; see the module."""

    mean: Tensor
    scale: Tensor
    covariate_mean: Tensor
    covariate_scale: Tensor

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        outputs = 1 if spec.task == "distribution" else spec.outputs
        self.from_features = nn.Linear(spec.known, outputs, bias=False)
        nn.init.zeros_(self.from_features.weight)
        inner = spec.hidden or spec.width
        self.inner = nn.Linear(spec.width, spec.hidden) if spec.hidden else nn.Identity()
        self.from_state = nn.Linear(inner, spec.outputs)
        nn.init.zeros_(self.from_state.weight)
        nn.init.zeros_(self.from_state.bias)
        self.register_buffer("mean", torch.zeros(spec.width))
        self.register_buffer("scale", torch.ones(spec.width))
        if spec.covariates:
            # Of each column its standardised value and whether it is missing; to scale and location, or to the outputs.
            self.from_covariates = nn.Linear(
                2 * spec.covariates, 2 if spec.task == "distribution" else spec.outputs, bias=False
            )
            nn.init.zeros_(self.from_covariates.weight)
            self.register_buffer("covariate_mean", torch.zeros(spec.covariates))
            self.register_buffer("covariate_scale", torch.ones(spec.covariates))
        if spec.task == "distribution":
            normal = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(LEVELS, dtype=torch.float64)).float()
            steps = torch.log(torch.expm1(normal.diff().clamp(min=1e-4)))
            # Shapes of the first and of the last step: the lowest quantile, and what each lies above the one before.
            self.lowest = nn.Parameter(normal[:1].repeat(2))
            self.rises = nn.Parameter(steps[None].repeat(2, 1))

    def standardised(self, states_ND: Tensor) -> Tensor:
        """States less their mean over the training windows, over their deviation."""
        return ((states_ND - self.mean) / self.scale).clamp(-STATE_CLIP, STATE_CLIP)

    def covariate_part(self, covariates_NKX: Tensor) -> Tensor:
        """Contribution of the covariates, [N, K, 2] or [N, K, O]; a missing one adds a constant that was learnt for it."""
        missing = covariates_NKX.isnan()
        value = ((covariates_NKX - self.covariate_mean) / self.covariate_scale).clamp(-STATE_CLIP, STATE_CLIP)
        found: Tensor = self.from_covariates(torch.cat((value.masked_fill(missing, 0.0), missing.float()), -1))
        return found

    def forward(
        self,
        states_ND: Tensor,
        known_NKC: Tensor,
        use_state: bool = True,
        dropout: float = 0.0,
        covariates_NKX: Tensor | None = None,
    ) -> Tensor:
        """Quantiles [N, K, Q] in units of the lookback's volatility and the root of the step, logits [N, 3], or scores [N]."""
        state_NO = None
        if use_state:
            inner = self.inner(self.standardised(states_ND))
            inner = torch.tanh(inner) if self.spec.hidden else inner
            state_NO = self.from_state(F.dropout(inner, dropout, self.training and dropout > 0))
        further = None
        if covariates_NKX is not None and self.spec.covariates:
            further = self.covariate_part(covariates_NKX)
        if self.spec.task == "distribution":
            return self._quantiles(known_NKC, state_NO, further)
        found = self.from_features(known_NKC[:, -1])
        found = found if state_NO is None else found + state_NO
        found = found if further is None else found + further[:, -1]
        return found[:, 0] if self.spec.task == "rank" else found

    def _quantiles(self, known_NKC: Tensor, state_NO: Tensor | None, further_NK2: Tensor | None = None) -> Tensor:
        steps = known_NKC.shape[1]
        along_K = torch.log(torch.arange(1, steps + 1, device=known_NKC.device)) / np.log(max(self.spec.horizon, 2))
        log_scale_NK = self.from_features(known_NKC)[..., 0]
        location_NK: Tensor | None = None
        if state_NO is not None:
            log_scale_NK = log_scale_NK + state_NO[:, :1] + state_NO[:, 1:2] * (along_K - 0.5)
            location_NK = state_NO[:, 2:3] + state_NO[:, 3:] * (along_K - 0.5)
        if further_NK2 is not None:
            log_scale_NK = log_scale_NK + further_NK2[..., 0]
            location_NK = further_NK2[..., 1] if location_NK is None else location_NK + further_NK2[..., 1]
        rises = F.softplus(self.rises)
        shapes_2Q = torch.cat((self.lowest[:, None], self.lowest[:, None] + rises.cumsum(1)), 1)
        shape_KQ = shapes_2Q[0] + (shapes_2Q[1] - shapes_2Q[0]) * along_K[:, None]
        scale_NK = torch.exp(log_scale_NK.clamp(*LOG_SCALES))
        found = scale_NK[..., None] * shape_KQ
        return found if location_NK is None else found + location_NK[..., None]


def known_columns(spec: HeadSpec, features_NKF: np.ndarray, frequency_N: Sequence[str] | np.ndarray) -> np.ndarray:
    """Columns float32 [N, K, C] that the features' part is linear in: the features, recent and range times the step's logarithm, 1,
    and for each frequency 1 and the step's logarithm where the window is of it."""
    f = np.asarray(features_NKF, np.float64)
    step = f[..., :1]
    one = np.ones_like(step)
    columns = [f, f[..., 1:3] * step, one]
    for name in spec.frequencies:
        own = (np.asarray(frequency_N) == name)[:, None, None]
        columns += [own * one, own * step]
    return np.concatenate(columns, -1).astype(np.float32)


@dataclass
class Head:
    """A trained head.

    Attributes:
        spec: its shape. network: its weights.
        model: `model_digest` of the model whose states it reads.
        lookback: bars of the windows that it was trained on.
        trained_on: first and last bar, windows, seed; what an audit reads.
        verdict: scores on the last windows, which it was not trained on.
        tested: numbers of these windows among those that it was trained with; not kept in its file.
    """

    spec: HeadSpec
    network: HeadNetwork
    model: str = ""
    lookback: int = 0
    trained_on: dict[str, Any] = field(default_factory=dict)
    verdict: dict[str, Any] = field(default_factory=dict)
    tested: tuple[int, ...] = ()

    @torch.no_grad()
    def __call__(self, inputs: HeadInputs, use_state: bool = True) -> np.ndarray:
        """Outputs in float64: quantiles [N, K, Q] of the log return on the last close at `LEVELS`, probabilities [N, 3] of a fall,
        little change and a rise over the horizon, or scores [N].

        ``use_state=False`` leaves out the parts that read the hidden state and the covariates.

        Raises:
            ValueError: states of another width, or more steps than the head was trained for (for direction and rank, others).
        """
        steps, width = inputs.features.shape[1], inputs.states.shape[1]
        if width != self.spec.width:
            raise ValueError(
                f"the head reads states of width {self.spec.width}, found {width}: it belongs to another model"
            )
        whole = self.spec.task != "distribution"
        if steps > self.spec.horizon or (whole and steps != self.spec.horizon):
            asked = "exactly" if whole else "at most"
            raise ValueError(
                f"this head was trained for {asked} {self.spec.horizon} bars ahead, found {steps} y_timestamps: give as many, or "
                f"train another for a horizon of {steps} with kronos heads train"
            )
        known = torch.from_numpy(known_columns(self.spec, inputs.features, inputs.frequency))
        self.network.eval()
        further = torch.from_numpy(inputs.covariates).float() if use_state and self.spec.covariates else None
        states = torch.from_numpy(np.asarray(inputs.states, np.float32))
        found = self.network(states, known, use_state, 0.0, further).double()
        if self.spec.task == "distribution":
            unit = inputs.volatility[:, None] * np.sqrt(np.arange(1, steps + 1))
            return found.numpy() * unit[..., None]
        return found.softmax(-1).numpy() if self.spec.task == "direction" else found.numpy()

    def save(self, folder: str | Path) -> Path:
        """Write TASK.safetensors and TASK.json into a folder, which is made; the JSON file last.

        Returns:
            The JSON file.
        """
        from safetensors.torch import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        write_file(folder / f"{self.spec.task}.safetensors", save(tensors))
        values = {"version": VERSION, "levels": list(LEVELS), **_described(self)}
        target = folder / f"{self.spec.task}.json"
        write_file(target, json_bytes(values))
        return target

    @classmethod
    def load(cls, path: str | Path) -> Head:
        """Read what `save` wrote.

        Args:
            path: the JSON file.

        Raises:
            ValueError: no head of this version, or weights that do not fit it.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        path = Path(path)
        again = f"train it again with kronos heads train, or delete {path}"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict) or values.pop("version", None) != VERSION:
                raise ValueError(f"it is not of version {VERSION}")
            if tuple(values.pop("levels", ())) != LEVELS:
                raise ValueError("its quantile levels are not those of this version")
            spec = values.pop("spec")
            listed = ("frequencies", "past_covariates", "known_covariates")  # the last two: not in older files
            network = HeadNetwork(HeadSpec(**{**spec, **{name: tuple(spec.get(name, ())) for name in listed}}))
            tensors = load(path.with_suffix(".safetensors").read_bytes())
            if any(not torch.isfinite(value).all() for value in tensors.values()):
                raise ValueError("its weights are not finite")
            network.load_state_dict(tensors)
            return cls(network.spec, network.eval(), **values)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            raise ValueError(f"{path} cannot be read as a head ({str(error).splitlines()[0]}): {again}") from error


def _described(head: Head) -> dict[str, Any]:
    """All of a head but its weights, for JSON."""
    values = {name: getattr(head, name) for name in head.__dataclass_fields__ if name not in ("network", "tested")}
    return {**values, "spec": asdict(head.spec)}


def model_digest(model: nn.Module) -> str:
    """A hash of a model's weights, the same in every place that they are loaded in float32."""
    content = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        content.update(name.encode() + value.detach().float().cpu().contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


def write_heads(heads: Mapping[str, Head], folder: Path) -> None:
    """Write the heads of a pair into its folder, and delete others that lie there: they belong to the pair before."""
    for task in TASKS:
        if task in heads:
            heads[task].save(folder / HEADS_FOLDER)
        else:
            for suffix in (".json", ".safetensors"):
                (folder / HEADS_FOLDER / f"{task}{suffix}").unlink(missing_ok=True)


def read_heads(folder: Path, model: nn.Module) -> dict[str, Head]:
    """The heads that lie in a pair's folder, by task.

    Raises:
        ValueError: one cannot be read, or was trained on another model.
    """
    paths = [folder / HEADS_FOLDER / f"{task}.json" for task in TASKS]
    found = {path.stem: Head.load(path) for path in paths if path.is_file()}
    digest = model_digest(model) if found else ""
    for name, head in found.items():
        if head.model != digest:
            raise ValueError(
                f"{folder / HEADS_FOLDER / name}.json was trained on another model than the one in {folder} (digest {head.model}, "
                f"found {digest}): train it again with kronos heads train, or delete it"
            )
    return found
