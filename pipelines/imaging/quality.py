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
_BRIGHTNESS = (241, 691, 68)
_WHITE = sum(_BRIGHTNESS) * 255**2
# Entropy of a picture, in bits, that scores 1.
_FULL_ENTROPY = 10.0
# Channels of a grey photograph that went through JPEG differ by no more.
_GREY_LEVELS = 2
# Pixels darker than this in every channel are black.
_BLACK = 32
# Pixels over which coarse detail is measured.
_REACH = 4
# What rounding to whole levels adds to the mean square of a difference. Without it, an even surface would look sharp.
_ROUNDING = 1.0


def _energy(values: np.ndarray) -> float:
    """Return the mean square; exact, as every sum of squares here is a whole number below 2**53."""
    flat = values.astype(np.float64).ravel()
    # Not `@`: BLAS starts threads for so few numbers.
    return float(np.einsum("i,i->", flat, flat)) / max(1, flat.size)


def _detail(lines: np.ndarray) -> tuple[float, float]:
    """Return the energy of second differences, and of differences over _REACH pixels, down the columns of int16."""
    return (
        _energy(lines[2:] + lines[:-2] - 2 * lines[1:-1]),
        _energy(lines[_REACH:] - lines[:-_REACH]),
    )


def sharpness(image: Image.Image) -> float:
    """Return how much of an image's detail is fine, 0 to 1, whatever its contrast.

    The middle two thirds of the green channel are compared, so a dark rim does not count. In a blurred picture
    neighbours differ little beside pixels that lie further apart.
    """
    width, height = image.size
    box = (width // 6, height // 6, width - width // 6, height - height // 6)
    green = np.asarray(image.getchannel(1).crop(box)).astype(np.int16)
    # Every fourth line is enough.
    across, down = _detail(np.ascontiguousarray(green[::4].T)), _detail(np.ascontiguousarray(green[:, ::4]))
    fine, coarse = across[0] + down[0], across[1] + down[1]
    return min(1.0, float((fine / (coarse + _ROUNDING)) ** 0.5))


def pixel_scores(image: Image.Image, square: Image.Image) -> tuple[float, ...]:
    """Return the scores for `quality_issues.PIXEL_ISSUES`, in order.

    They are rounded to four decimals, so that all machines return the same.

    Args:
        image: An image of mode RGB. A JPEG may have been shrunk while decoding, see `images.reduction`.
        square: The same, stretched to a small square, see `perceptual.square_of`.
    """
    red, green, blue = square.split()
    levels = [np.asarray(channel).ravel().astype(np.int32) for channel in (red, green, blue)]
    brightness = np.sort(sum(weight * level * level for weight, level in zip(_BRIGHTNESS, levels, strict=True)))
    last = len(brightness) - 1
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
