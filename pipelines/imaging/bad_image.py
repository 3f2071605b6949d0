"""The error for an image that cannot be used."""

from __future__ import annotations


class BadImage(Exception):  # noqa: N818  the name says what it is
    """Error for an image that cannot be used.

    Attributes:
        reason: A short code, as written to the rejects file.
        message: The details for a human reader.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
