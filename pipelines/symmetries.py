"""The eight flips and quarter turns of a square picture: the dihedral group of order eight.

The score job (`--tta`) and the trainer, which chooses thresholds for it, must mean the same views.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Quarter turns, and whether a flip follows. The first leaves the picture as it is.
SYMMETRIES = tuple((turns, flip) for turns in range(4) for flip in (False, True))


def symmetric_views(pixels: Any) -> Iterator[Any]:
    """A TensorFlow tensor [N, S, S, 3] in each of SYMMETRIES, in their order."""
    import tensorflow as tf

    for turns, flip in SYMMETRIES:
        view = tf.image.rot90(pixels, turns)
        yield tf.image.flip_left_right(view) if flip else view
