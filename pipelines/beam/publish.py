"""The last step of a job: move all files into place, the one that marks the output as finished last."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import apache_beam as beam

from pipelines.storage import filesystem
from pipelines.storage.output import (
    READY,
    own_files,
    publish_folder,
    put_in_place,
    ready_files,
    temporary_folder,
)


class _Announce(beam.DoFn):
    """The content of the marker -> the same, after the ready file has been written."""

    def __init__(self, output: str, marker: str):
        self._output = output
        self._marker = marker

    def process(self, content: bytes) -> Iterator[bytes]:
        names = sorted(filesystem.list_tree(publish_folder(self._output)))
        ready = {"names": names, "marker": self._marker, "content": content.decode("utf-8", "surrogateescape")}
        filesystem.write_bytes(filesystem.join(temporary_folder(self._output), READY), json.dumps(ready).encode())
        yield content


class _RemoveOld(beam.DoFn):
    """Deletes the files of an earlier output, its marker first."""

    def __init__(self, output: str, pattern: re.Pattern[str], marker: str):
        self._output = output
        self._pattern = pattern
        self._marker = marker

    def process(self, content: bytes) -> Iterator[bytes]:
        names = own_files(self._output, self._pattern)
        filesystem.delete_files(self._output, sorted(names, key=lambda name: name != self._marker))
        yield content


class _PutInPlace(beam.DoFn):
    """Moves all files into place and writes the marker last."""

    def __init__(self, output: str, marker: str):
        self._output = output
        self._marker = marker

    def process(self, content: bytes) -> None:
        ready = ready_files(self._output)
        # A retry after a completed attempt has nothing left to do.
        if ready is not None:
            put_in_place(self._output, ready)


class Publish(beam.PTransform):
    """PTransform: the content of the marker file, one element, once all other files are written -> finished output.

    After an interruption the temporary folder remains. Then the same command starts again, or `finish_interrupted`
    completes the work.

    Args:
        output: The output folder.
        pattern: Matches the relative paths of the files that this job writes.
        marker: Name of the file that marks an output as finished.
    """

    def __init__(self, output: str, pattern: re.Pattern[str], marker: str):
        super().__init__()
        self._output = output
        self._pattern = pattern
        self._marker = marker

    def expand(self, content: beam.PCollection[bytes]) -> beam.PCollection:
        """Replace the earlier output with the new files; the result is an empty PCollection to wait for."""
        return (
            content
            | "Announce" >> beam.ParDo(_Announce(self._output, self._marker))
            # A retry of one step must not undo what a later step has done.
            | "Announced" >> beam.Reshuffle()
            | "Remove old" >> beam.ParDo(_RemoveOld(self._output, self._pattern, self._marker))
            | "Removed" >> beam.Reshuffle()
            | "Put in place" >> beam.ParDo(_PutInPlace(self._output, self._marker))
        )
