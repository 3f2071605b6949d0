"""Write the standardising graph beside the records, for the trainer to export."""

from __future__ import annotations

import tempfile

import apache_beam as beam

from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from pipelines.storage import filesystem


def _write(folder: str, spec: RecordSpec) -> str:
    # Loads TensorFlow, which takes seconds.
    start_tensorflow()
    import tensorflow as tf

    from pipelines.imaging.standardize_graph import StandardizeModule

    with tempfile.TemporaryDirectory() as local:
        tf.saved_model.save(StandardizeModule(spec.image_size, spec.aspect, spec.encoding), local)
        filesystem.copy_tree(local, folder)
    return folder


class WriteStandardizeFn(beam.PTransform):
    """PTransform that writes the SavedModel from raw image file to record, which the trainer exports inside the model.

    Args:
        folder: Destination, on any filesystem that Beam supports.
        spec: How images become records.
    """

    def __init__(self, folder: str, spec: RecordSpec):
        super().__init__()
        self._folder = folder
        self._spec = spec

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Turn the start of a pipeline into the folder, once it is written."""
        return begin | "Folder" >> beam.Create([self._folder]) | "Save" >> beam.Map(_write, self._spec)
