"""Text for showing."""

from __future__ import annotations


def printable(path: str) -> str:
    """A path as text for showing, not opening.

    Bytes that are not UTF-8, and NUL, which ends what a terminal shows, stand as a backslash, x and two digits.
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").replace("\0", r"\x00")
