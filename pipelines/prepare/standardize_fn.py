"""Write the standardising graph beside the records, for the trainer to export."""

from __future__ import annotations

import tempfile

import tensorflow as tf

from pipelines.imaging.standardize_graph import StandardizeModule
from pipelines.storage import filesystem


def write_standardize_fn(folder: str, image_size: int, aspect: str, encoding: str = "jpeg") -> None:
    """Write the SavedModel that the trainer exports inside the model.

    Args:
        folder: Destination, on any filesystem that Beam supports.
        image_size: Side of the square in pixels.
        aspect: One of `images.ASPECTS`.
        encoding: One of `encoding.ENCODINGS`.
    """
    with tempfile.TemporaryDirectory() as local:
        tf.saved_model.save(StandardizeModule(image_size, aspect, encoding), local)
        filesystem.copy_tree(local, folder)
