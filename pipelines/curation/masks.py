"""Recognize segmentation masks: pictures that belong to a photograph, carry its id, and are no photograph."""

from __future__ import annotations

import posixpath
import re

from PIL import Image

from pipelines.dataset.image_row import ImageRow

# What the last word of a file's name says, beside a number: `ISIC_0000001_segmentation.png`, `lesion1-mask2.png`.
_FILE_WORDS = frozenset({"mask", "masks", "seg", "segmentation", "segmentations", "superpixel", "superpixels"})
# ISIC 2018 task 2: `ISIC_0000001_attribute_pigment_network.png`.
_ATTRIBUTE = re.compile(r"_attribute_[a-z_]+$", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+")
_BLACK_OR_WHITE = ((0, 0, 0), (255, 255, 255))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def is_named_mask(relative: str) -> bool:
    """Return whether the name of a file says that it is a mask."""
    stem = posixpath.splitext(posixpath.basename(relative))[0]
    words = _words(stem)
    return bool(words and words[-1] in _FILE_WORDS) or bool(_ATTRIBUTE.search(stem))


def is_in_mask_folder(relative: str) -> bool:
    """Return whether the folder of a file says that it holds masks."""
    return not _FILE_WORDS.isdisjoint(_words(posixpath.basename(posixpath.dirname(relative))))


def has_mask_levels(image: Image.Image) -> bool:
    """Return whether an image has only two colours, or is all black or all white; costs microseconds for photographs.

    Args:
        image: An image of mode RGB.
    """
    found = image.getcolors(2)
    if found is None:
        return False
    return len(found) == 2 or found[0][1] in _BLACK_OR_WHITE


def _lacks_color(image: Image.Image) -> bool:
    red, green, blue = (channel.tobytes() for channel in image.split())
    return red == green == blue


def is_grey(row: ImageRow) -> bool:
    """Return whether the picture of a row has no colour, judging by its sketch."""
    red, green, blue = (row.sketch[channel::3] for channel in range(3))
    return red == green == blue


def is_no_photograph(row: ImageRow) -> bool:
    """Return whether a picture is a mask, if it shares the id of a photograph and does not look like it."""
    return is_grey(row) or is_named_mask(row.relative) or is_in_mask_folder(row.relative)


def find_mask(row: ImageRow, image: Image.Image) -> str:
    """Return why a picture is a mask, whatever photograph it belongs to; empty for any other.

    A grey picture is none on its own, as there are grey photographs, unless its folder says so.

    Args:
        row: The row of the file.
        image: Its picture, of mode RGB.
    """
    if is_named_mask(row.relative):
        return "a mask: its name says so"
    if has_mask_levels(image):
        return "a mask: it has two colours, or is all black or all white"
    if is_in_mask_folder(row.relative) and _lacks_color(image):
        return "a mask: it is grey, and its folder is named so"
    return ""
