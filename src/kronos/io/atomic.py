"""Write files and folders atomically: whole or not at all."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


_inputs: dict[tuple[int, int], Path] = {}
"""Files that the running command reads, by device and inode; empty in a library."""


@contextmanager
def inputs_kept(paths: Iterable[str | Path]) -> Iterator[None]:
    """Refuse to write over these files, or those directly in these folders, inside the block, by any spelling or link.

    Raises:
        ValueError: from `write_file` and `whole_folder`, when they are asked to.
    """
    before = dict(_inputs)
    for path in map(Path, paths):
        files = [path] if path.is_file() else [p for p in path.iterdir() if p.is_file()] if path.is_dir() else []
        for file in files:
            facts = file.stat()
            _inputs[facts.st_dev, facts.st_ino] = file
    try:
        yield
    finally:
        _inputs.clear()
        _inputs.update(before)


def check_not_input(path: Path) -> None:
    """Raise ValueError where ``path`` is a file that the running command reads."""
    if _inputs and path.exists():
        facts = path.stat()
        found = _inputs.get((facts.st_dev, facts.st_ino))
        if found is not None:
            raise ValueError(f"{path} is {found}, which is read: it would be written over; name another file or folder")


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, by renaming a temporary file beside it: a reader sees the old content or the new one.

    Raises:
        ValueError: the file is an input of the running command.
    """
    check_not_input(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` to write into, which replaces ``target`` at the end; an error deletes it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for file in target.rglob("*") if _inputs and target.is_dir() else ():
        check_not_input(file)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def json_bytes(value: object) -> bytes:
    """Return JSON bytes, indented, with a newline at the end."""
    return (json.dumps(value, indent=2) + "\n").encode()


def parquet_bytes(table: pa.Table) -> bytes:
    """Return an Arrow table as the bytes of a Parquet file; the same table gives the same bytes."""
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
