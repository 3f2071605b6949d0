"""Recall what an earlier dataset knows of its images, so that an update need not decode them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np

from pipelines.beam.packed_groups import PackedCoGroupByKey
from pipelines.beam.table_io import ReadTable
from pipelines.beam.threads import in_global_window
from pipelines.dataset.image_row import ImageRow, Thumbnail
from pipelines.dataset.known_images import CACHE_FILES, CachedImage, read_cache
from pipelines.imaging import perceptual
from pipelines.storage import filesystem
from pipelines.storage.numbered_files import any_of
from pipelines.storage.packs import Packed, PackWriter

_DIGEST_BYTES = 32


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


class ReadCache(beam.PTransform):
    """PTransform that reads what an earlier dataset knows of its images.

    Args:
        folder: The earlier dataset.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder = folder

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[tuple[str, CachedImage]]:
        """Turn the start of a pipeline into the content hash and the CachedImage of every known image."""
        return begin | ReadTable(filesystem.join(self._folder, any_of(CACHE_FILES)), read_cache)


class Known:
    """A set of content hashes that takes 32 bytes for each.

    Args:
        digests: The hashes, sorted and joined.
    """

    def __init__(self, digests: bytes):
        self._digests = digests
        # The first eight bytes as numbers, which numpy can search.
        self._heads = np.frombuffer(digests, ">u8").reshape(-1, _DIGEST_BYTES // 8)[:, 0].astype(np.uint64)

    def __contains__(self, sha256: str) -> bool:
        digest = bytes.fromhex(sha256)
        head = np.uint64(int.from_bytes(digest[:8], "big"))
        first, last = (int(np.searchsorted(self._heads, head, side)) for side in ("left", "right"))
        return any(
            self._digests[place * _DIGEST_BYTES : (place + 1) * _DIGEST_BYTES] == digest for place in range(first, last)
        )


class _Digests(beam.CombineFn):
    """Content hashes -> a Known."""

    def create_accumulator(self) -> bytearray:
        return bytearray()

    def add_input(self, joined: bytearray, sha256: str) -> bytearray:
        joined += bytes.fromhex(sha256)
        return joined

    def merge_accumulators(self, accumulators: Iterable[bytearray]) -> bytearray:
        return bytearray().join(accumulators)

    def extract_output(self, joined: bytearray) -> Known:
        digests = (joined[start : start + _DIGEST_BYTES] for start in range(0, len(joined), _DIGEST_BYTES))
        return Known(b"".join(sorted(map(bytes, digests))))


class KnownContents(beam.PTransform):
    """PTransform that collects the content hashes of an earlier dataset."""

    def expand(self, cached: beam.PCollection[tuple[str, CachedImage]]) -> beam.PCollection[Known]:
        """Turn the elements of ReadCache into one Known."""
        return cached | "Contents" >> beam.Keys() | "Collect" >> beam.CombineGlobally(_Digests())


class _Complete(beam.DoFn):
    """(content hash, rows and what is known) -> the completed rows; thumbnails go to packs."""

    def __init__(self, packs: str):
        self._packs = packs

    def start_bundle(self) -> None:
        self._pack: PackWriter[ImageRow] = PackWriter(self._packs)

    def process(self, element: tuple[str, dict[str, Iterable]]) -> Iterator[ImageRow]:
        _, found = element
        rows: list[ImageRow] = list(found["rows"])
        if not rows:
            return
        cached: CachedImage = next(iter(found["cached"]))
        sketch = perceptual.sketch(cached.thumbnail)
        for row in rows:
            completed = row._replace(**{**cached._asdict(), "thumbnail": None}, sketch=sketch)
            yield from map(_with_thumbnail, self._pack.add(completed, 0, [cached.thumbnail]))

    def finish_bundle(self) -> Iterator:
        yield from map(in_global_window, map(_with_thumbnail, self._pack.flush()))


def _with_thumbnail(packed: Packed[ImageRow]) -> ImageRow:
    return packed.item._replace(thumbnail=Thumbnail(packed.pack, packed.pieces[0]))


class Recall(beam.PTransform):
    """PTransform that completes rows from what is known of their content, as if they had been decoded.

    Args:
        packs: The folder for the packs of thumbnails.
    """

    def __init__(self, packs: str):
        super().__init__()
        self._packs = packs

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[ImageRow]:
        """Turn (rows that have been read and hashed, elements of ReadCache) into the completed rows.

        Every row's content must be known.
        """
        rows, cached = inputs
        return (
            {"rows": rows | "Rows by content" >> beam.Map(lambda row: (row.sha256, row)), "cached": cached}
            | "Join cache" >> PackedCoGroupByKey()
            | "Complete" >> beam.ParDo(_Complete(self._packs))
        )
