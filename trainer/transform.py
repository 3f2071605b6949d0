"""The dataset's own preprocessing graphs, as TensorFlow functions.

A prepared dataset carries them as SavedModels: `standardize_fn` (raw file bytes -> the bytes that the TFRecords
store) and `transform_fn` (stored bytes -> normalised pixels, with the train split's statistics). Training input,
evaluation and the exported model all go through this module, so they see the same pixels.
"""

from __future__ import annotations

import tensorflow as tf

from trainer.dataset_info import DatasetInfo


class Preprocessing(tf.Module):
    """Both graphs. A tf.Module, so that an exported model which holds one carries its tables and assets."""

    def __init__(self, info: DatasetInfo):
        super().__init__(name="preprocessing")
        self._size = info.image_size
        self._transform = tf.saved_model.load(str(info.transform_fn))
        self._standardize = tf.saved_model.load(str(info.standardize_fn))

    def standardize(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Raw image file, string [] -> `image/encoded`, string []. InvalidArgumentError for a file it cannot read."""
        return tf.ensure_shape(self._standardize.standardize(image_bytes), [])

    def normalise(self, encoded: tf.Tensor) -> tf.Tensor:
        """`image/encoded`, string [N] -> float32 [N, S, S, 3], zero mean and unit variance over the train split."""
        count = tf.shape(encoded)[0]
        # The other inputs belong to labels and statistics; the image does not depend on them.
        sums = tf.zeros([count, 3], tf.int64)
        outputs = self._transform.transform_fn(
            {
                "image/encoded": encoded,
                "image/class/text": tf.fill([count], ""),
                "image/channel_sum": sums,
                "image/channel_sum_of_squares": sums,
            }
        )
        return tf.ensure_shape(outputs["image"], [None, self._size, self._size, 3])

    def pixel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel that `normalise` works with, in levels of 0 to 255.

        Read off what it makes of a black and a white image, standardised first: only that knows how a dataset encodes.
        """
        levels = [tf.fill([self._size, self._size, 3], tf.constant(level, tf.uint8)) for level in (0, 255)]
        stored = tf.stack([self.standardize(tf.io.encode_jpeg(pixels)) for pixels in levels])
        black, white = self.normalise(stored).numpy()[:, 0, 0]
        std = 255.0 / (white.astype(float) - black)
        return tuple(map(float, -black * std)), tuple(map(float, std))
