"""Small images first: an epoch at half the size costs a quarter, and most of what is learnt does not need details.

Progressive resizing as in fast.ai's DAWNBench entry (2018) and EfficientNetV2 (Tan and Le 2021, section 4). Imports no
TensorFlow.
"""

from __future__ import annotations

from pipelines.cli import UsageError

SMALLEST = 16


def parse_progressive(text: str) -> tuple[tuple[int, float], ...]:
    """`64:0.6,96:0.85` -> ((64, 0.6), (96, 0.85)): sizes and the shares of the epochs up to which they last.

    Raises ValueError, with what is wrong, unless both grow and shares are between 0 and 1.
    """
    phases: list[tuple[int, float]] = []
    for part in filter(None, text.split(",")):
        size, colon, until = part.partition(":")
        if not (colon and size.strip().isdigit()):
            raise ValueError(f"'{part}' is not SIZE:SHARE, as in 64:0.6")
        try:
            phases.append((int(size), float(until)))
        except ValueError:
            raise ValueError(f"'{until}' is not a number") from None
    for index, (pixels, share) in enumerate(phases):
        smaller, sooner = phases[index - 1] if index else (SMALLEST - 1, 0.0)
        if not (smaller < pixels and sooner < share < 1):
            raise ValueError(
                f"sizes from {SMALLEST} on, and shares between 0 and 1, must grow; {pixels}:{share:g} does not"
            )
    return tuple(phases)


def check_sizes(text: str, image_size: int) -> None:
    """Raise UsageError for a size that is not below the dataset's."""
    for size, _ in parse_progressive(text):
        if size >= image_size:
            raise UsageError(f"--progressive {text}: the dataset's images have {image_size} px; give smaller sizes")


def smallest_size(text: str, image_size: int) -> int:
    """The side, in pixels, of the smallest images that are trained on."""
    return min([image_size, *(size for size, _ in parse_progressive(text))])


def size_of_epoch(text: str, epoch: int, epochs: int, image_size: int) -> int:
    """The side, in pixels, of training images in epoch number `epoch` (from 0) of `epochs`.

    The last epoch has images of full size, whatever the shares are rounded to.
    """
    ends = ((size, min(round(share * epochs), epochs - 1)) for size, share in parse_progressive(text))
    return next((size for size, end in ends if epoch < end), image_size)
