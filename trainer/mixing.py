"""Training images mixed of two: mixup and CutMix.

Rows 2i and 2i + 1 of a batch are partners, which the random order of an epoch makes random pairs. As pairs are never
divided between replicas, what is drawn depends on (seed, epoch, images) only, like the rest of the input.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from trainer.augment import uniform

# images float32 [N, S, S, 3], labels int64 [N], keys string [N] -> dict of image, label, partner, share, each [N, ...].
Mixer = Callable[[tf.Tensor, tf.Tensor, tf.Tensor | None], dict[str, tf.Tensor]]


def unmixed(images: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor | None) -> dict[str, tf.Tensor]:
    """Images that are wholly of their own label."""
    return {"image": images, "label": labels, "partner": labels, "share": tf.ones(tf.shape(labels))}


def _partners(values: tf.Tensor) -> tf.Tensor:
    """Each row's partner: rows 1, 0, 3, 2, ... of an even number of them."""
    rows = tf.range(tf.shape(values)[0])
    return tf.gather(values, rows + 1 - 2 * (rows % 2))


def _shares(keys: tf.Tensor, alpha: float) -> tf.Tensor:
    """float64 [N], 0.5 to 1: the larger part, drawn for each row from Beta(alpha, alpha) by inversion on a grid."""
    grid = tf.constant(_beta_quantiles(alpha), tf.float64)
    drawn = tf.gather(grid, tf.cast(uniform(keys, "share", 0, grid.shape[0]), tf.int32))
    return tf.maximum(drawn, 1.0 - drawn)


@functools.cache
def _beta_quantiles(alpha: float, count: int = 1024) -> list[float]:
    from scipy.stats import beta

    return [float(beta.ppf((index + 0.5) / count, alpha, alpha)) for index in range(count)]


def mixup(images: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor, alpha: float) -> dict[str, tf.Tensor]:
    """Weighted means of two images (Zhang et al. 2018), each row with its own share, the larger one."""
    share = tf.cast(_shares(keys, alpha), tf.float32)
    part = share[:, tf.newaxis, tf.newaxis, tf.newaxis]
    mixed = images * part + _partners(images) * (1.0 - part)
    return {"image": mixed, "label": labels, "partner": _partners(labels), "share": share}


def cutmix(images: tf.Tensor, labels: tf.Tensor, keys: tf.Tensor, alpha: float) -> dict[str, tf.Tensor]:
    """A square of the partner pasted in (Yun et al. 2019); the share is what is left of the row's own pixels."""
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
    """What `--mix` names."""
    if kind == "none":
        return unmixed
    return functools.partial(mixup if kind == "mixup" else cutmix, alpha=alpha)
