"""`load`: make a predictor from a model's name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kronos.hub.generation_config import CALIBRATION_FILE, GenerationConfig
from kronos.hub.pairing import sha256_of
from kronos.hub.registry import ZOO, Published, RegistryEntry, entry_of
from kronos.nn import CheckpointError, Kronos, KronosTokenizer
from kronos.nn.checkpoint import CONFIG_NAME, WEIGHTS_NAME, HubCheckpoint, locate

if TYPE_CHECKING:
    import torch

    from kronos.calibration.calibration import Calibration
    from kronos.generation.paths import Sliding
    from kronos.generation.precision import Precision
    from kronos.heads.head import Head
    from kronos.predictor import KronosPredictor


def pair_settings(name: str | os.PathLike[str]) -> GenerationConfig:
    """Return context and recommended sampling of a short name, a Hub id or a local pair."""
    entry = entry_of(str(name))
    if entry is not None and entry.folder is None:
        return GenerationConfig(max_context=entry.context)
    return GenerationConfig.read(entry.folder if entry is not None and entry.folder is not None else Path(name))


def pair_calibration(name: str | os.PathLike[str]) -> Calibration | None:
    """Return the calibration in the folder of a local pair, or of the built-in pair; None where there is none."""
    from kronos.calibration.calibration import Calibration

    entry = entry_of(str(name))
    if entry is not None and entry.folder is None:
        return None
    path = (entry.folder if entry is not None and entry.folder is not None else Path(name)) / CALIBRATION_FILE
    return Calibration.load(path) if path.is_file() else None


def pair_heads(name: str | os.PathLike[str], model: Kronos) -> dict[str, Head]:
    """The heads that lie in the folder ``heads`` of a local pair, by task."""
    from kronos.heads.head import HEADS_FOLDER, read_heads

    entry = entry_of(str(name))
    folder = Path(name) if entry is None else entry.folder
    return {} if folder is None or not (folder / HEADS_FOLDER).is_dir() else read_heads(folder, model)


def load(
    name_or_path: str | os.PathLike[str] = "nano",
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    max_context: int | None = None,
    clip: float | None = None,
    sliding: Sliding | Literal["auto"] = "auto",
    precision: Precision = "float32",
    memory: int | None = None,
    **hub_options: Any,
) -> KronosPredictor:
    """Load a predictor with the model's tokenizer and context, in eval mode, on the best device.

    Args:
        name_or_path: "nano" (built in, needs no network), "mini", "small", "base"; a Hub id; or a local folder that holds
            the folders ``model`` and ``tokenizer``, or a model alone if ``tokenizer`` is given.
        tokenizer: Hub id or folder of the tokenizer, where it does not follow from the name.
        device: None takes cuda, else mps, else cpu.
        max_context: None takes the model's own.
        clip: as in `KronosPredictor`, like the next three; None takes the pair's own, which is 5 where it says none.
        sliding: how the window moves past the context.
        precision: of the weights.
        memory: bytes that a batch may take.
        hub_options: revision (of the model), cache_dir, token, local_files_only, force_download, as in `from_pretrained`.

    Raises:
        CheckpointError: nothing of that name, the Hub out of reach (the message names the ways out), or a file that is not
            the published one.
        ValueError: a pair that does not fit together, or a calibration or head that cannot be read or belongs to another model.
    """
    from kronos.predictor import KronosPredictor

    entry, folder = entry_of(str(name_or_path)), Path(name_or_path)
    tokenizer_options = {**hub_options, "revision": None}  # a revision belongs to one repository
    settings = pair_settings(name_or_path)
    if entry is not None and entry.model is not None and entry.tokenizer is not None:
        if tokenizer is None:
            loaded_tokenizer = _published(KronosTokenizer, entry.tokenizer, tokenizer_options)
        else:
            loaded_tokenizer = KronosTokenizer.from_pretrained(tokenizer, **tokenizer_options)
        model = _published(Kronos, entry.model, hub_options)
    else:
        model_at, tokenizer_at = _local_pair(entry, folder, tokenizer)
        loaded_tokenizer = KronosTokenizer.from_pretrained(tokenizer_at, **tokenizer_options)
        model = Kronos.from_pretrained(model_at, **hub_options)
    return KronosPredictor(
        model,
        loaded_tokenizer,
        device,
        settings.max_context if max_context is None else max_context,
        settings.clip if clip is None else clip,
        sliding=sliding,
        precision=precision,
        memory=memory,
        sampling=settings.sampling,
        trained_bars=settings.trained_bars,
        calibration=pair_calibration(name_or_path),
        heads=pair_heads(name_or_path, model),
    )


def load_tokenizer(name_or_path: str | os.PathLike[str], **hub_options: Any) -> KronosTokenizer:
    """Load the tokenizer of a short name, of a folder (a pair's or its own) or of a Hub id, in eval mode; raises as `load`."""
    return _network(KronosTokenizer, "tokenizer", name_or_path, hub_options)


def load_model(name_or_path: str | os.PathLike[str], **hub_options: Any) -> Kronos:
    """Load the model of a short name, of a folder (a pair's or its own) or of a Hub id, in eval mode; raises as `load`."""
    return _network(Kronos, "model", name_or_path, hub_options)


def _network(kind: type[HubCheckpoint], part: str, name: str | os.PathLike[str], hub_options: dict[str, Any]) -> Any:
    entry = entry_of(str(name))
    if entry is not None and (published := getattr(entry, part)) is not None:
        return _published(kind, published, hub_options)
    folder = Path(name) if entry is None or entry.folder is None else entry.folder
    if (folder / part / CONFIG_NAME).is_file():
        folder = folder / part
    if "/" not in str(folder) and not folder.exists():
        raise CheckpointError(f"no {part} {str(folder)!r}: the zoo has {', '.join(ZOO)}, and there is no such folder")
    return kind.from_pretrained(folder, **hub_options)


def _published(network: type[HubCheckpoint], published: Published, hub_options: dict[str, Any]) -> Any:
    """Load a published checkpoint at its pinned revision, and check that it is the published file."""
    revision = hub_options.get("revision") or published.revision
    options = {**hub_options, "revision": revision}
    if revision == published.revision and published.sha256 is not None:
        weights = locate(published.repo, WEIGHTS_NAME, **options)
        found = sha256_of(weights)
        if found != published.sha256:
            raise CheckpointError(
                f"{weights} is not the published {published.short}: its sha256 is {found}, expected {published.sha256}. "
                "Delete it and download again (force_download=True)"
            )
    return network.from_pretrained(published.repo, **options)


def _local_pair(entry: RegistryEntry | None, folder: Path, tokenizer: str | os.PathLike[str] | None) -> tuple[str, str]:
    """Where model and tokenizer of a folder, of the embedded pair or of an unknown Hub id are."""
    if entry is not None and entry.folder is not None:
        folder = entry.folder
    if (folder / "model" / CONFIG_NAME).is_file():
        if tokenizer is None and not (folder / "tokenizer").is_dir():  # never take its relative path for a Hub id
            raise CheckpointError(
                f"the folder {folder} has a model but no folder tokenizer; add it, or name the tokenizer (tokenizer=...)"
            )
        return str(folder / "model"), str(tokenizer or folder / "tokenizer")
    if tokenizer is not None:
        return str(folder), str(tokenizer)
    if folder.is_dir():
        what = (
            "holds one network"
            if (folder / CONFIG_NAME).is_file()
            else f"has neither {CONFIG_NAME} nor folders model/ and tokenizer/"
        )
        raise CheckpointError(
            f"the folder {folder} {what}; give a folder that holds model/ and tokenizer/, or name the tokenizer too (tokenizer=...)"
        )
    if "/" not in str(folder):
        raise CheckpointError(f"no model {str(folder)!r}: the zoo has {', '.join(ZOO)}, and there is no such folder")
    raise CheckpointError(
        f"{str(folder)!r} is not a folder, nor in the zoo ({', '.join(ZOO)}); for another Hub id name its tokenizer too "
        "(tokenizer=...)"
    )
