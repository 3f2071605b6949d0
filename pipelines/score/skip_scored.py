"""Drop the files that earlier runs have scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.beam import progress
from pipelines.dataset import accounting
from pipelines.score.scored_keys import UNCHANGED, read_scored_keys, scored_key
from pipelines.sources import list_images


class SkipScored(beam.DoFn):
    """DoFn that drops files that were scored before.

    The output `unchanged` receives counts of the dropped files. Files that are not images pass through.
    """

    def __init__(self, partitions: Sequence[str], run_fingerprint: str):
        self._partitions = partitions
        self._fingerprint = run_fingerprint
        self._unchanged = Metrics.counter("score", "unchanged")

    def setup(self) -> None:
        """Read the keys of all earlier partitions."""
        self._scored = read_scored_keys(self._partitions)

    def process(self, element: list[list_images.ListedFile]) -> Iterator:
        """Split a chunk into new and known files.

        Args:
            element: A chunk of listed files.

        Yields:
            The new files as a chunk; counts of the known ones for `Tally`, tagged `unchanged`.
        """
        files = [listed.file for listed in element]
        known = self._scored.contains([scored_key(file, self._fingerprint) for file in files])
        fresh = [listed for listed, is_known in zip(element, known, strict=True) if not is_known]
        paths = [file.path for file, is_known in zip(files, known, strict=True) if is_known]
        self._unchanged.inc(len(paths))
        progress.count("done", len(paths))
        if fresh:
            yield fresh
        if paths:
            sums = {("outcome", UNCHANGED): len(paths), ("outcome paths",): sum(map(accounting.path_hash, paths))}
            yield beam.pvalue.TaggedOutput("unchanged", sums)
