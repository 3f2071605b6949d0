"""Tell an image by its first bytes, whatever its name."""

from __future__ import annotations

from collections.abc import Set

# DICOM has its mark after a preamble of 128 bytes.
HEAD_BYTES = 132
_STARTS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # TIFF and BigTIFF
    *(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),  # JPEG 2000
    *(b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a"),  # JPEG XL
)
# Brands of ISO media files that hold pictures.
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AVIF = frozenset({b"avif", b"avis"})
# Sizes of BMP's headers; its mark alone is two letters, which a text may begin with.
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def is_image_head(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is an image, of a format that can be read or not.

    Args:
        head: The first HEAD_BYTES bytes, or all of a shorter file.
    """
    if head.startswith(_STARTS) or is_dicom_head(head):
        return True
    if head[:2] == b"BM":
        return int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    return (head[:4], head[8:12]) == (b"RIFF", b"WEBP") or _is_media(head, _HEIC | _AVIF)


def _is_media(head: bytes, brands: Set[bytes]) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in brands


def is_heic_head(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a HEIC, or an AVIF that does not call itself one."""
    return _is_media(head, _HEIC)


def is_dicom_head(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is a DICOM."""
    return head[128:132] == b"DICM"
