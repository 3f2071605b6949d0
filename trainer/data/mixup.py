"""Mix training images from two: mixup and CutMix.

Rows 2i and 2i + 1 of a batch are partners; the random order of an epoch makes the pairs random. Pairs are never divided
between replicas, so the draws depend only on (seed, epoch, images), like the rest of the input.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from trainer.data.augment import uniform

# images float32 [N, S, S, 3], labels int64 [N], keys string [N] -> dict of image, label, partner, share, each [N, ...]:
# mixed images, labels of both images of a pair, float32 share of the image that belongs to `label`.
Mixer = Callable[[tf.Tensor, tf.Tensor, tf.Tensor | None], dict[str, tf.Tensor]]


def unmixed(images: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor | None) -> dict[str, tf.Tensor]:
    """Return images that belong wholly to their own label.

    Args:
        images: float32 [N, S, S, 3].
        labels: int64 [N].
        keys: Not used.
    """
    return {"image": images, "label": labels, "partner": labels, "share": tf.ones(tf.shape(labels))}


def _partners(values: tf.Tensor) -> tf.Tensor:
    """Return the partner of each row: rows 1, 0, 3, 2, ... of an even number of rows."""
    rows = tf.range(tf.shape(values)[0])
    return tf.gather(values, rows + 1 - 2 * (rows % 2))


def _shares(keys: tf.Tensor, alpha: float) -> tf.Tensor:
    """Return the larger share of each pair, float64 [N] from 0.5 to 1.

    Each row has its own, drawn from Beta(alpha, alpha) by inversion on a grid.
    """
    grid = tf.constant(_beta_quantiles(alpha), tf.float64)
    drawn = tf.gather(grid, tf.cast(uniform(keys, "share", 0, grid.shape[0]), tf.int32))
    return tf.maximum(drawn, 1.0 - drawn)


@functools.cache
def _beta_quantiles(alpha: float, count: int = 1024) -> list[float]:
    from scipy.stats import beta

    return [float(beta.ppf((index + 0.5) / count, alpha, alpha)) for index in range(count)]


def mixup(images: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor, alpha: float) -> dict[str, tf.Tensor]:
    """Mix each image with its partner as a weighted mean (Zhang et al. 2018).

    Each row has its own share, and its own image gets the larger part.

    Args:
        images: float32 [N, S, S, 3].
        labels: int64 [N].
        keys: string [N], see `augment.example_keys`.
        alpha: Parameter of the Beta distribution of shares.

    Returns:
        A dict as described at `Mixer`.
    """
    share = tf.cast(_shares(keys, alpha), tf.float32)
    part = share[:, tf.newaxis, tf.newaxis, tf.newaxis]
    mixed = images * part + _partners(images) * (1.0 - part)
    return {"image": mixed, "label": labels, "partner": _partners(labels), "share": share}


def cutmix(images: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor, alpha: float) -> dict[str, tf.Tensor]:
    """Paste a square of the partner into each image (Yun et al. 2019).

    The share is the part of the row's own pixels that is left.

    Args:
        images: float32 [N, S, S, 3].
        labels: int64 [N].
        keys: string [N], see `augment.example_keys`.
        alpha: Parameter of the Beta distribution of shares.

    Returns:
        A dict as described at `Mixer`.
    """
    size = images.shape[1]
    half = 0.5 * size * tf.sqrt(1.0 - _shares(keys, alpha))[:, tf.newaxis]
    centres = tf.range(size, dtype=tf.float64) + 0.5

    def inside(name: str) -> tf.Tensor:
        middle = uniform(keys, name, 0, size)[:, tf.newaxis]
        return tf.abs(centres - middle) < half

    pasted = inside("cut_y")[:, :, tf.newaxis] & inside("cut_x")[:, tf.newaxis, :]
    share = 1.0 - tf.reduce_mean(tf.cast(pasted, tf.float32), axis=[1, 2])
    mixed = tf.where(pasted[..., tf.newaxis], _partners(images), images)
    return {"image": mixed, "label": labels, "partner": _partners(labels), "share": share}


def make_mixer(kind: str, alpha: float) -> Mixer:
    """Return the mixer that `--mix` names.

    Args:
        kind: Value of `--mix`.
        alpha: Value of `--mix_alpha`.
    """
    if kind == "none":
        return unmixed
    return functools.partial(mixup if kind == "mixup" else cutmix, alpha=alpha)
