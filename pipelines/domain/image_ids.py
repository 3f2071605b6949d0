"""Tell from a file's name whether it is an image, and of what image. Does not import Beam."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata

# Downloads also contain other files, such as licences and CSVs. Those of other extensions, or of none, are looked at by
# their first bytes (see `unnamed_images`).
IMAGE_EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".jpg_large", ".png", ".apng", ".bmp", ".gif", ".tif"),
        *(".tiff", ".webp", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".dcm"),
    )
)
_ISIC_ID = re.compile(r"ISIC_\d{7}(?!\d)", re.IGNORECASE)
_COPY_NUMBER = re.compile(r"\s*\(\d+\)$")
_SIZE_SUFFIX = re.compile(r"(?:_downsampled)+$", re.IGNORECASE)


def is_image_name(name: str) -> bool:
    """Return whether a file has the extension of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS


def isic_id_of(name: str) -> str:
    """Return the ISIC id in a file name, in upper case, or an empty string."""
    found = _ISIC_ID.search(posixpath.basename(name))
    return found.group(0).upper() if found else ""


def image_id_of(name: str) -> str:
    """Return the ISIC id in a file name, or else the stem of the name without `_downsampled`.

    The stem is normalised by `composed`, because macOS writes decomposed letters. `lesion (2)` stays distinct from
    `lesion` because software numbers different pictures this way; real copies are found by their content.
    """
    base = composed(posixpath.basename(name))
    return isic_id_of(name) or _SIZE_SUFFIX.sub("", os.path.splitext(base)[0] if is_image_name(base) else base)


def composed(text: str) -> str:
    """Normalise text to Unicode NFC, so that equal letters are equal characters."""
    return unicodedata.normalize("NFC", text)


def has_copy_number(name: str) -> bool:
    """Return whether a file is named like a second download of another file, such as `ISIC_0025509(1).jpg`."""
    return bool(_COPY_NUMBER.search(os.path.splitext(name)[0]))
