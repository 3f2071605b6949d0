"""A small file that only one of several programs creates, replaces or removes, whatever they do at the same time.

A change names the content that it replaces, and is refused if another program was first:

- a local disk or NFS: the file is linked to its name whole, which fails if it exists; changes are made under a lock
  that the system lifts when its owner dies;
- `gs://`: the store compares versions (see `exclusive_object`).

Errors are those of the system and of google-cloud-storage.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from pipelines.common import exclusive_object
from pipelines.common.exclusive_object import GCS
from pipelines.common.gcs_client import is_gs
from pipelines.common.partial_files import partial_name

# What a filesystem answers that has no hard links, or no locks.
_LACKING = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EMLINK, errno.EBADF}
# A folder may be removed by the program that was there before, just when another begins in it.
_TIMES = 5


class Stored(NamedTuple):
    """A file as it was read."""

    content: bytes
    written: float  # when it was written or renewed, in seconds since the epoch by the store's clock


class ExclusiveFiles(Protocol):
    """A module with these functions, for the kinds of paths that it knows."""

    def read(self, path: str) -> Stored | None:
        """Return a file, or None if it does not exist."""

    def create(self, path: str, content: bytes) -> bool:
        """Create a file with its content; return whether it was not there before."""

    def replace(self, path: str, expected: bytes, content: bytes) -> bool:
        """Replace the content of a file; return whether the file was there, with the expected content."""

    def renew(self, path: str, expected: bytes) -> bool:
        """Make now the time at which a file was written; return whether it was there, with the expected content."""

    def remove(self, path: str, expected: bytes) -> bool:
        """Remove a file; return whether it was there, with the expected content."""

    def clock(self, path: str) -> float:
        """Return the time by the clock of the store that has a file, as far as it shows it."""


def read(path: str) -> Stored | None:
    """Return a file, or None if it does not exist."""
    if is_gs(path):
        found = GCS.read(path)
        return found and Stored(found.content, found.written)
    try:
        with open(path, "rb") as file:
            return Stored(file.read(), os.fstat(file.fileno()).st_mtime)
    except (FileNotFoundError, NotADirectoryError):
        return None


def create(path: str, content: bytes) -> bool:
    """Create a file with its content; return whether it was not there before."""
    if is_gs(path):
        return exclusive_object.create(GCS, path, content)
    for left in reversed(range(_TIMES)):
        try:
            return _link(path, content)
        except FileNotFoundError:
            if not left:
                raise
    raise AssertionError("unreachable")


def replace(path: str, expected: bytes, content: bytes) -> bool:
    """Replace the content of a file; return whether the file was there, with the expected content."""
    if is_gs(path):
        return exclusive_object.replace(GCS, path, expected, content)
    with _locked(path, expected) as is_expected:
        if is_expected:
            partial = partial_name(path)
            try:
                _write_through(partial, content, os.O_TRUNC)
                os.replace(partial, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(partial)
        return is_expected


def renew(path: str, expected: bytes) -> bool:
    """Make now the time at which a file was written; return whether it was there, with the expected content."""
    if is_gs(path):
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


def remove(path: str, expected: bytes) -> bool:
    """Remove a file; return whether it was there, with the expected content."""
    if is_gs(path):
        return exclusive_object.remove(GCS, path, expected)
    with _locked(path, expected) as is_expected:
        if is_expected:
            os.remove(path)
        return is_expected


def clock(path: str) -> float:
    """Return the time, in seconds since the epoch, by the clock of the store that has a file, as far as it shows it."""
    if is_gs(path):
        # A bucket refuses whoever's clock is minutes off.
        return time.time()
    partial = partial_name(path)
    with open(partial, "wb") as file:
        written = os.fstat(file.fileno()).st_mtime
    with contextlib.suppress(FileNotFoundError):
        os.remove(partial)
    return written


def _link(path: str, content: bytes) -> bool:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    partial = partial_name(path)
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
