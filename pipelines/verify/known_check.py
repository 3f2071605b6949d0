"""Check the files of known images, from which an update takes what it does not make again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.common.cli import first_line
from pipelines.common.seeding import stable_hash
from pipelines.dataset.image_row import ImageRow
from pipelines.dataset.known_images import CACHE_FILES, CachedImage, read_cache
from pipelines.domain.dataset_json import Shard
from pipelines.storage import filesystem
from pipelines.storage.packs import Piece


class KnownImages(NamedTuple):
    """What the file of one shard says, as far as the rest of the dataset has to agree."""

    name: str  # of the file
    problem: str  # the first thing in which it differs from the shard, in one line; empty if there is none
    looks: Mapping[bytes, int]  # content hash -> `look_of` the image
    sums: tuple[int, ...]  # three channel sums, then three sums of squares, of all its originals


def look_of(image: ImageRow | CachedImage) -> int:
    """Return a hash of what decoding shows of an image: format, size and perceptual hash."""
    return stable_hash(image.format, image.width, image.height, image.phash)


def known_file(shard: Shard, shards: Sequence[Shard]) -> str:
    """Return the name of a shard's file of known images.

    Args:
        shard: The shard.
        shards: All shards of the dataset, in the order of their names.
    """
    return CACHE_FILES.format(index=shards.index(shard), count=len(shards))


def read_known(folder: str, name: str, shard: str, pieces: Mapping[bytes, Mapping[int, Piece]]) -> KnownImages:
    """Read a file of known images and compare it with its shard.

    Args:
        folder: The folder of the dataset.
        name: The file.
        shard: The name of the shard.
        pieces: Content hash -> number of the copy -> where its encoded image lies in the shard.
    """
    looks: dict[bytes, int] = {}
    sums: tuple[int, ...] = (0,) * 6
    problem = ""
    try:
        for sha256, image in read_cache(filesystem.join(folder, name)):
            digest = bytes.fromhex(sha256)
            copies = pieces.get(digest, {})
            if image.stored.file != shard or tuple(copies[copy] for copy in sorted(copies)) != image.stored.pieces:
                problem = problem or f"{name}: the records of image {sha256} do not lie in {shard} where it says"
            looks[digest] = look_of(image)
            sums = tuple(map(sum, zip(sums, image.stored.sums, strict=True)))
    except Exception as error:  # Parquet raises many kinds of errors on damaged files
        problem = f"{name}: cannot be read: {first_line(error)}"
    return KnownImages(name, problem, looks, sums)
