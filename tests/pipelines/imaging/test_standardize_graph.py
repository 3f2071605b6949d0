"""The TensorFlow graph gives the bytes that prepare writes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.imaging import images
from tests.support.image_files import RAW_FILES


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


@pytest.mark.parametrize("aspect", images.ASPECTS)
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
