"""Reading what is to be scored: listed files -> batches of encoded images, and rows of what cannot be read."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipelines import images, sources
from pipelines.inference import EncodedImage
from pipelines.parallel import ThreadedDoFn
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


def look_at(listed: sources.ListedFile, content: bytes | Exception, run: ScoringRun) -> ReadImage:
    """What is known of an image before the model sees it. content: of the file, or why it cannot be read."""
    started = time.perf_counter()
    file = listed.file
    row = ScoreRow(
        file.path,
        file.relative,
        sources.image_id_of(file.relative),
        file.size,
        file.version,
        key=seen_key(file, run.fingerprint),
        place=file.record or file.member,
    )
    if isinstance(content, Exception):
        return ReadImage(row.rejected("read", "unreadable", sources.failure(content)), EncodedImage(b""), 0)
    row = row._replace(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    try:
        info = images.read_info(content)
    except images.BadImage as error:
        return ReadImage(row.rejected("check", error.reason, error.message), EncodedImage(b""), 0)
    size = max(model.image_size for model in run.models)
    factor = images.reduction(info.width, info.height, size, "crop") if info.format == "jpeg" else 1
    weight = len(content) + info.width * info.height // factor**2 * _BYTES_PER_PIXEL
    row = row._replace(width=info.width, height=info.height, read_seconds=time.perf_counter() - started)
    return ReadImage(row, EncodedImage(content, file.is_record), weight)


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

    def process(self, element: list[sources.ListedFile]) -> Iterator:
        for row, image, weight in self.map_threaded(lambda listed: read_image(listed, self._run), element):
            self._read.inc(len(image.data))
            if row.outcome:
                yield beam.pvalue.TaggedOutput("rejects", row)
                continue
            if self._batch and self._weight + weight > MAX_BATCH_BYTES:
                yield self._take()
            self._batch.append((row, image))
            self._weight += weight
            if len(self._batch) == self._batch_size:
                yield self._take()

    def finish_bundle(self) -> Iterator[Any]:
        if self._batch:
            window = GlobalWindow()
            yield WindowedValue(self._take(), window.max_timestamp(), (window,))

    def _take(self) -> list[tuple[ScoreRow, EncodedImage]]:
        batch, self._batch, self._weight = self._batch, [], 0
        return batch
