"""Score the quality of a photograph from the pixels that its check has decoded anyway.

Scores are as cleanvision's (github.com/cleanlab/cleanvision): from 0 to 1, and low is bad. `dark`, `light` and
`low_information` are its definitions, on the picture of 32 x 32 pixels that the perceptual hash is made from. Its
`blurry` compares neighbours in a picture of 64 pixels, where a photograph of 600 pixels blurred by 6 looks sharp, and
counts a dark rim as blur; `blurry` here compares fine detail with coarse detail in the middle of the picture instead.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops

# cleanvision's weights of red, green and blue for perceived brightness, in thousandths.
_BRIGHTNESS = np.array((241, 691, 68), np.int32)
_WHITE = int(_BRIGHTNESS.sum()) * 255**2
# Entropy of a picture, in bits, that scores 1.
_FULL_ENTROPY = 10.0
# Channels of a grey photograph that went through JPEG differ by no more.
_GREY_LEVELS = 2
# Pixels darker than this in every channel are black.
_BLACK = 32
# Pixels over which coarse detail is measured.
_REACH = 4
# BLAS starts threads for the product of more than 10,000 numbers.
_PIECE = 8192
# What rounding to whole levels adds to the mean square of a difference. Without it, an even surface would look sharp.
_ROUNDING = 1.0


def _energy(values: np.ndarray) -> float:
    """Return the mean square; exact, as every sum of squares here is a whole number below 2**53."""
    flat = values.astype(np.float64).ravel()
    pieces = (flat[start : start + _PIECE] for start in range(0, flat.size, _PIECE))
    return float(sum(piece @ piece for piece in pieces)) / max(1, flat.size)


def sharpness(image: Image.Image) -> float:
    """Return how much of an image's detail is fine, 0 to 1, whatever its contrast.

    The middle two thirds of the green channel are compared, so a dark rim does not count. In a blurred picture
    neighbours differ little beside pixels that lie further apart.
    """
    width, height = image.size
    box = (width // 6, height // 6, width - width // 6, height - height // 6)
    green = np.asarray(image.crop(box).getchannel(1))
    # Every fourth line is enough.
    across, down = green[::4].astype(np.int16), np.ascontiguousarray(green[:, ::4]).astype(np.int16)
    step_across, step_down = across[:, 1:] - across[:, :-1], down[1:] - down[:-1]
    fine = _energy(step_across[:, 1:] - step_across[:, :-1]) + _energy(step_down[1:] - step_down[:-1])
    coarse = _energy(across[:, _REACH:] - across[:, :-_REACH]) + _energy(down[_REACH:] - down[:-_REACH])
    return min(1.0, float((fine / (coarse + _ROUNDING)) ** 0.5))


def pixel_scores(image: Image.Image, square: Image.Image) -> tuple[float, ...]:
    """Return the scores for `quality_issues.PIXEL_ISSUES`, in order.

    They are rounded to four decimals, so that all machines return the same.

    Args:
        image: An image of mode RGB. A JPEG may have been shrunk while decoding, see `images.reduction`.
        square: The same, stretched to a small square, see `perceptual.square_of`.
    """
    red, green, blue = square.split()
    levels = np.asarray(square).reshape(-1, 3).astype(np.int32)
    last = len(levels) - 1
    brightness = np.partition((levels * levels) @ _BRIGHTNESS, (last * 5 // 100, last * 99 // 100))
    brightest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    darkest = ImageChops.darker(ImageChops.darker(red, green), blue)
    most = np.asarray(brightest)
    edge = np.concatenate([most[0], most[-1], most[1:-1, 0], most[1:-1, -1]])
    colour = np.asarray(ImageChops.subtract(brightest, darkest)).max()
    scores = (
        (int(brightness[last * 99 // 100]) / _WHITE) ** 0.5,
        1 - (int(brightness[last * 5 // 100]) / _WHITE) ** 0.5,
        min(1.0, square.entropy() / _FULL_ENTROPY),
        sharpness(image),
        float(colour > _GREY_LEVELS),
        1 - int(np.count_nonzero(edge < _BLACK)) / len(edge),
    )
    return tuple(round(score, 4) for score in scores)
