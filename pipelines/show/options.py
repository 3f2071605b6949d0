"""Command-line options of the show command, and whether the file that it writes can be written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError
from pipelines.common.text import visible
from pipelines.domain.dataset_json import SPLITS
from pipelines.storage import filesystem
from pipelines.storage.access import require_writable
from pipelines.storage.errors import StorageError

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".html": "HTML"}
MOST_IMAGES = 1_000
DEFAULT_IMAGES = 24


DESCRIPTION = """\
Look inside a prepared dataset: a contact sheet of some of its images, originals (framed) beside their augmented
copies, exactly the stored pixels; or everything about one image, all its copies, and where it went.
"""


EPILOG = """\
examples:
  python -m pipelines.show out/dataset --output sheet.png --class melanoma --split train -n 24
  python -m pipelines.show out/dataset --output image.html --id ISIC_0024307
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


def extension(path: str) -> str:
    """Return the ending of a file's name, in lower case."""
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
    if extension(output) not in FORMATS:
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
