"""Tables of text for tests of what reads them."""

from __future__ import annotations

from pathlib import Path


def table(tmp_path: Path, text: str, name: str = "table.csv") -> Path:
    """A table with this text, in UTF-8."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path
