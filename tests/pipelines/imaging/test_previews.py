"""Pictures of the triage report: real JPEGs, with heat where the map says."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.imaging.forms import ASPECTS
from pipelines.imaging.images import BadImage
from pipelines.imaging.previews import SIDE, malignancy_map, overlay, symmetric_activation, triage_pictures


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _pixels(data: bytes | None) -> np.ndarray:
    assert data is not None
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return np.asarray(image.convert("RGB")).astype(int)


GREY = np.full((240, 400, 3), 128, np.uint8)


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize(("size", "shown"), [(96, 96), (320, SIDE)])
def test_thumbnail_and_overlay_have_their_sizes_in_every_aspect(aspect: str, size: int, shown: int) -> None:
    pictures = triage_pictures(_jpeg(GREY), np.ones((3, 3), np.float32), size, aspect)
    assert _pixels(pictures.thumbnail).shape == (96, 160, 3)
    assert _pixels(pictures.overlay).shape == (shown, shown, 3)


def test_without_a_map_there_is_no_overlay() -> None:
    assert triage_pictures(_jpeg(GREY), None, 96, "crop").overlay is None


def test_a_bad_file_is_a_bad_image() -> None:
    with pytest.raises(BadImage):
        triage_pictures(_jpeg(GREY)[:-200], np.ones((3, 3), np.float32), 96, "crop")


def test_heat_lies_where_the_map_is_positive() -> None:
    heat = np.array([[-4, -1, -1, -1], [-1, -1, -1, -1], [-1, -1, -1, 0.5], [-1, -1, 2.0, -1]], np.float32)
    shown = _pixels(triage_pictures(_jpeg(GREY), heat, 128, "stretch").overlay)
    change = np.abs(shown - 128).max(axis=2)
    # The middle of each field of the map.
    fields = change[16::32, 16::32]
    assert fields.argmax() == 14
    assert fields[3, 2] > 40
    assert 2 < fields[2, 3] < fields[3, 2] / 2
    # JPEG moves flat grey by a level or two.
    assert fields[:2, :].max() <= 3
    # The strongest place is yellow.
    red, green, blue = shown[112, 80]
    assert red > blue + 40
    assert green > blue + 40


def test_heat_is_drawn_on_what_the_model_sees() -> None:
    """The centre square of a wide picture: its sides are not in the overlay."""
    pixels = GREY.copy()
    pixels[:, :80] = pixels[:, 320:] = (255, 0, 0)
    data = _jpeg(pixels)
    none = np.full((2, 2), -1, np.float32)
    red = [
        np.mean(_pixels(triage_pictures(data, none, 120, aspect).overlay)[:, :, 0] > 200)
        for aspect in ("crop", "stretch")
    ]
    assert red == [0, pytest.approx(0.4, abs=0.02)]


@pytest.mark.parametrize("heat", [np.zeros((2, 2)), np.full((2, 2), -1.0)])
def test_a_map_without_evidence_leaves_the_picture_as_it_is(heat: np.ndarray) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(overlay(pixels, heat.astype(np.float32)), pixels)


def test_the_map_of_malignancy_is_the_gradient_of_its_log_odds() -> None:
    random = np.random.default_rng(2)
    activation = random.normal(size=(3, 4, 5)).astype(np.float32)
    malignant: Any = np.array([True, False, True, False, False])

    def probabilities(logits: np.ndarray) -> Any:
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()

    def log_odds(logits: np.ndarray) -> Any:
        score = probabilities(logits)[malignant].sum()
        return np.log(score / (1 - score))

    logits = activation.mean(axis=(0, 1)).astype(float) + random.normal(size=5)
    heat = malignancy_map(activation, probabilities(logits), malignant)
    assert heat.dtype == np.float32
    step = 1e-6
    for place in np.ndindex(3, 4):
        # A little more of this place's evidence for every class: its share of the change in the logits.
        moved = log_odds(logits + step * activation[place])
        assert (moved - log_odds(logits)) / step == pytest.approx(heat[place], abs=1e-3)


@pytest.mark.parametrize(
    ("probabilities", "malignant"),
    [((0.5, 0.5), (False, False)), ((0.5, 0.5), (True, True)), ((0.0, 1.0), (True, False))],
)
def test_without_two_sides_there_is_no_evidence(
    probabilities: tuple[float, float], malignant: tuple[bool, bool]
) -> None:
    assert not malignancy_map(np.ones((2, 2, 2), np.float32), probabilities, malignant).any()


def test_views_are_turned_back_and_shifts_cancel() -> None:
    image = np.random.default_rng(3).normal(size=(8, 8, 3)).astype(np.float32)
    seen = []

    def exact(views: Any) -> Any:
        seen.extend(views)
        return views[:, :, :, :2]

    np.testing.assert_allclose(symmetric_activation(exact, image), image[:, :, :2], rtol=1e-6)
    assert len({view.tobytes() for view in seen}) == 8

    # A map that lies a position to the lower right of what it is about is centred on it.
    spot = np.zeros((7, 7, 1), np.float32)
    spot[3, 3] = 1
    shifted = symmetric_activation(lambda views: np.roll(views, (1, 1), axis=(1, 2)), spot)[:, :, 0]
    rows, columns = np.indices(shifted.shape)
    assert ((shifted * rows).sum(), (shifted * columns).sum()) == pytest.approx((3, 3))
