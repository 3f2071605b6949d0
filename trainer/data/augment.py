"""Random changes of training images, made on the fly.

Every draw is a function of hash(seed, epoch, image, copy, name of the draw). It depends neither on the order of the
examples nor on batches, threads or workers. Geometry is one projective resampling per image. Lesions have no up or
left, so all eight flips and quarter turns are equally likely. Pixels outside of an image are those of its mirror image.
"""

from __future__ import annotations

import math

import tensorflow as tf

ROTATION = math.radians(15)
ZOOM = 0.4  # log scale: 0.67 to 1.49
STRETCH = 0.1  # log scale, of one side against the other
SHIFT = 0.06  # of the image's side
BRIGHTNESS = 0.25  # in standard deviations of the train split, as are all colours here
TINT = 0.15  # per channel
CONTRAST = 0.2  # log scale
SATURATION = 0.2  # log scale


_BUCKETS = 2**30


def example_keys(sha256: tf.Tensor, copy: tf.Tensor, seed: int, epoch: int | tf.Tensor) -> tf.Tensor:
    """Return the keys from which the draws of each example are made.

    Args:
        sha256: string [N], `image/key/sha256` of the examples.
        copy: int64 [N], number of the augmented copy.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.

    Returns:
        string [N].
    """
    return tf.strings.join([sha256, tf.strings.as_string(copy), str(seed), tf.strings.as_string(epoch)], separator="/")


def uniform(keys: tf.Tensor, name: str, low: float, high: float) -> tf.Tensor:
    """Return uniform random numbers, computed from a hash (FarmHash Fingerprint64) of key and name.

    Args:
        keys: string [N], see `example_keys`.
        name: Name of the draw; draws with different names are independent.
        low: Smallest value.
        high: Upper limit, itself excluded.

    Returns:
        float64 [N].
    """
    bucket = tf.strings.to_hash_bucket_fast(tf.strings.join([keys, name], separator="/"), _BUCKETS)
    # Multiply instead of dividing: graph rewriting turns some divisions into multiplications, and not others.
    return low + (high - low) * (tf.cast(bucket, tf.float64) * (1 / _BUCKETS))


def projections(keys: tf.Tensor, size: int) -> tf.Tensor:
    """Return where each output pixel is read from, as ImageProjectiveTransformV3 expects it.

    Computed in float64 and cast once; in float32 the last bit depends on how the graph is rewritten.

    Args:
        keys: string [N], see `example_keys`.
        size: Side of the images in pixels.

    Returns:
        float32 [N, 8].
    """
    turns = tf.cast(tf.floor(uniform(keys, "turn", 0, 4)), tf.int32)
    mirror = tf.where(uniform(keys, "mirror", 0, 1) < 0.5, tf.constant(-1.0, tf.float64), tf.constant(1.0, tf.float64))
    # Exact sines of quarter turns: cos(pi / 2) is not 0 in floating point.
    quarter_cos = tf.gather(tf.constant([1.0, 0.0, -1.0, 0.0], tf.float64), turns)
    quarter_sin = tf.gather(tf.constant([0.0, 1.0, 0.0, -1.0], tf.float64), turns)
    angle = uniform(keys, "rotation", -ROTATION, ROTATION)
    scale = tf.exp(uniform(keys, "zoom", -ZOOM, ZOOM))
    cos = (quarter_cos * tf.cos(angle) - quarter_sin * tf.sin(angle)) * scale
    sin = (quarter_sin * tf.cos(angle) + quarter_cos * tf.sin(angle)) * scale
    along = mirror * tf.exp(uniform(keys, "stretch", -STRETCH, STRETCH))
    a, b, c, d = cos * along, -sin, sin * along, cos
    centre = 0.5 * (size - 1)
    shift_x = uniform(keys, "shift_x", -SHIFT, SHIFT) * size
    shift_y = uniform(keys, "shift_y", -SHIFT, SHIFT) * size
    x = centre - (a + b) * centre + shift_x
    y = centre - (c + d) * centre + shift_y
    zero = tf.zeros_like(a)
    return tf.cast(tf.stack([a, b, x, c, d, y, zero, zero], axis=1), tf.float32)


def draw_changes(keys: tf.Tensor, size: int) -> dict[str, tf.Tensor]:
    """Draw the random changes of images.

    Args:
        keys: string [N], see `example_keys`.
        size: Side of the images in pixels.

    Returns:
        Arguments of `change` beside the images: projection float32 [N, 8], colour and gain float32 [N, 1, 1], offset
        float32 [N, 1, 3].
    """
    contrast = tf.exp(uniform(keys, "contrast", -CONTRAST, CONTRAST))
    brightness = uniform(keys, "brightness", -BRIGHTNESS, BRIGHTNESS)[:, tf.newaxis]
    tint = tf.stack([uniform(keys, f"tint_{channel}", -TINT, TINT) for channel in "rgb"], axis=1)
    colour = tf.exp(uniform(keys, "saturation", -SATURATION, SATURATION))
    return {
        "projection": projections(keys, size),
        "colour": tf.cast(colour, tf.float32)[:, tf.newaxis, tf.newaxis],
        "gain": tf.cast(contrast, tf.float32)[:, tf.newaxis, tf.newaxis],
        "offset": tf.cast(brightness + tint, tf.float32)[:, tf.newaxis],
    }


def change(
    images: tf.Tensor, projection: tf.Tensor, colour: tf.Tensor, gain: tf.Tensor, offset: tf.Tensor
) -> tf.Tensor:
    """Change geometry and colours of images, as `draw_changes` says.

    Args:
        images: float32 [N, S, S, 3], normalised pixels.
        projection: float32 [N, 8], where each pixel is read from.
        colour: float32 [N, 1, 1], factor of the saturation.
        gain: float32 [N, 1, 1], factor of all values.
        offset: float32 [N, 1, 3], added to each channel.

    Returns:
        float32 [N, S, S, 3].
    """
    size = images.shape[1]
    images = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=projection,
        output_shape=[size, size],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )
    grey = tf.reduce_mean(images, axis=-1, keepdims=True) * (1.0 - colour)[..., tf.newaxis]
    # Rows as vectors: TensorFlow takes several times as long to broadcast along an axis of 3 values. The product with
    # ones repeats each value for the three channels.
    grey = tf.matmul(tf.reshape(grey, [-1, 1]), tf.ones([1, 3]))
    rows = tf.reshape(images, [-1, size, 3 * size])
    rows = rows * colour + tf.reshape(grey, [-1, size, 3 * size])
    return tf.reshape(rows * gain + tf.tile(offset, [1, 1, size]), [-1, size, size, 3])


def augment(images: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Change geometry and colours of images at random.

    Args:
        images: float32 [N, S, S, 3], normalised pixels.
        keys: string [N], see `example_keys`.

    Returns:
        float32 [N, S, S, 3].
    """
    return change(images, **draw_changes(keys, images.shape[1]))
