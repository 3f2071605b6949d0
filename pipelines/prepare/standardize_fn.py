"""Write the standardising graph beside the records, for the trainer to export."""

from __future__ import annotations

import tempfile

import apache_beam as beam

from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from pipelines.storage import exclusive_file


def _write(folder: str, spec: RecordSpec) -> str:
    # Loads TensorFlow, which takes seconds.
    start_tensorflow()
    import tensorflow as tf

    from pipelines.imaging.standardize_graph import StandardizeModule

    with tempfile.TemporaryDirectory() as local:
        tf.saved_model.save(StandardizeModule(spec.image_size, spec.aspect, spec.encoding), local)
        exclusive_file.create_tree(local, folder)
    return folder


class WriteStandardizeFn(beam.PTransform):
    """PTransform that writes the SavedModel from raw image file to record, which the trainer exports inside the model.

    It takes one element, whatever it is: a step that should come first. TensorFlow loads meanwhile.

    Args:
        folder: Destination, on any filesystem that Beam supports.
        spec: How images become records.
    """

    def __init__(self, folder: str, spec: RecordSpec):
        super().__init__()
        self._folder = folder
        self._spec = spec

    def expand(self, before: beam.PCollection) -> beam.PCollection[str]:
        """Turn one element into the folder, once it is written."""
        return before | "Save" >> beam.Map(lambda _, folder, spec: _write(folder, spec), self._folder, self._spec)
