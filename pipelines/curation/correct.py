"""Read corrections in a pipeline, and find those that cannot be made."""

from __future__ import annotations

import apache_beam as beam

from pipelines.curation.corrections import (
    OPTION,
    Correction,
    CorrectionsFile,
    named_file,
    problems_with,
    read_corrections,
)
from pipelines.domain.taxonomy import ClassSet


def _read(path: str, class_set: ClassSet) -> dict[str, Correction]:
    return read_corrections(path, class_set) if path else {}


class ReadCorrections(beam.PTransform):
    """PTransform that reads a table of corrections.

    Args:
        file: The table, or `NO_CORRECTIONS`.
        class_set: What its labels stand for.
    """

    def __init__(self, file: CorrectionsFile, class_set: ClassSet):
        super().__init__()
        self._path = file.path
        self._class_set = class_set

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Return one mapping from names to corrections."""
        return (
            begin
            | "Corrections file" >> beam.Create([self._path], reshuffle=False)
            | "Read" >> beam.Map(_read, self._class_set)
        )


class FindUncorrectable(beam.PTransform):
    """PTransform that finds the corrections that cannot be made.

    Args:
        file: The table.
        corrections: What `ReadCorrections` read of it.
    """

    def __init__(self, file: CorrectionsFile, corrections: beam.PCollection):
        super().__init__()
        self._path = file.path
        self._corrections = corrections

    def expand(self, judged: tuple[beam.PCollection, ...]) -> beam.PCollection[str]:
        """Turn collections of judged rows, which together are all listed files, into a line for each problem."""
        named = [
            rows
            | f"Named {number}" >> beam.Filter(lambda row: bool(row.corrected_by))
            | f"Names {number}" >> beam.Map(named_file)
            for number, rows in enumerate(judged)
        ]
        files = named | "All named" >> beam.Flatten()
        return (
            self._corrections
            | "Problems" >> beam.FlatMap(problems_with, beam.pvalue.AsList(files))
            | "With option" >> beam.Map(lambda line, path: f"{OPTION} {path}: {line}", self._path)
        )
