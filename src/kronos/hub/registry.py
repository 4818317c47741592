"""Registry of the published checkpoints and the built-in pair: names, pinned revisions, checksums (docs/model.md, section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """Published checkpoint: a repository of the Hugging Face Hub at one revision.

    Attributes:
        repo: its Hub id.
        parameters: number of the network's parameters.
        revision: the pinned commit, or None where none is known (then the latest is taken and cannot be checked).
        size, sha256: of its model.safetensors, or None.
    """

    repo: str
    parameters: int
    revision: str | None = None
    size: int | None = None
    sha256: str | None = None

    @property
    def short(self) -> str:
        """The repository's name without its owner."""
        return self.repo.split("/")[-1]


TOKENIZER_2K = Published(
    "NeoQuasar/Kronos-Tokenizer-2k",
    3_958_042,
    "26966d0035065a0cae0ebad7af8ece35bc1fb51c",
    15_842_376,
    "b97ec46b3b72160509e289183eaf7bdf5f0dac5bb9b49522f6d46638a99a8717",
)
TOKENIZER_BASE = Published(
    "NeoQuasar/Kronos-Tokenizer-base",
    3_958_042,
    "0e0117387f39004a9016484a186a908917e22426",
    15_842_368,
    "59d85f6af76a2c3b8240ea06cb21db4213b4eeca053f246b23e29cf832fc6bee",
)


@dataclass(frozen=True)
class RegistryEntry:
    """Registered pair: a model, its tokenizer, and the bars that the model sees at most."""

    name: str
    context: int
    model: Published | None = None
    tokenizer: Published | None = None
    folder: Path | None = None
    """Folder of the built-in pair; the others are on the Hub."""


ZOO: dict[str, RegistryEntry] = {
    entry.name: entry
    for entry in (
        RegistryEntry("nano", 512, folder=Path(__file__).parent / "nano"),
        RegistryEntry(
            "mini",
            2048,
            Published(
                "NeoQuasar/Kronos-mini",
                4_108_032,
                "f4e68697d9d5aed55cef5c96aabc3376bcad9f81",
                16_440_776,
                "a7d5f37e2e9fbd9891f7d7d4f72574512dd1f704fee14223e0a8cd0fbf54197c",
            ),
            TOKENIZER_2K,
        ),
        RegistryEntry(
            "small",
            512,
            Published(
                "NeoQuasar/Kronos-small",
                24_741_376,
                "901c26c1332695a2a8f243eb2f37243a37bea320",
                98_980_656,
                "b082dfcbd8e8c142a725c8bbb99781802f38fec81210e13479effb32b3c3e020",
            ),
            TOKENIZER_BASE,
        ),
        RegistryEntry("base", 512, Published("NeoQuasar/Kronos-base", 102_310_592), TOKENIZER_BASE),
    )
}

PUBLISHED: tuple[Published, ...] = (
    TOKENIZER_2K,
    TOKENIZER_BASE,
    *(e.model for e in ZOO.values() if e.model is not None),
)


def entry_of(name: str) -> RegistryEntry | None:
    """Return the entry of a short name ("small") or of a published model's Hub id, in any case; None where there is none."""
    wanted = name.lower()
    for entry in ZOO.values():
        if wanted == entry.name or (entry.model is not None and wanted == entry.model.repo.lower()):
            return entry
    return None
