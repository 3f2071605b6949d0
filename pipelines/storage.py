"""Files on any filesystem that Beam knows: write, rename, list, delete; whole or not at all; what to say of them."""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Iterator
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.gcs_client import delete_objects, read_object, write_object
from pipelines.text import printable


def is_local(path: str) -> bool:
    """Whether the path has no scheme."""
    return "://" not in path


def is_google(path: str) -> bool:
    """Whether the path is one of Google Cloud Storage."""
    return path.startswith("gs://")


def join(folder: str, *parts: str) -> str:
    """Path below a folder, local or with a scheme."""
    return os.path.join(folder, *parts) if is_local(folder) else posixpath.join(folder, *parts)


def failure(error: Exception) -> str:
    """Why a file could not be read, in one line."""
    return f"{error.__class__.__name__}: {getattr(error, 'strerror', None) or printable(str(error))}"


def write_bytes(path: str, data: bytes) -> None:
    """Write a file whole: locally under another name first, then renamed; elsewhere objects appear when closed."""
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


def read_bytes(path: str) -> bytes:
    """The whole file. Raises OSError or the filesystem's own error."""
    if is_google(path):
        return read_object(path)
    with open_file(path) as file:
        return file.read()


def read_if_exists(path: str) -> bytes | None:
    """The whole file, or None when there is none."""
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
    """Every file below a folder, as a path relative to it with forward slashes; nothing when it does not exist.

    Objects that stand for a folder, as TensorFlow makes them, are no files: their names end in a slash.
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
    """Every object below a folder that is not local."""
    return [found.path for found in FileSystems.match([folder.rstrip("/") + "/**"])[0].metadata_list]


def _folders_above(names: list[str]) -> list[str]:
    """Every folder in which a file of a relative name lies, with the slash that ends the name of what stands for it."""
    folders = {name[: index + 1] for name in names for index, character in enumerate(name) if character == "/"}
    return sorted(folders)


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
        write_bytes(join(destination, name), read_bytes(join(source, name)))


def delete_files(folder: str, names: list[str]) -> None:
    """Delete the named files below a folder, and local folders that this leaves empty (the folder itself stays).

    On `gs://` objects that stand for a folder go with any file of it.
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
    """Delete a folder and everything below it; nothing when it does not exist."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif is_google(folder):
        delete_objects(_match_below(folder))
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
