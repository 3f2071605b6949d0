"""Command-line options of the prepare job.

The options about reading and judging images are in `curation.options`; those about the records are here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError
from pipelines.curation.command_line import add_curation_options, curation_values
from pipelines.curation.options import CurationOptions
from pipelines.dataset.record_spec import RecordSpec
from pipelines.domain.dataset_json import COMPRESSIONS
from pipelines.imaging.forms import ASPECTS, ENCODINGS, JPEG_QUALITY

DESCRIPTION = """\
Turn a folder of labelled lesion images into a leak-free, balanced TFRecord dataset.

Images are JPEG, PNG, BMP, GIF, TIFF, WebP, AVIF or JPEG 2000 files in folders named after their class, at any depth,
or with tables that say what they show, from any number of sources. Each is checked, exact duplicates are dropped,
images filed under two classes are rejected, and photographs of one lesion stay in one split. Only then are training
images copied and augmented to balance the classes. Files that become no record are listed, with the reason, in
OUTPUT/rejects-*.jsonl; every listed file is in OUTPUT/manifest-*.parquet.
"""


# How the train split is balanced.
METHODS = ("oversample", "undersample", "none")
# MiB. A shard is sorted in memory and is the unit of parallel work.
SHARD_MB = 16
# Far beyond any archive. A typo with extra zeros would fill the memory with copies before any error appears.
_MOST_PER_CLASS = 1_000_000
# What `--help` shows.
_FIRST = (
    *("metadata", "overwrite", "classes", "folds", "seed"),
    *("image_size", "aspect", "balance", "target_per_class", "update"),
)
EPILOG = """\
example:
  python -m pipelines.prepare --input data/Train --metadata HAM10000_metadata.csv --output out/dataset
  python -m pipelines.prepare --input sources.yaml --output out/dataset

Any Beam option may follow, for example --runner DataflowRunner --region ... --temp_location gs://...
"""


@dataclass(frozen=True)
class PrepareOptions(CurationOptions):
    """Validated options of the prepare job."""

    image_size: int = RecordSpec.image_size  # side in pixels
    aspect: str = RecordSpec.aspect
    balance: str = "oversample"
    target_per_class: str | int = "max"  # a number of examples, or max, mean or min
    encoding: str = RecordSpec.encoding
    compression: str = RecordSpec.compression
    shard_mb: int = SHARD_MB  # MiB before compression
    update: bool = False
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # every option as the user gave it

    @property
    def record_spec(self) -> RecordSpec:
        """How images become records."""
        return RecordSpec(self.classes, self.image_size, self.aspect, self.encoding, self.compression, self.seed)

    def as_json(self) -> dict[str, Any]:
        """Return the inputs and all options that decide the records, for the run report."""
        return {**self.places(), **dataclasses.asdict(self.record_spec), **self.record_settings()}

    def record_settings(self) -> dict[str, Any]:
        """Return the options that decide the records, for `dataset.json` and the fingerprint."""
        return {
            **self.decision_settings(),
            "balance": self.balance,
            "target_per_class": self.target_per_class,
            "shard_mb": self.shard_mb,
        }


def build_parser() -> ArgumentParser:
    """Return the command-line parser; its defaults are those of PrepareOptions."""
    default = PrepareOptions(sources=(), output="")
    parser = ArgumentParser("python -m pipelines.prepare", description=DESCRIPTION, epilog=EPILOG, first=_FIRST)
    add_curation_options(parser, default, "folder for the dataset, new or empty; local or gs://")
    what = parser.add_argument_group("what is written")
    what.add_argument(
        "--image_size", type=int, default=default.image_size, metavar="PIXELS", help="side of the square images"
    )
    what.add_argument(
        "--aspect",
        choices=ASPECTS,
        default=default.aspect,
        help="how a photograph becomes a square: crop its centre, pad it with black, or stretch it",
    )
    what.add_argument(
        "--balance",
        choices=METHODS,
        default=default.balance,
        help="training images only: add augmented copies, drop images, or leave as they are",
    )
    what.add_argument(
        "--target_per_class",
        metavar="N",
        help="training examples per class: a number, or max, mean or min for the largest class, their mean or the "
        "smallest (default: max to oversample, min to undersample). Oversampling leaves larger classes alone: with "
        "mean only rare ones are copied. With --folds every fold is balanced: the number is shared by the folds; "
        "max, mean and min are of the numbers of images of any class in any fold",
    )
    what.add_argument(
        "--update",
        action="store_true",
        help="build on the dataset in --output, if there is one: its images keep their splits and folds, new ones are "
        "split to meet the fractions, and nothing is decoded or encoded again that is there already; "
        "name all inputs, old and new",
    )
    what.add_argument(
        "--encoding",
        choices=ENCODINGS,
        default=default.encoding,
        help=f"of the images in the records: JPEG of quality {JPEG_QUALITY}, or without loss PNG (about 3 times "
        "the bytes of JPEG) or raw bytes (6 times)",
    )
    what.add_argument(
        "--compression",
        choices=COMPRESSIONS,
        default=default.compression,
        help="of the shards; gzip makes raw ones smaller by about a third, the others hardly",
    )
    what.add_argument(
        "--shard_mb",
        type=int,
        default=default.shard_mb,
        metavar="MIB",
        help="size of a shard, about and before compression; a worker holds one for each of its processes",
    )
    return parser


def _target(method: str, text: str | None, folds: int) -> str | int:
    if text is None:
        return "min" if method == "undersample" else "max"
    if method == "none":
        raise UsageError(f"--target_per_class {text}: has no meaning with --balance none; leave it out")
    if text in ("max", "mean", "min"):
        return text
    if not re.fullmatch(r"[0-9]{1,7}", text) or not 1 <= int(text) <= _MOST_PER_CLASS:
        numbers = f"a number from 1 to {_MOST_PER_CLASS}"
        raise UsageError(f"--target_per_class {text!r}: {numbers}, max, mean or min is needed")
    if int(text) < folds:
        raise UsageError(f"--target_per_class {text}: --folds {folds} need at least {folds}, one for each fold")
    return int(text)


def parse_options(argv: Sequence[str] | None) -> tuple[PrepareOptions, list[str]]:
    """Parse and validate the command line.

    Args:
        argv: The arguments after the program name; None for those of the process.

    Returns:
        The job's options and the arguments that are left for Beam.

    Raises:
        UsageError: If a value is invalid.
    """
    arguments, rest = build_parser().parse_known_args(argv)
    if not 8 <= arguments.image_size <= 4096:
        raise UsageError(f"--image_size {arguments.image_size}: a number of pixels from 8 to 4096 is needed")
    if not 1 <= arguments.shard_mb <= 1024:
        raise UsageError(f"--shard_mb {arguments.shard_mb}: a number of MiB from 1 to 1024 is needed")
    if arguments.update and (arguments.splits_file or arguments.splits_from or arguments.split_from_folders):
        raise UsageError("--update: takes the splits from --output; leave out the other options about splits")
    options = PrepareOptions(
        **curation_values(arguments),
        image_size=arguments.image_size,
        aspect=arguments.aspect,
        balance=arguments.balance,
        target_per_class=_target(arguments.balance, arguments.target_per_class, arguments.folds),
        encoding=arguments.encoding,
        compression=arguments.compression,
        shard_mb=arguments.shard_mb,
        update=arguments.update,
        given=vars(arguments),
    )
    return options, rest
