"""Read, write, rename, list and delete files, each whole or not at all, on any filesystem that Beam supports.

Local files need no Beam: it is imported when a path of another filesystem is first used.
"""

from __future__ import annotations

import contextlib
import io
import os
import posixpath
import shutil
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from pipelines.common.full_disk import is_disk_full, no_room
from pipelines.common.gcs_client import (
    ServiceUnavailable,
    delete_objects,
    is_gs,
    read_object,
    read_object_head,
    write_object,
)
from pipelines.common.partial_files import partial_name
from pipelines.storage import globs
from pipelines.storage.beam_credentials import ask_gcs_without_credentials
from pipelines.storage.errors import StorageError, storage_errors
from pipelines.storage.s3_access import ask_without_credentials

if TYPE_CHECKING:
    from apache_beam.io.filesystem import FileMetadata
    from apache_beam.io.filesystems import FileSystems

# Beam's CompressionTypes.UNCOMPRESSED: files are read and written as they are, whatever their names end in.
_AS_IT_IS = "uncompressed"


def beam_filesystems(path: str) -> type[FileSystems]:
    """Return Beam's access to filesystems that are not local, ready for that of a path."""
    # Imported late: Beam takes two seconds to start, which commands on local files need not wait for.
    from apache_beam.io.filesystems import FileSystems

    if is_gs(path):
        ask_gcs_without_credentials()
    else:
        ask_without_credentials()
    return FileSystems


def is_local(path: str) -> bool:
    """Return whether a path has no scheme."""
    return "://" not in path


def join(folder: str, *parts: str) -> str:
    """Join a folder, local or with a scheme, with relative parts."""
    return os.path.join(folder, *parts) if is_local(folder) else posixpath.join(folder, *parts)


@storage_errors()
def write_bytes(path: str, data: bytes) -> None:
    """Write a file atomically.

    A local file is written under a temporary name and then renamed, with folders created as needed. On other
    filesystems, objects appear when closed.

    Raises:
        DiskFullError: If there is no room for it.
        StorageError: If the file cannot be written.
    """
    if is_gs(path):
        write_object(path, data)
        return
    if not is_local(path):
        with beam_filesystems(path).create(path, compression_type=_AS_IT_IS) as file:
            file.write(data)
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    # Threads, processes and machines may write the same file at once, when a runner repeats a slow step.
    partial = partial_name(path)
    try:
        with open(partial, "wb") as file:
            file.write(data)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(partial)
        if is_disk_full(error):
            raise no_room(path, len(data)) from error
        raise
    os.replace(partial, path)


def is_folder(path: str) -> bool:
    """Return whether a path is a local folder.

    Other filesystems have no folders, only file names with slashes.
    """
    return is_local(path) and os.path.isdir(path)


class _File(io.RawIOBase):
    """A file on any filesystem, open for reading, whose errors are StorageErrors."""

    def __init__(self, file: Any):
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    @storage_errors()
    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @storage_errors()
    def readall(self) -> bytes:
        return self._file.read()

    @storage_errors()
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    @storage_errors()
    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def require_regular(path: str) -> None:
    """Refuse a local path that is a pipe or a device: opening one may wait for ever.

    Raises:
        OSError: It is one, or cannot be looked at.
    """
    mode = os.stat(path).st_mode
    # What is wrong with a folder, opening it says best.
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError("not a regular file")


def _open(path: str) -> Any:
    if is_local(path):
        require_regular(path)
        return open(path, "rb", buffering=0)
    return beam_filesystems(path).open(path, compression_type=_AS_IT_IS)


@storage_errors()
def open_exact(path: str) -> BinaryIO:
    """Open a file for reading such that nothing is fetched beyond what is asked for; a read may return less.

    Raises:
        StorageError: If the file cannot be opened. Reading it raises the same kind.
    """
    if not is_gs(path):
        return _File(_open(path))  # type: ignore[return-value]
    # FileSystems.open fetches 16 MiB around each read.
    storage = beam_filesystems(path).get_filesystem(path)._gcsIO()  # type: ignore[attr-defined]
    return _File(storage.open(path, "rb", read_buffer_size=1))  # type: ignore[return-value]


@storage_errors()
def open_file(path: str) -> BinaryIO:
    """Open a file for reading; the result is seekable and is not decompressed.

    Raises:
        StorageError: If the file cannot be opened. Reading it raises the same kind.
    """
    return io.BufferedReader(_File(_open(path)))


@storage_errors()
def exists(path: str) -> bool:
    """Return whether a path exists."""
    return os.path.exists(path) if is_local(path) else beam_filesystems(path).exists(path)


@storage_errors()
def match(pattern: str) -> list[str]:
    """Return the paths of the files that match a pattern, sorted."""
    found = globs.match_local(pattern) if is_local(pattern) else (found.path for found in match_metadata(pattern))
    return sorted(found)


@storage_errors()
def match_metadata(pattern: str) -> list[FileMetadata]:
    """Return what a filesystem that is not local says about the files that match a pattern."""
    return beam_filesystems(pattern).match([pattern])[0].metadata_list


