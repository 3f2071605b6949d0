"""Prepare text for display."""

from __future__ import annotations


def printable(path: str) -> str:
    """Return a path as text for display; the result may not open the file.

    Bytes that are not UTF-8 become a backslash, x and two hex digits. So does NUL, at which terminals cut the text.
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").replace("\0", r"\x00")


def visible(text: str) -> str:
    """Return text that is safe to print on a terminal: unprintable characters become backslash escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
