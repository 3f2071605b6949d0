"""What a dataset knows of its images, so that an update need not decode them again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest

from pipelines.curation.decode_cache import Known, KnownContents, ReadCache, Recall, is_readable_cache
from pipelines.dataset.image_row import Stored
from pipelines.dataset.known_images import CachedImage, cache_bytes, cached_image, read_cache
from pipelines.imaging import perceptual
from pipelines.storage.packs import Piece, read_pieces
from tests.support.collecting import run, run_source
from tests.support.image_rows import row

SHARD = "train-00000-of-00001.tfrecord"
FILE = "known-00000-of-00001.parquet"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def thumbnail(seed: int) -> bytes:
    shape = (perceptual.THUMBNAIL_SIDE, perceptual.THUMBNAIL_SIDE, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8).tobytes()


IMAGES = [
    CachedImage(
        digest("a"),
        *("jpeg", 60, 40, 1 << 62, thumbnail(1)),
        Stored(SHARD, (Piece(0, 90, 1 << 31), Piece(1 << 40, 80, 0)), (1, 2, 3, 4, 5, 6)),
    ),
    CachedImage(digest("b"), *("png", 1, 2, 0, thumbnail(2)), Stored(SHARD, (Piece(900, 7, 1),), (1,) * 6)),
]


@pytest.fixture
def data() -> bytes:
    rows = [row(image.sha256, **{**image._asdict(), "thumbnail": None}, outcome="written") for image in IMAGES]
    return cache_bytes(cached_image(one, image.thumbnail) for one, image in zip(rows, IMAGES, strict=True))


@pytest.fixture
def cache(data: bytes, tmp_path: Path) -> str:
    """A folder with a file of known images."""
    (tmp_path / FILE).write_bytes(data)
    return str(tmp_path)


def test_known_images_come_back_from_their_file(cache: str) -> None:
    assert list(read_cache(f"{cache}/{FILE}")) == [(one.sha256, one) for one in sorted(IMAGES)]
    assert run_source(ReadCache(cache)) == [(one.sha256, one) for one in sorted(IMAGES)]


def test_a_damaged_cache_is_not_readable_and_a_missing_one_is_empty(tmp_path: Path, data: bytes) -> None:
    assert is_readable_cache(str(tmp_path))
    (tmp_path / FILE).write_bytes(data)
    assert is_readable_cache(str(tmp_path))
    (tmp_path / FILE).write_bytes(data[: len(data) // 2])
    assert not is_readable_cache(str(tmp_path))


def test_the_order_of_images_does_not_matter(data: bytes) -> None:
    assert cache_bytes(IMAGES[::-1]) == cache_bytes(IMAGES) == data


class _Recall(beam.PTransform):
    def __init__(self, folder: str, packs: str):
        super().__init__()
        self._folder, self._packs = folder, packs

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return (rows, rows.pipeline | ReadCache(self._folder)) | Recall(self._packs)


def test_rows_are_completed_by_their_content_as_if_they_had_been_decoded(cache: str, tmp_path: Path) -> None:
    packs = tmp_path / "recalled"
    rows = [row("1", sha256=digest("a")), row("2", sha256=digest("a"), size=7), row("3", sha256=digest("b"))]
    found = {one.relative: one for one in run(rows, _Recall(cache, str(packs)))}
    assert found.keys() == {"1", "2", "3"}
    for before, image in zip(rows, [IMAGES[0], IMAGES[0], IMAGES[1]], strict=True):
        completed = found[before.relative]
        place = completed.thumbnail
        assert place
        assert read_pieces(str(packs / place.pack), [place.piece]) == {place.piece: image.thumbnail}
        decoded: dict[str, Any] = {
            **{name: getattr(image, name) for name in ("format", "width", "height", "phash", "stored")},
            "sketch": perceptual.sketch(image.thumbnail),
        }
        assert completed == before._replace(**decoded, thumbnail=place)


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_a_content_is_known_if_it_was_collected(count: int) -> None:
    cached = [(digest(str(number)), number) for number in range(count)]
    (known,) = run(cached, KnownContents())
    assert all(sha256 in known for sha256, _ in cached)
    assert not any(digest(str(number)) in known for number in range(count, count + 1000))


def test_contents_that_begin_alike_are_told_apart() -> None:
    first, second, other = ("00" * 8 + end * 24 for end in ("11", "22", "33"))
    known = Known(bytes.fromhex(first + second) + b"\xff" * 32)
    assert [sha256 in known for sha256 in (first, second, other, "ff" * 32, "fe" * 32)] == [
        True,
        True,
        False,
        True,
        False,
    ]
