"""Scores of a photograph's quality: each fault lowers its own score, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pipelines.domain.quality_issues import PIXEL_ISSUES
from pipelines.imaging.perceptual import square_of
from pipelines.imaging.quality import pixel_scores, sharpness
from tests.support.image_files import photograph


def _image() -> Image.Image:
    return Image.fromarray(photograph(300, 225))


def _issues(image: Image.Image) -> set[str]:
    scores = zip(PIXEL_ISSUES.items(), pixel_scores(image, square_of(image)), strict=True)
    return {name for (name, limit), score in scores if score < limit}


def _rim(image: Image.Image) -> Image.Image:
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((10, -25, 290, 250), fill=255)
    return Image.composite(image, Image.new("RGB", image.size), mask)


FAULTS = {
    "dark": lambda image: image.point(lambda level: level // 5),
    "light": lambda image: image.point(lambda level: 250 + level // 50),
    "low_information": lambda image: Image.new("RGB", image.size, (180, 140, 120)),
    "blurry": lambda image: image.filter(ImageFilter.GaussianBlur(3)),
    "grayscale": lambda image: image.convert("L").convert("RGB"),
    "black_frame": _rim,
}


def test_a_sharp_photograph_in_good_light_has_no_issue() -> None:
    assert _issues(_image()) == set()


@pytest.mark.parametrize("fault", PIXEL_ISSUES)
def test_each_fault_is_found(fault: str) -> None:
    found = _issues(FAULTS[fault](_image()))
    assert fault in found
    # The edge of a dark picture is black, and without detail there is nothing sharp.
    also = {"dark": {"black_frame"}, "light": {"low_information", "blurry"}, "low_information": {"blurry"}}
    assert found <= {fault} | also.get(fault, set())


def test_brightness_is_cleanvision_s_percentile() -> None:
    square = square_of(_image())
    red, green, blue = np.moveaxis(np.asarray(square).astype(float), 2, 0)
    brightness = np.sqrt(0.241 * red**2 + 0.691 * green**2 + 0.068 * blue**2) / 255
    dark, light, *_ = pixel_scores(_image(), square)
    assert dark == pytest.approx(np.percentile(brightness, 99), abs=0.01)
    assert light == pytest.approx(1 - np.percentile(brightness, 5), abs=0.01)


def test_sharpness_falls_with_blur_but_not_with_contrast_or_a_dark_rim() -> None:
    image = _image()
    blurred = [sharpness(image.filter(ImageFilter.GaussianBlur(sigma))) for sigma in (0, 1, 2)]
    assert blurred == sorted(blurred, reverse=True)
    faint = image.point(lambda level: 100 + level // 4)
    assert sharpness(faint) == pytest.approx(sharpness(image), rel=0.15)
    assert sharpness(_rim(image)) == pytest.approx(sharpness(image), rel=0.15)


@pytest.mark.parametrize("size", [(1, 1), (2, 200), (5, 4), (300, 3)])
def test_tiny_images_have_scores(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (180, 140, 120))
    assert all(0 <= score <= 1 for score in pixel_scores(image, square_of(image)))
