"""Render images of a dataset as an HTML page."""

from __future__ import annotations

import io
import itertools
from typing import NamedTuple

from PIL import Image

from pipelines.common.html import render
from pipelines.dataset.records import StoredImage
from pipelines.domain.dataset_json import DatasetDescription
from pipelines.show.contact_sheet import Shown


class Entry(NamedTuple):
    """One image of a sheet."""

    shown: Shown  # its texts
    records: list[StoredImage]  # the records to show, in order of copy

    @property
    def pictures(self) -> list[bytes]:
        """Image files that a browser can show: the stored files, or lossless PNGs of raw pixels."""
        return [record.encoded if record.format != "raw" else _png(record) for record in self.records]


class Sheet(NamedTuple):
    """The content of a contact sheet."""

    title: str
    line: str  # one-line summary for the terminal: how much is shown, and how much was read for it
    entries: list[Entry]


def _png(record: StoredImage) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(record.pixels()).save(buffer, "PNG")
    return buffer.getvalue()


def show_page(sheet: Sheet, description: DatasetDescription) -> bytes:
    """Render a sheet as an HTML page.

    Args:
        sheet: The sheet.
        description: What dataset.json says.
    """
    groups = itertools.groupby(sheet.entries, key=lambda entry: entry.shown.heading)
    return render(
        "show.html.j2",
        title="Dataset images",
        sections={},
        sheet=sheet,
        groups=[(heading, list(entries)) for heading, entries in groups],
        description=description,
    )
