"""Show how far a job is that runs on this machine, whichever of its processes do the work.

Workers append one byte for each image to a common file, whose size is the count. Appending is atomic, needs no server,
and works for threads, processes and job servers alike. Runners elsewhere have Beam's counters.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from io import FileIO
from typing import NamedTuple

from pipelines.common import console

# Names the folder of the counts; worker processes on this machine inherit it.
_FOLDER = "LESIONS_PROGRESS"
_LOOK_SECONDS = 0.5


class JobPhase(NamedTuple):
    """A part of a job; it lasts until the next one begins.

    A phase begins when something has been counted for it, or when the one before it has done all there is to do.
    """

    name: str
    counter: str = ""  # what is counted while it lasts; empty: nothing
    total: tuple[str, ...] = ()  # how much there is to do: the first counter minus the others; empty: unknown
    unit: str = "images"


@functools.lru_cache(1)
def _files(folder: str) -> dict[str, FileIO]:
    """Return the open files of this process in a folder, by counter."""
    return {}


def _file(folder: str, counter: str) -> FileIO:
    files = _files(folder)
    if counter not in files:
        files[counter] = FileIO(os.path.join(folder, counter), "a")
    return files[counter]


def count(counter: str, number: int = 1) -> None:
    """Add to a counter of the job that runs on this machine; on other machines nothing is counted.

    Args:
        counter: Its name, used as a file name.
        number: How much to add.
    """
    folder = os.environ.get(_FOLDER)
    if folder and number:
        # If a worker outlives the run, the folder is gone and nobody needs the count.
        with contextlib.suppress(OSError):
            _file(folder, counter).write(b"." * number)


def counted(counter: str) -> int:
    """Return the value of a counter of the job that runs on this machine."""
    with contextlib.suppress(OSError):
        return os.path.getsize(os.path.join(os.environ.get(_FOLDER, ""), counter))
    return 0


def _total(phase: JobPhase) -> int | None:
    if not phase.total:
        return None
    first, *others = map(counted, phase.total)
    return first - sum(others)


def current_phase(phases: Sequence[JobPhase], least: int = -1) -> int:
    """Return the index of the phase that a job is in; -1 before the first.

    Args:
        phases: The phases of the job.
        least: The phase that it was in before; a job does not go back.
    """
    index = max((i for i, phase in enumerate(phases) if phase.counter and counted(phase.counter)), default=-1)
    index = max(index, least)
    if 0 <= index < len(phases) - 1 and phases[index].counter:
        total = _total(phases[index])
        index += total is not None and counted(phases[index].counter) >= total
    return index


class _Watcher(threading.Thread):
    def __init__(self, phases: Sequence[JobPhase]):
        super().__init__(daemon=True)
        self._phases = phases
        self._over = threading.Event()

    def run(self) -> None:
        index, shown = -1, None
        while not self._over.wait(_LOOK_SECONDS):
            now = current_phase(self._phases, index)
            if now < 0:
                continue
            phase = self._phases[now]
            total, done = _total(phase), counted(phase.counter) if phase.counter else 0
            if shown is None or now != index:
                if shown:
                    shown.close()
                shown, index = console.Phase(phase.name, total, phase.unit), now
            shown.reached(done, total)
        if shown:
            shown.close()

    def stop(self) -> None:
        self._over.set()
        self.join()


@contextlib.contextmanager
def shown_progress(local: bool, phases: Sequence[JobPhase]) -> Iterator[None]:
    """Show the phases of a job on stderr while the block runs it.

    Args:
        local: Whether all workers are on this machine. If not, nothing is counted and shown.
        phases: The phases in their order.
    """
    if not local:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="progress-") as folder:
        os.environ[_FOLDER] = folder
        watcher = _Watcher(phases)
        watcher.start()
        try:
            yield
        finally:
            watcher.stop()
            del os.environ[_FOLDER]
            # Not closed: a thread that is late may still write.
            _files.cache_clear()
