"""What the names of files say: whether they are images, and of which image. Imports no Beam."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata

# Files with other names lie beside images in every download (licences, CSVs); they are counted, not read.
IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".heic", ".dcm"}
)
_ISIC_ID = re.compile(r"ISIC_\d{7}(?!\d)", re.IGNORECASE)
_COPY_NUMBER = re.compile(r"\s*\(\d+\)$")
_SIZE_SUFFIX = re.compile(r"(?:_downsampled)+$", re.IGNORECASE)


def is_image_name(name: str) -> bool:
    """Whether a file's name says that it should be an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def isic_id_of(name: str) -> str:
    """The ISIC id in a file name, in capitals; empty when there is none."""
    found = _ISIC_ID.search(posixpath.basename(name))
    return found.group(0).upper() if found else ""


def image_id_of(name: str) -> str:
    """The ISIC id in a file name, else its stem without `_downsampled`, with composed letters (macOS writes others).

    `lesion (2)` is not `lesion`: software numbers pictures so. The same picture again is found by its content.
    """
    base = composed(posixpath.basename(name))
    return isic_id_of(name) or _SIZE_SUFFIX.sub("", os.path.splitext(base)[0] if is_image_name(base) else base)


def composed(text: str) -> str:
    """Text in Unicode's form NFC, in which the same letters are the same characters."""
    return unicodedata.normalize("NFC", text)


def has_copy_number(name: str) -> bool:
    """Whether a file is named like a second download of another: `ISIC_0025509(1).jpg`."""
    return bool(_COPY_NUMBER.search(os.path.splitext(name)[0]))
