"""Writing files and folders whole or not at all."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def write_file(path: Path, content: bytes) -> None:
    """Into a temporary file beside it, then renamed: a reader sees the old file or the new one, never a half."""
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
    """A temporary folder to write into, beside ``target``, whose place it takes at the end; after an error it is gone."""
    target.parent.mkdir(parents=True, exist_ok=True)
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
    """JSON to read and to compare: indented, with a newline at its end."""
    return (json.dumps(value, indent=2) + "\n").encode()


def parquet_bytes(table: pa.Table) -> bytes:
    """An Arrow table as a Parquet file; the same table gives the same bytes."""
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
