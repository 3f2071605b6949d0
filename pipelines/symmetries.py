"""The eight flips and quarter turns of a square picture: the dihedral group of order eight.

The score job (`--tta`) and the trainer, which chooses thresholds for it, must mean the same views.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

# Quarter turns, and whether a flip follows. The first leaves the picture as it is.
SYMMETRIES = tuple((turns, flip) for turns in range(4) for flip in (False, True))


def symmetric_views(pixels: Any) -> Iterator[Any]:
    """A TensorFlow tensor [N, S, S, 3] in each of SYMMETRIES, in their order."""
    import tensorflow as tf

    for turns, flip in SYMMETRIES:
        view = tf.image.rot90(pixels, turns)
        yield tf.image.flip_left_right(view) if flip else view


def views_of(image: np.ndarray) -> np.ndarray:
    """An image [S, S, C] in each of SYMMETRIES, as `symmetric_views` gives them: [8, S, S, C]."""
    turned = [(np.rot90(image, turns), flip) for turns, flip in SYMMETRIES]
    return np.stack([view[:, ::-1] if flip else view for view, flip in turned])


def turned_back(maps: np.ndarray) -> np.ndarray:
    """What was made of each view, [8, h, w, C] in the order of SYMMETRIES, as it lies on the image itself."""
    return np.stack(
        [np.rot90(one[:, ::-1] if flip else one, -turns) for one, (turns, flip) in zip(maps, SYMMETRIES, strict=True)]
    )
