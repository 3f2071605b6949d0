"""The output folder of a job: what may be written over, what is ours, and how a finished output appears."""

from __future__ import annotations

import re
from collections.abc import Iterator

import apache_beam as beam

from pipelines import storage
from pipelines.cli import UsageError

# Everything is written below it and renamed at the end; while it is there, the output is not finished.
TEMPORARY = "_temporary"


def temporary_folder(output: str) -> str:
    """Where a run keeps its intermediate files."""
    return storage.join(output, TEMPORARY)


def publish_folder(output: str) -> str:
    """Where a run puts finished files until all of them are there."""
    return storage.join(output, TEMPORARY, "publish")


def own_files(output: str, pattern: re.Pattern[str]) -> list[str]:
    """Files in the output that this job writes, relative to it; files of others are never touched."""
    return sorted(name for name in storage.list_tree(output) if pattern.match(name))


def require_output(output: str, marker: str, overwrite: bool, beside: list[str]) -> None:
    """Raise UsageError unless a run may write into `output`. Writes nothing that stays.

    marker: the file that makes an output finished. beside: inputs, which the output must not be or contain.
    """
    if not output.strip("/"):
        raise UsageError(f"--output {output!r}: name a folder of its own")
    for path in beside:
        if path.rstrip("/") == output.rstrip("/"):
            raise UsageError(f"--output {output}: is also an input; name another folder")
    try:
        names = list(storage.list_tree(output))
        if marker in names and not overwrite:
            raise UsageError(f"--output {output}: holds a finished output; add --overwrite to replace it")
        ours = marker in names or any(name.startswith(TEMPORARY + "/") for name in names)
        if names and not ours:
            raise UsageError(f"--output {output}: is not empty and holds no earlier output; name another folder")
        probe = storage.join(output, TEMPORARY, "probe")
        storage.write_bytes(probe, b"")
        storage.delete_files(output, [f"{TEMPORARY}/probe"])
    except UsageError:
        raise
    except Exception as error:  # each filesystem raises its own kinds
        detail = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UsageError(f"--output {output}: cannot be written: {detail}") from error


def begin(output: str) -> None:
    """Clear away what an interrupted run left below the temporary folder, and mark the output as being written."""
    storage.delete_tree(temporary_folder(output))
    storage.write_bytes(storage.join(temporary_folder(output), "in_progress"), b"")


def abandon(output: str) -> None:
    """Leave nothing of a run that was refused."""
    storage.delete_tree(temporary_folder(output))
    if storage.is_local(output):
        storage.remove_if_empty(output)


class _RemoveOld(beam.DoFn):
    """Takes away the files of an earlier output, the one that says "finished" first."""

    def __init__(self, output: str, pattern: re.Pattern[str], marker: str):
        self._output = output
        self._pattern = pattern
        self._marker = marker

    def process(self, element: bytes) -> Iterator[bytes]:
        names = own_files(self._output, self._pattern)
        storage.delete_files(self._output, sorted(names, key=lambda name: name != self._marker))
        yield element


class _Rename(beam.DoFn):
    """Moves every file to its place and writes the marker last."""

    def __init__(self, output: str, marker: str):
        self._output = output
        self._marker = marker

    def process(self, description: bytes) -> None:
        storage.move_tree(publish_folder(self._output), self._output)
        storage.write_bytes(storage.join(self._output, self._marker), description)
        storage.delete_tree(temporary_folder(self._output))


class Publish(beam.PTransform):
    """One element, the content of the marker file, once everything else is written -> the finished output.

    An interruption before the end leaves the temporary folder and no marker: the same command starts afresh.
    """

    def __init__(self, output: str, pattern: re.Pattern[str], marker: str):
        super().__init__()
        self._output = output
        self._pattern = pattern
        self._marker = marker

    def expand(self, description: beam.PCollection[bytes]) -> beam.PCollection:
        return (
            description
            | "Remove old" >> beam.ParDo(_RemoveOld(self._output, self._pattern, self._marker))
            # A retry of the renames must not remove what they have already put in place.
            | "Then" >> beam.Reshuffle()
            | "Rename" >> beam.ParDo(_Rename(self._output, self._marker))
        )
