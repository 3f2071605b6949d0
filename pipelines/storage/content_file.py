"""What files have in common whose content is made from another file as it is read."""

from __future__ import annotations

import io
from typing import BinaryIO


class ContentFile(io.RawIOBase):
    """A readable, seekable file over another one, which it closes; `seek` and `readinto` are those of each kind."""

    def __init__(self, file: BinaryIO):
        super().__init__()
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset in the content at which the next byte is read."""
        return self._position

    def close(self) -> None:
        """Close this file and the one below it."""
        self._file.close()
        super().close()
