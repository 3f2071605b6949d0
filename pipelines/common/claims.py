"""Let one run at a time work in an output: whose it is, and when a run that has ended may be followed by another.

`OUTPUT/.unfinished/claim.json` names the run. It is there from before the run writes anything until its output is
finished, and while the run lasts, its command renews the file's time.

`pipelines.storage.claims` has claims on every kind of path, for the jobs; a program without Beam uses `claimed_folder`.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import posixpath
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.exclusive_file import ExclusiveFiles
from pipelines.common.process import Process, is_gone, program, this_process

# Everything that is not yet in place is written below this folder.
TEMPORARY = ".unfinished"
# File in TEMPORARY that marks the folder as a job's own, and says which attempt may put its files in place. The name of
# the folder alone proves nothing.
CLAIM = "claim.json"
# Seconds between two signs of life of a command.
_RENEWAL = 15.0
# Seconds without one after which a command that ran on another machine, or in another container, counts as ended.
SILENCE = 600.0
_WRITTEN_BY = {"written by": "pipelines", "until": "the output is finished"}


class Claim(NamedTuple):
    """What a claim says."""

    attempt: str  # names the folder of the run's files
    output: str  # where the files belong, relative to the folder that is claimed; empty if there
    process: Process  # the command
    program: str
    since: str  # when it was claimed, ISO 8601
    ended: bool = False  # whether the command has said that it works no longer

    def content(self) -> bytes:
        """Return the bytes of the file."""
        return (json.dumps({**_WRITTEN_BY, **self._asdict(), "process": self.process._asdict()}) + "\n").encode()


def new_claim(attempt: str, output: str = "") -> Claim:
    """Return a claim of the present process.

    Args:
        attempt: Names the folder of the run's files.
        output: Where the files belong, relative to the folder that is claimed; empty if there.
    """
    since = datetime.datetime.now(datetime.UTC).isoformat()
    return Claim(attempt, output, this_process(), program(), since)


def claim_path(folder: str) -> str:
    """Return where the claim on a folder is."""
    return posixpath.join(folder, TEMPORARY, CLAIM)


class _Found(NamedTuple):
    """A claim as it was found."""

    claim: Claim
    content: bytes
    written: float  # when the command gave its last sign of life, in seconds since the epoch
    gone: bool | None  # whether the command has ended; None if that cannot be known from here
    silent: float  # seconds since the last sign of life

    @property
    def owner(self) -> str:
        """Who has the claim, for people."""
        process = self.claim.process
        return f"process {process.number} on {process.host} ({self.claim.program})"


class ClaimHeldError(UsageError):
    """A folder that a run has claimed which has not ended, as far as is known."""

    def __init__(self, message: str, found: _Found):
        super().__init__(message)
        self.owner = found.owner
        # Of a command of which nothing can be known, only that this changes shows that it runs.
        self.last_sign = (found.content, found.written)
        self.may_have_ended = found.gone is None


class FolderClaims:
    """Claims on folders of some kinds of stores."""

    def __init__(self, files: ExclusiveFiles, unfinished_job: Callable[[str], str], silence: float = SILENCE):
        """Name what claims are made with.

        Args:
            files: How only one program changes a file.
            unfinished_job: Returns the name of the job that goes on with an attempt whose command has ended; empty if
                there is none. It is given the attempt's folder.
            silence: Seconds without a sign of life after which a command of which nothing is known counts as ended.
        """
        self._files = files
        self._unfinished_job = unfinished_job
        self._silence = silence

    def read(self, folder: str) -> Claim | None:
        """Return the claim on a folder, or None if nobody of ours has one."""
        stored = self._files.read(claim_path(folder))
        return stored and _parse(stored.content)

    def require_free(self, folder: str, option: str = "--output") -> Claim | None:
        """Return the claim that an ended run has left on a folder; None if there is none of ours.

        Args:
            folder: The folder.
            option: The option that names it, for error messages.

        Raises:
            ClaimHeldError: The run has not ended.
        """
        found = self._find(folder, lambda _: time.time())
        if found:
            self._require_ended(folder, option, found)
        return found and found.claim

    def take(self, folder: str, claim: Claim, option: str = "--output") -> Claim | None:
        """Claim a folder for a run, unless a run that has not ended has it.

        Of several commands that try at once exactly one succeeds.

        Args:
            folder: The folder.
            claim: The claim of this run.
            option: The option that names the folder, for error messages.

        Returns:
            The claim of the earlier, ended run in whose place this is; None if there was none.

        Raises:
            UsageError: Another run has the folder; ClaimHeldError if it is known which.
        """
        path, content = claim_path(folder), claim.content()
        if self._files.create(path, content):
            return None
        if found := self._find(folder, self._files.clock):
            note = self._require_ended(folder, option, found)
            if self._files.replace(path, found.content, content):
                if note:
                    print(note)
                return found.claim
        raise UsageError(f"{option} {folder}: another run takes it at this moment; run one at a time")

    def release(self, folder: str, attempt: str) -> None:
        """Remove the claim of an attempt; do nothing if the folder is not, or no longer, its own."""
        if claim := self._own(folder, attempt):
            self._files.remove(claim_path(folder), claim.content())

    def end(self, folder: str, attempt: str) -> None:
        """Say that the command of an attempt works no longer, although its process may go on; see `release`."""
        if claim := self._own(folder, attempt):
            self._files.replace(claim_path(folder), claim.content(), claim._replace(ended=True).content())

    @contextlib.contextmanager
    def renewed(self, folder: str) -> Iterator[None]:
        """Give signs of life for the claim on a folder while the block lasts."""
        stored = self._files.read(claim_path(folder))
        over = threading.Event()

        def renew() -> None:
            while stored and not over.wait(_RENEWAL):
                # A store that does not answer now may answer the next time.
                with contextlib.suppress(Exception):
                    if not self._files.renew(claim_path(folder), stored.content):
                        return

        # Nobody waits for its end: a claim that is gone is not made again.
        threading.Thread(target=renew, daemon=True, name="claim").start()
        try:
            yield
        finally:
            over.set()

    def _own(self, folder: str, attempt: str) -> Claim | None:
        claim = self.read(folder)
        return claim if claim and claim.attempt == attempt else None

    def _find(self, folder: str, clock: Callable[[str], float]) -> _Found | None:
        path = claim_path(folder)
        stored = self._files.read(path)
        claim = stored and _parse(stored.content)
        if not stored or not claim:
            return None
        gone = claim.ended or is_gone(claim.process, stored.written)
        return _Found(claim, stored.content, stored.written, gone, clock(path) - stored.written)

    def _require_ended(self, folder: str, option: str, found: _Found) -> str:
        """Raise ClaimHeldError unless the run that has claimed a folder has ended.

        Returns:
            What to say when its place is taken; empty if nobody can doubt that it has ended.
        """
        claim, gone, silent = found.claim, found.gone, found.silent
        where = f"{option} {folder}"
        by_hand = f"delete {claim_path(folder)}"
        if gone is False or (gone is None and silent < self._silence):
            way_out = f"wait for it, or end it; if it is dead, {by_hand}"
            if gone is None:
                way_out += f", or wait until it has been silent for {_duration(self._silence)}"
            raise ClaimHeldError(
                f"{where}: is being written by {found.owner} since {_moment(claim.since)}, last sign of life "
                f"{_duration(silent)} ago; {way_out}",
                found,
            )
        if job := self._unfinished_job(posixpath.join(folder, TEMPORARY, claim.attempt)):
            raise ClaimHeldError(
                f"{where}: is being written by {job}, which {found.owner} started at {_moment(claim.since)}; wait "
                f"for it, or cancel it; if it has ended, {by_hand}",
                found,
            )
        if gone is None:
            return f"{folder}: taken over from {found.owner}, which has given no sign of life for {_duration(silent)}"
        return ""


def _parse(content: bytes) -> Claim | None:
    """Return a claim, or None if the file is none of ours."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found = json.loads(content)
        if isinstance(found, dict) and found.items() >= _WRITTEN_BY.items():
            of_claim = {name: found[name] for name in Claim._fields}
            return Claim(**{**of_claim, "process": Process(**found["process"])})
    return None


def _moment(text: str) -> str:
    return f"{text[:19].replace('T', ' ')} UTC"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
