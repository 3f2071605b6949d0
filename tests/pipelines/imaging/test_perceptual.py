"""Copies of a photograph look alike, other photographs do not."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from pipelines.curation import near_duplicates
from pipelines.imaging import perceptual
from tests.support.lookalikes import COPIES, photograph, picture, thumbnail_of


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_the_same_picture(name: str) -> None:
    for seed in range(20):
        (first, original), (second, copy) = (
            perceptual.signature(perceptual.square_of(image.convert("RGB")))
            for image in (photograph(seed), COPIES[name](photograph(seed)))
        )
        assert perceptual.hash_distance(first, second) <= near_duplicates.MAX_HASH_DISTANCE
        assert perceptual.pixel_distance(original, copy) <= perceptual.SAME_PICTURE


def test_different_photographs_are_not_the_same_picture() -> None:
    thumbnails = [thumbnail_of(np.asarray(photograph(seed))) for seed in range(40)]
    distances = [perceptual.pixel_distance(a, b) for n, a in enumerate(thumbnails) for b in thumbnails[:n]]
    assert min(distances) > 3 * perceptual.SAME_PICTURE


def test_pictures_without_contrast_differ_by_their_colour() -> None:
    black, white, grey, nearly = (thumbnail_of(np.full((30, 40, 3), level, np.uint8)) for level in (0, 255, 120, 124))
    assert perceptual.pixel_distance(black, white) > perceptual.SAME_PICTURE
    assert perceptual.pixel_distance(grey, nearly) <= perceptual.SAME_PICTURE


def test_a_dark_rim_does_not_outweigh_the_lesion() -> None:
    def under_rim(seed: int) -> bytes:
        image = np.asarray(photograph(seed, 300, 300)) // 8 + 170
        rows, columns = np.mgrid[:300, :300] - 149.5
        image[rows**2 + columns**2 > 140**2] = 0
        return thumbnail_of(image.astype(np.uint8))

    rims = [under_rim(seed) for seed in range(10)]
    assert min(perceptual.pixel_distance(a, b) for n, a in enumerate(rims) for b in rims[:n]) > perceptual.SAME_PICTURE


def test_hash_fits_a_signed_integer_and_thumbnail_a_kilobyte() -> None:
    for image in (photograph(1), Image.new("RGB", (20, 10)), Image.new("RGB", (5, 5), "white")):
        _, phash, _, thumbnail = picture("a", image)
        assert 0 <= phash < 1 << 63
        assert len(thumbnail) == 768
        assert len(perceptual.sketch(thumbnail)) == perceptual.SKETCH_BYTES


def test_distance_is_symmetric_and_zero_for_the_same() -> None:
    first, second = (thumbnail_of(np.asarray(photograph(seed))) for seed in (1, 2))
    assert perceptual.pixel_distance(first, first) == 0
    assert perceptual.pixel_distance(first, second) == perceptual.pixel_distance(second, first)


def test_sketches_of_many_thumbnails_take_the_memory_of_a_few() -> None:
    thumbnails = [thumbnail_of(np.asarray(photograph(seed))) for seed in range(3)] * 7_000
    tracemalloc.start()
    sketches = perceptual.sketches(thumbnails)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sketches == [perceptual.sketch(thumbnail) for thumbnail in thumbnails[:3]] * 7_000
    assert peak < 16 << 20


def test_sketches_rule_out_no_same_picture() -> None:
    rng = np.random.default_rng(0)
    near = 0
    for seed in range(300):
        thumbnail = thumbnail_of(np.asarray(photograph(seed)))
        values = np.frombuffer(thumbnail, np.uint8) + rng.normal(rng.uniform(-6, 6), rng.uniform(0, 9), 768)
        altered = values.clip(0, 255).astype(np.uint8).tobytes()
        sketches = [np.frombuffer(perceptual.sketch(one), np.int8)[None] for one in (thumbnail, altered)]
        if perceptual.pixel_distance(thumbnail, altered) <= perceptual.SAME_PICTURE:
            near += 1
            assert perceptual.sketch_distances(*sketches)[0, 0] <= perceptual.SKETCH_LIMIT
    assert 50 < near < 300
