"""A DoFn that works on many images at once: decoding and encoding release the GIL, reading waits for a disk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import apache_beam as beam
import threadpoolctl

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_threads(worker_processes: int) -> int:
    """Threads per worker process so that processes times threads is the number of cores."""
    return max(1, (os.cpu_count() or 1) // max(1, worker_processes))


class LookAhead:
    """`function` over items by a pool; order kept, errors raised in their place.

    At most `ahead` results, with the one that was given last, are made or in the making: memory does not grow with
    the number of items, and those are taken as they are needed.
    """

    def __init__(self, pool: ThreadPoolExecutor, ahead: int):
        self._pool = pool
        self._ahead = ahead
        self._waiting: deque[Future] = deque()

    def feed(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Start on the items; gives the results that had to be waited for, the last few come later."""
        for item in items:
            if len(self._waiting) == self._ahead:
                yield self._waiting.popleft().result()
            self._waiting.append(self._pool.submit(function, item))

    def drain(self) -> Iterator:
        """The results that are still to come."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def cancel(self) -> None:
        """Forget what is still to come."""
        while self._waiting:
            self._waiting.popleft().cancel()


def map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """`function` over `items`, see LookAhead; stops at the first error."""
    waiting = LookAhead(pool, ahead)
    try:
        yield from waiting.feed(function, items)
        yield from waiting.drain()
    finally:
        waiting.cancel()


class ThreadedDoFn(beam.DoFn):
    """Base of DoFns that map a pure function over images with a pool of threads, results in the order given."""

    def __init__(self, threads: int):
        self._threads = threads

    def setup(self) -> None:
        # One thread per image is the parallelism here; BLAS threads on top would fight for the same cores.
        threadpoolctl.threadpool_limits(1, user_api="blas")
        self._pool = ThreadPoolExecutor(self._threads)

    def teardown(self) -> None:
        self._pool.shutdown()

    def map_threaded(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` over `items`, several at once; order kept, the first error raised, few results waiting."""
        return map_ahead(self._pool, function, items, 2 * self._threads)

    def look_ahead(self) -> LookAhead:
        """For work that goes on from one element to the next."""
        return LookAhead(self._pool, 2 * self._threads)
