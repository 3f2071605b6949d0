"""Prepare text for display."""

from __future__ import annotations


def printable(path: str) -> str:
    """Return a path as text for display; the result may not open the file.

    Bytes that are not UTF-8 become a backslash, x and two hex digits. So does NUL, at which terminals cut the text.
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").replace("\0", r"\x00")
