"""Read and write checkpoints: ``config.json`` and ``model.safetensors`` in a folder or on the Hugging Face Hub.

Only safetensors are read, never pickles. Weights kept in half precision on disk become float32 in use.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from huggingface_hub import (
    PyTorchModelHubMixin,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.utils import HfHubHTTPError  # type: ignore[attr-defined]
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from kronos.errors import KronosError
from kronos.io.atomic import write_file
from kronos.nn.config import ConfigError, NetworkConfig

CONFIG_NAME = constants.CONFIG_NAME
WEIGHTS_NAME = constants.SAFETENSORS_SINGLE_FILE
MAX_CONFIG_BYTES = 1_000_000

WAYS_OUT = (
    "Ways out: give a local folder that holds config.json and model.safetensors; set HF_ENDPOINT to a mirror of the Hub; "
    'or use the embedded model, kronos.load("nano"), which needs no network.'
)

Checkpoint = TypeVar("Checkpoint", bound="HubCheckpoint")


class CheckpointError(KronosError):
    """Error for a checkpoint that cannot be found, reached or read; the message says which and what to do."""


class CheckpointSource(NamedTuple):
    """Source of a network's weights: the name that was asked for, and the file that was read."""

    name: str
    """The Hub id or folder it was asked for by."""
    weights: Path
    """The file that was read."""


def locate(name: str | os.PathLike[str], filename: str, **hub_options: Any) -> Path:
    """Return the path of one file of a checkpoint, in a local folder or downloaded from the Hub.

    Args:
        name: a local folder or a Hub id.
        filename: ``config.json`` or ``model.safetensors``.
        hub_options: revision, token, cache_dir and so on, as `huggingface_hub.hf_hub_download` takes them.

    Raises:
        CheckpointError: the folder lacks the file, or the Hub has no such file or cannot be reached (with the ways out).
    """
    folder = Path(name)
    if folder.is_dir():
        path = folder / filename
        if not path.is_file():
            raise CheckpointError(
                f"the folder {folder} has no {filename}; a checkpoint is {CONFIG_NAME} and {WEIGHTS_NAME}"
            )
        return path
    try:
        if not hub_options.get("local_files_only"):
            _check_reachable(str(name), filename, **hub_options)
        return Path(hf_hub_download(repo_id=str(name), filename=filename, **hub_options))
    except Exception as error:  # the client's many errors share no base class
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{str(name)!r} is no local folder, and {filename} could not be had from the Hugging Face Hub "
            f"({type(error).__name__}: {reason}). {WAYS_OUT}"
        ) from error


def _check_reachable(
    repo: str,
    filename: str,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    **_: Any,
) -> None:
    """Send one request before a file that is not in the cache is downloaded, so that a missing network raises at once.

    The download of the Hub's client retries a refused connection for half a minute before it raises.
    """
    if not force_download and isinstance(try_to_load_from_cache(repo, filename, cache_dir, revision), str):
        return
    try:
        get_hf_file_metadata(
            hf_hub_url(repo, filename, revision=revision), token=token, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    except HfHubHTTPError:  # the Hub answers; what its answer means is the download's to say
        return


def read_config(path: Path) -> dict[str, Any]:
    """Return the mapping in a ``config.json``.

    Raises:
        ConfigError: the file is too large, is not valid JSON, or holds no JSON object.
    """
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path} is too large for a configuration ({path.stat().st_size:,} bytes)")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold an object of settings, found {type(values).__name__}")
    return values


def load_weights(network: nn.Module, path: Path, strict: bool = True) -> None:
    """Copy a safetensors file into the network, casting to the network's own precision.

    Raises:
        CheckpointError: the file is damaged, or its keys or shapes are not the network's (the first few are named).
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
    own = network.state_dict()
    wrong = [
        f"{k} is {list(tensors[k].shape)}, expected {list(own[k].shape)}"
        for k in own.keys() & tensors.keys()
        if tensors[k].shape != own[k].shape
    ]
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    if wrong or (strict and (missing or extra)):
        parts = [
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for keys, what in ((sorted(wrong), "of another shape"), (missing, "missing"), (extra, "unknown"))
            if keys
        ]
        raise CheckpointError(f"{path} does not fit its configuration: tensors {'; '.join(parts)}")
    broken = [k for k, v in tensors.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{path} holds values that are not finite in {', '.join(broken[:3])}: its training diverged"
        )
    network.load_state_dict(tensors, strict=strict)


def write_weights(network: nn.Module, path: Path, half: bool = False) -> None:
    """Write all parameters and buffers to one safetensors file; with half=True the parameters in float16.

    Buffers keep their precision: rotary frequencies in half precision would give late positions wrong angles.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    if half:
        for key, _ in network.named_parameters():
            tensors[key] = tensors[key].to(torch.float16)
    write_file(path, save(tensors, metadata={"format": "pt"}))


class HubCheckpoint(
    PyTorchModelHubMixin, library_name="kronos", tags=["kronos", "time-series-forecasting"], license="mit"
):
    """`from_pretrained`, `save_pretrained` and `push_to_hub`, with a checked configuration and without pickles."""

    config_class: ClassVar[type[NetworkConfig]]
    config: NetworkConfig
    origin: CheckpointSource | None = None

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls: type[Checkpoint],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        map_location: str = "cpu",
        strict: bool = True,
        **overrides: Any,
    ) -> Checkpoint:
        """Load from a local folder or a Hub id, in eval mode.

        Args:
            pretrained_model_name_or_path: a folder with config.json and model.safetensors, or a Hub id such as
                "NeoQuasar/Kronos-small".
            revision: branch, tag or commit on the Hub.
            map_location: the device to put the network on.
            strict: refuse a file with missing or unknown tensors.
            overrides: values that replace those of config.json, such as ``attn_dropout_p=0.1``.

        Raises:
            CheckpointError: nothing there, the Hub out of reach, or weights that do not fit.
            ConfigError: missing, unknown or impossible values in the configuration, by name.
        """
        options: dict[str, Any] = {
            "force_download": force_download,
            "token": token,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
            "revision": revision,
        }
        config_path = locate(pretrained_model_name_or_path, CONFIG_NAME, **options)
        config = cls.config_class.from_dict({**read_config(config_path), **overrides}, source=str(config_path))
        weights = locate(pretrained_model_name_or_path, WEIGHTS_NAME, **options)
        network = cls(**config.to_dict())
        assert isinstance(network, nn.Module)
        load_weights(network, weights, strict)
        network.origin = CheckpointSource(str(pretrained_model_name_or_path), weights)
        return network.to(map_location).eval()

    def save_pretrained(self, save_directory: str | os.PathLike[str], **options: Any) -> str | None:  # type: ignore[override]
        """Write config.json and model.safetensors (and a model card, where there is none) that the reference loads strictly."""
        options.setdefault("config", self.config.to_dict())
        return super().save_pretrained(Path(save_directory), **options)

    def _save_pretrained(self, save_directory: Path) -> None:
        assert isinstance(self, nn.Module)
        write_weights(self, save_directory / WEIGHTS_NAME)


def save_checkpoint(network: HubCheckpoint, folder: str | os.PathLike[str], half: bool = False) -> Path:
    """Write config.json and model.safetensors, each whole or not at all; half=True stores the parameters in float16."""
    assert isinstance(network, nn.Module)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    write_weights(network, target / WEIGHTS_NAME, half)
    write_file(target / CONFIG_NAME, (json.dumps(network.config.to_dict(), indent=2, sort_keys=True) + "\n").encode())
    return target
