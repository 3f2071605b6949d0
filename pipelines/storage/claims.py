"""Let one run at a time work in an output: whose it is, and when a run that has ended may be followed by another.

`OUTPUT/.unfinished/claim.json` names the run. It is there from before the run writes anything until its output is
finished, and while the run lasts, its command renews the file's time.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.common.process import Process, is_gone, program, this_process
from pipelines.storage import exclusive_file, filesystem, left_job
from pipelines.storage.errors import StorageError

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
    return filesystem.join(folder, TEMPORARY, CLAIM)


def _parse(content: bytes) -> Claim | None:
    """Return a claim, or None if the file is none of ours."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found = json.loads(content)
        if isinstance(found, dict) and found.items() >= _WRITTEN_BY.items():
            of_claim = {name: found[name] for name in Claim._fields}
            return Claim(**{**of_claim, "process": Process(**found["process"])})
    return None


def read_claim(folder: str) -> Claim | None:
    """Return the claim on a folder, or None if nobody of ours has one."""
    content = filesystem.read_if_exists(claim_path(folder))
    return _parse(content) if content is not None else None


def require_free(folder: str, option: str = "--output") -> Claim | None:
    """Return the claim that an ended run has left on a folder; None if there is none of ours.

    Args:
        folder: The folder.
        option: The option that names it, for error messages.

    Raises:
        UsageError: The run has not ended.
    """
    stored = exclusive_file.read(claim_path(folder))
    claim = stored and _parse(stored.content)
    if stored and claim:
        _require_ended(folder, option, claim, stored.written, time.time())
    return claim


def _require_ended(folder: str, option: str, claim: Claim, last_seen: float, now: float) -> str:
    """Raise UsageError unless the run that has claimed a folder has ended.

    Returns:
        What to say when its place is taken; empty if nobody can doubt that it has ended.
    """
    gone, silent = claim.ended or is_gone(claim.process, last_seen), now - last_seen
    where = f"{option} {folder}"
    by_hand = f"delete {claim_path(folder)}"
    process = f"process {claim.process.number} on {claim.process.host} ({claim.program})"
    if gone is False or (gone is None and silent < SILENCE):
        way_out = f"wait for it, or end it; if it is dead, {by_hand}"
        if gone is None:
            way_out += f", or wait until it has been silent for {SILENCE / 60:.0f} min"
        raise UsageError(
            f"{where}: is being written by {process} since {_moment(claim.since)}, last sign of life "
            f"{_duration(silent)} ago; {way_out}"
        )
    if job := left_job.unfinished_job(filesystem.join(folder, TEMPORARY, claim.attempt)):
        raise UsageError(
            f"{where}: is being written by {job}, which {process} started at {_moment(claim.since)}; wait "
            f"for it, or cancel it; if it has ended, {by_hand}"
        )
    if gone is None:
        return f"{folder}: taken over from {process}, which has given no sign of life for {_duration(silent)}"
    return ""


def _moment(text: str) -> str:
    return f"{text[:19].replace('T', ' ')} UTC"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def take(folder: str, claim: Claim, option: str = "--output") -> Claim | None:
    """Claim a folder for a run, unless a run that has not ended has it.

    Of several commands that try at once exactly one succeeds.

    Args:
        folder: The folder.
        claim: The claim of this run.
        option: The option that names the folder, for error messages.

    Returns:
        The claim of the earlier, ended run in whose place this is; None if there was none.

    Raises:
        UsageError: Another run has the folder.
    """
    path, content = claim_path(folder), claim.content()
    if exclusive_file.create(path, content):
        return None
    stored = exclusive_file.read(path)
    earlier = stored and _parse(stored.content)
    if stored and earlier:
        note = _require_ended(folder, option, earlier, stored.written, exclusive_file.clock(path))
        if exclusive_file.replace(path, stored.content, content):
            if note:
                print(note)
            return earlier
    raise UsageError(f"{option} {folder}: another run takes it at this moment; run one at a time")


def release(folder: str, attempt: str) -> None:
    """Remove the claim of an attempt; do nothing if the folder is not, or no longer, its own."""
    if claim := _own(folder, attempt):
        exclusive_file.remove(claim_path(folder), claim.content())


def end(folder: str, attempt: str) -> None:
    """Say that the command of an attempt works no longer, although its process may go on; see `release`."""
    if claim := _own(folder, attempt):
        exclusive_file.replace(claim_path(folder), claim.content(), claim._replace(ended=True).content())


def _own(folder: str, attempt: str) -> Claim | None:
    claim = read_claim(folder)
    return claim if claim and claim.attempt == attempt else None


@contextlib.contextmanager
def renewed(folder: str) -> Iterator[None]:
    """Give signs of life for the claim on a folder while the block lasts."""
    content = filesystem.read_if_exists(claim_path(folder))
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_RENEWAL):
            with contextlib.suppress(StorageError, ServiceUnavailable):
                if content is None or not exclusive_file.renew(claim_path(folder), content):
                    return

    # Nobody waits for its end: a claim that is gone is not made again.
    threading.Thread(target=renew, daemon=True, name="claim").start()
    try:
        yield
    finally:
        over.set()
