"""A resumable output folder: the settings of a run as JSON, and parts that are written whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from kronos.errors import Argument, KronosError, Message
from kronos.io.atomic import json_bytes
from kronos.io.storage import Storage

SETTINGS = "settings.json"
SHOWN = 3
"""Differing settings, or names of files, that an error spells out; the others are counted."""
VALUE_WIDTH = 60
"""Characters of a setting's value in an error."""

OTHER_FOLDER = Message("give another folder, or ", Argument("overwrite", True), " to begin anew")
"""Default advice of an error about other settings."""


class RunFolder:
    """Resumable folder of one run: opened again with the same settings, the run goes on where it was stopped.

    A folder is opened in one of three states:

    - new or empty: it is made, with its parents, and the settings are written;
    - a run with the same settings: it is kept, and `is_done` says which parts it has;
    - a run with other settings: refused, or with ``overwrite`` cleared of what ``owns`` names and begun anew.

    Whatever is neither the run's own nor ``shared`` is foreign. A run is not begun, and nothing is deleted, in a folder that
    holds foreign files; they do not keep a run with the same settings from going on. Names that begin with . or _ do not count.

    Patterns are those of `fnmatch`, for each part of a path: ``*`` does not match a slash. One that ends in a slash names a folder
    and all that is in it.

    Args:
        place: a path, a URI (see `kronos.io.storage`) or an opened storage.
        settings: what the parts depend on; anything that JSON holds. None is the same as a setting that is not there, so that a
            run goes on when a later version has one setting more, which is None.
        overwrite: begin anew where there is a run already.
        owns: patterns of the files that the run writes, besides its settings.
        shared: patterns of files that other steps keep in the same folder; they are left alone and are no fault.
        free: names of settings that may differ when a run goes on.
        record: name of the file of settings.
        remedy: what an error about other settings advises.

    Raises:
        ValueError: ``place`` is a file, holds foreign files, a run with other settings, or settings that cannot be read.
    """

    def __init__(
        self,
        place: str | Path | Storage,
        settings: Mapping[str, Any],
        overwrite: bool = False,
        owns: Sequence[str] = (),
        *,
        shared: Sequence[str] = (),
        free: Sequence[str] = (),
        record: str = SETTINGS,
        remedy: str = OTHER_FOLDER,
    ) -> None:
        self.storage = place if isinstance(place, Storage) else Storage(str(place))
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.owns, self.shared, self.free = tuple(owns), tuple(shared), tuple(free)
        self.record, self.remedy = record, remedy
        if self.storage.file is not None:
            raise ValueError(f"{self.storage.place} is a file; give a folder")
        self._begin(overwrite)

    def __str__(self) -> str:
        return self.storage.place

    def is_done(self, part: str) -> bool:
        """Whether a part has been written."""
        return self.storage.has(part)

    def done(self, pattern: str) -> list[str]:
        """Names of the parts of a pattern that have been written, in order; wildcards stand in the last part of it."""
        return [e.name for e in self.storage.list(pattern.rpartition("/")[0]) if matches(e.name, pattern)]

    def write(self, part: str, content: bytes) -> None:
        """Write a part whole or not at all, in its folder inside this one."""
        self.storage.write(part, content)

    def read(self, part: str) -> bytes | None:
        """Bytes of a part, None where it has not been written."""
        return self.storage.read(part)

    def path(self, part: str) -> Path:
        """Path of a part on the local disk."""
        return Path(self.storage.path(part))

    def clear(self, *patterns: str) -> None:
        """Delete what the run wrote, or only that of some patterns, and folders that become empty; the settings stay."""
        chosen = patterns or self.owns
        for entry in self.storage.list():
            if any(matches(entry.name, pattern) for pattern in chosen):
                self.storage.delete(entry.name)

    def remove(self) -> None:
        """Delete all that the run wrote, its settings too, and the folder where nothing else is in it."""
        self.clear()
        self.storage.delete(self.record)
        self.storage.remove_if_empty()

    def _begin(self, overwrite: bool) -> None:
        before = self._settings_before()
        changes = [] if before is None else self._changes(before)
        if changes and not overwrite:
            raise KronosError(f"{self} was made with other settings: {_listed(changes)}; ", self.remedy)
        if before is None or overwrite:
            own = () if before is None else self.owns
            refuse_foreign(str(self), (entry.name for entry in self.storage.list()), (self.record, *own, *self.shared))
        if before is not None and overwrite:
            self.clear()
        if before != self.settings:
            self.write(self.record, json_bytes(self.settings))

    def _settings_before(self) -> dict[str, Any] | None:
        """Settings of the run that the folder holds, None where it holds none."""
        content = self.read(self.record)
        if content is None:
            return None
        path = f"{self}/{self.record}"
        try:
            found = json.loads(content)
        except ValueError as error:
            raise ValueError(
                f"{path} cannot be read as JSON ({str(error).splitlines()[0]}): it may be cut off; give another folder, "
                "or delete this one by hand"
            ) from error
        if not isinstance(found, dict) or not found.keys() & self.settings.keys():
            raise ValueError(f"{path} does not hold the settings of such a run; give another folder")
        return found

    def _changes(self, before: dict[str, Any]) -> list[str]:
        """The settings that differ, each with both values."""
        old, new = _flat(before, self.free), _flat(self.settings, self.free)
        names = [*new, *(name for name in old if name not in new)]
        return [
            f"{name} was {_shown(old.get(name))} and is {_shown(new.get(name))}"
            for name in names
            if old.get(name) != new.get(name)
        ]


def refuse_foreign(place: str, names: Iterable[str], allowed: Sequence[str]) -> None:
    """Raise ValueError where files of a folder match none of the allowed patterns.

    Args:
        place: the folder, as the error names it.
        names: of its files, relative to it.
        allowed: patterns as in `RunFolder`.
    """
    foreign = [name for name in names if not any(matches(name, pattern) for pattern in allowed)]
    if foreign:
        raise ValueError(
            f"{place} holds other files, which are not of this run: {_listed(foreign)}; give an empty or a new folder"
        )


def matches(name: str, pattern: str) -> bool:
    """Whether a relative name matches a pattern part by part, or lies in the folder that a pattern ending in a slash names."""
    if pattern.endswith("/"):
        return name.startswith(pattern)
    names, patterns = name.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))


def _flat(settings: Mapping[str, Any], free: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """Settings of nested mappings, by names with dots between; those of ``free`` and None are left out."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, free, f"{prefix}{name}.")
        elif value is not None and f"{prefix}{name}" not in free:
            flat[f"{prefix}{name}"] = value
    return flat


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= VALUE_WIDTH else f"{text[: VALUE_WIDTH - 3]}..."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