@storage_errors()
def read_bytes(path: str) -> bytes:
    """Return the whole content of a file.

    Raises:
        StorageError: If the file cannot be read.
        ServiceUnavailable: If Cloud Storage itself does not respond (see `gcs_client`).
    """
    if is_local(path):
        require_regular(path)
        with open(path, "rb") as file:
            return file.read()
    if is_gs(path):
        return read_object(path)
    with open_file(path) as file:
        return file.read()


@storage_errors()
def read_head(path: str, count: int) -> bytes:
    """Return the first bytes of a file, with one request if it is in a bucket.

    Raises:
        StorageError: If the file cannot be read.
        ServiceUnavailable: If Cloud Storage itself does not respond (see `gcs_client`).
    """
    if is_gs(path):
        return read_object_head(path, count)
    with open_exact(path) as file:
        return file.read(count)


@storage_errors()
def read_if_exists(path: str) -> bytes | None:
    """Return the whole content of a file, or None if it does not exist.

    Raises:
        StorageError: If the file cannot be read, whether the fault is its own or its store's.
    """
    if is_gs(path):
        try:
            return read_object(path)
        except FileNotFoundError:
            return None
        except ServiceUnavailable as error:
            raise StorageError(str(error), type(error).__name__) from error
    if not exists(path):
        return None
    with open_file(path) as file:
        return file.read()


def list_tree(folder: str) -> Iterator[str]:
    """Yield every file below a folder, as a relative path with forward slashes; nothing if the folder does not exist.

    Folder placeholder objects, such as TensorFlow creates, are left out: their names end in a slash.
    """
    if is_local(folder):
        for parent, _, names in os.walk(folder):
            for name in names:
                yield os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
        return
    prefix = folder.rstrip("/") + "/"
    for path in _match_below(folder):
        if not path.endswith("/"):
            yield path[len(prefix) :]


def _match_below(folder: str) -> list[str]:
    """Return every object below a folder that is not local."""
    return [found.path for found in match_metadata(folder.rstrip("/") + "/**")]


def _folders_above(names: list[str]) -> list[str]:
    """Return every folder that contains one of the files, given by relative names.

    A folder has a trailing slash, as its placeholder object does.
    """
    folders = {name[: index + 1] for name in names for index, character in enumerate(name) if character == "/"}
    return sorted(folders)


@storage_errors()
def move_files(source: str, destination: str, names: list[str]) -> None:
    """Rename files below `source` to the same relative paths below `destination`, replacing existing files.

    A local file that is not there is passed over: a repetition of the same step has moved it.

    Args:
        source: A folder on any filesystem.
        destination: Another folder on the same filesystem.
        names: Paths of the files relative to the folders, with forward slashes.
    """
    if not is_local(source):
        pairs = [(join(source, name), join(destination, name)) for name in names]
        for start in range(0, len(pairs), 100):
            beam_filesystems(source).rename(*map(list, zip(*pairs[start : start + 100], strict=True)))
        return
    for name in names:
        target = os.path.join(destination, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.replace(os.path.join(source, name), target)


@storage_errors()
def delete_files(folder: str, names: list[str]) -> None:
    """Delete files below a folder, and any local subfolders that this leaves empty; the folder itself stays.

    On `gs://`, the placeholder objects of all folders that contain a deleted file are deleted too.

    Args:
        folder: A folder on any filesystem.
        names: Paths of the files relative to the folder, with forward slashes.
    """
    if is_gs(folder):
        delete_objects([join(folder, name) for name in (*names, *_folders_above(names))])
        return
    if not is_local(folder):
        beam_filesystems(folder).delete([join(folder, name) for name in names])
        return
    for name in names:
        os.remove(os.path.join(folder, name))
        parent = os.path.dirname(name)
        while parent and not os.listdir(os.path.join(folder, parent)):
            os.rmdir(os.path.join(folder, parent))
            parent = os.path.dirname(parent)


@storage_errors()
def clear_folder(folder: str, keep: str) -> None:
    """Delete everything below a folder but one file; do nothing if it does not exist.

    Args:
        folder: A folder on any filesystem.
        keep: Name of the file that stays.
    """
    if is_gs(folder):
        delete_objects([path for path in _match_below(folder) if path != join(folder, keep)])
        return
    if not is_local(folder):
        delete_files(folder, [name for name in list_tree(folder) if name != keep])
        return
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        elif name != keep:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


def nearest_folder(path: str) -> str:
    """Return the absolute form of a local path, or of its nearest ancestor that exists."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


@storage_errors()
def remove_empty(folder: str, existing: str) -> None:
    """Remove a local folder if it is empty, and then each ancestor that is left empty.

    Args:
        folder: The folder; it may be missing.
        existing: Absolute path of the ancestor that stays.
    """
    folder = os.path.abspath(folder)
    # What is not empty stays, also if another program has just begun to write there.
    with contextlib.suppress(OSError):
        while folder != existing:
            if os.path.isdir(folder):
                os.rmdir(folder)
            folder = os.path.dirname(folder)


def same_place(first: str, second: str) -> bool:
    """Return whether two paths name the same file or folder."""
    if is_local(first) and is_local(second):
        return os.path.realpath(first) == os.path.realpath(second)
    return first.rstrip("/") == second.rstrip("/")


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path lies in a folder, at any depth; no path lies in a file."""
    if is_local(path) and is_local(folder):
        path, folder = os.path.realpath(path), os.path.realpath(folder)
    return path.startswith(folder.rstrip("/") + "/")
