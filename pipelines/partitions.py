"""Runs of a job as partitions of one output: `OUTPUT/run=NAME/`, each complete once its `summary.json` is there."""

from __future__ import annotations

import contextlib
import datetime
import os
import posixpath
import re
from collections.abc import Iterator

from pipelines import output, storage
from pipelines.cli import UsageError

MARKER = "summary.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_PARTITION = re.compile(r"(?:^|/)run=([^/]+)\Z")


def partition_folder(folder: str, name: str) -> str:
    """Where a run writes."""
    return storage.join(folder, f"run={name}")


def _named(folder: str, *parts: str) -> list[str]:
    """Names of the runs below a folder that have a certain file, sorted."""
    pattern = storage.join(folder, "run=*", *parts)
    depth = len(parts)
    folders = (path.replace("\\", "/").rsplit("/", depth)[0] for path in storage.match(pattern))
    return sorted({found[1] for path in folders if (found := _PARTITION.search(path))})


def finished_runs(folder: str) -> list[str]:
    """Names of the finished runs of an output, sorted; those of dates are in the order of time."""
    return _named(folder, MARKER)


@contextlib.contextmanager
def readable(option: str, folder: str) -> Iterator[None]:
    """Looking into an option's folder: what fails is a UsageError."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # each filesystem raises its own kinds
        raise UsageError(f"{option} {folder}: cannot be read ({error.__class__.__name__})") from error


def choose_name(folder: str, wanted: str, today: datetime.date, further: bool) -> str:
    """The run's name: `wanted`, or by default the date; further: another one when a run of this date is finished.

    Raises UsageError for a name that cannot be part of a path.
    """
    if wanted:
        if not _NAME.match(wanted):
            raise UsageError(f"--run {wanted!r}: letters, digits, '.', '_' and '-' only, 63 at most, no sign first")
        return wanted
    name = today.isoformat()
    taken = set(finished_runs(folder)) if further else set()
    count = 2
    while name in taken:
        name = f"{today.isoformat()}.{count:02d}"
        count += 1
    return name


def previous_partitions(option: str, folder: str, current: str) -> list[str]:
    """The partitions of finished runs in an earlier output, or that partition itself; without `current`.

    An output that does not exist yet is one only where it is that of this run: on the first night. Raises UsageError.
    """
    with readable(option, folder):
        if storage.exists(storage.join(folder, MARKER)):
            found = [folder.rstrip("/")]
        else:
            found = [partition_folder(folder, name) for name in finished_runs(folder)]
    if not found and not storage.same_place(posixpath.dirname(current), folder):
        raise UsageError(
            f"{option} {folder}: holds no finished run (run=*/{MARKER}); name the --output of earlier runs"
        )
    return [partition for partition in found if not storage.same_place(partition, current)]


def require_own(folder: str) -> None:
    """Raise UsageError when an output folder holds other things and no run: it is likely not meant."""
    names = os.listdir(folder) if storage.is_folder(folder) else []
    if names and not any(_PARTITION.search(name) for name in names):
        raise UsageError(f"--output {folder}: is not empty and holds no earlier run; name another folder")


def finish_others(folder: str, current: str, own_files: re.Pattern[str]) -> list[str]:
    """Bring interrupted runs of earlier nights to an end; gives the names of those that were complete and are now
    finished. What others had not completed is deleted: this run does it again.

    Two runs must not work in one output at the same time.
    """
    finished = []
    for name in _named(folder, output.TEMPORARY, output.CLAIM):
        partition = partition_folder(folder, name)
        if not storage.same_place(partition, current):
            if output.finish_interrupted(partition, own_files):
                finished.append(name)
            else:
                output.discard(partition, own_files, MARKER)
    return finished
