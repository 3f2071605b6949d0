"""Manage the output folder of a job: what may be overwritten, what belongs to the job, and what interruptions leave."""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Collection
from typing import NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import is_gs
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError
from pipelines.storage.gcs_access import require_writable

# All files are written below this folder and moved at the end. While it holds a claim, the output is not finished.
TEMPORARY = ".unfinished"
# File in TEMPORARY that marks the folder as a job's own, and says which attempt may put its files in place. The name of
# the folder alone proves nothing.
CLAIM = "claim.json"
# File of an attempt, written once all its files are complete, that lists what to move into place. A run that ends after
# this point can be finished.
READY = "ready.json"
# Folder of an attempt that holds the marker file before it is moved into place.
_LAST = "last"
_WRITTEN_BY = {"written by": "pipelines", "until": "the output is finished"}
# What a task writes that its runner gave up for lost may come when the output is finished and the claim is gone.
_OF_AN_ATTEMPT = re.compile(rf"{re.escape(TEMPORARY)}/[0-9a-f]{{16}}/")


class Attempt(NamedTuple):
    """One attempt at writing an output.

    Its files lie in a folder of its own. A job that goes on when its command has ended therefore never writes among the
    files of the next attempt, and cannot publish once that has claimed the output.
    """

    output: str
    id: str
    existing: str = ""  # the nearest folder, the output or one above it, that existed before; empty if not local

    @property
    def folder(self) -> str:
        """The folder of this attempt's intermediate files."""
        return filesystem.join(_temporary_folder(self.output), self.id)

    @property
    def publish_folder(self) -> str:
        """The folder of finished files until all of them are there."""
        return filesystem.join(self.folder, "publish")

    @property
    def _ready_path(self) -> str:
        return filesystem.join(self.folder, READY)

    def ready_files(self) -> dict | None:
        """Return what is to be moved into place, or None if not all files are complete."""
        content = filesystem.read_if_exists(self._ready_path)
        return json.loads(content) if content is not None else None

    def announce(self, marker: str, content: bytes) -> None:
        """Write down what is to be moved into place, once all files are complete. A repetition changes nothing.

        Args:
            marker: Name of the file that marks the output as finished.
            content: Its content.
        """
        # Listed before the look for an earlier announcement: once there is one, files may already be on their way.
        names = sorted(name for name in filesystem.list_tree(self.publish_folder) if not filesystem.is_partial(name))
        if self.ready_files() is None and _claimed_by(self.output) == self.id:
            ready = {"names": names, "marker": marker, "content": content.decode("utf-8", "surrogateescape")}
            filesystem.write_bytes(self._ready_path, json.dumps(ready).encode())

    def publish(self, pattern: re.Pattern[str]) -> bool:
        """Replace the earlier output by this attempt's files, the marker last.

        It can be repeated after any interruption, and even run twice at once: it deletes nothing that this attempt has
        put in place.

        Args:
            pattern: Matches the relative paths of the files that this job writes.

        Returns:
            Whether there was anything to publish: the files were complete, and the output was this attempt's.

        Raises:
            StorageError: A file that was complete is gone.
        """
        ready = self.ready_files() if _claimed_by(self.output) == self.id else None
        if ready is None:
            return False
        names, marker = set(ready["names"]), ready["marker"]
        left_over = [name for name in own_files(self.output, pattern) if name not in names]
        filesystem.delete_files(self.output, sorted(left_over, key=lambda name: name != marker))
        waiting = set(filesystem.list_tree(self.publish_folder))
        filesystem.move_files(self.publish_folder, self.output, sorted(names & waiting))
        if lost := names.difference(filesystem.list_tree(self.output)):
            raise StorageError(f"{filesystem.join(self.publish_folder, min(lost))} is gone before it was put in place")
        last = filesystem.join(self.folder, _LAST)
        filesystem.write_bytes(filesystem.join(last, marker), ready["content"].encode("utf-8", "surrogateescape"))
        filesystem.move_files(last, self.output, [marker])
        _clear_temporary(self.output)
        return True

    def publish_as_command(self, pattern: re.Pattern[str]) -> None:
        """Publish for the command that waited for the job, see `publish`.

        Raises:
            StorageError: A file that was complete is gone.
            UsageError: Another run has claimed the output meanwhile.
        """
        if not self.publish(pattern):
            raise UsageError(f"--output {self.output}: another run has taken it meanwhile; run one at a time")


