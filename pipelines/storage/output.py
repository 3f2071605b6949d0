"""Manage the output folder of a job: what may be overwritten, what belongs to the job, and what interruptions leave."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Collection, Iterable, Iterator

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import is_gs
from pipelines.storage import claims, filesystem
from pipelines.storage.access import require_writable
from pipelines.storage.attempt import READY, Attempt, DamagedError, own_files
from pipelines.storage.claims import CLAIM, TEMPORARY
from pipelines.storage.errors import StorageError

# What a task writes that its runner gave up for lost may come when the output is finished and the claim is gone.
_OF_AN_ATTEMPT = re.compile(rf"{re.escape(TEMPORARY)}/[0-9a-f]{{16}}/")


def is_unfinished(names: Collection[str]) -> bool:
    """Return whether an output with these files is being written, or was when its run was interrupted."""
    return f"{TEMPORARY}/{CLAIM}" in names


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
        temporary = filesystem.join(output, TEMPORARY)
        filesystem.write_bytes(filesystem.join(temporary, "probe"), b"")
        filesystem.delete_files(temporary, ["probe"])


def require_apart(output: str, inputs: Iterable[str]) -> None:
    """Raise UsageError if the output is an input or lies in one: a later run would read it."""
    for path in inputs:
        if filesystem.same_place(path, output):
            raise UsageError(f"--output {output}: is also an input; name another folder")
        if filesystem.is_inside(output, path):
            raise UsageError(f"--output {output}: lies in {path}, which is read; name a folder beside it")


def require_output(output: str, marker: str, overwrite: bool, beside: Iterable[str], root: str = "") -> None:
    """Raise UsageError unless a run may write into `output`; leave nothing behind.

    Args:
        output: The output folder.
        marker: Name of the file that marks an output as finished.
        overwrite: Whether a finished output may be replaced.
        beside: Inputs; the output must not be one of them, nor lie in one.
        root: The folder that a run claims: the output, if empty, or one above it.

    Raises:
        UsageError: The path is unsuitable, holds a finished output or other files, is being written by another run, or
            cannot be written.
    """
    root = root or output
    if not output.strip("/"):
        raise UsageError(f"--output {output!r}: name a folder of its own")
    if any(character in output for character in "*?["):
        raise UsageError(f"--output {output}: must not contain *, ? or [")
    require_apart(output, beside)
    require_writable("--output", output)
    try:
        earlier = claims.require_free(root)
        names = list(filesystem.list_tree(output))
        if marker in names and not overwrite:
            raise _finished(output)
        temporary = filesystem.join(root, TEMPORARY)
        inside = [f"{TEMPORARY}/{name}" for name in filesystem.list_tree(temporary)]
        ours = earlier is not None or all(map(_is_left_over, inside))
        if names and marker not in names and not (inside and ours):
            raise UsageError(f"--output {output}: is not empty and holds no earlier output; name another folder")
        if not ours:
            raise UsageError(f"--output {root}: has a folder {TEMPORARY} that is not ours; name another folder")
        _probe(output)
    except StorageError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.summary}") from error


def _finished(output: str) -> UsageError:
    return UsageError(f"--output {output}: holds a finished output; add --overwrite to replace it")


def _is_left_over(name: str) -> bool:
    """Return whether a file in a temporary folder without a claim was left there by one of our runs."""
    # It was killed while it wrote a claim, or one of its tasks wrote when the output was finished.
    return name.startswith(f"{TEMPORARY}/{CLAIM}.") or bool(_OF_AN_ATTEMPT.match(name))


def begin(output: str, root: str = "") -> Attempt:
    """Claim an output for a new attempt, and delete what an interrupted one left behind.

    Args:
        output: The output folder.
        root: The folder to claim: the output, if empty, or one above it.

    Raises:
        UsageError: Another run has claimed it, and has not ended.
    """
    existing = filesystem.nearest_folder(output) if filesystem.is_local(output) else ""
    attempt = Attempt(output, uuid.uuid4().hex[:16], existing, root)
    temporary = filesystem.join(attempt.claimed, TEMPORARY)
    earlier = claims.take(attempt.claimed, attempt.new_claim())
    beside = [f"{TEMPORARY}/{name}" for name in filesystem.list_tree(temporary) if name != CLAIM]
    if earlier or all(map(_is_left_over, beside)):
        filesystem.clear_folder(temporary, CLAIM)
    return attempt


@contextlib.contextmanager
def begun(output: str, marker: str, overwrite: bool, root: str = "") -> Iterator[Attempt]:
    """Begin an output, and give signs of life while the block lasts; leave nothing of it after a UsageError.

    Args:
        output: The output folder.
        marker: Name of the file that marks an output as finished.
        overwrite: Whether a finished output may be replaced.
        root: The folder to claim: the output, if empty, or one above it.

    Yields:
        The attempt at the output.

    Raises:
        UsageError: Another run has claimed the output, has finished it since it was looked at, or has taken it from
            this one, which had been stopped for long.
    """
    attempt = begin(output, root)
    try:
        if not overwrite and filesystem.exists(filesystem.join(output, marker)):
            raise _finished(output)
        with claims.renewed(attempt.claimed):
            yield attempt
    except UsageError:
        abandon(attempt)
        raise
    except BaseException as error:
        # The process may go on, as that of a notebook does.
        with contextlib.suppress(StorageError):
            if isinstance(error, Exception) and not attempt.is_claimed():
                raise attempt.taken() from error
            claims.end(attempt.claimed, attempt.id)
        raise


def abandon(attempt: Attempt) -> None:
    """Delete all traces of an attempt that has published nothing, unless another has claimed its output meanwhile."""
    if attempt.is_claimed():
        attempt.clear()
        if filesystem.is_local(attempt.output):
            filesystem.remove_empty(attempt.output, attempt.existing)


def _interrupted(root: str) -> Attempt | None:
    """Return the attempt that has claimed a folder, if there is one."""
    claim = claims.read_claim(root)
    if claim is None:
        return None
    output = filesystem.join(root, claim.output) if claim.output else root
    existing = (
        filesystem.nearest_folder(os.path.dirname(os.path.abspath(output))) if filesystem.is_local(output) else ""
    )
    return Attempt(output, claim.attempt, existing, root)


@contextlib.contextmanager
def _taken_over(attempt: Attempt) -> Iterator[None]:
    """Claim the output of an attempt whose command has ended, and give signs of life while the block lasts."""
    claims.take(attempt.claimed, attempt.new_claim())
    try:
        with claims.renewed(attempt.claimed):
            yield
    except BaseException:
        with contextlib.suppress(StorageError):
            claims.end(attempt.claimed, attempt.id)
        raise


def interrupted_content(output: str) -> bytes | None:
    """Return what the marker file of an interrupted run will say if it is finished; None if there is none to finish."""
    attempt = _interrupted(output)
    ready = attempt and attempt.ready_files()
    return ready.content.encode("utf-8", "surrogateescape") if ready else None


def finish_interrupted(output: str, pattern: re.Pattern[str]) -> bool:
    """Publish the files of an interrupted run if all of them are complete.

    Args:
        output: The output folder.
        pattern: Matches the relative paths of the files that this job writes.

    Returns:
        Whether there was such a run.

    Raises:
        DamagedError: A file is not what was announced, and the earlier output is not whole either.
        UsageError: The run has not ended.
    """
    attempt = _interrupted(output)
    ready = attempt and attempt.ready_files()
    if attempt is None or ready is None:
        return False
    with _taken_over(attempt):
        try:
            published = attempt.publish(pattern)
        except DamagedError:
            if not filesystem.exists(filesystem.join(output, ready.marker)):
                raise
            # The earlier output is whole; what was to replace it is made again.
            published = False
        if not published:
            abandon(attempt)
        return published


def settle_interrupted(root: str, current: str, pattern: re.Pattern[str], marker: str) -> str:
    """Publish the files of an interrupted run, or delete all its traces.

    They are deleted if not all were complete, or if the present run writes the same output. Some may be in place all
    the same: one interruption may come while files are moved, and another when the same run has started again.

    Args:
        root: The folder that runs claim.
        current: The output of the present run, at `root` or below it.
        pattern: Matches the relative paths of the files that a run writes.
        marker: Name of the file that marks an output as finished. If it exists, files in place are kept.

    Returns:
        The output that is now finished; empty if there is none.

    Raises:
        UsageError: The run has not ended.
    """
    attempt = _interrupted(root)
    if attempt is None:
        return ""
    with _taken_over(attempt):
        # What is damaged is made again.
        with contextlib.suppress(DamagedError):
            if not filesystem.same_place(attempt.output, current) and attempt.publish(pattern):
                return attempt.output
        # From here on, the files count as incomplete.
        there = filesystem.list_tree(attempt.folder)
        filesystem.delete_files(attempt.folder, [name for name in there if name == READY])
        if not filesystem.exists(filesystem.join(attempt.output, marker)):
            filesystem.delete_files(attempt.output, own_files(attempt.output, pattern))
        abandon(attempt)
    return ""
