"""The last step of a job: say that all files are complete, and put them into place where no command waits to do it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from pipelines.common.text import printable
from pipelines.storage.attempt import Attempt


class _Announce(beam.DoFn):
    """The content of the marker -> the same, after it is written down what is complete."""

    def __init__(self, attempt: Attempt, marker: str):
        self._attempt = attempt
        self._marker = marker

    def process(self, content: bytes) -> Iterator[bytes]:
        self._attempt.announce(self._marker, content)
        yield content


class _PutInPlace(beam.DoFn):
    """Replaces the earlier output."""

    def __init__(self, attempt: Attempt, pattern: re.Pattern[str]):
        self._attempt = attempt
        self._pattern = pattern

    def display_data(self) -> dict[str, Any]:
        """Return what the runner's page shows of the step."""
        return {"output": printable(self._attempt.output)}

    def process(self, _: bytes) -> None:
        self._attempt.publish(self._pattern)


class Publish(beam.PTransform):
    """PTransform: the content of the marker file, one element, once all other files are written -> complete output.

    The command that waits for the job puts the files in place when the job has succeeded. While a job runs, its runner
    may repeat any step, and a file that has been moved away would be missing then. After an interruption the same
    command starts again, or `finish_interrupted` completes the work.

    Args:
        attempt: Where the files are and belong.
        pattern: Matches the relative paths of the files that this job writes.
        marker: Name of the file that marks an output as finished.
        unattended: Whether the job puts the files into place, because the command may end before it. Only a runner that
            never repeats what comes before a Reshuffle, such as Dataflow, does that in any case.
    """

    def __init__(self, attempt: Attempt, pattern: re.Pattern[str], marker: str, unattended: bool):
        super().__init__()
        self._attempt = attempt
        self._pattern = pattern
        self._marker = marker
        self._unattended = unattended

    def expand(self, content: beam.PCollection[bytes]) -> beam.PCollection:
        """Turn the content into itself once the output is announced, or into nothing once it is published."""
        announced = content | "Announce" >> beam.ParDo(_Announce(self._attempt, self._marker))
        if not self._unattended:
            return announced
        return (
            announced
            | "Announced" >> beam.Reshuffle()
            | "Put in place" >> beam.ParDo(_PutInPlace(self._attempt, self._pattern))
        )
