"""Tables that grow with the archive: written as sorted shards with the same bytes each time, and read."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.common.seeding import stable_hash
from pipelines.storage import filesystem

ROWS_PER_SHARD = 50_000
# Fewer, because one worker holds all rows of a file unpacked at once, 2 KB each.
ROWS_PER_PACKED_SHARD = 20_000


class Written(NamedTuple):
    """Written file of a table."""

    path: str
    seconds: float  # time to sort, encode and write it


class _WriteFile(beam.DoFn):
    """DoFn from ((index, count), parts) to the file that holds the rows of all parts."""

    def __init__(
        self,
        pattern: str,
        encode: Callable[[Iterable], bytes],
        order: Callable[[Any], tuple],
        unpack: Callable[[Any], list],
    ):
        self._pattern = pattern
        self._encode = encode
        self._order = order
        self._unpack = unpack

    def process(self, element: tuple[tuple[int, int], Iterable[Any]]) -> Iterator[Written]:
        started = time.perf_counter()
        (index, count), parts = element
        # A part that is None only marks that the file exists.
        rows = [row for part in parts if part is not None for row in self._unpack(part)]
        path = self._pattern.format(index=index, count=count)
        filesystem.write_bytes(path, self._encode(sorted(rows, key=self._order)))
        yield Written(path, time.perf_counter() - started)


class _WriteFiles(beam.PTransform):
    """PTransform that both forms of a table share: it deals out rows to files and writes these.

    Args:
        pattern: The path of the files, with {index} and {count}.
        encode: Turns the rows of one file into its bytes.
        order: Turns a row into a tuple of strings that no other row has; rows are sorted by it.
        rows_per_shard: The approximate number of rows per file.
        deal: Turns an element and a function from row to index into pairs (index, part of the element).
        unpack: Turns such a part into rows.
    """

    def __init__(
        self,
        pattern: str,
        encode: Callable[[Iterable], bytes],
        order: Callable[[Any], tuple],
        rows_per_shard: int,
        deal: Callable[[Any, Callable[[Any], int]], Iterable[tuple[int, Any]]],
        unpack: Callable[[Any], list],
    ):
        super().__init__()
        self._order = order
        self._rows_per_shard = rows_per_shard
        self._deal = deal
        self._write = _WriteFile(pattern, encode, order, unpack)

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection[int]]) -> beam.PCollection[Written]:
        """Turn elements and the number of their rows into one Written per file."""
        elements, rows = inputs
        order, rows_per_shard, deal = self._order, self._rows_per_shard, self._deal

        def place(element: Any, count: int) -> Iterator[tuple[tuple[int, int], Any]]:
            for index, part in deal(element, lambda row: stable_hash(*order(row)) % count):
                yield (index, count), part

        count = rows | "Shard count" >> beam.Map(lambda rows: max(1, -(-rows // rows_per_shard)))
        every_shard = count | "Every shard" >> beam.FlatMap(
            lambda count: [((index, count), None) for index in range(count)]
        )
        placed = elements | "Place" >> beam.FlatMap(place, beam.pvalue.AsSingleton(count))
        return (
            (placed, every_shard)
            | "With empty shards" >> beam.Flatten()
            | "By shard" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(self._write)
        )


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
        order: Callable[[Any], tuple],
        rows_per_shard: int = ROWS_PER_SHARD,
    ):
        super().__init__()
        self._write = _WriteFiles(
            pattern, encode, order, rows_per_shard, lambda row, index_of: [(index_of(row), row)], lambda row: [row]
        )

    def expand(self, rows: beam.PCollection) -> beam.PCollection[Written]:
        """Turn rows into one Written per file."""
        count = rows | "Count rows" >> beam.combiners.Count.Globally()
        return (rows, count) | "Files" >> self._write


class WriteBlocks(beam.PTransform):
    """PTransform that writes blocks (lists) of rows to sorted files, as WriteTable does with single rows.

    The rows of a block that go to one file are packed into one element before the shuffle, because runners keep some
    kilobytes for each element.

    Args:
        pattern: The path of the files, with {index} and {count}.
        encode: Turns the rows of one file into its bytes.
        order: Turns a row into a tuple of strings that no other row has; rows are sorted by it.
        pack: Turns a list of rows into bytes.
        unpack: Turns these bytes into the rows again.
        rows: A PCollection of one number: an upper bound on the number of rows. It fixes the number of files before
            there is a row.
        rows_per_shard: The approximate number of rows per file.
    """

    def __init__(
        self,
        pattern: str,
        encode: Callable[[Iterable], bytes],
        order: Callable[[Any], tuple],
        pack: Callable[[list], bytes],
        unpack: Callable[[bytes], list],
        rows: beam.PCollection[int],
        rows_per_shard: int = ROWS_PER_PACKED_SHARD,
    ):
        super().__init__()
        self._rows = rows

        def deal(block: list, index_of: Callable[[Any], int]) -> Iterator[tuple[int, bytes]]:
            by_shard: dict[int, list] = defaultdict(list)
            for row in block:
                by_shard[index_of(row)].append(row)
            for index, own in by_shard.items():
                yield index, pack(own)

        self._write = _WriteFiles(pattern, encode, order, rows_per_shard, deal, unpack)

    def expand(self, blocks: beam.PCollection[list]) -> beam.PCollection[Written]:
        """Turn lists of rows into one Written per file."""
        return (blocks, self._rows) | "Files" >> self._write


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
