"""Read, write, rename, list and delete files, each whole or not at all, on any filesystem that Beam supports."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from collections.abc import Iterator
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.common.gcs_client import delete_objects, read_object, write_object
from pipelines.common.text import printable


def is_local(path: str) -> bool:
    """Return whether a path has no scheme."""
    return "://" not in path


def is_google(path: str) -> bool:
    """Return whether a path is on Google Cloud Storage."""
    return path.startswith("gs://")


def join(folder: str, *parts: str) -> str:
    """Join a folder, local or with a scheme, with relative parts."""
    return os.path.join(folder, *parts) if is_local(folder) else posixpath.join(folder, *parts)


def failure(error: Exception) -> str:
    """Return why a file could not be read, on one line."""
    return f"{error.__class__.__name__}: {getattr(error, 'strerror', None) or printable(str(error))}"


def write_bytes(path: str, data: bytes) -> None:
    """Write a file atomically.

    A local file is written under a temporary name and then renamed, with folders created as needed. On other
    filesystems, objects appear when closed.
    """
    if is_google(path):
        write_object(path, data)
        return
    if not is_local(path):
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(data)
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    partial = f"{path}.{os.getpid()}.partial"
    with open(partial, "wb") as file:
        file.write(data)
    os.replace(partial, path)


def is_folder(path: str) -> bool:
    """Return whether a path is a local folder.

    Other filesystems have no folders, only file names with slashes.
    """
    return is_local(path) and os.path.isdir(path)


def open_file(path: str) -> BinaryIO:
    """Open a file for reading; the result is seekable and is not decompressed.

    Raises:
        OSError: If the file cannot be opened. Remote filesystems may raise their own errors instead.
    """
    if is_local(path):
        return open(path, "rb")
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def exists(path: str) -> bool:
    """Return whether a path exists."""
    return FileSystems.exists(path)


def match(pattern: str) -> list[str]:
    """Return the paths of the files that match a pattern, sorted."""
    return sorted(found.path for found in FileSystems.match([pattern])[0].metadata_list)


def read_bytes(path: str) -> bytes:
    """Return the whole content of a file.

    Raises:
        OSError: If the file cannot be read. Remote filesystems may raise their own errors instead.
    """
    if is_local(path):
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError("not a regular file")
        with open(path, "rb") as file:
            return file.read()
    if is_google(path):
        return read_object(path)
    with open_file(path) as file:
        return file.read()


def read_if_exists(path: str) -> bytes | None:
    """Return the whole content of a file, or None if it does not exist."""
    if is_google(path):
        try:
            return read_object(path)
        except FileNotFoundError:
            return None
    if not FileSystems.exists(path):
        return None
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
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
    return [found.path for found in FileSystems.match([folder.rstrip("/") + "/**"])[0].metadata_list]


def _folders_above(names: list[str]) -> list[str]:
    """Return every folder that contains one of the files, given by relative names.

    A folder has a trailing slash, as its placeholder object does.
    """
    folders = {name[: index + 1] for name in names for index, character in enumerate(name) if character == "/"}
    return sorted(folders)


def move_tree(source: str, destination: str) -> None:
    """Rename every file below `source` to the same relative path below `destination`, replacing existing files."""
    names = sorted(list_tree(source))
    if not is_local(source):
        pairs = [(join(source, name), join(destination, name)) for name in names]
        for start in range(0, len(pairs), 100):
            FileSystems.rename(*map(list, zip(*pairs[start : start + 100], strict=True)))
        return
    for name in names:
        target = os.path.join(destination, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(os.path.join(source, name), target)


def copy_tree(source: str, destination: str) -> None:
    """Copy the files of a folder to another folder; each may be on any filesystem."""
    for name in list_tree(source):
        write_bytes(join(destination, name), read_bytes(join(source, name)))


def delete_files(folder: str, names: list[str]) -> None:
    """Delete files below a folder, and any local subfolders that this leaves empty; the folder itself stays.

    On `gs://`, the placeholder objects of all folders that contain a deleted file are deleted too.

    Args:
        folder: A folder on any filesystem.
        names: Paths of the files relative to the folder, with forward slashes.
    """
    if is_google(folder):
        delete_objects([join(folder, name) for name in (*names, *_folders_above(names))])
        return
    if not is_local(folder):
        FileSystems.delete([join(folder, name) for name in names])
        return
    for name in names:
        os.remove(os.path.join(folder, name))
        parent = os.path.dirname(name)
        while parent and not os.listdir(os.path.join(folder, parent)):
            os.rmdir(os.path.join(folder, parent))
            parent = os.path.dirname(parent)


def delete_tree(folder: str) -> None:
    """Delete a folder and everything below it; do nothing if it does not exist."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif is_google(folder):
        delete_objects(_match_below(folder))
    else:
        delete_files(folder, list(list_tree(folder)))


def nearest_folder(path: str) -> str:
    """Return the absolute form of a local path, or of its nearest ancestor that exists."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def remove_empty(folder: str, existing: str) -> None:
    """Remove a local folder if it is empty, and then each ancestor that this leaves empty.

    Args:
        folder: The folder; it may be missing.
        existing: Absolute path of the ancestor that stays.
    """
    folder = os.path.abspath(folder)
    while folder != existing and os.path.isdir(folder) and not os.listdir(folder):
        os.rmdir(folder)
        folder = os.path.dirname(folder)


def same_place(first: str, second: str) -> bool:
    """Return whether two paths name the same file or folder."""
    if is_local(first) and is_local(second):
        return os.path.realpath(first) == os.path.realpath(second)
    return first.rstrip("/") == second.rstrip("/")
