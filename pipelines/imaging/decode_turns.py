"""Let large images take turns, so that the memory for them does not grow with the number of threads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator

from pipelines.common.memory_limit import memory_limit

# Unless told otherwise, the images in work in a process take together at most so many bytes, and at most this share of
# the memory that the process may use. One image of the largest size that is read takes more, and is in work alone.
MOST_BUDGET = 256 << 20
_SHARE = 16
# Smaller images are not counted: they are the rule, and a thread has only one at a time.
_SMALL = 8 << 20
# Files of more than this share of the budget are read alone.
_LARGE_FILE = 8


# mallopt's parameter for the size from which a block of memory is a mapping of its own (malloc.h).
_M_MMAP_THRESHOLD = -3


@functools.cache
def _return_large_blocks() -> None:
    """Have glibc give large blocks back to the system as soon as they are freed.

    By default it raises its threshold to the size of what was freed last. From then on each thread keeps the blocks of
    its largest image, which is what taking turns should prevent. Other libraries of C have no such function.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _SMALL)


def default_budget() -> int:
    """Return the bytes that images in work may take together, where nothing else is asked for."""
    return min(MOST_BUDGET, memory_limit() // _SHARE)


class DecodeTurns:
    """A budget of memory that threads share.

    Args:
        budget: Bytes.
    """

    def __init__(self, budget: int):
        self._budget = budget
        self._free = budget
        self._changed = threading.Condition()
        self._alone = 0  # the thread that has the whole budget

    def resize(self, budget: int) -> None:
        """Change the budget.

        Args:
            budget: Bytes; 0: `default_budget`.
        """
        budget = budget or default_budget()
        with self._changed:
            self._free += budget - self._budget
            self._budget = budget
            self._changed.notify_all()

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until there is memory for an image, and keep it for the block.

        A block must not hold a second image, unless it has the whole budget.

        Args:
            size: Bytes that it takes. If they are more than the budget, the image waits until it is alone.
        """
        this_thread = threading.get_ident()
        if size <= _SMALL or self._alone == this_thread:
            yield
            return
        _return_large_blocks()
        with self._changed:
            # Whoever waits may have another budget by the time it is free.
            self._changed.wait_for(lambda: self._free >= min(size, self._budget))
            size = min(size, self._budget)
            self._free -= size
            if size == self._budget:
                self._alone = this_thread
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                if self._alone == this_thread:
                    self._alone = 0
                self._changed.notify_all()

    def hold_file(self, size: int) -> contextlib.AbstractContextManager[None]:
        """Return the context in which a file should be read and decoded; large ones wait there until they are alone.

        Args:
            size: Bytes of the file.
        """
        return self.hold(self._budget if size > self._budget // _LARGE_FILE else 0)


# Of this process.
TURNS = DecodeTurns(default_budget())
