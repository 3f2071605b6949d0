"""Wait in a graph until every file is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import apache_beam as beam


class NothingWrittenError(Exception):
    """A writer that finished without writing anything."""


def _require_written(_: None, may_be_empty: Collection[str], **written: list) -> dict[str, list]:
    for name, files in written.items():
        if not files and name not in may_be_empty:
            raise NothingWrittenError(f"nothing was written as {name}")
    return written


class WaitForFiles(beam.PTransform):
    """PTransform from writers' outputs to one element, once all of them are complete.

    Whatever takes the element, as its input or as a side input, runs after the last file is written. The outputs are
    side inputs here: every runner completes a side input before it calls the DoFn that reads it. Beam's own WaitOn
    holds back in the same way, but neither hands on what was written nor notices that nothing was.

    Args:
        may_be_empty: Names of outputs that may have no elements. Any other one without elements stops the job.
    """

    def __init__(self, may_be_empty: Collection[str] = ()):
        super().__init__()
        self._may_be_empty = tuple(may_be_empty)

    def expand(self, written: Mapping[str, beam.PCollection]) -> beam.PCollection[dict[str, list[Any]]]:
        """Turn {name: PCollection} into one {name: list of its elements, in any order}."""
        pipeline = next(iter(written.values())).pipeline
        outputs = {name: beam.pvalue.AsList(files) for name, files in written.items()}
        return (
            pipeline
            | "Start" >> beam.Create([None])
            | "Wait" >> beam.Map(_require_written, self._may_be_empty, **outputs)
        )
