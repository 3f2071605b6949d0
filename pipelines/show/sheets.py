"""What the show command shows: some images of a dataset, or everything about one."""

from __future__ import annotations

import bisect
import io
from collections.abc import Callable

from pipelines.common.cli import UsageError
from pipelines.common.text import visible
from pipelines.dataset.image_row import WRITTEN
from pipelines.dataset.reader import read_manifest
from pipelines.domain.dataset_json import SPLITS, DatasetDescription
from pipelines.show import contact_sheet
from pipelines.show.contact_sheet import Shown
from pipelines.show.options import DEFAULT_IMAGES, ShowOptions
from pipelines.show.page import Entry, Sheet, show_page
from pipelines.show.select import Row, choose, facts_of, find_image, find_records

# Limit for one image on a sheet of several: the original and its first copies.
MOST_PICTURES = 6


def _most(count: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number up to `count` that fits, by bisection; at least 1."""
    return max(1, bisect.bisect_left(range(1, count + 1), True, key=lambda number: not fits(number)))


def _shown(row: Row, heading: str) -> Shown:
    place = ", ".join(filter(None, (row["label"], row["split"], "" if row["fold"] is None else f"fold {row['fold']}")))
    pictures = min(row["copies"], MOST_PICTURES)
    more = (f"{pictures - 1} of {row['copies'] - 1} copies",) if pictures < row["copies"] else ()
    return Shown(heading, (row["id"], place, *more), tuple(range(pictures)))


def several_images(options: ShowOptions, description: DatasetDescription) -> Sheet:
    """Return a sheet of some images, optionally of one class or split only.

    Args:
        options: The validated options.
        description: What dataset.json says.

    Returns:
        The sheet, in order of class and split.

    Raises:
        UsageError: No image matches, or the number asked for does not fit on a sheet.
        DamagedShard: A shard is damaged, or lacks records that the manifest lists.
    """
    classes, size = description.classes, description.image_size
    if options.class_name not in (None, *classes):
        raise UsageError(f"--class {options.class_name}: no such class; there are {', '.join(classes)}")
    what = ", ".join(filter(None, (options.class_name, options.split))) or "all classes and splits"
    chosen = choose(
        read_manifest(options.dataset), options.count or DEFAULT_IMAGES, options.seed, options.class_name, options.split
    )
    if not chosen.rows:
        raise UsageError(f"{options.dataset}: holds no image of {what}")

    def ordered(count: int) -> list[Row]:
        return sorted(chosen.rows[:count], key=lambda row: (classes.index(row["label"]), SPLITS.index(row["split"])))

    def shown(count: int) -> list[Shown]:
        return [_shown(row, "" if options.class_name else row["label"]) for row in ordered(count)]

    count = _most(len(chosen.rows), lambda number: contact_sheet.arrange(shown(number), size).fits())
    if options.count and count < len(chosen.rows):
        raise UsageError(f"-n {options.count}: at {size} pixels, {count} images fit on a sheet; take -n {count}")
    rows = ordered(count)
    found = find_records(options.dataset, description, rows, MOST_PICTURES)
    entries = [
        Entry(text, found.records[row["sha256"]][: len(text.copies)])
        for text, row in zip(shown(count), rows, strict=True)
    ]
    copies = sum(len(entry.records) - 1 for entry in entries)
    line = f"{count:,} of {chosen.among:,} images ({what}) with {copies} copies; read {found.scanned}"
    return Sheet(f"{count:,} of {chosen.among:,} images: {what}", line, entries)


def one_image(options: ShowOptions, description: DatasetDescription, name: str) -> Sheet:
    """Return a sheet of one image, with every file that has its id.

    Args:
        options: The validated options.
        description: What dataset.json says.
        name: An image id, or the beginning of a SHA-256.

    Raises:
        UsageError: `name` does not identify exactly one image.
        DamagedShard: A shard is damaged, or lacks records that the manifest lists.
    """
    classes, size = description.classes, description.image_size
    files = find_image(lambda: read_manifest(options.dataset), name)
    written = [row for row in files if row["outcome"] == WRITTEN]
    most = 0
    if written:
        copies = max(row["copies"] for row in written)
        most = _most(copies, lambda count: contact_sheet.arrange([Shown("", ("",), tuple(range(count)))], size).fits())
    found = find_records(options.dataset, description, written, most)
    entries = []
    for row in files:
        records = found.records.get(row["sha256"], []) if row["outcome"] == WRITTEN else []
        facts = facts_of(row, classes, records)
        entries.append(Entry(Shown("", (row["id"],), tuple(range(len(records[:most]))), facts), records[:most]))
    outcomes = ", ".join(row["outcome"] + (f" ({row['reason']})" if row["reason"] else "") for row in files)
    read = f"; read {found.scanned}" if found.scanned else "; it is in no shard"
    return Sheet(files[0]["id"], f"{visible(files[0]['id'])}: {outcomes}{read}", entries)


def fact_lines(entry: Entry) -> list[str]:
    """Return the facts of an image as lines for a terminal."""
    return [visible(entry.shown.lines[0]), *(f"  {name:<13} {visible(value)}" for name, value in entry.shown.facts)]


def encode_sheet(sheet: Sheet, description: DatasetDescription, format_name: str) -> bytes:
    """Render a sheet as a file.

    Args:
        sheet: The sheet.
        description: What dataset.json says.
        format_name: One of the values of FORMATS.

    Raises:
        BadImage: A stored image cannot be decoded.
    """
    if format_name == "HTML":
        return show_page(sheet, description)
    size = description.image_size
    shown = [entry.shown for entry in sheet.entries]
    pixels = [[record.pixels() for record in entry.records] for entry in sheet.entries]
    image = contact_sheet.draw(sheet.title, shown, pixels, size, contact_sheet.arrange(shown, size))
    buffer = io.BytesIO()
    image.save(buffer, format_name, **({"quality": 92, "subsampling": 0} if format_name == "JPEG" else {}))
    return buffer.getvalue()
