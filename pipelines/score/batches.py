"""Read the files to score: turn listed files into batches of encoded images and rows of rejected files."""

from __future__ import annotations

import functools
import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.beam.threads import ThreadedDoFn
from pipelines.domain.image_ids import image_id_of
from pipelines.imaging import images
from pipelines.score.model_handler import EncodedImage
from pipelines.score.score_row import ScoreRow, ScoringRun
from pipelines.score.scored_keys import scored_key
from pipelines.sources import list_images
from pipelines.sources.list_files import SourceFile
from pipelines.sources.read_ahead import map_files

# Memory limit for decoding a batch: enough for one image of the largest size, or for a batch of ordinary ones.
MAX_BATCH_BYTES = 1 << 30
# Per decoded pixel of three channels: 3 bytes as uint8 and 12 as float32, in which it is resized.
_BYTES_PER_PIXEL = 15


class ReadImage(NamedTuple):
    """A file after reading and checking."""

    row: ScoreRow  # its outcome is empty if the image can go to the model
    image: EncodedImage
    weight: int  # estimated bytes needed to decode the image; 0 for a rejected file


def look_at(file: SourceFile, content: bytes | Exception, run: ScoringRun) -> ReadImage:
    """Check a file and return its row and encoded image, as far as they are known before inference.

    Args:
        file: The listed file.
        content: The bytes of the file, or the exception raised by reading it.
        run: The scoring run.
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
    if isinstance(content, Exception):
        return ReadImage(row.rejected("read", "unreadable", str(content)), EncodedImage(b""), 0)
    size = max(model.image_size for model in run.models)
    row = row._replace(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    if file.is_record:  # prepare has already made it square
        return ReadImage(row._replace(width=size, height=size), EncodedImage(content, stored=True), len(content))
    try:
        info = images.read_info(content)
    except images.BadImage as error:
        return ReadImage(row.rejected("check", error.reason, error.message), EncodedImage(b""), 0)
    factor = images.reduction(info.width, info.height, size, "crop") if info.format == "jpeg" else 1
    weight = len(content) + info.width * info.height // factor**2 * _BYTES_PER_PIXEL
    return ReadImage(row._replace(width=info.width, height=info.height), EncodedImage(content), weight)


def _windowed(value: Any) -> Any:
    """Wrap an element for output from `finish_bundle`."""
    window = GlobalWindow()
    if isinstance(value, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(value.tag, _windowed(value.value))
    return WindowedValue(value, window.max_timestamp(), (window,))


class ReadBatches(ThreadedDoFn):
    """DoFn that reads chunks of listed files into batches for the model; rejected files go to the output `rejects`.

    A batch has `batch_size` images. It has fewer at the end of a bundle, or if decoding more would take more than
    MAX_BATCH_BYTES.
    """

    def __init__(self, run: ScoringRun, threads: int, batch_size: int):
        super().__init__(threads)
        self._batch_size = batch_size
        self._run = run
        self._read = Metrics.counter("score", "read_bytes")

    def start_bundle(self) -> None:
        """Start with an empty batch and no pending reads."""
        self._batch: list[tuple[ScoreRow, EncodedImage]] = []
        self._weight = 0
        # Kept across chunks: while the model works on one, the next is read.
        self._reading = self.look_ahead()

    def process(self, element: list[list_images.ListedFile]) -> Iterator:
        """Read a chunk of listed files.

        Args:
            element: A chunk of listed files.

        Yields:
            Full batches, each a list of (ScoreRow, EncodedImage); rejected rows, tagged `rejects`.
        """
        look = functools.partial(look_at, run=self._run)
        yield from self._batches(map_files(look, [listed.file for listed in element], self._reading.feed))

    def finish_bundle(self) -> Iterator:
        """Yield the results of pending reads, then the last batch, which may be incomplete."""
        yield from map(_windowed, self._batches(itertools.chain.from_iterable(self._reading.drain())))
        if self._batch:
            yield _windowed(self._take())

    def _batches(self, found: Iterable[ReadImage]) -> Iterator:
        waiting = time.perf_counter()
        for row, image, weight in found:
            # Reading continues while the model works, so count only the time that the model waits.
            row = row._replace(read_seconds=time.perf_counter() - waiting)
            self._read.inc(len(image.data))
            if row.outcome:
                yield beam.pvalue.TaggedOutput("rejects", row)
            else:
                if self._batch and self._weight + weight > MAX_BATCH_BYTES:
                    yield self._take()
                self._batch.append((row, image))
                self._weight += weight
                if len(self._batch) == self._batch_size:
                    yield self._take()
            waiting = time.perf_counter()

    def _take(self) -> list[tuple[ScoreRow, EncodedImage]]:
        batch, self._batch, self._weight = self._batch, [], 0
        return batch
