"""Process many images at once in threads: decoding and encoding release the GIL, and reading waits for a disk."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import apache_beam as beam
import threadpoolctl
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_threads(worker_processes: int) -> int:
    """Return the number of threads per worker process: its share of the cores, and one more.

    The one more works while another waits for the GIL; on two cores it saves a tenth of the time.
    """
    return (os.cpu_count() or 1) // max(1, worker_processes) + 1


class LookAhead:
    """Ordered mapping of functions over items in a thread pool, with a limited number of pending results.

    Results come in the order of the items. An error is raised in the position of its result. Items are taken only as
    they are needed, so memory does not grow with their number.

    Args:
        pool: The threads.
        ahead: Maximum number of results that are finished or in progress, including the one yielded last.
    """

    def __init__(self, pool: ThreadPoolExecutor, ahead: int):
        self._pool = pool
        self._ahead = ahead
        self._waiting: deque[Future] = deque()

    def feed(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Submit the items and yield results of earlier ones.

        Args:
            function: Called with each item in a thread.
            items: Taken one by one as pending results leave room.

        Yields:
            The oldest result, each time that room is needed. The last results are left for `drain` or the next `feed`.
        """
        for item in items:
            if len(self._waiting) == self._ahead:
                yield self._waiting.popleft().result()
            self._waiting.append(self._pool.submit(function, item))

    def drain(self) -> Iterator:
        """Yield the results that are still pending."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def cancel(self) -> None:
        """Drop the results that are still pending."""
        while self._waiting:
            self._waiting.popleft().cancel()


def map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Map a function over items in a thread pool; stop at the first error.

    Args:
        pool: The threads.
        function: Called with each item in a thread.
        items: Taken one by one as they are needed.
        ahead: Maximum number of pending results, see LookAhead.

    Yields:
        The results in the order of the items.
    """
    waiting = LookAhead(pool, ahead)
    try:
        yield from waiting.feed(function, items)
        yield from waiting.drain()
    finally:
        waiting.cancel()


def in_global_window(element: Any) -> Any:
    """Wrap an element, tagged or not, for output from `finish_bundle`."""
    window = GlobalWindow()
    if isinstance(element, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(element.tag, in_global_window(element.value))
    return WindowedValue(element, window.max_timestamp(), (window,))


class ThreadedDoFn(beam.DoFn):
    """Base class of DoFns that map a pure function over images in a thread pool, keeping their order.

    Args:
        threads: Number of threads.
    """

    def __init__(self, threads: int):
        self._threads = threads

    def display_data(self) -> dict[str, Any]:
        """Return what the runner's page shows of the step."""
        return {"threads": self._threads}

    def setup(self) -> None:
        """Start the threads and limit BLAS to one thread in this process."""
        # There is already one thread per image; BLAS threads on top would compete for the same cores.
        threadpoolctl.threadpool_limits(1, user_api="blas")
        self._pool = ThreadPoolExecutor(self._threads)

    def teardown(self) -> None:
        """Stop the threads."""
        self._pool.shutdown()

    def map_threaded(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Map a function over items, several at once, and return the results in order.

        The first error is raised. Few results are pending at any time, see LookAhead.
        """
        return map_ahead(self._pool, function, items, 2 * self._threads)

    def look_ahead(self) -> LookAhead:
        """Return a LookAhead on this DoFn's threads, for work that continues from one element to the next."""
        return LookAhead(self._pool, 2 * self._threads)
