"""Manage the runs of a job as partitions of one output: `OUTPUT/run=NAME/`, finished once `_summary.json` exists.

Names that begin with `_` are no tables: pandas, Spark and whatever else reads a folder of Parquet skips them.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import posixpath
import re
from collections.abc import Iterator

from pipelines.common.cli import UsageError
from pipelines.storage import filesystem, output
from pipelines.storage.errors import StorageError

MARKER = "_summary.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_PARTITION = re.compile(r"(?:^|/)run=([^/]+)\Z")


def partition_folder(folder: str, name: str) -> str:
    """Return the folder that a run writes to."""
    return filesystem.join(folder, f"run={name}")


def _named(folder: str, *parts: str) -> list[str]:
    """Return the sorted names of the runs below a folder that contain the file given by `parts`."""
    pattern = filesystem.join(folder, "run=*", *parts)
    depth = len(parts)
    folders = (path.replace("\\", "/").rsplit("/", depth)[0] for path in filesystem.match(pattern))
    return sorted({found[1] for path in folders if (found := _PARTITION.search(path))})


def finished_runs(folder: str) -> list[str]:
    """Return the sorted names of the finished runs of an output; dates are thus in chronological order."""
    return _named(folder, MARKER)


@contextlib.contextmanager
def readable(option: str, folder: str) -> Iterator[None]:
    """Convert a failure to read an option's folder in the block to a UsageError.

    Args:
        option: The option that names the folder, for error messages.
        folder: The folder.
    """
    try:
        yield
    except StorageError as error:
        raise UsageError(f"{option} {folder}: cannot be read ({error.kind})") from error


def choose_name(folder: str, wanted: str, today: datetime.date, further: bool) -> str:
    """Return the name of a run.

    Args:
        folder: The output.
        wanted: The name given by the user, or an empty string for the date.
        today: The date.
        further: Whether to append a number to the date, from 02, if a run of that name is already finished.

    Raises:
        UsageError: The name cannot be part of a path.
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


def _partitions_of(option: str, folder: str) -> list[str]:
    """Return the partitions of the finished runs of an output, or the folder itself if it is one.

    Raises:
        UsageError: The folder cannot be read.
    """
    with readable(option, folder):
        if filesystem.exists(filesystem.join(folder, MARKER)):
            return [folder.rstrip("/")]
        return [partition_folder(folder, name) for name in finished_runs(folder)]


def holds_run(option: str, folder: str) -> bool:
    """Return whether a folder is an output with a finished run, or the partition of one.

    Args:
        option: The option that names the folder, for error messages.
        folder: The folder.

    Raises:
        UsageError: The folder cannot be read.
    """
    return bool(_partitions_of(option, folder))


def previous_partitions(option: str, folder: str, current: str) -> list[str]:
    """Return the partitions of the finished runs of an earlier output.

    Args:
        option: The option that names the folder, for error messages.
        folder: An earlier output, or a single partition. It may hold no finished run only if it is the output of the
            current run, as on the first night.
        current: The partition of the current run, which is left out.

    Raises:
        UsageError: The folder cannot be read, or holds no finished run.
    """
    found = _partitions_of(option, folder)
    if not found and not filesystem.same_place(posixpath.dirname(current), folder):
        raise UsageError(
            f"{option} {folder}: holds no finished run (run=*/{MARKER}); name the --output of earlier runs"
        )
    return [partition for partition in found if not filesystem.same_place(partition, current)]


def require_own(folder: str) -> None:
    """Raise UsageError if an output folder holds other files but no run, because it is probably the wrong folder."""
    names = os.listdir(folder) if filesystem.is_folder(folder) else []
    if names and not any(_PARTITION.search(name) or name == output.TEMPORARY for name in names):
        raise UsageError(f"--output {folder}: is not empty and holds no earlier run; name another folder")


def settle_interrupted(folder: str, current: str, own_files: re.Pattern[str]) -> str:
    """Finish or discard the interrupted earlier run of an output.

    A run whose files were complete is published. What an incomplete run left is deleted; the current run does that work
    again.

    Args:
        folder: The output.
        current: The partition of the current run.
        own_files: Matches the relative paths of the files that a run writes.

    Returns:
        The name of the run that is now finished; empty if there is none.

    Raises:
        UsageError: Another run works in the output.
    """
    found = _PARTITION.search(output.settle_interrupted(folder, current, own_files, MARKER))
    return found[1] if found else ""
