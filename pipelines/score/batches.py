"""Read the files to score: turn listed files into batches for the models and rows of rejected files."""

from __future__ import annotations

import functools
import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.beam.threads import ThreadedDoFn, in_global_window
from pipelines.common.text import printable
from pipelines.domain.image_ids import image_id_of
from pipelines.imaging import images
from pipelines.imaging.decode_turns import TURNS
from pipelines.score.model_input import ModelInput, forms_of, standardize
from pipelines.score.score_row import ScoreRow, ScoringRun
from pipelines.score.scored_keys import scored_key
from pipelines.sources import list_images
from pipelines.sources.read_ahead import Content, map_files
from pipelines.sources.source_file import SourceFile
from pipelines.storage.errors import StorageError


def model_input(file: SourceFile, content: bytes, run: ScoringRun) -> tuple[int, int, ModelInput]:
    """Return the width and height of an image in pixels, and the image as the run's models take it.

    Args:
        file: The listed file.
        content: The bytes of the file; of a record, its `image/encoded`.
        run: The scoring run.

    Raises:
        BadImage: The file is not a usable image, or it is damaged.
    """
    forms = forms_of(run.models)
    if file.is_record:  # prepare has already made it square
        size = max(form.image_size for form in forms)
        return size, size, ModelInput((content,) * len(forms))
    info = images.read_info(content)
    return info.width, info.height, standardize(content, info, forms)


def look_at(file: SourceFile, content: Content, run: ScoringRun) -> tuple[ScoreRow, ModelInput | None]:
    """Check and standardise a file.

    Args:
        file: The listed file.
        content: The bytes of the file, or the exception raised by reading it.
        run: The scoring run.

    Returns:
        The row of the file, as far as it is known before inference, and the image for the models; None if the row is
        rejected.
    """
    row = ScoreRow(
        file.path,
        file.relative,
        image_id_of(file.relative),
        file.size,
        file.version,
        key=scored_key(file, run.fingerprint),
        place=file.record or file.member,
    )
    if isinstance(content, StorageError):
        return row.rejected("read", content.code, str(content)), None
    row = row._replace(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    try:
        width, height, image = model_input(file, content, run)
    except images.BadImage as error:
        return row.rejected("check", error.reason, error.message), None
    return row._replace(width=width, height=height), image


class ReadBatches(ThreadedDoFn):
    """DoFn that reads chunks of listed files into batches for the models; rejected files go to the output `rejects`.

    Its threads read, check and standardise the next files while the models work on a batch. A batch has `batch_size`
    images; the last of a bundle may have fewer.
    """

    def __init__(self, run: ScoringRun, threads: int, batch_size: int, memory_budget: int = 0):
        super().__init__(threads)
        self._memory_budget = memory_budget
        self._batch_size = batch_size
        self._run = run
        self._read = Metrics.counter("score", "read_bytes")

    def display_data(self) -> dict[str, Any]:
        """Return what the runner's page shows of the step."""
        models = printable(", ".join(model.path for model in self._run.models))
        return {**super().display_data(), "batch_size": self._batch_size, "models": models}

    def setup(self) -> None:
        """Start the threads and share out the memory."""
        super().setup()
        TURNS.resize(self._memory_budget)

    def start_bundle(self) -> None:
        """Start with an empty batch and no pending reads."""
        self._batch: list[tuple[ScoreRow, ModelInput]] = []
        # Kept across chunks: while the models work on one, the next is read.
        self._reading = self.look_ahead()

    def process(self, element: list[list_images.ListedFile]) -> Iterator:
        """Read a chunk of listed files.

        Args:
            element: A chunk of listed files.

        Yields:
            Full batches, each a list of (ScoreRow, ModelInput); rejected rows, tagged `rejects`.
        """
        look = functools.partial(look_at, run=self._run)
        yield from self._batches(map_files(look, [listed.file for listed in element], self._reading.feed))

    def finish_bundle(self) -> Iterator:
        """Yield the results of pending reads, then the last batch, which may be incomplete."""
        yield from map(in_global_window, self._batches(itertools.chain.from_iterable(self._reading.drain())))
        if self._batch:
            yield in_global_window(self._take())

    def _batches(self, found: Iterable[tuple[ScoreRow, ModelInput | None]]) -> Iterator:
        waiting = time.perf_counter()
        for row, image in found:
            # Reading continues while the models work, so count only the time that they wait.
            waited = time.perf_counter() - waiting
            row = row._replace(read_seconds=waited, read_at=round(10 * (time.time() - waited)))
            if image is None:
                yield beam.pvalue.TaggedOutput("rejects", row)
            else:
                self._read.inc(row.size)
                self._batch.append((row, image))
                if len(self._batch) == self._batch_size:
                    yield self._take()
            waiting = time.perf_counter()

    def _take(self) -> list[tuple[ScoreRow, ModelInput]]:
        batch, self._batch = self._batch, []
        return batch
