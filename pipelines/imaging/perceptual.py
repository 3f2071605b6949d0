"""Tell whether two files show the same picture: a perceptual hash finds candidates, a tiny thumbnail confirms them.

The hash alone cannot decide: among photographs of plain skin with one dark spot, most pairs that differ by only a few
bits show different lesions. The thumbnail alone cannot be searched efficiently. docs/near_duplicates.md has the
measurements behind each constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from pipelines.imaging.images import resize

# pHash takes the 8 x 8 lowest frequencies of 32 x 32 pixels.
_HASH_SIDE = 32
# The highest of the 64 bits compares the picture's mean with the median coefficient and is always 1. Without it a hash
# fits a signed 64-bit integer, the largest that Beam's coder and Parquet's int64 can hold.
_HASH_MASK = (1 << 63) - 1
THUMBNAIL_SIDE = 16
# All measured copies that were re-encoded, resized or squashed lie below this, and so do 99.1 % of those brightened by
# a tenth. Among 20 million pairs, the closest pair of lesions known to be different lies at 0.258.
SAME_PICTURE = 0.2
# Contrast below this many levels is mostly encoding noise and is not stretched to full contrast.
_CONTRAST_FLOOR = 8.0
# Mean colours 40 levels apart (40 / 200 = SAME_PICTURE) are too far apart for a brightened copy.
_COLOR_RANGE = 200.0
# The middle half in each direction, where the lesion is. It is judged separately because a dark frame around the
# picture (the rim of the dermatoscope) would outweigh it.
_MIDDLE = slice(THUMBNAIL_SIDE // 4, 3 * THUMBNAIL_SIDE // 4)
_SKETCH_SIDE = 4
_SKETCH_SCALE = 24
SKETCH_BYTES = _SKETCH_SIDE * _SKETCH_SIDE * 3
# Thumbnails that are reduced together. Each takes 12 KB meanwhile.
_SKETCHED_AT_ONCE = 256
# SAME_PICTURE as a squared distance in sketch steps. Rounding shifts each of the two sketches by at most half a step.
SKETCH_LIMIT = SKETCH_BYTES * (SAME_PICTURE * _SKETCH_SCALE + 1) ** 2


def _cosines() -> np.ndarray:
    """Return the first 8 rows of the DCT-II of 32 values, int64 [8, 32] in steps of 2**-14."""
    angles = np.pi * np.arange(_HASH_SIDE // 4)[:, None] * (2 * np.arange(_HASH_SIDE) + 1) / (2 * _HASH_SIDE)
    return np.rint(np.cos(angles) * (1 << 14)).astype(np.int64)


_COSINES = _cosines()


def _hash_bits(grey: np.ndarray) -> int:
    """Return the pHash of uint8 [32, 32] (Zauner 2010): which low frequencies lie above their median.

    The transform is computed in integers, so a hash does not depend on the machine or on a library's summation order.
    """
    frequencies = (_COSINES @ grey.astype(np.int64) @ _COSINES.T).ravel()
    middle = len(frequencies) // 2
    ordered = np.partition(frequencies, (middle - 1, middle))
    above = 2 * frequencies > ordered[middle - 1] + ordered[middle]
    return int.from_bytes(np.packbits(above).tobytes(), "big") & _HASH_MASK


def square_of(image: Image.Image) -> Image.Image:
    """Return an image stretched to 32 x 32 pixels.

    Args:
        image: An image of mode RGB. A JPEG may have been shrunk while decoding, see `images.reduction`.
    """
    return resize(image, _HASH_SIDE, _HASH_SIDE)


def signature(square: Image.Image) -> tuple[int, bytes]:
    """Return the perceptual hash and the thumbnail of an image.

    Args:
        square: What `square_of` made of it.

    Returns:
        The pHash of the square: 64 bits, of which the highest is always 0. The image stretched to 16 x 16 RGB, 768
        bytes, without its proportions, size and fine detail.
    """
    return _hash_bits(np.asarray(square.convert("L"))), resize(square, THUMBNAIL_SIDE, THUMBNAIL_SIDE).tobytes()


def hash_distance(first: int, second: int) -> int:
    """Return the number of bits in which two hashes differ.

    Half of the bits of a pHash are ones, so the distance is nearly always even.
    """
    return (first ^ second).bit_count()


def _unpack(picture: bytes) -> np.ndarray:
    return np.frombuffer(picture, np.uint8).reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3).astype(np.int64)


def _contrast(values: np.ndarray) -> float:
    """Return the standard deviation of int64 [n, 3] about the channel means, from exact sums."""
    count = len(values)
    sums = values.sum(axis=0)
    return float(int(count * (values * values).sum() - (sums * sums).sum()) / (3 * count * count)) ** 0.5


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    """Return the root mean square difference of two int64 [n, 3], each scaled to mean 0 per channel and contrast 1."""
    count = len(first)
    spreads = _contrast(first), _contrast(second)
    scales = [max(spread, _CONTRAST_FLOOR) for spread in spreads]
    products = count * (first * second).sum() - (first.sum(axis=0) * second.sum(axis=0)).sum()
    covariance = float(int(products) / (3 * count * count))
    square = sum((spread / scale) ** 2 for spread, scale in zip(spreads, scales, strict=True))
    return max(0.0, square - 2 * covariance / (scales[0] * scales[1])) ** 0.5


def pixel_distance(first: bytes, second: bytes) -> float:
    """Return how different two thumbnails are, regardless of their order.

    Three differences are computed and the largest is returned. The first two compare the whole pictures and their
    middles, each scaled by its own contrast so that brightness and contrast do not count. The third compares mean
    colours. Sums are exact integers and the result is rounded, so all machines return the same number.

    Returns:
        0 for equal thumbnails, about 1.4 for unrelated pictures. Up to SAME_PICTURE they show one picture.
    """
    one, other = _unpack(first), _unpack(second)
    middles = [picture[_MIDDLE, _MIDDLE].reshape(-1, 3) for picture in (one, other)]
    wholes = [picture.reshape(-1, 3) for picture in (one, other)]
    shift = wholes[0].sum(axis=0) - wholes[1].sum(axis=0)
    color = float(int((shift * shift).sum()) / 3) ** 0.5 / len(wholes[0]) / _COLOR_RANGE
    return round(max(_difference(*wholes), _difference(*middles), color), 6)


def sketches(pictures: Sequence[bytes]) -> list[bytes]:
    """Reduce thumbnails to 48 bytes each, which are enough to rule out most pairs.

    Args:
        pictures: Thumbnails.

    Returns:
        For each, the means of 4 x 4 cells per channel, scaled to mean 0 and contrast 1, as int8 in steps of 1/24.
    """
    starts = range(0, len(pictures), _SKETCHED_AT_ONCE)
    return [one for start in starts for one in _sketched_together(pictures[start : start + _SKETCHED_AT_ONCE])]


def _sketched_together(pictures: Sequence[bytes]) -> Iterator[bytes]:
    count, area = len(pictures), THUMBNAIL_SIDE * THUMBNAIL_SIDE
    flat = np.frombuffer(b"".join(pictures), np.uint8).reshape(count, area, 3).astype(np.int64)
    side = THUMBNAIL_SIDE // _SKETCH_SIDE
    cells = flat.reshape(count, _SKETCH_SIDE, side, _SKETCH_SIDE, side, 3).sum(axis=(2, 4))
    sums = flat.sum(axis=1)
    variances = (area * (flat * flat).sum(axis=(1, 2)) - (sums * sums).sum(axis=1)) / (3 * area * area)
    contrasts = np.maximum(np.sqrt(variances), _CONTRAST_FLOOR)
    # The sums over a cell and over the picture get a common denominator, so that there is only one division.
    centred = cells * (_SKETCH_SIDE * _SKETCH_SIDE) - sums[:, None, None]
    scaled = centred * _SKETCH_SCALE / (area * contrasts[:, None, None, None])
    steps = np.clip(np.rint(scaled), -127, 127).astype(np.int8)
    return (one.tobytes() for one in steps)


def sketch(picture: bytes) -> bytes:
    """Return the sketch of one thumbnail, see `sketches`."""
    return sketches([picture])[0]


def sketch_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the squared distances between two sets of sketches.

    Above SKETCH_LIMIT, `pixel_distance` is always above SAME_PICTURE, because the means of cells differ by no more than
    their pixels do (root mean square). So no pair is lost by ruling out pairs above it.

    Args:
        first: int8 [n, 48].
        second: int8 [m, 48].

    Returns:
        float32 [n, m] that holds whole numbers.
    """
    one, other = first.astype(np.float32), second.astype(np.float32)
    # Sums stay below 48 * 254 ** 2 < 2 ** 24, so float32 is exact whatever the order in which BLAS adds.
    return (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1)[None, :] - 2 * (one @ other.T)
