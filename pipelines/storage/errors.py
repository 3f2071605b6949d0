"""Give every failure of a filesystem one kind of error, whichever library raised it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipelines.common.full_disk import DiskFullError, disk_full, is_disk_full
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.common.text import printable

# Mistakes in a program and a lack of memory, which say nothing of a file.
_OF_THE_PROGRAM = (AttributeError, MemoryError, NameError, TypeError)


class StorageError(OSError):
    """A file or folder that cannot be read, listed or written; the text is the kind of the error and its reason.

    The error of the filesystem, if there was one, is the cause.
    """

    # The reason code in the rejects.
    code = "unreadable"

    def __init__(self, reason: str, kind: str = "", text: str = ""):
        """Store what failed.

        Args:
            reason: What went wrong, without the path where the operating system gives both.
            kind: Class of the filesystem's error; by default that of this one.
            text: All that the filesystem said, such as the reason and the path; by default the reason.
        """
        super().__init__(reason)
        self.reason = reason
        self.kind = kind or type(self).__name__
        self.text = (text or reason or self.kind).splitlines()[0]

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"

    @property
    def source(self) -> Exception:
        """The filesystem's own error, or this one if there is none."""
        cause = self.__cause__
        if isinstance(cause, StorageError):
            return cause.source
        return cause if isinstance(cause, Exception) else self

    @property
    def summary(self) -> str:
        """First line of the reason, or the kind of error if no reason is known."""
        return (self.reason or self.kind).splitlines()[0]


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Turn an error of a filesystem or of its libraries in the block into a StorageError.

    ServiceUnavailable and DiskFullError pass, as they say nothing about the file; so do errors of the program.

    Raises:
        DiskFullError: If the error is that a disk is full.
        StorageError: In the place of any other error.
    """
    try:
        yield
    except (StorageError, ServiceUnavailable, DiskFullError, *_OF_THE_PROGRAM):
        raise
    except Exception as error:  # each filesystem raises its own kinds, with no common base
        if is_disk_full(error) and (full := disk_full(error)):
            raise full from error
        text = printable(str(error))
        reason = getattr(error, "strerror", None) or text
        raise StorageError(reason, type(error).__name__, text) from error
