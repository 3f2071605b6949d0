"""Claim a folder, local or on `gs://`, for a program that writes in its place, as training does; see `claims`."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from pipelines.common import console, exclusive_file
from pipelines.common.claims import CLAIM, TEMPORARY, Claim, ClaimHeldError, FolderClaims, new_claim
from pipelines.common.cli import UsageError
from pipelines.common.full_disk import is_disk_full
from pipelines.common.gcs_client import ServiceUnavailable, is_gs, split_path
from pipelines.common.gcs_folder import UnreachableError, explain

# Seconds without a sign of life after which a run on another machine counts as ended. Shorter than that of the jobs:
# a machine that was lost is replaced soon, and who was overtaken notices before it writes.
_SILENCE = 90.0
# Seconds between two looks at the claim of a run that may have ended.
_LOOK = 2.0


class ClaimedFolder:
    """A folder that is this run's; see `claimed_folder`."""

    def __init__(self, folder: str, claims: FolderClaims, claim: Claim):
        self._folder, self._claims, self._claim = folder, claims, claim

    def require_own(self) -> None:
        """Raise UsageError if another run has the folder by now: this one had been stopped, or cut off, for long."""
        with _explained(self._folder, "read the claim on"):
            found = self._claims.read(self._folder)
        if found != self._claim:
            raise UsageError(f"--output {self._folder}: another run has taken it meanwhile; run one at a time")


def require_free(folder: str) -> None:
    """Raise UsageError if a run that has not ended writes in a folder; pass if that cannot be known yet."""
    with _explained(folder, "read the claim on"):
        try:
            _claims().require_free(folder)
        except ClaimHeldError as error:
            if not error.may_have_ended:
                raise


def without_claim(names: Collection[str], folder: Path | None = None) -> set[str]:
    """Return the names of files in a folder without those of a claim.

    Args:
        names: The names, with slashes.
        folder: A local folder of which these are the names at its top; None: they are paths relative to the folder.
    """
    if folder is None:
        return {name for name in names if not name.startswith(f"{TEMPORARY}/{CLAIM}")}
    inside = folder / TEMPORARY
    only_a_claim = inside.is_dir() and all(path.name.startswith(CLAIM) for path in inside.iterdir())
    return set(names) - {TEMPORARY} if only_a_claim else set(names)


@contextlib.contextmanager
def claimed_folder(folder: str) -> Iterator[ClaimedFolder]:
    """Claim a folder for the block, which one run at a time can.

    The claim of a process on this machine that has ended is taken over at once. Of a process elsewhere nothing is
    known: the run waits until it has been silent for long enough. So a run that was killed continues on another machine
    without anybody's help.

    Args:
        folder: The folder; it and those above it are made if they are missing, and removed if they are left empty.

    Yields:
        The folder as this run's.

    Raises:
        UsageError: Another run has it, or it cannot be written.
        UnreachableError: Its bucket does not respond.
    """
    claims, claim = _claims(), new_claim(uuid.uuid4().hex[:16])
    existing = None if is_gs(folder) else _nearest_folder(folder)
    with _explained(folder, "write the claim on"):
        _take(claims, folder, claim)
    try:
        with _explained(folder, "read the claim on"):
            renewed = claims.renewed(folder)
        with renewed:
            yield ClaimedFolder(folder, claims, claim)
    finally:
        # What stays is the claim of a process that has ended.
        with contextlib.suppress(UsageError, UnreachableError), _explained(folder, "remove the claim on"):
            claims.release(folder, claim.attempt)
        if existing:
            _remove_empty(Path(folder, TEMPORARY), existing)


def _claims() -> FolderClaims:
    return FolderClaims(exclusive_file, lambda _: "", _SILENCE)


def _take(claims: FolderClaims, folder: str, claim: Claim) -> None:
    """Take a claim; wait for a sign of life of a run of which nothing is known, or for the end of its time."""
    last_sign = None
    while True:
        try:
            claims.take(folder, claim)
            return
        except ClaimHeldError as error:
            if not error.may_have_ended or last_sign not in (None, error.last_sign):
                raise
            if last_sign is None:
                says = (
                    f"waiting for a sign of life of {error.owner}, which may have ended, or {_SILENCE:.0f} s of silence"
                )
                console.say(f"{folder}: {says}", phase="waiting")
            last_sign = error.last_sign
        threading.Event().wait(_LOOK)


@contextlib.contextmanager
def _explained(folder: str, doing: str) -> Iterator[None]:
    """Turn errors of the store into one-line errors."""
    where = f"--output {folder}"
    try:
        yield
    except (UsageError, UnreachableError):
        raise
    except ServiceUnavailable as error:
        raise UnreachableError(f"{where}: {error}; try again later") from error
    except Exception as error:
        if is_gs(folder) and (explained := explain(error, where, split_path(folder)[0], f"{doing} the output in")):
            raise explained from error
        if isinstance(error, OSError) and not is_disk_full(error):
            raise UsageError(
                f"{where}: cannot be written ({error.strerror or error}); give another directory"
            ) from error
        raise


def _nearest_folder(folder: str) -> Path:
    path = Path(os.path.abspath(folder))
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _remove_empty(folder: Path, existing: Path) -> None:
    """Remove a folder, and those above it below `existing`, as far as they are empty."""
    # What is not empty stays, also if another program has just begun to write there.
    with contextlib.suppress(OSError):
        for path in (folder, *folder.parents):
            if path.absolute() == existing:
                return
            path.rmdir()
