"""Build the tf.Transform graph: label vocabulary, class counts and per-channel normalisation from train originals."""

from __future__ import annotations

from collections.abc import Callable

import apache_beam as beam
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import schema_utils
from tfx_bsl.tfxio import tf_example_record

from pipelines.dataset.record_spec import RecordSpec

ENCODED = "image/encoded"
CLASS_TEXT = "image/class/text"
SUM = "image/channel_sum"
SUM_OF_SQUARES = "image/channel_sum_of_squares"


FEATURE_SPEC = {
    ENCODED: tf.io.FixedLenFeature([], tf.string),
    CLASS_TEXT: tf.io.FixedLenFeature([], tf.string),
    SUM: tf.io.FixedLenFeature([3], tf.int64),
    SUM_OF_SQUARES: tf.io.FixedLenFeature([3], tf.int64),
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
        pixels = tf.cast(tft.size(inputs[CLASS_TEXT]), tf.float64) * size * size
        mean = tf.cast(tft.sum(inputs[SUM], reduce_instance_dims=False), tf.float64) / pixels
        squares = tf.cast(tft.sum(inputs[SUM_OF_SQUARES], reduce_instance_dims=False), tf.float64) / pixels
        # A channel without variance would cause a division by zero. One grey level is far below any real deviation.
        deviation = tf.maximum(tf.sqrt(tf.maximum(squares - mean * mean, 0.0)), 1.0)
        # Stored as class_counts in the graph's assets: one line per class, the count first.
        tft.vocabulary(inputs[CLASS_TEXT], store_frequency=True, vocab_filename="class_counts")

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


def _statistics_example(element: tuple[str, list[int], list[int]]) -> bytes:
    label, sums, sums_of_squares = element
    features = {
        # The statistics need no pixels; the analysis never reads this input.
        ENCODED: tf.train.Feature(bytes_list=tf.train.BytesList(value=[b""])),
        CLASS_TEXT: tf.train.Feature(bytes_list=tf.train.BytesList(value=[label.encode()])),
        SUM: tf.train.Feature(int64_list=tf.train.Int64List(value=sums)),
        SUM_OF_SQUARES: tf.train.Feature(int64_list=tf.train.Int64List(value=sums_of_squares)),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


class AnalyzeTrain(beam.PTransform):
    """PTransform that writes transform_fn/ and transformed_metadata/.

    Args:
        folder: The folder to write them to.
        temporary: A folder for tf.Transform's intermediate files.
        spec: How images become records.
    """

    def __init__(self, folder: str, temporary: str, spec: RecordSpec):
        super().__init__()
        self._folder = folder
        self._temporary = temporary
        self._preprocessing_fn = make_preprocessing_fn(spec)

    def expand(self, sums: beam.PCollection) -> beam.PCollection[None]:
        """Turn (class, channel sums, sums of squares) of train originals into one element, once both are written."""
        source = tf_example_record.TFExampleBeamRecord(
            physical_format="inmem",
            telemetry_descriptors=["prepare"],
            schema=schema_utils.schema_from_feature_spec(FEATURE_SPEC),
        )
        batches = sums | "Statistics" >> beam.Map(_statistics_example) | "Batches" >> source.BeamSource()
        with tft_beam.Context(temp_dir=self._temporary):
            transform_fn = (batches, source.TensorAdapterConfig()) | "Analyze" >> tft_beam.AnalyzeDataset(
                self._preprocessing_fn
            )
            return transform_fn | "Write transform_fn" >> tft_beam.WriteTransformFn(self._folder)
