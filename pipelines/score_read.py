"""Reading what is to be scored: listed files -> batches of encoded images, and rows of what cannot be read."""

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

from pipelines import images, sources, storage
from pipelines.image_names import image_id_of
from pipelines.inference import EncodedImage
from pipelines.listing import SourceFile
from pipelines.parallel import ThreadedDoFn
from pipelines.reading import map_files
from pipelines.score_rows import ScoreRow, ScoringRun
from pipelines.seen import seen_key

# What a batch may take while it is decoded: one of the largest images, or a batch of ordinary ones.
MAX_BATCH_BYTES = 1 << 30
# A decoded pixel, three channels: as bytes, and as the float32 that it is resized in.
_BYTES_PER_PIXEL = 15


class ReadImage(NamedTuple):
    """A file that was read. row.outcome is empty when the image can go to the model. weight: bytes in decoding."""

    row: ScoreRow
    image: EncodedImage
    weight: int


def look_at(file: SourceFile, content: bytes | Exception, run: ScoringRun) -> ReadImage:
    """What is known of an image before the model sees it. content: of the file, or why it cannot be read."""
    row = ScoreRow(
        file.path,
        file.relative,
        image_id_of(file.relative),
        file.size,
        file.version,
        key=seen_key(file, run.fingerprint),
        place=file.record or file.member,
    )
    if isinstance(content, Exception):
        return ReadImage(row.rejected("read", "unreadable", storage.failure(content)), EncodedImage(b""), 0)
    size = max(model.image_size for model in run.models)
    row = row._replace(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    if file.is_record:  # made square by prepare
        return ReadImage(row._replace(width=size, height=size), EncodedImage(content, stored=True), len(content))
    try:
        info = images.read_info(content)
    except images.BadImage as error:
        return ReadImage(row.rejected("check", error.reason, error.message), EncodedImage(b""), 0)
    factor = images.reduction(info.width, info.height, size, "crop") if info.format == "jpeg" else 1
    weight = len(content) + info.width * info.height // factor**2 * _BYTES_PER_PIXEL
    return ReadImage(row._replace(width=info.width, height=info.height), EncodedImage(content), weight)


def _windowed(value: Any) -> Any:
    """An element as it is given at the end of a bundle."""
    window = GlobalWindow()
    if isinstance(value, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(value.tag, _windowed(value.value))
    return WindowedValue(value, window.max_timestamp(), (window,))


class ReadBatches(ThreadedDoFn):
    """Chunks of listed files -> batches for the model, lists of (row, EncodedImage); output `rejects`: rows without.

    A batch has `batch_size` images, fewer at the end of a bundle or where they are so large that more than
    MAX_BATCH_BYTES would be needed to decode them.
    """

    def __init__(self, run: ScoringRun, threads: int, batch_size: int):
        super().__init__(threads)
        self._batch_size = batch_size
        self._run = run
        self._read = Metrics.counter("score", "read_bytes")

    def start_bundle(self) -> None:
        self._batch: list[tuple[ScoreRow, EncodedImage]] = []
        self._weight = 0
        # From chunk to chunk: while the model works on one, the next is being read.
        self._reading = self.look_ahead()

    def process(self, element: list[sources.ListedFile]) -> Iterator:
        look = functools.partial(look_at, run=self._run)
        yield from self._batches(map_files(look, [listed.file for listed in element], self._reading.feed))

    def finish_bundle(self) -> Iterator:
        yield from map(_windowed, self._batches(itertools.chain.from_iterable(self._reading.drain())))
        if self._batch:
            yield _windowed(self._take())

    def _batches(self, found: Iterable[ReadImage]) -> Iterator:
        waiting = time.perf_counter()
        for row, image, weight in found:
            # Reading goes on while the model works; what counts is what the model waits for.
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
