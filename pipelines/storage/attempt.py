"""One attempt at writing an output: where its files wait, and how they get into place all at once or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.partial_files import is_partial
from pipelines.storage import claims, filesystem, left_job
from pipelines.storage.claims import CLAIM, TEMPORARY
from pipelines.storage.errors import StorageError
from pipelines.storage.file_states import FileState, file_states
from pipelines.storage.left_job import LeftJob

# File of an attempt, written once all its files are complete, that lists what to move into place, with sizes and
# checksums. A run that ends after this point can be finished.
READY = "ready.json"
# Folder of an attempt that holds the marker file before it is moved into place.
_LAST = "last"


class DamagedError(StorageError):
    """A file of an attempt that is not, or no longer, what was written."""


class Ready(NamedTuple):
    """What is to be moved into place."""

    files: Mapping[str, FileState]
    marker: str  # name of the file that marks the output as finished
    content: str  # its content


class Attempt(NamedTuple):
    """One attempt at writing an output.

    Its files lie in a folder of its own. A job that goes on when its command has ended therefore never writes among the
    files of the next attempt, and cannot publish once that has claimed the output.
    """

    output: str
    id: str
    existing: str = ""  # the nearest folder, the output or one above it, that existed before; empty if not local
    root: str = ""  # the folder that is claimed: the output, if empty, or one above it

    @property
    def claimed(self) -> str:
        """The folder that is claimed for the attempt."""
        return self.root or self.output

    @property
    def _temporary(self) -> str:
        return filesystem.join(self.claimed, TEMPORARY)

    @property
    def folder(self) -> str:
        """The folder of this attempt's intermediate files."""
        return filesystem.join(self._temporary, self.id)

    @property
    def publish_folder(self) -> str:
        """The folder of finished files until all of them are there."""
        return filesystem.join(self.folder, "publish")

    @property
    def ready_path(self) -> str:
        """The file that lists what to move into place."""
        return filesystem.join(self.folder, READY)

    def new_claim(self) -> claims.Claim:
        """Return a claim of the present process for this attempt."""
        return claims.new_claim(self.id, self.output.removeprefix(self.claimed).strip("/"))

    def is_claimed(self) -> bool:
        """Return whether the output is this attempt's, so that it may publish."""
        claim = claims.read_claim(self.claimed)
        return claim is not None and claim.attempt == self.id

    def leave_to(self, job: LeftJob) -> None:
        """Write down that a job goes on with the attempt when its command has ended."""
        if self.is_claimed():
            left_job.remember_job(self.folder, job)

    def ready_files(self) -> Ready | None:
        """Return what is to be moved into place, or None if not all files are complete."""
        content = filesystem.read_if_exists(self.ready_path)
        if content is None:
            return None
        found = json.loads(content)
        return Ready(**{**found, "files": {name: FileState(*state) for name, state in found["files"].items()}})

    def announce(self, marker: str, content: bytes) -> None:
        """Write down what is to be moved into place, once all files are complete.

        It may be repeated, also when files are being moved: then it changes nothing.

        Args:
            marker: Name of the file that marks the output as finished.
            content: Its content.
        """
        names = [name for name in filesystem.list_tree(self.publish_folder) if not is_partial(name)]
        files = file_states(self.publish_folder, sorted(names))
        earlier = self.ready_files()
        # A step that its runner has repeated may have written other bytes. What is missing is on its way.
        if self.is_claimed() and (earlier is None or earlier.files.keys() <= files.keys()):
            ready = Ready(files, marker, content.decode("utf-8", "surrogateescape"))
            filesystem.write_bytes(self.ready_path, json.dumps(ready._asdict()).encode())

    def publish(self, pattern: re.Pattern[str]) -> bool:
        """Replace the earlier output by this attempt's files, the marker last.

        It can be repeated after any interruption, and even run twice at once: it deletes nothing that this attempt has
        put in place.

        Args:
            pattern: Matches the relative paths of the files that this job writes.

        Returns:
            Whether there was anything to publish: the files were complete, and the output was this attempt's.

        Raises:
            DamagedError: A file is not what was announced, or is gone. Nothing was changed.
        """
        ready = self.ready_files() if self.is_claimed() else None
        if ready is None:
            return False
        waiting = self._require_whole(ready.files)
        left_over = [name for name in own_files(self.output, pattern) if name not in ready.files]
        filesystem.delete_files(self.output, sorted(left_over, key=lambda name: name != ready.marker))
        filesystem.move_files(self.publish_folder, self.output, waiting)
        if lost := ready.files.keys() - set(filesystem.list_tree(self.output)):
            raise DamagedError(f"{filesystem.join(self.publish_folder, min(lost))} is gone before it was put in place")
        last = filesystem.join(self.folder, _LAST)
        filesystem.write_bytes(filesystem.join(last, ready.marker), ready.content.encode("utf-8", "surrogateescape"))
        filesystem.move_files(last, self.output, [ready.marker])
        self.clear()
        return True

    def _require_whole(self, files: Mapping[str, FileState]) -> list[str]:
        """Return the names of the files that wait to be moved, in order.

        Raises:
            DamagedError: Neither what waits nor what is in place is the file that was announced.
        """
        waiting = file_states(self.publish_folder, files)
        # Looked for afterwards: another process may be moving them.
        in_place = file_states(self.output, files.keys() - waiting.keys())
        for name, expected in files.items():
            path = filesystem.join(self.publish_folder, name)
            found = waiting.get(name) or in_place.get(name)
            if found is None:
                raise DamagedError(f"{path} is gone before it was put in place")
            if found != expected:
                raise DamagedError(f"{path} is not what was written: {found}, not {expected}")
        return sorted(waiting)

    def publish_as_command(self, pattern: re.Pattern[str]) -> None:
        """Publish for the command that waited for the job, see `publish`.

        Raises:
            DamagedError: A file is not what was announced, or is gone. Nothing was changed.
            UsageError: Another run has claimed the output meanwhile.
        """
        if not self.publish(pattern):
            raise self.taken()

    def taken(self) -> UsageError:
        """Return the error for an attempt whose output another has claimed."""
        return UsageError(f"--output {self.claimed}: another run has taken it meanwhile; run one at a time")

    def clear(self) -> None:
        """Delete everything that is not in place, and give up the claim. The output must be this attempt's."""
        filesystem.clear_folder(self._temporary, CLAIM)
        claims.release(self.claimed, self.id)
        if filesystem.is_local(self.claimed):
            filesystem.remove_empty(self._temporary, os.path.abspath(self.claimed))


def own_files(output: str, pattern: re.Pattern[str]) -> list[str]:
    """Return the files in the output that belong to this job; other files are never touched.

    Args:
        output: The output folder.
        pattern: Matches the relative paths of the files that this job writes.

    Returns:
        Sorted paths relative to the output.
    """
    return sorted(name for name in filesystem.list_tree(output) if pattern.match(name))
