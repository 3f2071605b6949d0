"""Tables that grow with the archive: written as sorted shards with the same bytes each time, and read."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.beam.packed_groups import pack_elements, unpack_elements
from pipelines.beam.threads import in_global_window
from pipelines.common.seeding import stable_hash
from pipelines.storage import filesystem

ROWS_PER_SHARD = 50_000
# Fewer, because one worker holds all rows of a file unpacked at once, 2 KB each.
ROWS_PER_PACKED_SHARD = 20_000
_ROWS_PER_BLOCK = 1024


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


class _Collect(beam.DoFn):
    """Rows -> lists of rows."""

    def start_bundle(self) -> None:
        self._rows: list = []

    def process(self, row: Any) -> Iterator[list]:
        self._rows.append(row)
        if len(self._rows) == _ROWS_PER_BLOCK:
            yield self._take()

    def finish_bundle(self) -> Iterator:
        if self._rows:
            yield in_global_window(self._take())

    def _take(self) -> list:
        rows, self._rows = self._rows, []
        return rows


class WriteTable(beam.PTransform):
    """PTransform that writes rows to sorted files.

    There is always at least one file, even without rows.

    Args:
        pattern: The path of the files, with {index} and {count}.
        encode: Turns the rows of one file into its bytes.
        order: Turns a row into a tuple of strings that no other row has; rows are sorted by it.
        rows: A PCollection of one number: how many rows there will be, or somewhat more. It fixes the number of files.
            None: they are counted, and wait for it.
        rows_per_shard: The approximate number of rows per file.
    """

    def __init__(
        self,
        pattern: str,
        encode: Callable[[Iterable], bytes],
        order: Callable[[Any], tuple],
        rows: beam.PCollection[int] | None = None,
        rows_per_shard: int = ROWS_PER_SHARD,
    ):
        super().__init__()
        self._arguments = (pattern, encode, order, pack_elements, unpack_elements)
        self._rows = rows
        self._rows_per_shard = rows_per_shard

    def expand(self, rows: beam.PCollection | tuple[beam.PCollection, ...]) -> beam.PCollection[Written]:
        """Turn the rows of one or more PCollections into one Written per file."""
        parts = rows if isinstance(rows, tuple) else (rows,)
        blocks = tuple(part | f"Blocks {number}" >> beam.ParDo(_Collect()) for number, part in enumerate(parts))
        count = self._rows
        if count is None:
            sizes = [part | f"Sizes {number}" >> beam.Map(len) for number, part in enumerate(blocks)]
            count = sizes | "All sizes" >> beam.Flatten() | "Count rows" >> beam.CombineGlobally(sum)
        return blocks | WriteBlocks(*self._arguments, count, self._rows_per_shard)


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
        self._order = order
        self._pack = pack
        self._rows = rows
        self._rows_per_shard = rows_per_shard
        self._write = _WriteFile(pattern, encode, order, unpack)

    def expand(self, blocks: beam.PCollection[list] | tuple[beam.PCollection[list], ...]) -> beam.PCollection[Written]:
        """Turn the lists of rows of one or more PCollections into one Written per file."""
        order, pack, rows_per_shard = self._order, self._pack, self._rows_per_shard

        def place(block: list, count: int) -> Iterator[tuple[tuple[int, int], bytes]]:
            by_shard: dict[int, list] = defaultdict(list)
            for row in block:
                by_shard[stable_hash(*order(row)) % count if count > 1 else 0].append(row)
            for index, own in by_shard.items():
                yield (index, count), pack(own)

        count = self._rows | "Shard count" >> beam.Map(lambda rows: max(1, -(-rows // rows_per_shard)))
        every_shard = count | "Every shard" >> beam.FlatMap(
            lambda count: [((index, count), None) for index in range(count)]
        )
        parts = blocks if isinstance(blocks, tuple) else (blocks,)
        placed = [
            part | f"Place {number}" >> beam.FlatMap(place, beam.pvalue.AsSingleton(count))
            for number, part in enumerate(parts)
        ]
        return (
            (*placed, every_shard)
            | "With empty shards" >> beam.Flatten()
            | "By shard" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(self._write)
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
