"""Command line that shows images of a prepared dataset (`python -m pipelines.show`).

It writes only the file given with `--output`.
"""

from __future__ import annotations

import bisect
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.common.cli import ArgumentParser, UsageError
from pipelines.dataset.image_row import WRITTEN
from pipelines.dataset.reader import DamagedShard, read_description, read_manifest
from pipelines.domain.dataset_json import DATASET_JSON, SPLITS, DatasetDescription
from pipelines.imaging.images import BadImage
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from pipelines.show import contact_sheet
from pipelines.show.contact_sheet import Shown
from pipelines.show.page import Entry, Sheet, show_page
from pipelines.show.select import Row, choose, facts_of, find_image, find_records, visible
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError
from pipelines.storage.gcs_access import require_readable, require_writable

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".html": "HTML"}
MOST_IMAGES = 1_000
# Limit for one image on a sheet of several: the original and its first copies.
MOST_PICTURES = 6
DEFAULT_IMAGES = 24


DESCRIPTION = """\
Look inside a prepared dataset: a contact sheet of some of its images, originals (framed) beside their augmented
copies, exactly the stored pixels; or everything about one image, all its copies, and where it went.
"""


EPILOG = """\
examples:
  python -m pipelines.show out/dataset --output sheet.png --class melanoma --split train -n 24
  python -m pipelines.show out/dataset --output image.html --id ISIC_0024307

Exit codes: 0 done, 2 wrong use, other: failed.
"""


@dataclass(frozen=True)
class ShowOptions:
    """The validated command-line options; None for an option that was not given."""

    dataset: str
    output: str  # empty for none
    class_name: str | None
    split: str | None
    count: int | None  # None for DEFAULT_IMAGES, or as many as fit
    name: str | None  # an image id, or the beginning of a SHA-256
    seed: int
    overwrite: bool


def parse_options(argv: Sequence[str] | None) -> ShowOptions:
    """Parse and validate the command line.

    Args:
        argv: Arguments without the program name; None for `sys.argv`.

    Raises:
        UsageError: A value is invalid, or options contradict each other.
    """
    parser = ArgumentParser("python -m pipelines.show", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("dataset", metavar="DATASET", help="folder that prepare has written; local or gs://")
    parser.add_argument(
        "--output", metavar="FILE", default="", help="what to write: .png, .jpg or .html; with --id it may be left out"
    )
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="only images of this class")
    parser.add_argument("--split", metavar="|".join(SPLITS), help="only images of this split")
    parser.add_argument(
        "-n", type=int, dest="count", metavar="N", help=f"how many images (default: {DEFAULT_IMAGES}, or what fits)"
    )
    parser.add_argument("--id", dest="name", metavar="ID", help="one image: its id, or the beginning of its SHA-256")
    parser.add_argument("--seed", type=int, default=0, help="chooses other images")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE")
    options = ShowOptions(**vars(parser.parse_args(argv)))
    if options.split not in (None, *SPLITS):
        raise UsageError(f"--split {options.split}: {', '.join(SPLITS[:-1])} or {SPLITS[-1]} is needed")
    if options.count is not None and not 1 <= options.count <= MOST_IMAGES:
        raise UsageError(f"-n {options.count}: a number from 1 to {MOST_IMAGES} is needed")
    if options.name is not None:
        given = {"--class": options.class_name, "--split": options.split, "-n": options.count}
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"--id {visible(options.name)}: shows one image; leave out {option}")
    elif not options.output:
        raise UsageError("--output: name the file to write, such as sheet.png")
    return options


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _is_inside(path: str, folder: str) -> bool:
    if filesystem.is_local(path) != filesystem.is_local(folder):
        return False
    if filesystem.is_local(path):
        path, folder = os.path.realpath(path), os.path.realpath(folder)
    return path.startswith(folder.rstrip("/") + "/")


def require_file(output: str, dataset: str, overwrite: bool) -> None:
    """Check that a sheet can be written, without leaving a file behind.

    Args:
        output: The path of the file to write.
        dataset: The folder of the dataset; the file must be outside it.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: The file cannot or must not be written.
    """
    if _extension(output) not in FORMATS:
        raise UsageError(f"--output {output}: the name must end in {', '.join(FORMATS)}")
    if _is_inside(output, dataset):
        raise UsageError(f"--output {output}: lies in the dataset; name a file elsewhere")
    if filesystem.is_local(output):
        if os.path.isdir(output):
            raise UsageError(f"--output {output}: is a folder")
        existing = filesystem.nearest_folder(os.path.dirname(output) or ".")
        if not os.path.isdir(existing) or not os.access(existing, os.W_OK | os.X_OK):
            raise UsageError(f"--output {output}: cannot be written: {existing} is no folder to write in")
    require_writable("--output", output)
    try:
        there = filesystem.exists(output)
    except StorageError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.text}") from error
    if there and not overwrite:
        raise UsageError(f"--output {output}: exists; add --overwrite to replace it")


def _require_dataset(folder: str) -> DatasetDescription:
    description = read_description(folder, folder)
    if description is None:
        raise UsageError(f"{folder}: holds no {DATASET_JSON}; name a folder that pipelines.prepare has finished")
    return description


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


def main(argv: Sequence[str] | None = None) -> None:
    """Show images of a dataset: print a summary, and write a sheet if one is asked for.

    Args:
        argv: Arguments without the program name; None for `sys.argv`.

    Raises:
        UsageError: An option is wrong, or the dataset cannot be read or is damaged.
    """
    options = parse_options(argv)
    require_readable("DATASET", options.dataset)
    if options.output:
        require_file(options.output, options.dataset, options.overwrite)
    description = _require_dataset(options.dataset)
    if options.class_name in (None, *description.classes):
        start_tensorflow()
    try:
        sheet = (
            several_images(options, description)
            if options.name is None
            else one_image(options, description, options.name)
        )
        content = encode_sheet(sheet, description, FORMATS[_extension(options.output)]) if options.output else None
    except (DamagedShard, BadImage) as error:
        raise UsageError(f"{options.dataset}: is damaged: {error}; prepare it again") from error
    if options.name is not None:
        print("\n".join(line for entry in sheet.entries for line in fact_lines(entry)))
    print(sheet.line)
    if content is not None:
        filesystem.write_bytes(options.output, content)
        print(f"wrote {options.output}")
