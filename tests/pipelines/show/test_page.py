"""Pictures on the page of a dataset."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pipelines.dataset.records import StoredImage
from pipelines.show.contact_sheet import Shown
from pipelines.show.page import Entry

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)


def entry(form: str, encoded: bytes) -> Entry:
    record = StoredImage("s", 0, "ab", "it", 0, "nevus", -1, 0, form, 6, 6, encoded)
    return Entry(Shown("nevus", ("it",), (0,), ()), [record])


def test_raw_pixels_become_a_png_that_loses_nothing() -> None:
    (picture,) = entry("raw", PIXELS.tobytes()).pictures
    shown = Image.open(io.BytesIO(picture))
    assert shown.format == "PNG"
    assert np.array_equal(np.asarray(shown), PIXELS)


@pytest.mark.parametrize("form", ["jpeg", "png"])
def test_what_a_browser_can_show_is_shown_as_it_is_stored(form: str) -> None:
    assert entry(form, b"as it is").pictures == [b"as it is"]
