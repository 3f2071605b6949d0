"""The TensorFlow graph gives the bytes that prepare writes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.imaging import forms, images
from tests.support.image_files import OTHER_FILES, RAW_FILES, encode


@pytest.fixture(scope="module")
def graph() -> Callable[..., Any]:
    """Standardises through the saved TensorFlow graph; built once per size and aspect."""
    import tensorflow as tf

    from pipelines.imaging.standardize_graph import StandardizeModule

    modules = {}

    def standardize(data: bytes, size: int, aspect: str, encoding: str = "jpeg") -> bytes:
        key = (size, aspect, encoding)
        if key not in modules:
            modules[key] = StandardizeModule(*key)
        return modules[key].standardize(tf.constant(data)).numpy()

    return standardize


@pytest.mark.parametrize("aspect", forms.ASPECTS)
@pytest.mark.parametrize("size", [64, 97])
def test_graph_gives_the_bytes_of_prepare(graph: Callable[..., Any], size: int, aspect: str) -> None:
    for name, data in RAW_FILES.items():
        assert graph(data, size, aspect) == images.encode_jpeg(images.standardize(data, size, aspect)), name


def test_graph_gives_the_raw_bytes_of_prepare(graph: Callable[..., Any]) -> None:
    for name, data in RAW_FILES.items():
        assert graph(data, 64, "crop", "raw") == images.standardize(data, 64, "crop").tobytes(), name


def test_graph_gives_a_png_of_the_pixels_of_prepare(graph: Callable[..., Any]) -> None:
    for name, data in RAW_FILES.items():
        made = Image.open(io.BytesIO(graph(data, 64, "pad", "png")))
        assert (made.format, made.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(made), images.standardize(data, 64, "pad")), name


def test_graph_refuses_what_it_cannot_decode_as_prepare_does_and_says_so(graph: Callable[..., Any]) -> None:
    import tensorflow as tf

    for name, data in OTHER_FILES.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match="the model takes JPEG and PNG"):
            graph(data, 64, "crop")
        assert images.standardize(data, 64, "crop").shape == (64, 64, 3), name


def test_graph_gives_the_bytes_of_prepare_on_real_images(graph: Callable[..., Any], shared_data: Path) -> None:
    files = (
        sorted(shared_data.glob("isic9/Train/*/*.jpg"))[::150] + sorted(shared_data.glob("large_originals/*.jpg"))[::9]
    )
    files += (
        sorted(shared_data.glob("ham10000/images/*.jpg"))[::400]
        + sorted(shared_data.glob("isic_cli_download/*.jpg"))[::60]
    )
    assert len(files) > 30
    for path in files:
        data = path.read_bytes()
        assert graph(data, 180, "crop") == images.encode_jpeg(images.standardize(data, 180, "crop")), path


@pytest.mark.parametrize("size", [13, 192, 300])
def test_graph_resizes_any_shape_to_the_bits_of_pillow(graph: Callable[..., Any], size: int) -> None:
    """Extreme shapes too: from 101 times taller than wide on, Pillow shrinks the height first."""
    random = np.random.default_rng(size)
    sides = [(604, 3), (3, 604), (1, 900), (900, 1), (700, 7), (101, 1), (224, 224), (2, 2)]
    sides += [(int(2**height), int(2**width)) for height, width in random.uniform(0, 9.5, (40, 2))]
    for index, (height, width) in enumerate(sides):
        noise = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        # Black and white pixels reach the largest sums.
        data = encode(noise if index % 2 else (noise > 127) * np.uint8(255), "PNG")
        for aspect in ("pad", "stretch"):
            made = images.standardize(data, size, aspect).tobytes()
            assert graph(data, size, aspect, "raw") == made, (height, width, aspect)
