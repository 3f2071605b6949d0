"""Keep what a dataset knows of each image in files of its own, so that an update need not decode it again."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.beam.table_io import ReadTable
from pipelines.dataset.image_row import WRITTEN, ImageRow, Stored
from pipelines.dataset.manifest import parquet_bytes, parquet_rows
from pipelines.storage import filesystem
from pipelines.storage.filesystem import read_bytes
from pipelines.storage.numbered_files import any_of

CACHE_FILES = "known-{index:05d}-of-{count:05d}.parquet"
_SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("phash", pa.int64(), nullable=False),
        pa.field("thumbnail", pa.binary(), nullable=False),
        pa.field("shard", pa.string()),
        pa.field("offsets", pa.list_(pa.int64())),
        pa.field("sums", pa.list_(pa.int64())),
    ]
)


class CachedImage(NamedTuple):
    """What decoding found out about one content, and where its records are, if any; fields as in ImageRow."""

    sha256: str
    format: str
    width: int
    height: int
    phash: int
    thumbnail: bytes
    stored: Stored | None = None


def cache_order(image: CachedImage) -> tuple[str]:
    """Return the sort key of a known image; no two share one."""
    return (image.sha256,)


def cache_bytes(images: Iterable[CachedImage]) -> bytes:
    """Return a Parquet file of known images."""
    nothing = Stored("", (), ())

    def columns(image: CachedImage) -> dict:
        stored = image.stored or nothing
        places = {"shard": stored.shard or None, "offsets": list(stored.offsets), "sums": list(stored.sums)}
        return {name: value for name, value in image._asdict().items() if name != "stored"} | places

    return parquet_bytes(map(columns, images), _SCHEMA)


def read_cache(path: str) -> Iterator[tuple[str, CachedImage]]:
    """Read a file that `cache_bytes` made.

    Yields:
        The content hash and the CachedImage of every row.
    """
    for row in parquet_rows(pq.ParquetFile(io.BytesIO(read_bytes(path)))):
        shard, offsets, sums = row.pop("shard"), tuple(row.pop("offsets")), tuple(row.pop("sums"))
        yield row["sha256"], CachedImage(**row, stored=Stored(shard, offsets, sums) if shard else None)


def is_readable_cache(folder: str) -> bool:
    """Return whether every file of known images in a dataset can be read.

    If not, an update decodes all images again.
    """
    try:
        for path in filesystem.match(filesystem.join(folder, any_of(CACHE_FILES))):
            for _ in read_cache(path):
                pass
    except Exception:  # Parquet raises many kinds of errors on damaged files
        return False
    return True


def with_cached(row: ImageRow, image: CachedImage) -> ImageRow:
    """Return a row that has been read, completed from what is known of its content as if it had been decoded."""
    return row._replace(**image._asdict())


def _entry(element: tuple[str, dict[str, Iterable]]) -> Iterator[CachedImage]:
    _, found = element
    checked: list[ImageRow] = list(found["checked"])
    if checked:
        row = checked[0]
        stored = next(iter(found["stored"]), None)
        yield CachedImage(row.sha256, row.format, row.width, row.height, row.phash, row.thumbnail, stored)


class MakeDecodeCache(beam.PTransform):
    """PTransform that collects what to keep of every content that can be decoded."""

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[CachedImage]:
        """Turn (rows as checked, finished rows) into one CachedImage per content that can be decoded."""
        checked, finished = inputs
        return (
            {
                "checked": checked
                | "Decoded" >> beam.Filter(lambda row: bool(row.thumbnail))
                | "Checked by content" >> beam.Map(lambda row: (row.sha256, row)),
                "stored": finished
                | "Written" >> beam.Filter(lambda row: row.outcome == WRITTEN)
                | "Stored by content" >> beam.Map(lambda row: (row.sha256, row.stored)),
            }
            | "Join" >> beam.CoGroupByKey()
            | "Remember" >> beam.FlatMap(_entry)
        )


def _look_up(element: tuple[str, dict[str, Iterable]]) -> Iterator[ImageRow | beam.pvalue.TaggedOutput]:
    _, found = element
    cached = next(iter(found["cached"]), None)
    for row in found["rows"]:
        yield with_cached(row, cached) if cached else beam.pvalue.TaggedOutput("unknown", row)


class UseDecodeCache(beam.PTransform):
    """PTransform that completes rows from what an earlier dataset knows of their content.

    Args:
        folder: The earlier dataset.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.pvalue.DoOutputsTuple:
        """Turn rows that have been read and hashed into outputs `rows`, those completed, and `unknown`, the others."""
        cached = rows.pipeline | "Read cache" >> ReadTable(
            filesystem.join(self._folder, any_of(CACHE_FILES)), read_cache
        )
        return (
            {"rows": rows | "Rows by content" >> beam.Map(lambda row: (row.sha256, row)), "cached": cached}
            | "Join cache" >> beam.CoGroupByKey()
            | "Recall" >> beam.FlatMap(_look_up).with_outputs("unknown", main="rows")
        )
