"""Files on any filesystem that Beam knows: write, rename, list, delete; whole or not at all; what to say of them."""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Iterator
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.text import printable


def is_local(path: str) -> bool:
    """Whether the path has no scheme."""
    return "://" not in path


def join(folder: str, *parts: str) -> str:
    """Path below a folder, local or with a scheme."""
    return os.path.join(folder, *parts) if is_local(folder) else posixpath.join(folder, *parts)


def failure(error: Exception) -> str:
    """Why a file could not be read, in one line."""
    return f"{error.__class__.__name__}: {getattr(error, 'strerror', None) or printable(str(error))}"


def write_bytes(path: str, data: bytes) -> None:
    """Write a file whole: locally under another name first, then renamed; elsewhere objects appear when closed."""
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
    """Whether a path is that of a local folder. Elsewhere there are no folders, only names of files with slashes."""
    return is_local(path) and os.path.isdir(path)


def open_file(path: str) -> BinaryIO:
    """The file's own bytes, opened for reading; it can seek. Raises OSError or the filesystem's own error."""
    if is_local(path):
        return open(path, "rb")
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def exists(path: str) -> bool:
    """Whether there is a file with this path."""
    return FileSystems.exists(path)


def match(pattern: str) -> list[str]:
    """Paths of the files that a pattern names, sorted."""
    return sorted(found.path for found in FileSystems.match([pattern])[0].metadata_list)


def read_if_exists(path: str) -> bytes | None:
    """The whole file, or None when there is none."""
    if not FileSystems.exists(path):
        return None
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()


def list_tree(folder: str) -> Iterator[str]:
    """Every file below a folder, as a path relative to it with forward slashes; nothing when it does not exist."""
    if is_local(folder):
        for parent, _, names in os.walk(folder):
            for name in names:
                yield os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
        return
    prefix = folder.rstrip("/") + "/"
    for found in FileSystems.match([prefix + "**"])[0].metadata_list:
        yield found.path[len(prefix) :]


def move_tree(source: str, destination: str) -> None:
    """Rename every file below `source` to the same relative path below `destination`, replacing what is there."""
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
    """Copy a folder's files to another folder, either on any filesystem."""
    for name in list_tree(source):
        with open_file(join(source, name)) as file:
            write_bytes(join(destination, name), file.read())


def delete_files(folder: str, names: list[str]) -> None:
    """Delete the named files below a folder, and local folders that this leaves empty (the folder itself stays)."""
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
    """Delete a folder and everything below it; nothing when it does not exist."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        delete_files(folder, list(list_tree(folder)))


def nearest_folder(path: str) -> str:
    """The path itself, or the nearest above it that exists; local."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def remove_empty(folder: str, existing: str) -> None:
    """Remove a local folder that holds nothing, and those above it that do not either, but not `existing`."""
    folder = os.path.abspath(folder)
    while folder != existing and os.path.isdir(folder) and not os.listdir(folder):
        os.rmdir(folder)
        folder = os.path.dirname(folder)


def same_place(first: str, second: str) -> bool:
    """Whether two paths name one file or folder."""
    if is_local(first) and is_local(second):
        return os.path.realpath(first) == os.path.realpath(second)
    return first.rstrip("/") == second.rstrip("/")
