"""Manage the output folder of a job: what may be overwritten, what belongs to the job, and what interruptions leave."""

from __future__ import annotations

import json
import os
import re

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import is_gs
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError
from pipelines.storage.gcs_access import require_writable

# All files are written below this folder and moved at the end. While it exists, the output is not finished.
TEMPORARY = ".unfinished"
# File in TEMPORARY that marks the folder as a job's own; the folder's name alone proves nothing.
CLAIM = "claim.json"
# File in TEMPORARY, written once all files are complete, that lists what to move into place. A run that ends after this
# point can be finished.
READY = "ready.json"
# Folder in TEMPORARY that holds the marker file before it is moved into place.
_LAST = "last"
_CLAIM_TEXT = b'{"written by": "pipelines", "until": "the output is finished"}\n'


def temporary_folder(output: str) -> str:
    """Return the folder where a run keeps its intermediate files."""
    return filesystem.join(output, TEMPORARY)


def publish_folder(output: str) -> str:
    """Return the folder where a run collects finished files until all of them are there."""
    return filesystem.join(output, TEMPORARY, "publish")


def own_files(output: str, pattern: re.Pattern[str]) -> list[str]:
    """Return the files in the output that belong to this job; other files are never touched.

    Args:
        output: The output folder.
        pattern: Matches the relative paths of the files that this job writes.

    Returns:
        Sorted paths relative to the output.
    """
    return sorted(name for name in filesystem.list_tree(output) if pattern.match(name))


def ready_files(output: str) -> dict | None:
    """Return the content of the ready file of a run that was interrupted while publishing, or None."""
    content = filesystem.read_if_exists(filesystem.join(temporary_folder(output), READY))
    return json.loads(content) if content is not None else None


def finish_interrupted(output: str, pattern: re.Pattern[str]) -> bool:
    """Publish the files of an interrupted run if all of them are complete.

    Args:
        output: The output folder.
        pattern: Matches the relative paths of the files that this job writes.

    Returns:
        Whether there was such a run.
    """
    ready = ready_files(output) if _is_claimed(output) else None
    if ready is None:
        return False
    left_over = set(own_files(output, pattern)) - {*ready["names"], ready["marker"]}
    filesystem.delete_files(output, sorted(left_over))
    put_in_place(output, ready)
    return True


def put_in_place(output: str, ready: dict) -> None:
    """Move the files of a run into place, the marker last.

    Args:
        output: The output folder.
        ready: What `ready_files` returned.
    """
    filesystem.move_tree(publish_folder(output), output)
    last = filesystem.join(temporary_folder(output), _LAST)
    filesystem.write_bytes(filesystem.join(last, ready["marker"]), ready["content"].encode())
    filesystem.move_tree(last, output)
    _clear_temporary(output)


def _clear_temporary(output: str) -> None:
    """Delete the temporary folder, its claim file last."""
    folder = temporary_folder(output)
    filesystem.delete_files(folder, [name for name in filesystem.list_tree(folder) if name != CLAIM])
    filesystem.delete_tree(folder)


def _is_claimed(output: str) -> bool:
    return filesystem.read_if_exists(filesystem.join(temporary_folder(output), CLAIM)) == _CLAIM_TEXT


def _probe(output: str) -> None:
    """Raise StorageError if nothing can be written below `output`.

    gs:// paths are skipped because `require_writable` has already checked them.
    """
    if filesystem.is_local(output):
        existing = filesystem.nearest_folder(output)
        if not os.path.isdir(existing):
            raise StorageError(f"{existing} is no folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise StorageError(f"{existing} is not writable")
    elif not is_gs(output):
        filesystem.write_bytes(filesystem.join(temporary_folder(output), "probe"), b"")
        filesystem.delete_files(temporary_folder(output), ["probe"])


def require_output(output: str, marker: str, overwrite: bool, beside: list[str]) -> None:
    """Raise UsageError unless a run may write into `output`; leave nothing behind.

    Args:
        output: The output folder.
        marker: Name of the file that marks an output as finished.
        overwrite: Whether a finished output may be replaced.
        beside: Inputs; the output must not be one of them.

    Raises:
        UsageError: The path is unsuitable, holds a finished output or other files, or cannot be written.
    """
    if not output.strip("/"):
        raise UsageError(f"--output {output!r}: name a folder of its own")
    if any(character in output for character in "*?["):
        raise UsageError(f"--output {output}: must not contain *, ? or [")
    for path in beside:
        if filesystem.same_place(path, output):
            raise UsageError(f"--output {output}: is also an input; name another folder")
    require_writable("--output", output)
    try:
        names = list(filesystem.list_tree(output))
        if marker in names and not overwrite:
            raise UsageError(f"--output {output}: holds a finished output; add --overwrite to replace it")
        inside = [name for name in names if name.startswith(f"{TEMPORARY}/")]
        # The second condition covers a run that was killed while it wrote its claim.
        ours = _is_claimed(output) or all(name.startswith(f"{TEMPORARY}/{CLAIM}.") for name in inside)
        if names and marker not in names and not (inside and ours):
            raise UsageError(f"--output {output}: is not empty and holds no earlier output; name another folder")
        if not ours:
            raise UsageError(f"--output {output}: has a folder {TEMPORARY} that is not ours; name another folder")
        _probe(output)
    except StorageError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.summary}") from error


def begin(output: str) -> str:
    """Delete what an interrupted run left behind, and mark the output as being written.

    Returns:
        The nearest folder, the output or one above it, that existed before; empty if the output is not local. Pass it
        to `abandon`.
    """
    existing = filesystem.nearest_folder(output) if filesystem.is_local(output) else ""
    if _is_claimed(output):
        _clear_temporary(output)
    filesystem.write_bytes(filesystem.join(temporary_folder(output), CLAIM), _CLAIM_TEXT)
    return existing


def abandon(output: str, existing: str) -> None:
    """Delete all traces of the present run, which was refused before it published anything.

    Args:
        output: The output folder.
        existing: What `begin` returned. This folder and those above it are kept.
    """
    _clear_temporary(output)
    if filesystem.is_local(output):
        filesystem.remove_empty(output, existing)


def discard_interrupted(output: str, pattern: re.Pattern[str], marker: str) -> None:
    """Delete all traces of an earlier, interrupted run, even if some of its files are already in place.

    Two interruptions can lead to that: one while files were being moved, and one after the same run had started again.
    Files that do not belong to the job are kept.

    Args:
        output: The output folder.
        pattern: Matches the relative paths of the files that this job writes.
        marker: Name of the file that marks an output as finished. If it exists, the published files are kept.
    """
    if not _is_claimed(output):
        return
    existing = (
        filesystem.nearest_folder(os.path.dirname(os.path.abspath(output))) if filesystem.is_local(output) else ""
    )
    folder = temporary_folder(output)
    # From here on, the files count as incomplete.
    filesystem.delete_files(folder, [name for name in filesystem.list_tree(folder) if name == READY])
    if not filesystem.exists(filesystem.join(output, marker)):
        filesystem.delete_files(output, own_files(output, pattern))
    abandon(output, existing)
