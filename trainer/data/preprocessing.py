"""The preprocessing graphs of a dataset, as TensorFlow functions.

A prepared dataset has them as SavedModels: `standardize_fn` (raw file bytes -> the bytes stored in TFRecords) and
`transform_fn` (stored bytes -> normalised pixels, with the statistics of the train split). Training input, evaluation
and the exported model all use this module, so they see the same pixels.
"""

from __future__ import annotations

import tensorflow as tf

from trainer.data.dataset_info import DatasetInfo


class Preprocessing(tf.Module):
    """Both preprocessing graphs of a dataset.

    A tf.Module, so that an exported model that holds one includes its tables and assets.
    """

    def __init__(self, info: DatasetInfo):
        super().__init__(name="preprocessing")
        self.image_size = info.image_size
        self._transform = tf.saved_model.load(str(info.transform_fn))
        self._standardize = tf.saved_model.load(str(info.standardize_fn))

    def standardize(self, image_bytes: tf.Tensor) -> tf.Tensor:
        """Return the image as the dataset stores it (`image/encoded`).

        Args:
            image_bytes: string [], raw image file.

        Returns:
            string [].

        Raises:
            InvalidArgumentError: If the file cannot be read as an image.
        """
        return tf.ensure_shape(self._standardize.standardize(image_bytes), [])

    def normalise(self, encoded: tf.Tensor) -> tf.Tensor:
        """Return pixels with zero mean and unit variance over the train split.

        Args:
            encoded: string [N], `image/encoded` of records.

        Returns:
            float32 [N, S, S, 3].
        """
        count = tf.shape(encoded)[0]
        # The other inputs are for labels and statistics; the image does not depend on them.
        outputs = self._transform.transform_fn(
            {
                "image/encoded": encoded,
                "image/class/text": tf.fill([count], ""),
                "image/statistics": tf.zeros([count, 7], tf.int64),
            }
        )
        return tf.ensure_shape(outputs["image"], [None, self.image_size, self.image_size, 3])

    def pixel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and the standard deviation of each channel, as `normalise` uses them, in levels of 0 to 255.

        They are computed from the results of `normalise` for a black and a white image. These are standardised first,
        because only `standardize` knows how the dataset encodes images.
        """
        levels = [tf.fill([self.image_size, self.image_size, 3], tf.constant(level, tf.uint8)) for level in (0, 255)]
        stored = tf.stack([self.standardize(tf.io.encode_jpeg(pixels)) for pixels in levels])
        black, white = self.normalise(stored).numpy()[:, 0, 0]
        std = 255.0 / (white.astype(float) - black)
        return tuple(map(float, -black * std)), tuple(map(float, std))
