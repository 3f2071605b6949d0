"""One shard, one DoFn call: read its images, standardise, augment, sort, write."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines import records, storage
from pipelines.encoding import SHARD_SUFFIX, compress
from pipelines.images import BadImage
from pipelines.parallel import ThreadedDoFn
from pipelines.reuse import stored_images
from pipelines.rows import WRITTEN, ImageRow, Stored
from pipelines.seeding import stable_hash
from pipelines.storage import failure
from pipelines.tfrecord import frame

# Counter of examples whose images an update took from the earlier dataset.
EXAMPLES_REUSED = "examples_reused"


class Shard(NamedTuple):
    """A written shard: file, its split, records, bytes, SHA-256 of the bytes; the fold of all its records, or -1."""

    name: str
    split: str
    examples: int
    bytes: int
    sha256: str
    fold: int = -1


class SplitShards(NamedTuple):
    """How many shards a split has: `each` for every one of its `folds`, those of fold 0 first; 0 folds: `each`."""

    each: int
    folds: int = 0

    @property
    def total(self) -> int:
        return self.each * (self.folds or 1)


MakeRecords = Callable[..., records.ImageRecords]

# Split, index of the shard, number of shards in the split, fold of the shard.
ShardKey = tuple[str, int, int, int]


def shard_name(split: str, index: int, count: int, compression: str = "none") -> str:
    """The conventional name of a shard."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord{SHARD_SUFFIX[compression]}"


def _keys(shards: Mapping[str, SplitShards]) -> list[ShardKey]:
    return [
        (split, index, planned.total, index // planned.each if planned.folds else -1)
        for split, planned in shards.items()
        for index in range(planned.total)
    ]


def _place(row: ImageRow, shards: Mapping[str, SplitShards], seed: int) -> tuple[ShardKey, ImageRow]:
    """All copies of an image go to one shard, so that it is read and decoded once; shards never mix folds."""
    planned = shards[row.split]
    index = max(row.fold, 0) * planned.each + stable_hash(seed, "shard", row.sha256) % planned.each
    return (row.split, index, planned.total, row.fold), row


def _places(content: Iterable[records.Record], framed: Iterable[bytes]) -> dict[str, tuple[int, ...]]:
    """Content hash of each image -> the offsets of its copies in a shard of these records."""
    starts = itertools.accumulate(map(len, framed), initial=0)
    found: dict[str, dict[int, int]] = {}
    for record, start in zip(content, starts, strict=False):
        found.setdefault(record.sha256, {})[record.copy] = start
    return {sha256: tuple(offsets[copy] for copy in sorted(offsets)) for sha256, offsets in found.items()}


class _WriteShard(ThreadedDoFn):
    """(ShardKey, rows) -> final rows; outputs `shards` (Shard) and `sums` (class, sums, squares)."""

    def __init__(self, folder: str, threads: int, make: MakeRecords, compression: str, earlier: str):
        super().__init__(threads)
        self._folder = folder
        self._make = make
        self._compression = compression
        self._earlier = earlier
        self._examples = Metrics.counter("prepare", "examples_written")
        self._reused = Metrics.counter("prepare", EXAMPLES_REUSED)

    def _try(self, row: ImageRow) -> tuple[ImageRow, records.ImageRecords | None]:
        try:
            stored = stored_images(row, self._earlier) if self._earlier else []
            return row._replace(outcome=WRITTEN), self._make(row, stored=stored)
        except BadImage as error:
            return row.rejected("write", error.reason, error.message), None
        except OSError as error:
            return row.rejected("write", "unreadable", failure(error)), None

    def process(self, element: tuple[ShardKey, Iterable[ImageRow]]) -> Iterator:
        (split, index, count, fold), rows = element
        content: list[records.Record] = []
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
        name = shard_name(split, index, count, self._compression)
        framed = [frame(record.example) for record in content]
        places = _places(content, framed)
        for row, sums in written:
            yield row._replace(stored=Stored(name, places[row.sha256], sums))
        data = compress(b"".join(framed), self._compression)
        storage.write_bytes(storage.join(self._folder, name), data)
        self._examples.inc(len(content))
        yield beam.pvalue.TaggedOutput(
            "shards", Shard(name, split, len(content), len(data), hashlib.sha256(data).hexdigest(), fold)
        )


class WriteShards(beam.PTransform):
    """Planned rows, one {split: SplitShards} -> `rows` with their outcome, `shards`, and `sums` of the train originals.

    A shard's bytes depend on its rows alone. A shard number that no image falls on is written empty.
    earlier: a dataset with the same settings, whose records are used again where rows say so (`ImageRow.stored`).
    """

    def __init__(
        self,
        folder: str,
        classes: Sequence[str],
        size: int,
        aspect: str,
        seed: int,
        threads: int,
        encoding: str = "jpeg",
        compression: str = "none",
        earlier: str = "",
    ):
        super().__init__()
        self._seed = seed
        make = functools.partial(
            records.make_records, classes=tuple(classes), size=size, aspect=aspect, seed=seed, encoding=encoding
        )
        self._write = _WriteShard(folder, threads, make, compression, earlier)

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.pvalue.DoOutputsTuple:
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
