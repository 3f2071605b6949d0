"""A small file that only one of several programs creates, replaces or removes, whatever they do at the same time.

A change names the content that it replaces, and is refused if another program was first:

- a local disk or NFS: the file is linked to its name whole, which fails if it exists; changes are made under a lock
  that the system lifts when its owner dies;
- `gs://` and `s3://`: the store compares versions (see `exclusive_object`);
- any other filesystem of Beam has nothing of the kind: there, two programs at the very same moment may both succeed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from pipelines.common.gcs_client import is_gs
from pipelines.storage import exclusive_object, filesystem
from pipelines.storage.errors import storage_errors
from pipelines.storage.s3_access import is_s3

# What a filesystem answers that has no hard links, or no locks.
_LACKING = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EMLINK, errno.EBADF}
# A folder may be removed by the program that was there before, just when another begins in it.
_TIMES = 5


class Stored(NamedTuple):
    """A file as it was read."""

    content: bytes
    written: float  # when it was written or renewed, in seconds since the epoch by the store's clock


def _has_versions(path: str) -> bool:
    return is_gs(path) or is_s3(path)


@storage_errors()
def read(path: str) -> Stored | None:
    """Return a file, or None if it does not exist.

    Raises:
        StorageError: If it cannot be read.
    """
    if _has_versions(path):
        found = exclusive_object.read(path)
        return found and Stored(found.content, found.written)
    if filesystem.is_local(path):
        try:
            with open(path, "rb") as file:
                return Stored(file.read(), os.fstat(file.fileno()).st_mtime)
        except FileNotFoundError:
            return None
    content = filesystem.read_if_exists(path)
    if content is None:
        return None
    return Stored(content, filesystem.match_metadata(path)[0].last_updated_in_seconds)


@storage_errors()
def create(path: str, content: bytes) -> bool:
    """Create a file with its content; return whether it was not there before.

    Raises:
        StorageError: If it cannot be written.
    """
    if _has_versions(path):
        return exclusive_object.create(path, content)
    if filesystem.is_local(path):
        return _create_local(path, content)
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


@storage_errors()
def replace(path: str, expected: bytes, content: bytes) -> bool:
    """Replace the content of a file; return whether the file was there, with the expected content.

    Raises:
        StorageError: If it cannot be read or written.
    """
    if _has_versions(path):
        return exclusive_object.replace(path, expected, content)
    if filesystem.is_local(path):
        with _locked(path, expected) as is_expected:
            if is_expected:
                filesystem.write_bytes(path, content)
            return is_expected
    if filesystem.read_if_exists(path) != expected:
        return False
    filesystem.write_bytes(path, content)
    return True


@storage_errors()
def clock(path: str) -> float:
    """Return the time, in seconds since the epoch, by the clock of the store that has a file, as far as it shows it.

    Raises:
        StorageError: If nothing can be written beside the file.
    """
    if not filesystem.is_local(path):
        # A bucket refuses whoever's clock is minutes off.
        return time.time()
    partial = filesystem.partial_name(path)
    with open(partial, "wb") as file:
        written = os.fstat(file.fileno()).st_mtime
    with contextlib.suppress(FileNotFoundError):
        os.remove(partial)
    return written


@storage_errors()
def renew(path: str, expected: bytes) -> bool:
    """Make now the time at which a file was written; return whether it was there, with the expected content.

    Raises:
        StorageError: If it cannot be read or written.
    """
    if not filesystem.is_local(path):
        return replace(path, expected, expected)
    try:
        with open(path, "rb") as file:
            if file.read() != expected:
                return False
            # The file that was read, whatever has its name by now.
            os.utime(file.fileno())
            return True
    except FileNotFoundError:
        return False


@storage_errors()
def remove(path: str, expected: bytes) -> bool:
    """Remove a file; return whether it was there, with the expected content.

    Raises:
        StorageError: If it cannot be read or removed.
    """
    if _has_versions(path):
        return exclusive_object.remove(path, expected)
    folder, name = os.path.split(path)
    if filesystem.is_local(path):
        with _locked(path, expected) as is_expected:
            if is_expected:
                os.remove(path)
            return is_expected
    if filesystem.read_if_exists(path) != expected:
        return False
    filesystem.delete_files(folder, [name])
    return True


def _create_local(path: str, content: bytes) -> bool:
    for left in reversed(range(_TIMES)):
        try:
            return _link_local(path, content)
        except FileNotFoundError:
            if not left:
                raise
    raise AssertionError("unreachable")


def _link_local(path: str, content: bytes) -> bool:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    partial = filesystem.partial_name(path)
    try:
        _write_through(partial, content, os.O_TRUNC)
        try:
            os.link(partial, path)
            return True
        except FileExistsError:
            # NFS says so of a link that it has made if its first answer was lost.
            return os.stat(partial).st_nlink == 2
        except OSError as error:
            if error.errno not in _LACKING:
                raise
        try:
            _write_through(path, content, os.O_EXCL)
        except FileExistsError:
            return False
        return True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)


def _write_through(path: str, content: bytes, how: int) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | how, 0o666)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


@contextlib.contextmanager
def _locked(path: str, expected: bytes) -> Iterator[bool]:
    """Lock a local file against other programs' changes; give whether it has the expected content.

    It has not if another program is changing it.
    """
    try:
        file = _open_to_lock(path)
    except FileNotFoundError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            # Without locks, whoever replaces it last has it, and the other finds that out before it publishes.
            if error.errno not in _LACKING:
                raise
        yield _is_named(file.fileno(), path) and file.read() == expected


def _open_to_lock(path: str) -> BinaryIO:
    try:
        # NFS locks only what may be written.
        return open(path, "r+b")
    except PermissionError:
        # Another user's, in a folder that both may write to.
        return open(path, "rb")


def _is_named(descriptor: int, path: str) -> bool:
    """Return whether an open file still has this name: another program may have replaced it before the lock."""
    opened = os.fstat(descriptor)
    try:
        return bool(opened.st_nlink) and os.path.samestat(opened, os.stat(path))
    except FileNotFoundError:
        return False
