"""The eight flips and quarter turns of a square image: the dihedral group of order eight.

The score job (`--tta`) and the trainer, which chooses thresholds for it, must use the same views.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

# Number of quarter turns, and whether a flip follows. The first entry leaves the image as it is.
SYMMETRIES = tuple((turns, flip) for turns in range(4) for flip in (False, True))


def symmetric_views(pixels: Any) -> Iterator[Any]:
    """Yield each view of a batch of images, in the order of SYMMETRIES.

    Args:
        pixels: TensorFlow tensor [N, S, S, 3].

    Yields:
        A tensor of the same shape and dtype.
    """
    import tensorflow as tf

    for turns, flip in SYMMETRIES:
        view = tf.image.rot90(pixels, turns)
        yield tf.image.flip_left_right(view) if flip else view


def views_of(image: np.ndarray) -> np.ndarray:
    """Return the views of one image, the same as those of `symmetric_views`.

    Args:
        image: [S, S, C].

    Returns:
        [8, S, S, C], in the order of SYMMETRIES.
    """
    turned = [(np.rot90(image, turns), flip) for turns, flip in SYMMETRIES]
    return np.stack([view[:, ::-1] if flip else view for view, flip in turned])


def turned_back(maps: np.ndarray) -> np.ndarray:
    """Undo the symmetry of each view's map, so that all of them have the orientation of the original image.

    Args:
        maps: [8, h, w, C], one map per view in the order of SYMMETRIES.

    Returns:
        [8, h, w, C].
    """
    return np.stack(
        [np.rot90(one[:, ::-1] if flip else one, -turns) for one, (turns, flip) in zip(maps, SYMMETRIES, strict=True)]
    )
