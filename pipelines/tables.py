"""Tables that grow with the archive (manifest, rejects), written as sorted shards with the same bytes each time."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.rows import ImageRow
from pipelines.seeding import stable_hash
from pipelines.storage import printable

# Between several names in one cell of the manifest.
LIST_SEPARATOR = "; "
MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("sha256", pa.string()),
        pa.field("phash", pa.string()),
        pa.field("format", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("label", pa.string()),
        pa.field("claims", pa.string()),
        pa.field("lesion_id", pa.string()),
        pa.field("patient_id", pa.string()),
        pa.field("license", pa.string()),
        pa.field("attribution", pa.string()),
        pa.field("group_id", pa.string()),
        pa.field("split", pa.string()),
        pa.field("fold", pa.int32()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("copies", pa.int32(), nullable=False),
    ]
)


def manifest_row(row: ImageRow) -> dict:
    """A row of the manifest; what is not known is null."""
    return {
        "id": row.image_id,
        "path": printable(row.path),
        "source": row.source,
        "sha256": row.sha256 or None,
        "phash": f"{row.phash:016x}" if row.phash else None,
        "format": row.format or None,
        "width": row.width or None,
        "height": row.height or None,
        "label": row.label or None,
        # What the folders of two inputs say alike stands once.
        "claims": "; ".join(dict.fromkeys(f"{claim.source}: {' > '.join(claim.labels)}" for claim in row.claims))
        or None,
        "lesion_id": LIST_SEPARATOR.join(row.lesion_ids) or None,
        "patient_id": LIST_SEPARATOR.join(row.patient_ids) or None,
        "license": LIST_SEPARATOR.join(row.licenses) or None,
        "attribution": LIST_SEPARATOR.join(row.attributions) or None,
        "group_id": row.group_id or None,
        "split": row.split or None,
        "fold": row.fold if row.fold >= 0 else None,
        "outcome": row.outcome,
        "reason": row.reason or None,
        "copies": row.copies,
    }


def parquet_bytes(rows: Iterable[dict], schema: pa.Schema) -> bytes:
    """A Parquet file of rows that have exactly the schema's columns."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer)
    return buffer.getvalue()


def manifest_bytes(rows: Iterable[ImageRow]) -> bytes:
    """The manifest of these rows, as Parquet."""
    return parquet_bytes(map(manifest_row, rows), MANIFEST_SCHEMA)


def reject_line(path: str, stage: str, reason: str, message: str) -> bytes:
    """One line of a rejects file."""
    return (
        json.dumps(
            {"path": printable(path), "stage": stage, "reason": reason, "message": message}, ensure_ascii=False
        ).encode("utf-8", "backslashreplace")
        + b"\n"
    )


def rejects_bytes(rows: Iterable[ImageRow]) -> bytes:
    """JSON lines that say why files became no record."""
    return b"".join(reject_line(row.path, row.stage, row.reason, row.message) for row in rows)


def by_path(row: ImageRow) -> tuple[str, str]:
    """The order of rows in their tables; no two rows have the same."""
    return row.relative, row.path


class _WriteTable(beam.DoFn):
    def __init__(self, pattern: str, encode: Callable[[Iterable], bytes], order: Callable[[Any], tuple]):
        self._pattern = pattern
        self._encode = encode
        self._order = order

    def process(self, element: tuple[tuple[int, int], Iterable[Any]]) -> Iterator[str]:
        (index, count), rows = element
        ordered = sorted((row for row in rows if row is not None), key=self._order)
        path = self._pattern.format(index=index, count=count)
        storage.write_bytes(path, self._encode(ordered))
        yield path


class WriteTable(beam.PTransform):
    """Rows -> files `pattern` (with {index} and {count}), about `rows_per_shard` rows each, sorted.

    encode: rows of one file -> its bytes; order: a row -> a tuple of strings that no other row has.
    Returns the paths. There is always a first file, though it may hold no rows.
    """

    def __init__(
        self,
        pattern: str,
        encode: Callable[[Iterable], bytes],
        order: Callable[[Any], tuple] = by_path,
        rows_per_shard: int = 50_000,
    ):
        super().__init__()
        self._rows_per_shard = rows_per_shard
        self._pattern = pattern
        self._encode = encode
        self._order = order

    def expand(self, rows: beam.PCollection) -> beam.PCollection[str]:
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


class ReadTable(beam.PTransform):
    """Nothing -> what `read` makes of each file that `pattern` names, the files shared out among workers."""

    def __init__(self, pattern: str, read: Callable[[str], Iterable]):
        super().__init__()
        self._pattern = pattern
        self._read = read

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        return (
            begin
            | "Pattern" >> beam.Create([self._pattern], reshuffle=False)
            | "List files" >> beam.FlatMap(storage.match)
            | "Share out" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(self._read)
        )


def is_dropped(row: ImageRow) -> bool:
    """Whether a row belongs in the rejects file."""
    return bool(row.reason)
