"""Build the tf.Transform graph: label vocabulary, class counts and per-channel normalisation from train originals."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.tfxio import tf_example_record

from pipelines.dataset.record_spec import RecordSpec
from pipelines.prepare.train_statistics import ClassStatistics
from pipelines.storage import exclusive_file

ENCODED = "image/encoded"
CLASS_TEXT = "image/class/text"
# The number of train originals of a class, their three channel sums, and their three sums of squares.
STATISTICS = "image/statistics"


FEATURE_SPEC = {
    ENCODED: tf.io.FixedLenFeature([], tf.string),
    CLASS_TEXT: tf.io.FixedLenFeature([], tf.string),
    STATISTICS: tf.io.FixedLenFeature([7], tf.int64),
}


def decode_images(encoded: tf.Tensor, size: int, encoding: str) -> tf.Tensor:
    """Decode `image/encoded`.

    Args:
        encoded: string [N].
        size: The side of the images in pixels.
        encoding: One of `forms.ENCODINGS`.

    Returns:
        uint8 [N, size, size, 3].

    Raises:
        tf.errors.InvalidArgumentError: If an image has another size.
    """
    if encoding == "raw":
        flat = tf.ensure_shape(tf.io.decode_raw(encoded, tf.uint8), [None, size * size * 3])
        return tf.reshape(flat, [-1, size, size, 3])

    def decode(one: tf.Tensor) -> tf.Tensor:
        if encoding == "png":
            image = tf.io.decode_png(one, channels=3)
        else:
            image = tf.io.decode_jpeg(one, channels=3, dct_method="INTEGER_ACCURATE")
        return tf.ensure_shape(image, [size, size, 3])

    return tf.map_fn(decode, encoded, fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8))


def make_preprocessing_fn(spec: RecordSpec) -> Callable[[dict], dict]:
    """Return the preprocessing_fn for tf.Transform.

    The statistics come from integer sums made when the records were written. Adding integers is exact, so the graph is
    the same in any order, and no image is decoded again.

    Args:
        spec: How images become records.

    Returns:
        A function from the features of FEATURE_SPEC to `image`, float32 [N, size, size, 3], normalised per channel, and
        `label`, int64 [N]. A class that is not in `spec.classes` gets label -1.
    """
    size = spec.image_size

    def preprocessing_fn(inputs: dict) -> dict:
        totals = tf.cast(tft.sum(inputs[STATISTICS], reduce_instance_dims=False), tf.float64)
        pixels = totals[0] * size * size
        mean, squares = totals[1:4] / pixels, totals[4:] / pixels
        # A channel without variance would cause a division by zero. One grey level is far below any real deviation.
        deviation = tf.maximum(tf.sqrt(tf.maximum(squares - mean * mean, 0.0)), 1.0)
        # Stored as class_counts in the graph's assets: one line per class, the count first.
        tft.vocabulary(
            inputs[CLASS_TEXT], weights=inputs[STATISTICS][:, 0], store_frequency=True, vocab_filename="class_counts"
        )

        decoded = decode_images(inputs[ENCODED], size, spec.encoding)
        # Rows as vectors: TensorFlow takes several times as long to broadcast along an axis of 3 values.
        rows = tf.cast(tf.reshape(decoded, [-1, size, 3 * size]), tf.float32)
        # Multiply by the inverse: graph rewriting would turn a division by a constant into that anyway.
        inverse = tf.cast(1.0 / deviation, tf.float32)
        normalised = (rows - tf.tile(tf.cast(mean, tf.float32), [size])) * tf.tile(inverse, [size])
        matches = tf.equal(inputs[CLASS_TEXT][:, tf.newaxis], tf.constant(list(spec.classes)))
        known = tf.reduce_any(matches, axis=1)
        return {
            "image": tf.reshape(normalised, [-1, size, size, 3]),
            "label": tf.where(known, tf.argmax(tf.cast(matches, tf.int32), axis=1), tf.constant(-1, tf.int64)),
        }

    return preprocessing_fn


def _class_example(label: str, statistics: ClassStatistics) -> bytes:
    def text(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    numbers = tf.train.Int64List(value=[statistics.originals, *statistics.sums])
    features = {
        # The statistics need no pixels; the analysis never reads this input.
        ENCODED: text(b""),
        CLASS_TEXT: text(label.encode()),
        STATISTICS: tf.train.Feature(int64_list=numbers),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


@contextlib.contextmanager
def _options_kept() -> Iterator[None]:
    """Give Beam's filesystems their options back at the end: a new pipeline sets its own for the whole process."""
    options = FileSystems._pipeline_options
    try:
        yield
    finally:
        FileSystems.set_options(options)


def write_transform_fn(statistics: Mapping[str, ClassStatistics], folder: str, spec: RecordSpec) -> None:
    """Write transform_fn/ and transformed_metadata/, unless they are there.

    tf.Transform's analysis is a pipeline. It has one element per class here and runs within this process. It writes to
    a folder of its own, as it begins by removing what is there.

    Args:
        statistics: By class, what is known of the train originals.
        folder: The folder to write them to.
        spec: How images become records.
    """
    source = tf_example_record.TFExampleBeamRecord(
        physical_format="inmem",
        telemetry_descriptors=["prepare"],
        schema=schema_utils.schema_from_feature_spec(FEATURE_SPEC),
    )
    examples = [_class_example(label, statistics[label]) for label in sorted(statistics)]
    with tempfile.TemporaryDirectory() as work:
        written = os.path.join(work, "written")
        with _options_kept(), beam.Pipeline(runner=FnApiRunner()) as pipeline, tft_beam.Context(temp_dir=work):
            batches = pipeline | "Classes" >> beam.Create(examples) | "Batches" >> source.BeamSource()
            transform_fn = (batches, source.TensorAdapterConfig()) | "Analyze" >> tft_beam.AnalyzeDataset(
                make_preprocessing_fn(spec)
            )
            _ = transform_fn | "Write transform_fn" >> tft_beam.WriteTransformFn(written)
        exclusive_file.create_tree(written, folder)