def _temporary_folder(output: str) -> str:
    return filesystem.join(output, TEMPORARY)


def own_files(output: str, pattern: re.Pattern[str]) -> list[str]:
    """Return the files in the output that belong to this job; other files are never touched.

    Args:
        output: The output folder.
        pattern: Matches the relative paths of the files that this job writes.

    Returns:
        Sorted paths relative to the output.
    """
    return sorted(name for name in filesystem.list_tree(output) if pattern.match(name))


def finish_interrupted(output: str, pattern: re.Pattern[str]) -> bool:
    """Publish the files of an interrupted run if all of them are complete.

    Args:
        output: The output folder.
        pattern: Matches the relative paths of the files that this job writes.

    Returns:
        Whether there was such a run.
    """
    claimed_by = _claimed_by(output)
    return bool(claimed_by) and Attempt(output, claimed_by).publish(pattern)


def is_unfinished(names: Collection[str]) -> bool:
    """Return whether an output with these files is being written, or was when its run was interrupted."""
    return f"{TEMPORARY}/{CLAIM}" in names


def _clear_temporary(output: str) -> None:
    """Delete the temporary folder, its claim file last."""
    folder = _temporary_folder(output)
    filesystem.delete_files(folder, [name for name in filesystem.list_tree(folder) if name != CLAIM])
    filesystem.delete_tree(folder)


def _claimed_by(output: str) -> str:
    """Return the id of the attempt that has claimed an output; empty if there is none."""
    content = filesystem.read_if_exists(filesystem.join(_temporary_folder(output), CLAIM))
    with contextlib.suppress(ValueError):
        claim = json.loads(content or b"{}")
        if isinstance(claim, dict) and claim.items() >= _WRITTEN_BY.items():
            return str(claim.get("attempt", ""))
    return ""


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
        filesystem.write_bytes(filesystem.join(_temporary_folder(output), "probe"), b"")
        filesystem.delete_files(_temporary_folder(output), ["probe"])


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
        ours = _is_ours(output, inside)
        if names and marker not in names and not (inside and ours):
            raise UsageError(f"--output {output}: is not empty and holds no earlier output; name another folder")
        if not ours:
            raise UsageError(f"--output {output}: has a folder {TEMPORARY} that is not ours; name another folder")
        _probe(output)
    except StorageError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.summary}") from error


def _is_ours(output: str, inside: list[str]) -> bool:
    """Return whether the temporary folder, with these files, may be deleted."""
    # Without a claim, this is what was killed while it wrote one, or came when the output was finished.
    return bool(_claimed_by(output)) or all(
        name.startswith(f"{TEMPORARY}/{CLAIM}.") or _OF_AN_ATTEMPT.match(name) for name in inside
    )


def begin(output: str) -> Attempt:
    """Delete what an interrupted run left behind, and mark the output as being written by a new attempt."""
    existing = filesystem.nearest_folder(output) if filesystem.is_local(output) else ""
    folder = _temporary_folder(output)
    inside = [f"{TEMPORARY}/{name}" for name in filesystem.list_tree(folder)]
    if inside and _is_ours(output, inside):
        _clear_temporary(output)
    attempt = Attempt(output, uuid.uuid4().hex[:16], existing)
    claim = json.dumps({**_WRITTEN_BY, "attempt": attempt.id}) + "\n"
    filesystem.write_bytes(filesystem.join(folder, CLAIM), claim.encode())
    return attempt


def abandon(attempt: Attempt) -> None:
    """Delete all traces of the present attempt, which was refused before it published anything."""
    _remove(attempt.output, attempt.existing)


def _remove(output: str, existing: str) -> None:
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
    claimed_by = _claimed_by(output)
    if not claimed_by:
        return
    existing = (
        filesystem.nearest_folder(os.path.dirname(os.path.abspath(output))) if filesystem.is_local(output) else ""
    )
    folder = Attempt(output, claimed_by).folder
    # From here on, the files count as incomplete.
    filesystem.delete_files(folder, [name for name in filesystem.list_tree(folder) if name == READY])
    if not filesystem.exists(filesystem.join(output, marker)):
        filesystem.delete_files(output, own_files(output, pattern))
    _remove(output, existing)
