"""One shard, one DoFn call: read its images, standardise, augment, sort, write."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.beam.threads import ThreadedDoFn
from pipelines.common.seeding import stable_hash
from pipelines.dataset.description import shard_name
from pipelines.dataset.example_proto import parse_example
from pipelines.dataset.image_row import WRITTEN, ImageRow, Stored
from pipelines.dataset.record_spec import RecordSpec
from pipelines.dataset.tfrecord import frame, next_record
from pipelines.domain.dataset_json import Shard
from pipelines.imaging.encoding import compress
from pipelines.imaging.images import BadImage
from pipelines.prepare.examples import ImageRecords, Record, make_records
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError

# Metrics counter of the examples whose encoded images an update took from the earlier dataset.
EXAMPLES_REUSED = "examples_reused"


class SplitShards(NamedTuple):
    """Number of shards of a split; the shards of fold 0 come first."""

    each: int  # shards per fold, or of the split if it has no folds
    folds: int = 0  # 0: no folds

    @property
    def total(self) -> int:
        """Number of shards of all folds together."""
        return self.each * (self.folds or 1)


# Split, index of the shard, number of shards in the split, fold of the shard or -1.
ShardKey = tuple[str, int, int, int]


def _keys(shards: Mapping[str, SplitShards]) -> list[ShardKey]:
    return [
        (split, index, planned.total, index // planned.each if planned.folds else -1)
        for split, planned in shards.items()
        for index in range(planned.total)
    ]


def _place(row: ImageRow, shards: Mapping[str, SplitShards], seed: int) -> tuple[ShardKey, ImageRow]:
    """Return the shard key of a row, and the row.

    All copies of an image go to one shard, so that the image is read and decoded once. Shards never mix folds.
    """
    planned = shards[row.split]
    index = max(row.fold, 0) * planned.each + stable_hash(seed, "shard", row.sha256) % planned.each
    return (row.split, index, planned.total, row.fold), row


def _places(content: Iterable[Record], framed: Iterable[bytes]) -> dict[str, tuple[int, ...]]:
    """Return, by content hash of the image, the offsets of its copies in a shard of these records."""
    starts = itertools.accumulate(map(len, framed), initial=0)
    found: dict[str, dict[int, int]] = {}
    for record, start in zip(content, starts, strict=False):
        found.setdefault(record.sha256, {})[record.copy] = start
    return {sha256: tuple(offsets[copy] for copy in sorted(offsets)) for sha256, offsets in found.items()}


class _WriteShard(ThreadedDoFn):
    """DoFn from (ShardKey, rows) to final rows.

    Side outputs: `shards` (Shard) and `sums` (class, channel sums, sums of squares).
    """

    def __init__(self, folder: str, spec: RecordSpec, threads: int, earlier: str):
        super().__init__(threads)
        self._folder = folder
        self._spec = spec
        self._earlier = earlier
        self._examples = Metrics.counter("prepare", "examples_written")
        self._reused = Metrics.counter("prepare", EXAMPLES_REUSED)

    def _try(self, row: ImageRow) -> tuple[ImageRow, ImageRecords | None]:
        try:
            stored = stored_images(row, self._earlier) if self._earlier else []
            return row._replace(outcome=WRITTEN), make_records(row, self._spec, stored)
        except BadImage as error:
            return row.rejected("write", error.reason, error.message), None
        except StorageError as error:
            return row.rejected("write", "unreadable", str(error)), None

    def process(self, element: tuple[ShardKey, Iterable[ImageRow]]) -> Iterator:
        (split, index, count, fold), rows = element
        content: list[Record] = []
        written: list[tuple[ImageRow, tuple[int, ...]]] = []
        for row, made in self.map_threaded(self._try, rows):
            if made is None:
                yield row
                continue
            content.extend(made.records)
            written.append((row, (*made.sums, *made.sums_of_squares)))
            self._reused.inc(made.reused)
            if split == "train":
                yield beam.pvalue.TaggedOutput("sums", (row.label, made.sums, made.sums_of_squares))
        content.sort()
        name = shard_name(split, index, count, self._spec.compression)
        framed = [frame(record.example) for record in content]
        places = _places(content, framed)
        for row, sums in written:
            yield row._replace(stored=Stored(name, places[row.sha256], sums))
        data = compress(b"".join(framed), self._spec.compression)
        filesystem.write_bytes(filesystem.join(self._folder, name), data)
        self._examples.inc(len(content))
        yield beam.pvalue.TaggedOutput(
            "shards", Shard(name, split, len(content), len(data), hashlib.sha256(data).hexdigest(), fold)
        )


class WriteShards(beam.PTransform):
    """PTransform that writes the shards of all splits.

    The bytes of a shard depend only on its rows. A shard that gets no image is written empty.

    Args:
        folder: The folder for the shards.
        spec: How images become records.
        threads: Images processed at once per worker process.
        earlier: A dataset with the same settings, whose records are used again where rows point to them
            (`ImageRow.stored`); empty for none.
    """

    def __init__(self, folder: str, spec: RecordSpec, threads: int, earlier: str = ""):
        super().__init__()
        self._seed = spec.seed
        self._write = _WriteShard(folder, spec, threads, earlier)

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.pvalue.DoOutputsTuple:
        """Turn planned rows and one {split: SplitShards} into outputs `rows` (with outcome), `shards` and `sums`.

        `sums` has (class, channel sums, sums of squares) of each train original.
        """
        rows, plan = inputs
        every_shard = plan | "Every shard" >> beam.FlatMap(lambda shards: [(key, None) for key in _keys(shards)])
        placed = rows | "Place in shards" >> beam.Map(_place, beam.pvalue.AsSingleton(plan), self._seed)
        return (
            (placed, every_shard)
            | "With empty shards" >> beam.Flatten()
            | "By shard" >> beam.GroupByKey()
            | "Present" >> beam.MapTuple(lambda shard, rows: (shard, [row for row in rows if row is not None]))
            | "Write shard" >> beam.ParDo(self._write).with_outputs("shards", "sums", main="rows")
        )


def _encoded(file: BinaryIO, offset: int, row: ImageRow, copy: int) -> bytes | None:
    """Return `image/encoded` of the record at `offset`, or None if it is another image's or copy's.

    Raises:
        ValueError: If the record is damaged.
    """
    file.seek(offset)
    features = parse_example(next_record(file) or b"")
    same = features["image/key/sha256"].bytes_list.value[:] == [row.sha256.encode()]
    if not same or features["image/augmentation/copy"].int64_list.value[:] != [copy]:
        return None
    return features["image/encoded"].bytes_list.value[0]


def stored_images(row: ImageRow, folder: str) -> list[bytes]:
    """Return `image/encoded` of the first copies of an image, in order, from an earlier dataset.

    Args:
        row: The row of the image; `stored` says where its records are, `copies` how many are wanted.
        folder: The folder of the earlier dataset.

    Returns:
        At most `row.copies` values, up to the first record that is missing or damaged; empty if there is none.
    """
    found: list[bytes] = []
    if row.stored is None:
        return found
    try:
        with filesystem.open_file(filesystem.join(folder, row.stored.shard)) as file:
            for copy, offset in enumerate(row.stored.offsets[: row.copies]):
                encoded = _encoded(file, offset, row, copy)
                if encoded is None:
                    break
                found.append(encoded)
    except (StorageError, ValueError, KeyError, IndexError):  # what cannot be read back is made again
        return found
    return found
