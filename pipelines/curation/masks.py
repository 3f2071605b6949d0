"""Recognize segmentation masks: pictures that belong to a photograph, carry its id, and are no photograph."""

from __future__ import annotations

import posixpath
import re

from PIL import Image

from pipelines.curation.corrections import is_taken
from pipelines.dataset.image_row import MASK, ImageRow

# What the last word of a file's name says, beside a number: `ISIC_0000001_segmentation.png`, `lesion1-mask2.png`. What
# is drawn over a photograph or made of it is no photograph either.
_FILE_WORDS = frozenset(
    (
        *("mask", "masks", "seg", "segmentation", "segmentations", "superpixel", "superpixels", "trimap"),
        *("groundtruth", "annotation", "annotations", "contour", "contours", "outline", "outlines"),
        *("overlay", "overlays", "heatmap", "heatmaps", "saliency", "gradcam"),
    )
)
# ISIC 2018 task 2: `ISIC_0000001_attribute_pigment_network.png`.
_ATTRIBUTE = re.compile(r"_attribute_[a-z_]+$", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+")
_BLACK_OR_WHITE: dict[object, str] = {(0, 0, 0): "black", (255, 255, 255): "white"}
# Grey levels that count as black and as white, and the shares of a mask's pixels that have them. Of 900 photographs,
# none has over 0.76, and that one is overexposed.
_NEAR_BLACK, _NEAR_WHITE = 24, 231
_LEAST_OF_EACH, _LEAST_OF_BOTH = 0.005, 0.9

# Reasons of pictures that cannot be photographs, where nothing says that they are masks: all black or all white, as a
# frame that failed; and of two colours, or black and white with hardly any grey between.
BLANK = "blank"
NO_PHOTOGRAPH = "no_photograph"


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


def is_called_mask(relative: str) -> bool:
    """Return whether the name of a file or of its folder says that it is a mask."""
    return is_named_mask(relative) or is_in_mask_folder(relative)


def _impossible(image: Image.Image) -> tuple[str, str]:
    """Return why an image cannot be a photograph by its colours, as a reason and in words; empty texts if it can be.

    It costs microseconds, unless the picture has no colour.
    """
    found = image.getcolors(2) or []
    if len(found) == 2:
        return NO_PHOTOGRAPH, "of two colours"
    if found and (name := _BLACK_OR_WHITE.get(found[0][1])):
        return BLANK, f"all {name}"
    if not found and _lacks_color(image) and _is_black_and_white(image):
        return NO_PHOTOGRAPH, "black and white, with hardly any grey"
    return "", ""


def _lacks_color(image: Image.Image) -> bool:
    width, height = image.size
    # Five points tell of nearly every photograph that it has colour.
    for part in range(1, 6):
        pixel = image.getpixel((width * part // 6, height * part // 6))
        if isinstance(pixel, tuple) and len(set(pixel)) > 1:
            return False
    red, green, blue = (channel.tobytes() for channel in image.split())
    return red == green == blue


def _is_black_and_white(image: Image.Image) -> bool:
    """Return whether a grey picture is a mask that was saved as JPEG or resized: its borders alone became grey."""
    levels = image.getchannel(0).histogram()
    black, white = sum(levels[: _NEAR_BLACK + 1]), sum(levels[_NEAR_WHITE:])
    pixels = image.width * image.height
    return min(black, white) >= _LEAST_OF_EACH * pixels and black + white >= _LEAST_OF_BOTH * pixels


def is_grey(row: ImageRow) -> bool:
    """Return whether the picture of a row has no colour, judging by its sketch."""
    red, green, blue = (row.sketch[channel::3] for channel in range(3))
    return red == green == blue


def is_no_photograph(row: ImageRow) -> bool:
    """Return whether a picture is a mask, if it shares the id of a photograph and does not look like it."""
    return not is_taken(row) and (is_grey(row) or is_called_mask(row.relative))


def reject_no_photograph(row: ImageRow, image: Image.Image) -> ImageRow:
    """Return the row, rejected if its picture is no photograph: as `mask` if its name or folder says so.

    Otherwise a picture that is all black or all white is `blank`, and one of two colours, or of black and white,
    `no_photograph`, until a photograph of its id is found, see `companions`: it may as well be a frame that failed. A
    grey picture is none of these on its own, as there are grey photographs; and none is what a person takes for a
    photograph.

    Args:
        row: The row of the file.
        image: Its picture, of mode RGB.
    """
    if is_taken(row):
        return row
    if is_named_mask(row.relative):
        return row.rejected("identify", MASK, "a mask: its name says so")
    reason, words = _impossible(image)
    if is_in_mask_folder(row.relative) and (reason or _lacks_color(image)):
        return row.rejected("identify", MASK, f"a mask: it is {words or 'grey'}, and its folder is named so")
    return row.rejected("identify", reason, f"no photograph: it is {words}") if reason else row
