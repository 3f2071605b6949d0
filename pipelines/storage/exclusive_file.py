"""`pipelines.common.exclusive_file` for every kind of path, with the errors of storage.

`s3://` compares versions as `gs://` does. Any other filesystem of Beam has nothing of the kind: there, two programs at
the very same moment may both succeed.
"""

from __future__ import annotations

import contextlib
import posixpath
import time
from collections.abc import Iterator

from pipelines.common import exclusive_file, exclusive_object
from pipelines.common.exclusive_file import Stored
from pipelines.common.gcs_client import ServiceUnavailable, is_gs
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError, storage_errors
from pipelines.storage.s3_access import is_s3
from pipelines.storage.s3_versions import S3


def _is_common(path: str) -> bool:
    return filesystem.is_local(path) or is_gs(path)


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    """Turn every error of the block into a StorageError, also that of a bucket which does not answer."""
    try:
        with storage_errors():
            yield
    except ServiceUnavailable as error:
        raise StorageError(str(error), type(error).__name__) from error


@_storage_errors()
def read(path: str) -> Stored | None:
    """Return a file, or None if it does not exist.

    Raises:
        StorageError: If it cannot be read.
    """
    if _is_common(path):
        return exclusive_file.read(path)
    if is_s3(path):
        found = S3.read(path)
        return found and Stored(found.content, found.written)
    content = filesystem.read_if_exists(path)
    if content is None:
        return None
    return Stored(content, filesystem.match_metadata(path)[0].last_updated_in_seconds)


@_storage_errors()
def create(path: str, content: bytes) -> bool:
    """Create a file with its content; return whether it was not there before.

    Raises:
        StorageError: If it cannot be written.
    """
    if _is_common(path):
        return exclusive_file.create(path, content)
    if is_s3(path):
        return exclusive_object.create(S3, path, content)
    if filesystem.exists(path):
        return False
    filesystem.write_bytes(path, content)
    return True


def create_tree(source: str, folder: str) -> None:
    """Create the files of a folder in another one; those that are there already stay.

    So what a runner makes twice, even twice at once, is there once. A second version never takes the place of one that
    has been announced, if the two have other bytes, as graphs of TensorFlow do.

    Raises:
        StorageError: If a file cannot be read or written.
    """
    for name in filesystem.list_tree(source):
        create(filesystem.join(folder, name), filesystem.read_bytes(filesystem.join(source, name)))


@_storage_errors()
def replace(path: str, expected: bytes, content: bytes) -> bool:
    """Replace the content of a file; return whether the file was there, with the expected content.

    Raises:
        StorageError: If it cannot be read or written.
    """
    if _is_common(path):
        return exclusive_file.replace(path, expected, content)
    if is_s3(path):
        return exclusive_object.replace(S3, path, expected, content)
    if filesystem.read_if_exists(path) != expected:
        return False
    filesystem.write_bytes(path, content)
    return True


@_storage_errors()
def clock(path: str) -> float:
    """Return the time, in seconds since the epoch, by the clock of the store that has a file, as far as it shows it.

    Raises:
        StorageError: If nothing can be written beside the file.
    """
    return exclusive_file.clock(path) if _is_common(path) else time.time()


@_storage_errors()
def renew(path: str, expected: bytes) -> bool:
    """Make now the time at which a file was written; return whether it was there, with the expected content.

    Raises:
        StorageError: If it cannot be read or written.
    """
    return exclusive_file.renew(path, expected) if _is_common(path) else replace(path, expected, expected)


@_storage_errors()
def remove(path: str, expected: bytes) -> bool:
    """Remove a file; return whether it was there, with the expected content.

    Raises:
        StorageError: If it cannot be read or removed.
    """
    if _is_common(path):
        return exclusive_file.remove(path, expected)
    if is_s3(path):
        return exclusive_object.remove(S3, path, expected)
    if filesystem.read_if_exists(path) != expected:
        return False
    folder, name = posixpath.split(path)
    filesystem.delete_files(folder, [name])
    return True
