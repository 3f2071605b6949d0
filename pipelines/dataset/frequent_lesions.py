"""Find values that name very many images as one lesion: often they stand for nothing, and no list knows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipelines.common.text import printable

# A lesion with more than a twentieth of all images is said, if there are enough of them to be no series of photographs.
_PART = 20
_LEAST_IMAGES = 5


def frequent_among(counts: Iterable[tuple[str, int]], images: int) -> list[dict[str, Any]]:
    """Return the lesion ids that name more than a twentieth of the images, as reports have them, most frequent first.

    Args:
        counts: Lesion ids, each with its number of images.
        images: The number of all images.
    """
    found = sorted((-count, lesion) for lesion, count in counts if count >= _LEAST_IMAGES and count * _PART > images)
    return [{"lesion_id": printable(lesion), "images": -count, "of": images} for count, lesion in found]


def frequent_lines(frequent: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for the terminal about each value that `frequent_among` has found."""
    return [
        f"note: {entry['lesion_id']!r} is the lesion of {entry['images']} of {entry['of']} images, which share a split;"
        " if it stands for nothing, empty it in the table"
        for entry in frequent
    ]
