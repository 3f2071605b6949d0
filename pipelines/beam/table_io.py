"""Tables that grow with the archive: written as sorted shards with the same bytes each time, and read."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.common.seeding import stable_hash
from pipelines.dataset.manifest import by_path
from pipelines.storage import filesystem

ROWS_PER_SHARD = 50_000
# Fewer, because one worker holds all rows of a file unpacked at once, 2 KB each.
ROWS_PER_PACKED_SHARD = 20_000


class Written(NamedTuple):
    """Written file of a table."""

    path: str
    seconds: float  # time to sort, encode and write it


def _itself(row: Any) -> list:
    return [row]


class _WriteTable(beam.DoFn):
    def __init__(
        self,
        pattern: str,
        encode: Callable[[Iterable], bytes],
        order: Callable[[Any], tuple],
        unpack: Callable[[Any], list] = _itself,
    ):
        self._pattern = pattern
        self._encode = encode
        self._order = order
        self._unpack = unpack

    def process(self, element: tuple[tuple[int, int], Iterable[Any]]) -> Iterator[Written]:
        started = time.perf_counter()
        (index, count), packed = element
        # Empty elements only mark that the shard exists.
        rows = [row for part in packed if part for row in self._unpack(part)]
        ordered = sorted(rows, key=self._order)
        path = self._pattern.format(index=index, count=count)
        filesystem.write_bytes(path, self._encode(ordered))
        yield Written(path, time.perf_counter() - started)


class WriteTable(beam.PTransform):
    """PTransform that writes rows to sorted files.

    There is always at least one file, even without rows.

    Args:
        pattern: The path of the files, with {index} and {count}.
        encode: Turns the rows of one file into its bytes.
        order: Turns a row into a tuple of strings that no other row has; rows are sorted by it.
        rows_per_shard: The approximate number of rows per file.
    """

    def __init__(
        self,
        pattern: str,
        encode: Callable[[Iterable], bytes],
        order: Callable[[Any], tuple] = by_path,
        rows_per_shard: int = ROWS_PER_SHARD,
    ):
        super().__init__()
        self._rows_per_shard = rows_per_shard
        self._pattern = pattern
        self._encode = encode
        self._order = order

    def expand(self, rows: beam.PCollection) -> beam.PCollection[Written]:
        """Turn rows into one Written per file."""
        order, rows_per_shard = self._order, self._rows_per_shard
        count = (
            rows
            | "Count rows" >> beam.combiners.Count.Globally()
            | "Shard count" >> beam.Map(lambda total: max(1, -(-total // rows_per_shard)))
        )
        every_shard = count | "Every shard" >> beam.FlatMap(
            lambda count: [((index, count), None) for index in range(count)]
        )
        placed = rows | "Place" >> beam.Map(
            lambda row, count: ((stable_hash(*order(row)) % count, count), row), beam.pvalue.AsSingleton(count)
        )
        return (
            (placed, every_shard)
            | "With empty shards" >> beam.Flatten()
            | "By shard" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteTable(self._pattern, self._encode, order))
        )


class WriteBlocks(beam.PTransform):
    """PTransform that writes blocks (lists) of rows to sorted files, as WriteTable does with single rows.

    The rows of a block that go to one shard are packed into one element before the shuffle, because runners keep some
    kilobytes for each element.

    Args:
        pattern: The path of the files, with {index} and {count}.
        encode: Turns the rows of one file into its bytes.
        pack: Turns a list of rows into bytes.
        unpack: Turns these bytes into the rows again.
        rows: A PCollection of one number: an upper bound on the number of rows. It fixes the number of shards before
            there is a row.
        order: Turns a row into a tuple of strings that no other row has; rows are sorted by it.
        rows_per_shard: The approximate number of rows per file.
    """

    def __init__(
        self,
        pattern: str,
        encode: Callable[[Iterable], bytes],
        pack: Callable[[list], bytes],
        unpack: Callable[[bytes], list],
        rows: beam.PCollection[int],
        order: Callable[[Any], tuple] = by_path,
        rows_per_shard: int = ROWS_PER_PACKED_SHARD,
    ):
        super().__init__()
        self._pattern = pattern
        self._encode = encode
        self._pack = pack
        self._unpack = unpack
        self._rows = rows
        self._order = order
        self._rows_per_shard = rows_per_shard

    def expand(self, blocks: beam.PCollection) -> beam.PCollection[Written]:
        """Turn lists of rows into one Written per file."""
        order, pack, rows_per_shard = self._order, self._pack, self._rows_per_shard
        count = self._rows | "Shard count" >> beam.Map(lambda rows: max(1, -(-rows // rows_per_shard)))

        def place(block: list, count: int) -> Iterator[tuple[tuple[int, int], bytes]]:
            by_shard: dict[int, list] = defaultdict(list)
            for row in block:
                by_shard[stable_hash(*order(row)) % count].append(row)
            for index, rows in by_shard.items():
                yield (index, count), pack(rows)

        every_shard = count | "Every shard" >> beam.FlatMap(
            lambda count: [((index, count), b"") for index in range(count)]
        )
        placed = blocks | "Place" >> beam.FlatMap(place, beam.pvalue.AsSingleton(count))
        return (
            (placed, every_shard)
            | "With empty shards" >> beam.Flatten()
            | "By shard" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteTable(self._pattern, self._encode, order, self._unpack))
        )


class ReadTable(beam.PTransform):
    """PTransform that reads the files of a table, shared out among workers.

    Args:
        pattern: A glob that matches the files.
        read: Turns the path of a file into its elements.
    """

    def __init__(self, pattern: str, read: Callable[[str], Iterable]):
        super().__init__()
        self._pattern = pattern
        self._read = read

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        """Turn the start of a pipeline into the elements of all files."""
        return (
            begin
            | "Pattern" >> beam.Create([self._pattern], reshuffle=False)
            | "List files" >> beam.FlatMap(filesystem.match)
            | "Share out" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(self._read)
        )
