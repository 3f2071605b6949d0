"""Write the standardising graph beside the records, for the trainer to export."""

from __future__ import annotations

import tempfile

import tensorflow as tf

from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging.standardize_graph import StandardizeModule
from pipelines.storage import filesystem


def write_standardize_fn(folder: str, spec: RecordSpec) -> None:
    """Write the SavedModel that the trainer exports inside the model.

    Args:
        folder: Destination, on any filesystem that Beam supports.
        spec: How images become records.
    """
    with tempfile.TemporaryDirectory() as local:
        tf.saved_model.save(StandardizeModule(spec.image_size, spec.aspect, spec.encoding), local)
        filesystem.copy_tree(local, folder)
