"""Show a line of progress for runs on this machine, whichever of its processes do the work.

Workers append one byte per image to a common file, whose size is the count. Appending is atomic, needs no server, and
works for threads, processes and job servers alike.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import TextIO

# Time between two lines of a log. On a terminal, a single line is rewritten more often.
_LOG_SECONDS = 30.0
_TERMINAL_SECONDS = 0.5


class Progress:
    """Counters that all processes on this machine share; can be pickled and sent to workers.

    Args:
        folder: A local folder for the counts. Empty: nothing is counted.
    """

    def __init__(self, folder: str = ""):
        self._folder = folder

    def add(self, what: str, count: int) -> None:
        """Add to a counter.

        Args:
            what: Name of the counter, used as a file name.
            count: How much to add.
        """
        if self._folder and count:
            # If a worker outlives the run, the folder is gone and nobody needs the count.
            with contextlib.suppress(OSError), open(os.path.join(self._folder, what), "ab", buffering=0) as file:
                file.write(b"." * count)

    def count(self, what: str) -> int:
        """Return the value of the counter `what` so far."""
        with contextlib.suppress(OSError):
            return os.path.getsize(os.path.join(self._folder, what))
        return 0


def duration(seconds: float) -> str:
    """Format a duration like 12 s, 3 min or 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def progress_line(listed: int, done: int, speed: float) -> str:
    """Format the line of progress.

    Args:
        listed: Images listed so far; listing may still be under way.
        done: Images finished so far.
        speed: Images per second, 0 if not yet known.
    """
    if not done:
        return f"{listed:,} images listed"
    line = f"{done:,} of {listed:,} images ({done / max(listed, 1):.0%})"
    if not speed:
        return line
    digits = 0 if speed >= 10 else 1
    return f"{line}, {speed:,.{digits}f} images/s, {duration((listed - done) / speed)} left"


class _Printer(threading.Thread):
    def __init__(self, progress: Progress, stream: TextIO):
        super().__init__(daemon=True)
        self._progress = progress
        self._stream = stream
        self._over = threading.Event()

    def run(self) -> None:
        terminal = self._stream.isatty()
        first, done_first, shown = 0.0, 0, 0
        while not self._over.wait(_TERMINAL_SECONDS if terminal else _LOG_SECONDS):
            listed, done = self._progress.count("listed"), self._progress.count("done")
            now = time.monotonic()
            # Measure from the first finished images, to leave out starting workers and loading models.
            if done and not done_first:
                first, done_first = now, done
            line = progress_line(listed, done, (done - done_first) / (now - first) if now > first else 0.0)
            if terminal:
                self._stream.write("\r" + line.ljust(shown))
                shown = len(line)
            elif done:
                self._stream.write(line + "\n")
            self._stream.flush()
        if shown:
            self._stream.write("\r" + " " * shown + "\r")
            self._stream.flush()

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextlib.contextmanager
def shown_progress(local: bool) -> Iterator[Progress]:
    """Yield a Progress that is printed to stderr while the block runs.

    Args:
        local: Whether all workers are on this machine. If not, the Progress counts and prints nothing.
    """
    if not local:
        yield Progress()
        return
    with tempfile.TemporaryDirectory(prefix="progress-") as folder:
        progress = Progress(folder)
        printer = _Printer(progress, sys.stderr)
        printer.start()
        try:
            yield progress
        finally:
            printer.stop()
