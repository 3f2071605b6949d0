"""Sizes of training images by epoch, small ones first. Imports no TensorFlow.

An epoch at half the size costs a quarter, and most of what is learnt does not need details. Progressive resizing as in
fast.ai's DAWNBench entry (2018) and EfficientNetV2 (Tan and Le 2021, section 4).
"""

from __future__ import annotations

from fractions import Fraction

from pipelines.common.cli import UsageError

SMALLEST = 16
# Fractions are rounded to sides that are a multiple of this, which vector units like.
_MULTIPLE = 8


def parse_progressive(text: str) -> tuple[tuple[int | Fraction, float], ...]:
    """Return the sizes of `--progressive` and when each ends: `64:0.6,96:0.85` -> ((64, 0.6), (96, 0.85)).

    Args:
        text: Sizes, and the share of the epochs at which each ends. Sizes are in pixels, or all of them fractions of
            the dataset's size: `1/4:0.6,3/8:0.85`. Empty: none.

    Raises:
        ValueError: If `text` has another form, or unless sizes and shares grow and shares are between 0 and 1; the
            message says what is wrong.
    """
    sizes: list[tuple[int | Fraction, float]] = []
    for part in filter(None, text.split(",")):
        side, colon, until = part.partition(":")
        if not (colon and all(number.strip().isdigit() for number in side.split("/", 1))):
            raise ValueError(f"'{part}' is not SIZE:SHARE, as in 64:0.6 or 1/4:0.6")
        try:
            sizes.append((Fraction(side.replace(" ", "")) if "/" in side else int(side), float(until)))
        except ZeroDivisionError:
            raise ValueError(f"'{side}' is not a fraction") from None
        except ValueError:
            raise ValueError(f"'{until}' is not a number") from None
    if len({type(size) for size, _ in sizes}) > 1:
        raise ValueError("give all sizes in pixels, or all as fractions")
    for index, (size, share) in enumerate(sizes):
        smaller, sooner = sizes[index - 1] if index else (0, 0.0)
        within = 0 < size < 1 if isinstance(size, Fraction) else size >= SMALLEST
        if not (within and smaller < size and sooner < share < 1):
            raise ValueError(
                f"sizes (from {SMALLEST} on, fractions below 1) and shares (between 0 and 1) must grow; "
                f"{size}:{share:g} does not"
            )
    return tuple(sizes)


def _pixel_sizes(text: str, image_size: int) -> list[tuple[int, float]]:
    """Return what `parse_progressive` gives, with sizes in pixels.

    A fraction of the dataset's size becomes the nearest multiple of 8, and 16 at least.
    """
    return [
        (min(max(SMALLEST, round(size * image_size / _MULTIPLE) * _MULTIPLE), image_size), share)
        if isinstance(size, Fraction)
        else (size, share)
        for size, share in parse_progressive(text)
    ]


def check_sizes(text: str, image_size: int) -> None:
    """Raise UsageError for a size in pixels that is not below the dataset's.

    Args:
        text: Value of `--progressive`.
        image_size: Side of the dataset's images in pixels.

    Raises:
        UsageError: If a size is not smaller than `image_size`.
    """
    for size, _ in parse_progressive(text):
        if size >= image_size:
            raise UsageError(
                f"--progressive {text}: the dataset's images have {image_size} px; give smaller sizes, or fractions "
                "of theirs"
            )


def smallest_size(text: str, image_size: int) -> int:
    """Return the side, in pixels, of the smallest training images.

    Args:
        text: Value of `--progressive`.
        image_size: Side of the dataset's images in pixels.
    """
    return min([image_size, *(size for size, _ in _pixel_sizes(text, image_size))])


def size_of_epoch(text: str, epoch: int, epochs: int, image_size: int) -> int:
    """Return the side, in pixels, of the training images of an epoch.

    The last epoch has images of full size, however the shares are rounded.

    Args:
        text: Value of `--progressive`.
        epoch: Number of the epoch, from 0.
        epochs: Number of epochs of the run.
        image_size: Side of the dataset's images in pixels.
    """
    ends = ((size, min(round(share * epochs), epochs - 1)) for size, share in _pixel_sizes(text, image_size))
    return next((size for size, end in ends if epoch < end), image_size)
