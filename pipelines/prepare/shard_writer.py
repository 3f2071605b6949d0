"""One shard, one DoFn call: take its encoded originals, augment, sort, write."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipelines.beam import progress
from pipelines.beam.packed_groups import PackedCoGroupByKey
from pipelines.beam.threads import ThreadedDoFn
from pipelines.dataset.description import shard_name
from pipelines.dataset.image_row import WRITTEN, ImageRow, Stored
from pipelines.dataset.known_images import CACHE_FILES, cache_bytes, cached_image
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


# A shard among all shards of a dataset: split, its number there, shards of the split, fold (-1: none), its number among
# the shards of all splits, their number. A plain tuple, because Beam warns of any other key.
ShardKey = tuple[str, int, int, int, int, int]


def _key(shards: Mapping[str, SplitShards], split: str, index: int) -> ShardKey:
    counts = {name: planned.total for name, planned in shards.items()}
    before = sum(counts[name] for name in sorted(counts) if name < split)
    fold = index // shards[split].each if shards[split].folds else -1
    return split, index, counts[split], fold, before + index, sum(counts.values())


def _keys(shards: Mapping[str, SplitShards]) -> list[ShardKey]:
    return [_key(shards, split, index) for split, planned in shards.items() for index in range(planned.total)]


def _place(row: ImageRow, shards: Mapping[str, SplitShards], seed: int) -> tuple[ShardKey, ImageRow]:
    """Return the shard key of a row, and the row.

    All copies of an image go to one shard, so that the image is decoded once. Shards never mix folds.
    """
    planned = shards[row.split]
    index = max(row.fold, 0) * planned.each + (shard_order(seed, row.sha256) * planned.each >> 64)
    return _key(shards, row.split, index), row


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


class _Made(NamedTuple):
    """A row whose records have been made, or that is rejected."""

    row: ImageRow
    records: ImageRecords | None
    reused: int  # records that an earlier dataset had
    thumbnail: bytes  # empty if it is lost


class WrittenShard(NamedTuple):
    """A shard, and the number of its examples whose encoded images an update took from the earlier dataset."""

    shard: Shard
    reused: int


class _WriteShard(ThreadedDoFn):
    """DoFn from (ShardKey, rows) to final rows; it writes the shard, and beside it what is known of its images.

    Side outputs: `shards` (WrittenShard) and `sums` (class, channel sums and sums of squares).
    """

    def __init__(self, folder: str, packs: str, spec: RecordSpec, threads: int, earlier: str):
        super().__init__(threads)
        self._folder = folder
        self._packs = packs
        self._spec = spec
        self._earlier = earlier
        self._examples = Metrics.counter("prepare", "examples_written")

    def _make(self, rows: Sequence[ImageRow]) -> list[_Made]:
        """Make the records of a batch."""
        encoded = [(row.stored.file, row.stored.pieces[: row.copies]) if row.stored else ("", ()) for row in rows]
        thumbnails = [(row.thumbnail.pack, (row.thumbnail.piece,)) if row.thumbnail else ("", ()) for row in rows]
        # Both of an image lie in one pack, as a rule, which is then opened once.
        found = self._read([*encoded, *thumbnails])

        def held(file: str, pieces: Iterable[Piece]) -> list[bytes]:
            """Return the contents of pieces up to the first that cannot be read."""
            own = found.get(file, {})
            return [own[piece] for piece in itertools.takewhile(own.__contains__, pieces)]

        made = []
        for row, image, thumbnail in zip(rows, encoded, thumbnails, strict=True):
            stored = held(*image)
            reused = 0 if _is_packed(row) else len(stored)
            made.append(_Made(*self._try(row, stored), reused, b"".join(held(*thumbnail))))
            progress.count("written", row.copies)
        return made

    def _read(self, places: Iterable[tuple[str, Iterable[Piece]]]) -> dict[str, dict[Piece, bytes]]:
        """Return by file what can be read of it, each file opened once. What cannot be read back is made again."""
        wanted: dict[str, list[Piece]] = {}
        for file, pieces in places:
            wanted.setdefault(file, []).extend(pieces)
        found = {}
        for file, pieces in wanted.items():
            folder = self._packs if file.endswith(SUFFIX) else self._earlier
            with contextlib.suppress(StorageError):
                found[file] = read_pieces(filesystem.join(folder, file), pieces) if pieces else {}
        return found

    def _try(self, row: ImageRow, stored: Sequence[bytes]) -> tuple[ImageRow, ImageRecords | None]:
        try:
            return row._replace(outcome=WRITTEN), make_records(row, self._spec, stored)
        except BadImage as error:
            return row.rejected("write", error.reason, error.message), None
        except StorageError as error:
            return row.rejected("write", "unreadable", str(error)), None

    def process(self, element: tuple[ShardKey, Iterable[ImageRow]]) -> Iterator:
        (split, index, count, fold, number, total), rows = element
        content: list[Record] = []
        written: list[_Made] = []
        for made in itertools.chain.from_iterable(self.map_threaded(self._make, _batches(rows))):
            if made.records is None:
                yield made.row
                continue
            content.extend(made.records.records)
            written.append(made)
            if split == "train":
                yield beam.pvalue.TaggedOutput("sums", (made.row.label, made.records.sums))
        content.sort()
        name = shard_name(split, index, count, self._spec.compression)
        framed = [frame(record.example) for record in content]
        pieces = _pieces(content, framed)
        known = []
        for row, records, _, thumbnail in written:
            assert records
            row = row._replace(stored=Stored(name, pieces[row.sha256], records.sums))
            # An image whose thumbnail is lost is not among them: an update decodes it again.
            # An update decodes corrected images again: without its correction, one may be no photograph.
            known += [cached_image(row, thumbnail)] if thumbnail and not row.correction else []
            yield row
        cache = CACHE_FILES.format(index=number, count=total)
        filesystem.write_bytes(filesystem.join(self._folder, cache), cache_bytes(known))
        data = compress(b"".join(framed), self._spec.compression)
        filesystem.write_bytes(filesystem.join(self._folder, name), data)
        self._examples.inc(len(content))
        shard = Shard(name, split, len(content), len(data), hashlib.sha256(data).hexdigest(), fold)
        yield beam.pvalue.TaggedOutput("shards", WrittenShard(shard, sum(made.reused for made in written)))


def _is_packed(row: ImageRow) -> bool:
    """Return whether the encoded original of a row lies in a pack of this run, not in an earlier dataset."""
    return row.stored is not None and row.stored.file.endswith(SUFFIX)


class WriteShards(beam.PTransform):
    """PTransform that writes the shards of all splits.

    The bytes of a shard depend only on its rows. A shard that gets no image is written empty.

    Args:
        folder: The folder for the shards.
        packs: The folder of the packs that hold encoded originals and thumbnails.
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
