"""One shard, one DoFn call: take its encoded originals, augment, sort, write."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.beam.packed_groups import PackedCoGroupByKey
from pipelines.beam.threads import ThreadedDoFn
from pipelines.dataset.description import shard_name
from pipelines.dataset.image_row import WRITTEN, ImageRow, Stored
from pipelines.dataset.originals import shard_order
from pipelines.dataset.record_spec import RecordSpec
from pipelines.dataset.tfrecord import HEADER_BYTES, frame
from pipelines.domain.dataset_json import Shard
from pipelines.imaging.encoding import compress
from pipelines.imaging.images import BadImage
from pipelines.prepare.examples import ImageRecords, Record, make_records
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError
from pipelines.storage.packs import SUFFIX, Piece, piece_of, read_pieces

# Metrics counter of the examples whose encoded images an update took from the earlier dataset.
EXAMPLES_REUSED = "examples_reused"
# Images that a thread makes at a time. Their encoded originals are read together.
_BATCH = 16


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

    All copies of an image go to one shard, so that the image is decoded once. Shards never mix folds.
    """
    planned = shards[row.split]
    index = max(row.fold, 0) * planned.each + (shard_order(seed, row.sha256) * planned.each >> 64)
    return (row.split, index, planned.total, row.fold), row


def _pieces(content: Sequence[Record], framed: Iterable[bytes]) -> dict[str, tuple[Piece, ...]]:
    """Return, by content hash of the image, where its encoded images lie in a shard of these records."""
    starts = itertools.accumulate(map(len, framed), initial=0)
    found: dict[str, dict[int, Piece]] = {}
    for record, start in zip(content, starts, strict=False):
        offset = start + HEADER_BYTES + record.example.index(record.encoded)
        found.setdefault(record.sha256, {})[record.copy] = piece_of(record.encoded, offset)
    return {sha256: tuple(pieces[copy] for copy in sorted(pieces)) for sha256, pieces in found.items()}


def _batches(rows: Iterable[ImageRow]) -> Iterator[list[ImageRow]]:
    """Yield rows in batches whose encoded images lie close together in one file."""

    def place(row: ImageRow) -> tuple:
        return (row.stored.file, row.stored.pieces[0]) if row.stored else ("", row.sha256)

    for _, same_file in itertools.groupby(sorted(rows, key=place), key=lambda row: place(row)[0]):
        while batch := list(itertools.islice(same_file, _BATCH)):
            yield batch


class _WriteShard(ThreadedDoFn):
    """DoFn from (ShardKey, rows) to final rows.

    Side outputs: `shards` (Shard) and `sums` (class, channel sums and sums of squares).
    """

    def __init__(self, folder: str, packs: str, spec: RecordSpec, threads: int, earlier: str):
        super().__init__(threads)
        self._folder = folder
        self._packs = packs
        self._spec = spec
        self._earlier = earlier
        self._examples = Metrics.counter("prepare", "examples_written")
        self._reused = Metrics.counter("prepare", EXAMPLES_REUSED)

    def _make(self, rows: Sequence[ImageRow]) -> list[tuple[ImageRow, ImageRecords | None, int]]:
        """Return for each row of a batch: the row, its records, and how many an earlier dataset had."""
        encoded = self._stored(rows)
        return [
            (*self._try(row, own), 0 if _is_packed(row) else len(own)) for row, own in zip(rows, encoded, strict=True)
        ]

    def _stored(self, rows: Sequence[ImageRow]) -> list[list[bytes]]:
        """Return the encoded images of each row of a batch, up to the first that cannot be read."""
        file = rows[0].stored.file if rows[0].stored else ""
        if not file:
            return [[] for _ in rows]
        wanted = [row.stored.pieces[: row.copies] for row in rows if row.stored]
        folder = self._packs if _is_packed(rows[0]) else self._earlier
        try:
            found = read_pieces(filesystem.join(folder, file), itertools.chain.from_iterable(wanted))
        except StorageError:  # what cannot be read back is made again
            found = {}
        return [[found[piece] for piece in itertools.takewhile(found.__contains__, pieces)] for pieces in wanted]

    def _try(self, row: ImageRow, stored: Sequence[bytes]) -> tuple[ImageRow, ImageRecords | None]:
        try:
            return row._replace(outcome=WRITTEN), make_records(row, self._spec, stored)
        except BadImage as error:
            return row.rejected("write", error.reason, error.message), None
        except StorageError as error:
            return row.rejected("write", "unreadable", str(error)), None

    def process(self, element: tuple[ShardKey, Iterable[ImageRow]]) -> Iterator:
        (split, index, count, fold), rows = element
        content: list[Record] = []
        written: list[tuple[ImageRow, tuple[int, ...]]] = []
        for row, made, reused in itertools.chain.from_iterable(self.map_threaded(self._make, _batches(rows))):
            if made is None:
                yield row
                continue
            content.extend(made.records)
            written.append((row, made.sums))
            self._reused.inc(reused)
            if split == "train":
                yield beam.pvalue.TaggedOutput("sums", (row.label, made.sums))
        content.sort()
        name = shard_name(split, index, count, self._spec.compression)
        framed = [frame(record.example) for record in content]
        pieces = _pieces(content, framed)
        for row, sums in written:
            yield row._replace(stored=Stored(name, pieces[row.sha256], sums))
        data = compress(b"".join(framed), self._spec.compression)
        filesystem.write_bytes(filesystem.join(self._folder, name), data)
        self._examples.inc(len(content))
        yield beam.pvalue.TaggedOutput(
            "shards", Shard(name, split, len(content), len(data), hashlib.sha256(data).hexdigest(), fold)
        )


def _is_packed(row: ImageRow) -> bool:
    """Return whether the encoded original of a row lies in a pack of this run, not in an earlier dataset."""
    return row.stored is not None and row.stored.file.endswith(SUFFIX)


class WriteShards(beam.PTransform):
    """PTransform that writes the shards of all splits.

    The bytes of a shard depend only on its rows. A shard that gets no image is written empty.

    Args:
        folder: The folder for the shards.
        packs: The folder of the packs that hold the encoded originals.
        spec: How images become records.
        threads: Images processed at once per worker process.
        earlier: A dataset with the same settings, whose shards rows may point to (`ImageRow.stored`); empty for none.
    """

    def __init__(self, folder: str, packs: str, spec: RecordSpec, threads: int, earlier: str = ""):
        super().__init__()
        self._seed = spec.seed
        self._write = _WriteShard(folder, packs, spec, threads, earlier)

    def expand(self, inputs: tuple[beam.PCollection, ...]) -> beam.pvalue.DoOutputsTuple:
        """Turn PCollections of planned rows, and one {split: SplitShards}, into `rows`, `shards` and `sums`.

        `rows` has the same rows with their outcome, `sums` the class and channel sums of each train original.
        """
        *parts, plan = inputs
        every_shard = plan | "Every shard" >> beam.FlatMap(lambda shards: [(key, None) for key in _keys(shards)])
        placed = {
            f"rows {number}": part | f"Place {number}" >> beam.Map(_place, beam.pvalue.AsSingleton(plan), self._seed)
            for number, part in enumerate(parts)
        }
        return (
            {**placed, "shard": every_shard}
            | "By shard" >> PackedCoGroupByKey(few_keys=True)
            | "Rows" >> beam.MapTuple(lambda shard, group: (shard, [row for name in placed for row in group[name]]))
            | "Write shard" >> beam.ParDo(self._write).with_outputs("shards", "sums", main="rows")
        )
