"""Say of a full disk, in one line, where it is and how much is missing, whichever library met it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator

# No space left on the device; the user's quota is used up.
_ERRORS = {errno.ENOSPC, errno.EDQUOT}
_SAID = re.compile("|".join(re.escape(os.strerror(number)) for number in sorted(_ERRORS)))
_REMEDY = "make room there; the same command starts again"


class DiskFullError(OSError):
    """A disk that has no room for what is to be written; the message is one line that names the place."""


# What a runner says of an error in a worker holds its text, with the name of the step behind it.
_LINE = re.compile(rf"{DiskFullError.__name__}: (?P<line>.*?{re.escape(_REMEDY)})")


def no_room(place: str, needed: int = 0) -> DiskFullError:
    """Return the error that there is no room for a file, with the bytes that are missing.

    Args:
        place: The file or folder.
        needed: Bytes that were to be written there; 0 if it is unknown.
    """
    missing = needed - _free(place)
    lacks = f": {missing:,} bytes are missing" if missing > 0 else ""
    return DiskFullError(f"{place}: the disk is full{lacks}; {_REMEDY}")


def _free(place: str) -> int:
    """Return the free bytes where a file is or would be; 0 if they cannot be told."""
    folder = os.path.abspath(place)
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        yield current
        current = current.__cause__ or current.__context__


def is_disk_full(error: BaseException) -> bool:
    """Return whether the operating system refused to write because a disk is full."""
    return isinstance(error, OSError) and error.errno in _ERRORS


def disk_full(error: BaseException) -> DiskFullError | None:
    """Return what a full disk is that ended some work; None if the work ended otherwise.

    Args:
        error: What ended the work. What led to it counts too, and what a library or a runner says of that.
    """
    for one in _chain(error):
        if found := _LINE.search(f"{type(one).__name__}: {one}"):
            return DiskFullError(found["line"])
        if is_disk_full(one) or _SAID.search(str(one)):
            return no_room(getattr(one, "filename", None) or _unknown())
    return None


def _unknown() -> str:
    temporary = tempfile.gettempdir()
    return f"output or temporary folder ({temporary}, with {_free(temporary):,} bytes free)"
