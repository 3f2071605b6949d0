"""Names of the forms that images take, for options and descriptions; needs no imaging library."""

from __future__ import annotations

from typing import Any

# How a photograph becomes a square.
ASPECTS = ("crop", "pad", "stretch")
# How an image is stored in a record. raw: the uint8 values in row, column, channel order.
ENCODINGS = ("jpeg", "png", "raw")
JPEG_QUALITY = 95


def describe_encoding(encoding: str) -> dict[str, Any]:
    """Return the value of `encoding` in dataset.json."""
    return {"format": encoding, "quality": JPEG_QUALITY} if encoding == "jpeg" else {"format": encoding}
