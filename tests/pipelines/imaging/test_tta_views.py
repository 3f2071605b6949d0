"""The eight flips and quarter turns of an image."""

from __future__ import annotations

import numpy as np

from pipelines.imaging.tta_views import SYMMETRIES, symmetric_views, turned_back, views_of

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)


def test_the_eight_views_are_distinct_and_the_first_is_the_image() -> None:
    views = views_of(IMAGE)
    assert views.shape == (8, 6, 6, 3)
    assert len({view.tobytes() for view in views}) == len(SYMMETRIES) == 8
    assert np.array_equal(views[0], IMAGE)


def test_maps_of_all_views_turn_back_to_the_orientation_of_the_image() -> None:
    assert all(np.array_equal(one, IMAGE) for one in turned_back(views_of(IMAGE)))


def test_tensorflow_makes_the_same_views() -> None:
    views = [view.numpy() for view in symmetric_views(np.stack([IMAGE, IMAGE[::-1]]))]
    for of_image, image in enumerate((IMAGE, IMAGE[::-1])):
        assert np.array_equal([view[of_image] for view in views], views_of(image))
