"""Command line that verifies a finished dataset, or compares it with another one (`python -m pipelines.verify`).

Verification reads everything again and reports the first error. Comparison (`--against OTHER`) reads only the manifests
and dataset.json files of the two datasets.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines.common import console
from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import CheckFailed, UsageError
from pipelines.dataset.description_reader import require_unchanged
from pipelines.dataset.finished import Dataset, open_dataset
from pipelines.domain.dataset_json import DatasetDescription
from pipelines.storage import filesystem
from pipelines.storage.access import require_readable, require_writable
from pipelines.storage.errors import StorageError

if TYPE_CHECKING:
    from pipelines.verify.dataset_check import Verified

DESCRIPTION = """\
Read a finished dataset again and check that it is what its dataset.json says.

Every shard: there, its size, SHA-256 and CRCs; every record: keys, types, label, and an image that decodes to the
promised size; no image, group or lesion in two splits or folds; every copy of every image in the manifest once, and
nothing else; rejects, counts and fingerprint as the manifest gives them; no file left over. Then what was made of it:
what an update takes over, past images, metadata for TFDS, the card, and both graphs, which are run on one record. The
first difference is named, with shard, record and byte (records and bytes count from 0).

With --against the records are not read: the manifests and dataset.json of two datasets are compared. What is told is
how DATASET differs from OTHER: options, versions and classes, and images added, removed, relabelled, moved to another
split or fold, with another number of copies or another outcome. An image is known by its SHA-256.
"""


EPILOG = """\
examples:
  python -m pipelines.verify out/dataset
  python -m pipelines.verify out/dataset --against out/earlier --output changes.json
"""


def summary_lines(description: DatasetDescription, verified: Verified, seconds: float) -> list[str]:
    """Return the lines to print when verification succeeds.

    Args:
        description: What dataset.json says.
        verified: How much was read.
        seconds: Wall time of the verification.
    """
    counts, splits = description.counts, description.splits
    size, form = description.image_size, description.encoding
    folds = len(splits["train"].folds)
    parts = ", ".join(f"{name} {split.originals} images in {split.examples}" for name, split in splits.items())
    return [
        f"shards: {verified.shards} of {verified.bytes:,} bytes; SHA-256 and every CRC agree",
        f"records: {verified.records}, each with a {form} image of {size} x {size} that decodes",
        f"splits: {parts}; no image, group or lesion is in two of them{f', or in two of {folds} folds' * bool(folds)}",
        f"manifest: {verified.rows} files = {counts['written']} written + {counts['duplicates']} duplicates"
        f" + {counts['rejected']} rejected + {counts['undersampled']} undersampled; each has its records or its reason",
        f"fingerprint {description.fingerprint[:16]}, recomputed",
        "known images, metadata for TFDS and card are of these records; both graphs make of one what prepare makes",
        f"{verified.records / seconds:.0f} records/s in {seconds:.1f} s",
        "ok",
    ]


def build_parser() -> ArgumentParser:
    """Return the command-line parser."""
    parser = ArgumentParser("python -m pipelines.verify", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("dataset", metavar="DATASET", help="a folder that prepare wrote; local or gs://")
    parser.add_argument("--against", metavar="OTHER", help="compare with this dataset instead of reading the records")
    parser.add_argument("--output", metavar="FILE", help="with --against: write all differences, as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace the file in --output")
    parser.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="shards read at once, each in a process; 0: one per core, where there is enough to read",
    )
    return parser


def _require_output(path: str | None, overwrite: bool, against: str | None) -> None:
    if path is None:
        return
    if not against:
        raise UsageError(f"--output {path}: is for the differences that --against finds; add it")
    require_writable("--output", path)
    try:
        there = filesystem.exists(path)
    except StorageError as error:
        raise UsageError(f"--output {path}: cannot be written: {error}") from error
    if there and not overwrite:
        raise UsageError(f"--output {path}: is there already; add --overwrite to replace it")


@contextlib.contextmanager
def _unchanged(option: str, dataset: Dataset) -> Iterator[None]:
    """Raise UsageError if a dataset was replaced while the block read it, whatever the block found."""
    try:
        yield
    except (CheckFailed, OSError):
        require_unchanged(f"{option} {dataset.folder}", dataset.folder, dataset.description)
        raise
    require_unchanged(f"{option} {dataset.folder}", dataset.folder, dataset.description)


def main(argv: Sequence[str] | None = None) -> None:
    """Verify a dataset, or compare two, and print the result.

    Args:
        argv: Arguments without the program name; None for `sys.argv`.

    Raises:
        UsageError: An option is wrong, or there is no finished dataset.
        CheckFailed: The dataset is not what its dataset.json says.
    """
    options = build_parser().parse_args(argv)
    if options.workers < 0:
        raise UsageError(f"--workers {options.workers}: 0 or more is needed")
    require_readable("DATASET", options.dataset)
    require_readable("--against", options.against or "")
    _require_output(options.output, options.overwrite, options.against)
    started = time.time()
    dataset = open_dataset(options.dataset, "DATASET")
    console.say(f"reading {options.dataset}", phase="starting")
    # What reads a dataset is imported once there is one.
    from pipelines.verify import compare
    from pipelines.verify.dataset_check import verify_dataset

    if not options.against:
        with _unchanged("DATASET", dataset):
            verified = verify_dataset(dataset, options.workers)
        print("\n".join(summary_lines(dataset.description, verified, time.time() - started)))
        return
    other = open_dataset(options.against, "--against")
    with _unchanged("DATASET", dataset), _unchanged("--against", other):
        comparison = compare.compare(dataset, other)
    if options.output:
        try:
            filesystem.write_bytes(options.output, compare.comparison_bytes(comparison))
        except StorageError as error:
            raise UsageError(f"--output {options.output}: cannot be written: {error}") from error
    print("\n".join(compare.summary_lines(comparison)))
