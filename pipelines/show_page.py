"""Images of a dataset as a page."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image

from pipelines.contact_sheet import Shown
from pipelines.html import render
from pipelines.read_dataset import StoredImage


class Entry(NamedTuple):
    """One image: its text, and the records that are shown."""

    shown: Shown
    records: list[StoredImage]

    @property
    def pictures(self) -> list[bytes]:
        """Files that a browser shows with just the stored pixels: the stored files themselves where they are such."""
        return [record.encoded if record.format != "raw" else _png(record) for record in self.records]


class Sheet(NamedTuple):
    """What is shown, and in one line how much of what."""

    title: str
    line: str
    entries: list[Entry]


def _png(record: StoredImage) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(record.pixels()).save(buffer, "PNG")
    return buffer.getvalue()


def show_page(sheet: Sheet, description: Mapping[str, Any]) -> bytes:
    """The page of a sheet. description: dataset.json."""
    groups = itertools.groupby(sheet.entries, key=lambda entry: entry.shown.heading)
    return render(
        "show.html.j2",
        title="Dataset images",
        sections={},
        sheet=sheet,
        groups=[(heading, list(entries)) for heading, entries in groups],
        description=description,
    )
