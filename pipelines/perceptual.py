"""What makes two files one picture: a perceptual hash finds candidates, a tiny thumbnail confirms them.

The hash alone cannot decide: among photographs of plain skin with one dark spot most pairs within a few bits are
different lesions. The thumbnail alone cannot search. Figures behind every constant: docs/near_duplicates.md.
"""

from __future__ import annotations

import imagehash
import numpy as np
from PIL import Image

from pipelines.images import resize

# A JPEG may be shrunk while decoding (`images.reduction`, aspect "stretch") to sides no smaller than this: that moves
# a hash by 6 bits and a thumbnail by 0.07 at most (554 images). An eighth of a 180-pixel image moves them 18 and 0.34.
DECODE_SIDE = 64
# imagehash.phash looks at 32 x 32 pixels (hash_size 8 times highfreq_factor 4); given those, it does not resize again.
_HASH_SIDE = 32
# The highest of the 64 bits is the picture's mean against the median coefficient: always 1. Without it a hash fits a
# signed 64-bit integer, which is all that Beam's coder and Parquet's int64 hold.
_HASH_MASK = (1 << 63) - 1
THUMBNAIL_SIDE = 16
# Every re-encoded, resized or squashed copy measured lies below this, and 98.9 % of those brightened by a tenth; the
# closest pair of known different lesions among 20 million pairs lies at 0.257.
SAME_PICTURE = 0.2
# Contrast below this many levels is mostly noise of encoding, and is not stretched to full contrast.
_CONTRAST_FLOOR = 8.0
# Mean colours 40 levels apart (40 / 200 = SAME_PICTURE) are too far for a brightened copy.
_COLOR_RANGE = 200.0
# The middle half in each direction, where the lesion is. Judged on its own because a dark frame around the picture
# (the rim of the dermatoscope) otherwise outweighs it.
_MIDDLE = slice(THUMBNAIL_SIDE // 4, 3 * THUMBNAIL_SIDE // 4)
_SKETCH_SIDE = 4
_SKETCH_SCALE = 24
SKETCH_BYTES = _SKETCH_SIDE * _SKETCH_SIDE * 3
# SAME_PICTURE in the squared steps of a sketch; each of the two is rounded by at most half a step.
SKETCH_LIMIT = SKETCH_BYTES * (SAME_PICTURE * _SKETCH_SCALE + 1) ** 2


def signature(pixels: np.ndarray) -> tuple[int, bytes]:
    """`perceptual_hash` and `thumbnail` of uint8 [h, w, 3], for the price of one."""
    small = resize(pixels, _HASH_SIDE, _HASH_SIDE)
    bits = np.packbits(imagehash.phash(Image.fromarray(small)).hash).tobytes()
    return int.from_bytes(bits, "big") & _HASH_MASK, resize(small, THUMBNAIL_SIDE, THUMBNAIL_SIDE).tobytes()


def perceptual_hash(pixels: np.ndarray) -> int:
    """pHash of uint8 [h, w, 3], the whole picture stretched to a square: 64 bits, the highest always 0."""
    return signature(pixels)[0]


def thumbnail(pixels: np.ndarray) -> bytes:
    """The whole picture stretched to 16 x 16 RGB, 768 bytes: proportions, size and fine detail are gone."""
    return signature(pixels)[1]


def hash_distance(first: int, second: int) -> int:
    """Bits in which two hashes differ. Half of a pHash's bits are ones, so it is nearly always even."""
    return (first ^ second).bit_count()


def _unpack(picture: bytes) -> np.ndarray:
    return np.frombuffer(picture, np.uint8).reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3).astype(np.int64)


def _contrast(values: np.ndarray) -> float:
    """Standard deviation around the channels' means of int64 [n, 3], from exact sums."""
    count = len(values)
    sums = values.sum(axis=0)
    return float(int(count * (values * values).sum() - (sums * sums).sum()) / (3 * count * count)) ** 0.5


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square difference of int64 [n, 3] after both are brought to mean 0 per channel and contrast 1."""
    count = len(first)
    spreads = _contrast(first), _contrast(second)
    scales = [max(spread, _CONTRAST_FLOOR) for spread in spreads]
    products = count * (first * second).sum() - (first.sum(axis=0) * second.sum(axis=0)).sum()
    covariance = float(int(products) / (3 * count * count))
    square = sum((spread / scale) ** 2 for spread, scale in zip(spreads, scales, strict=True))
    return max(0.0, square - 2 * covariance / (scales[0] * scales[1])) ** 0.5


def pixel_distance(first: bytes, second: bytes) -> float:
    """How different two thumbnails are: 0 for the same, about 1.4 for unrelated pictures; symmetric.

    The largest of three: the difference of the whole pictures and of their middles, each in units of its own contrast
    (so brightness and contrast do not count), and that of the mean colours. Sums are exact integers and the result is
    rounded, so that every machine gives the same number.
    """
    one, other = _unpack(first), _unpack(second)
    middles = [picture[_MIDDLE, _MIDDLE].reshape(-1, 3) for picture in (one, other)]
    wholes = [picture.reshape(-1, 3) for picture in (one, other)]
    shift = wholes[0].sum(axis=0) - wholes[1].sum(axis=0)
    color = float(int((shift * shift).sum()) / 3) ** 0.5 / len(wholes[0]) / _COLOR_RANGE
    return round(max(_difference(*wholes), _difference(*middles), color), 6)


def same_picture(first: bytes, second: bytes) -> bool:
    """Whether two thumbnails show one photograph: `pixel_distance` of at most SAME_PICTURE."""
    return pixel_distance(first, second) <= SAME_PICTURE


def sketch(picture: bytes) -> bytes:
    """48 bytes of a thumbnail that can rule a pair out: 4 x 4 means, mean 0 and contrast 1, int8 in 1/24."""
    values = _unpack(picture)
    flat = values.reshape(-1, 3)
    side = THUMBNAIL_SIDE // _SKETCH_SIDE
    cells = values.reshape(_SKETCH_SIDE, side, _SKETCH_SIDE, side, 3).sum(axis=(1, 3))
    # Sums over a cell and over the picture, brought to one denominator before the only division.
    centred = cells * (_SKETCH_SIDE * _SKETCH_SIDE) - flat.sum(axis=0)
    scaled = centred * _SKETCH_SCALE / (len(flat) * max(_contrast(flat), _CONTRAST_FLOOR))
    return np.clip(np.rint(scaled), -127, 127).astype(np.int8).tobytes()


def sketch_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distances, float32 [n, m] but whole numbers, between sketches int8 [n, 48] and [m, 48].

    Above SKETCH_LIMIT, `same_picture` would say no: means of cells differ no more than the pixels in them do (root
    mean square). So ruling pairs out by it loses none.
    """
    one, other = first.astype(np.float32), second.astype(np.float32)
    # Sums stay below 48 * 254 ** 2 < 2 ** 24: float32 is exact, in whatever order a BLAS adds.
    return (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1)[None, :] - 2 * (one @ other.T)
