"""The output folder of a job: what may be written over, what is ours, and how a finished output appears."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import apache_beam as beam

from pipelines import storage
from pipelines.cli import UsageError
from pipelines.gcs_access import require_writable

# Everything is written below it and renamed at the end; while it is there, the output is not finished.
TEMPORARY = ".unfinished"
# In it, a file that says whose it is: a folder of this name alone proves nothing.
CLAIM = "claim.json"
# In it, once every file is complete: what is to be put in place. A run that ends after it can be finished.
_READY = "ready.json"
# In it, the marker before it is put in place.
_LAST = "last"
_CLAIM_TEXT = b'{"written by": "pipelines", "until": "the output is finished"}\n'


def temporary_folder(output: str) -> str:
    """Where a run keeps its intermediate files."""
    return storage.join(output, TEMPORARY)


def publish_folder(output: str) -> str:
    """Where a run puts finished files until all of them are there."""
    return storage.join(output, TEMPORARY, "publish")


def own_files(output: str, pattern: re.Pattern[str]) -> list[str]:
    """Files in the output that this job writes, relative to it; files of others are never touched."""
    return sorted(name for name in storage.list_tree(output) if pattern.match(name))


def _ready(output: str) -> dict | None:
    """What was to be published when a run was interrupted while it did so, or None."""
    content = storage.read_if_exists(storage.join(temporary_folder(output), _READY))
    return json.loads(content) if content is not None else None


def finish_interrupted(output: str, pattern: re.Pattern[str]) -> bool:
    """Publish what an interrupted run had complete; gives whether there was any such thing."""
    ready = _ready(output) if _is_claimed(output) else None
    if ready is None:
        return False
    left_over = set(own_files(output, pattern)) - {*ready["names"], ready["marker"]}
    storage.delete_files(output, sorted(left_over))
    _put_in_place(output, ready)
    return True


def _put_in_place(output: str, ready: dict) -> None:
    storage.move_tree(publish_folder(output), output)
    last = storage.join(temporary_folder(output), _LAST)
    storage.write_bytes(storage.join(last, ready["marker"]), ready["content"].encode())
    storage.move_tree(last, output)
    _clear_temporary(output)


def _clear_temporary(output: str) -> None:
    """Delete the temporary folder; the file that says whose it is goes last."""
    folder = temporary_folder(output)
    storage.delete_files(folder, [name for name in storage.list_tree(folder) if name != CLAIM])
    storage.delete_tree(folder)


def _is_claimed(output: str) -> bool:
    return storage.read_if_exists(storage.join(temporary_folder(output), CLAIM)) == _CLAIM_TEXT


def _probe(output: str) -> None:
    """Raise an OSError, or the filesystem's own error, if nothing can be written below `output`.

    Of gs:// that is known by now.
    """
    if storage.is_local(output):
        existing = storage.nearest_folder(output)
        if not os.path.isdir(existing):
            raise NotADirectoryError(0, f"{existing} is no folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(0, f"{existing} is not writable")
    elif not output.startswith("gs://"):
        storage.write_bytes(storage.join(temporary_folder(output), "probe"), b"")
        storage.delete_files(temporary_folder(output), ["probe"])


def require_output(output: str, marker: str, overwrite: bool, beside: list[str]) -> None:
    """Raise UsageError unless a run may write into `output`. Leaves nothing behind.

    marker: the file that makes an output finished. beside: inputs, none of which the output may be.
    """
    if not output.strip("/"):
        raise UsageError(f"--output {output!r}: name a folder of its own")
    if any(character in output for character in "*?["):
        raise UsageError(f"--output {output}: must not contain *, ? or [")
    for path in beside:
        if storage.same_place(path, output):
            raise UsageError(f"--output {output}: is also an input; name another folder")
    require_writable("--output", output)
    try:
        names = list(storage.list_tree(output))
        if marker in names and not overwrite:
            raise UsageError(f"--output {output}: holds a finished output; add --overwrite to replace it")
        inside = [name for name in names if name.startswith(f"{TEMPORARY}/")]
        # The second: a run that was killed while it wrote its claim.
        ours = _is_claimed(output) or all(name.startswith(f"{TEMPORARY}/{CLAIM}.") for name in inside)
        if names and marker not in names and not (inside and ours):
            raise UsageError(f"--output {output}: is not empty and holds no earlier output; name another folder")
        if not ours:
            raise UsageError(f"--output {output}: has a folder {TEMPORARY} that is not ours; name another folder")
        _probe(output)
    except UsageError:
        raise
    except Exception as error:  # each filesystem raises its own kinds
        detail = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UsageError(f"--output {output}: cannot be written: {detail}") from error


def begin(output: str) -> str:
    """Clear away what an interrupted run left, and mark the output as being written.

    Gives the nearest folder that was there before, for `abandon`.
    """
    existing = storage.nearest_folder(output) if storage.is_local(output) else ""
    if _is_claimed(output):
        _clear_temporary(output)
    storage.write_bytes(storage.join(temporary_folder(output), CLAIM), _CLAIM_TEXT)
    return existing


def abandon(output: str, existing: str) -> None:
    """Leave nothing of a run that was refused. existing: what `begin` gave."""
    _clear_temporary(output)
    if storage.is_local(output):
        storage.remove_empty(output, existing)


def discard(output: str, pattern: re.Pattern[str], marker: str) -> None:
    """Leave nothing of an interrupted run, also where it had begun to put its files in place; nothing of others' goes.

    Two interruptions can leave that: one while files were renamed, one when the same run had begun afresh.
    """
    if not _is_claimed(output):
        return
    existing = storage.nearest_folder(os.path.dirname(os.path.abspath(output))) if storage.is_local(output) else ""
    folder = temporary_folder(output)
    # From here on what is there is not complete.
    storage.delete_files(folder, [name for name in storage.list_tree(folder) if name == _READY])
    if not storage.exists(storage.join(output, marker)):
        storage.delete_files(output, own_files(output, pattern))
    abandon(output, existing)


class _Announce(beam.DoFn):
    """The content of the marker -> the same, once it is written down what is to be put in place."""

    def __init__(self, output: str, marker: str):
        self._output = output
        self._marker = marker

    def process(self, content: bytes) -> Iterator[bytes]:
        names = sorted(storage.list_tree(publish_folder(self._output)))
        ready = {"names": names, "marker": self._marker, "content": content.decode("utf-8", "surrogateescape")}
        storage.write_bytes(storage.join(temporary_folder(self._output), _READY), json.dumps(ready).encode())
        yield content


class _RemoveOld(beam.DoFn):
    """Takes away the files of an earlier output, the one that says "finished" first."""

    def __init__(self, output: str, pattern: re.Pattern[str], marker: str):
        self._output = output
        self._pattern = pattern
        self._marker = marker

    def process(self, content: bytes) -> Iterator[bytes]:
        names = own_files(self._output, self._pattern)
        storage.delete_files(self._output, sorted(names, key=lambda name: name != self._marker))
        yield content


class _PutInPlace(beam.DoFn):
    """Moves every file to its place and writes the marker last."""

    def __init__(self, output: str, marker: str):
        self._output = output
        self._marker = marker

    def process(self, content: bytes) -> None:
        ready = _ready(self._output)
        # A retry of what had come to its end finds nothing left to do.
        if ready is not None:
            _put_in_place(self._output, ready)


class Publish(beam.PTransform):
    """One element, the content of the marker file, once everything else is written -> the finished output.

    An interruption leaves the temporary folder: the same command starts afresh, or `finish_interrupted` ends the work.
    """

    def __init__(self, output: str, pattern: re.Pattern[str], marker: str):
        super().__init__()
        self._output = output
        self._pattern = pattern
        self._marker = marker

    def expand(self, content: beam.PCollection[bytes]) -> beam.PCollection:
        return (
            content
            | "Announce" >> beam.ParDo(_Announce(self._output, self._marker))
            # A retry of one step must not undo what a later one has done.
            | "Announced" >> beam.Reshuffle()
            | "Remove old" >> beam.ParDo(_RemoveOld(self._output, self._pattern, self._marker))
            | "Removed" >> beam.Reshuffle()
            | "Put in place" >> beam.ParDo(_PutInPlace(self._output, self._marker))
        )
