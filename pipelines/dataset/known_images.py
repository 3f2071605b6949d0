"""Files of a dataset in which an update finds what decoding has shown of each written image, and where its records lie.

`pipelines.curation.decode_cache` uses them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.dataset.image_row import ImageRow, Stored
from pipelines.dataset.manifest import parquet_bytes, parquet_rows
from pipelines.storage.filesystem import read_bytes
from pipelines.storage.packs import Piece

# One file per shard.
CACHE_FILES = "known-{index:05d}-of-{count:05d}.parquet"
_SCHEMA = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("phash", pa.int64(), nullable=False),
        pa.field("thumbnail", pa.binary(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        # Where `image/encoded` of the original and of each copy lies in the uncompressed shard.
        pa.field("offsets", pa.list_(pa.int64()), nullable=False),
        pa.field("lengths", pa.list_(pa.int64()), nullable=False),
        pa.field("crcs", pa.list_(pa.int64()), nullable=False),
        pa.field("sums", pa.list_(pa.int64()), nullable=False),
    ]
)


class CachedImage(NamedTuple):
    """What decoding found out about one content, and where its encoded images are; fields as in ImageRow."""

    sha256: str
    format: str
    width: int
    height: int
    phash: int
    thumbnail: bytes
    stored: Stored


def cached_image(row: ImageRow, thumbnail: bytes) -> CachedImage:
    """Return what to keep of a written image.

    Args:
        row: The row of the image; `stored` says where its records are.
        thumbnail: Its thumbnail.
    """
    assert row.stored
    return CachedImage(row.sha256, row.format, row.width, row.height, row.phash, thumbnail, row.stored)


def cache_bytes(images: Iterable[CachedImage]) -> bytes:
    """Return a Parquet file of what is known of written images with different contents; their order does not matter."""

    def columns(image: CachedImage) -> dict[str, Any]:
        columns = image._asdict()
        stored = columns.pop("stored")
        offsets, lengths, crcs = map(list, zip(*stored.pieces, strict=True))
        places = {"shard": stored.file, "offsets": offsets, "lengths": lengths, "crcs": crcs}
        return {**columns, **places, "sums": list(stored.sums)}

    return parquet_bytes(map(columns, sorted(images)), _SCHEMA)


def read_cache(path: str) -> Iterator[tuple[str, CachedImage]]:
    """Read a file that `cache_bytes` made.

    Yields:
        The content hash and the CachedImage of every row.
    """
    for row in parquet_rows(pq.ParquetFile(io.BytesIO(read_bytes(path)))):
        shard, sums = row.pop("shard"), tuple(row.pop("sums"))
        pieces = tuple(map(Piece, row.pop("offsets"), row.pop("lengths"), row.pop("crcs")))
        yield row["sha256"], CachedImage(**row, stored=Stored(shard, pieces, sums))
