"""Let large images take turns, so that the memory for decoding does not grow with the number of threads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator

# Bytes that all images being decoded in a process may take together. One that needs more is decoded alone.
BUDGET = 256 << 20
# Smaller images are not counted: they are the rule, and a thread has only one at a time.
_SMALL = 8 << 20


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


class DecodeTurns:
    """A budget of memory that threads share.

    Args:
        budget: Bytes.
    """

    def __init__(self, budget: int):
        self._budget = budget
        self._free = budget
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until there is memory for an image, and keep it for the block.

        A block must not hold a second image.

        Args:
            size: Bytes that decoding it takes. If it is more than the budget, the image waits until it is alone.
        """
        if size <= _SMALL:
            yield
            return
        _return_large_blocks()
        size = min(size, self._budget)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


# Of this process.
TURNS = DecodeTurns(BUDGET)
