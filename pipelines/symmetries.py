"""The eight symmetries of a square picture (the dihedral group): quarter turns, each as it is and mirrored.

A photograph of a lesion has no right way up, so what a model says of all eight is averaged.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# (quarter turns, mirrored afterwards), in the order in which views are made and added up.
SYMMETRIES = tuple((turns, flip) for turns in range(4) for flip in (False, True))


def views(images: np.ndarray) -> Iterator[np.ndarray]:
    """[..., S, S, C] -> the eight views, each of the same shape, in the order of SYMMETRIES."""
    for turns, flip in SYMMETRIES:
        turned = np.rot90(images, turns, axes=(-3, -2))
        yield np.ascontiguousarray(turned[..., ::-1, :] if flip else turned)


def turned_back(view: np.ndarray, number: int) -> np.ndarray:
    """What was made from view `number`, [..., h, w, C], as it lies on the image itself."""
    turns, flip = SYMMETRIES[number]
    return np.rot90(view[..., ::-1, :] if flip else view, -turns, axes=(-3, -2))
