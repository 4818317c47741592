"""Files of a folder on disk or in object storage, through the file systems of Arrow.

A place is a path, or a URI that `pyarrow.fs` knows: file:///..., s3://bucket/..., gs://..., hdfs://...
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kronos.io.atomic import check_not_input, write_file

if TYPE_CHECKING:
    import pyarrow.fs as pa_fs


class StorageEntry(NamedTuple):
    """Entry of a file: its name relative to the store, its size in bytes, and the time of its last change (ns)."""

    name: str
    size: int
    changed: int


class Storage:
    """Storage of files: a folder on disk or in object storage, or one file as a folder that holds only it.

    Args:
        place: a path or a URI.

    Raises:
        ValueError: the URI cannot be understood or its storage cannot be reached.
    """

    def __init__(self, place: str) -> None:
        import pyarrow as pa
        import pyarrow.fs as pa_fs

        self.place = place
        self.fs: pa_fs.FileSystem
        try:
            if "://" in place:
                self.fs, self.root = pa_fs.FileSystem.from_uri(place)
            else:
                self.fs, self.root = pa_fs.LocalFileSystem(), str(Path(place).resolve())
            self.root = self.root.rstrip("/") or "/"
            self.kind: Any = self.fs.get_file_info(self.root).type
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"{place} cannot be opened: {str(error).splitlines()[0]}") from error
        self.file = self.root.rpartition("/")[2] if self.kind == pa_fs.FileType.File else None
        self.exists = self.kind != pa_fs.FileType.NotFound
        self.is_local = isinstance(self.fs, pa_fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """Return the full path of a file of the store, on `fs`."""
        return self.root if name == self.file else f"{self.root}/{name}"

    def list(self, under: str = "") -> list[StorageEntry]:
        """List all files, those of subfolders too, by name; hidden ones (a part begins with . or _) are left out."""
        import pyarrow.fs as pa_fs

        if self.file is not None:
            info = self.fs.get_file_info(self.root)
            return [StorageEntry(self.file, info.size, info.mtime_ns or 0)]
        top = f"{self.root}/{under}" if under else self.root
        found = self.fs.get_file_info(pa_fs.FileSelector(top, allow_not_found=True, recursive=True))
        entries = (
            StorageEntry(info.path[len(self.root) :].lstrip("/"), info.size, info.mtime_ns or 0)
            for info in found
            if info.type == pa_fs.FileType.File
        )
        return sorted(e for e in entries if not any(part[:1] in "._" for part in e.name.split("/")))

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a file, None where there is none."""
        try:
            with self.fs.open_input_stream(self.path(name), compression=None) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all: by renaming on a disk; an object appears when its upload is complete."""
        target = self.path(name)
        self.fs.create_dir(target.rpartition("/")[0], recursive=True)
        if self.is_local:
            write_file(Path(target), content)
            return
        with self.fs.open_output_stream(target) as stream:
            stream.write(content)

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        import pyarrow.fs as pa_fs

        return bool(self.fs.get_file_info(self.path(name)).type == pa_fs.FileType.File)

    def delete(self, name: str) -> None:
        """Delete a file, if it is there; on a disk the folders that become empty too, up to the storage's own.

        Raises:
            ValueError: the file is an input of the running command.
        """
        if not self.is_local:
            if self.has(name):
                self.fs.delete_file(self.path(name))
            return
        path = Path(self.path(name))
        check_not_input(path)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == Path(self.root) or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()

    def remove_if_empty(self) -> None:
        """Delete the folder itself where nothing is in it, on a disk; object storage has no folders."""
        root = Path(self.root)
        if self.is_local and root.is_dir() and not any(root.iterdir()):
            root.rmdir()
