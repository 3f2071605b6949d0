"""Options of the prepare job: declared once, parsed and validated before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines import balance, images
from pipelines.cli import ArgumentParser, UsageError, require_job_limits
from pipelines.labels import FOLDER
from pipelines.metadata import Columns, source_name
from pipelines.split import Fractions
from pipelines.taxonomy import CLASS_SETS, ClassSet, known_set, resolve_classes

DESCRIPTION = """\
Turn a folder of labelled lesion images into a leak-free, balanced TFRecord dataset.

Images are JPEG or PNG files in folders named after their class, at any depth. Each is checked, exact duplicates are
dropped, images filed under two classes are rejected, and photographs of one lesion stay in one split. Only then are
training images copied and augmented to balance the classes. Files that become no record are listed, with the reason,
in OUTPUT/rejects-*.jsonl; every listed file is in OUTPUT/manifest-*.parquet.
"""

EPILOG = """\
example:
  python -m pipelines.prepare --input data/Train --metadata HAM10000_metadata.csv --output out/dataset

Any Beam option may follow, for example --runner DataflowRunner --region ... --temp_location gs://...
Exit codes: 0 done, 1 done but more images rejected than --max_reject_fraction, 2 wrong use, other: failed.
"""

DEFAULT_FRACTIONS = Fractions(0.8, 0.1, 0.1)
DEFAULT_CLASS_SET = known_set("isic9")
NO_COLUMNS = Columns()


@dataclass(frozen=True)
class PrepareOptions:
    """What the user asked for, validated. threads: 0 stands for one per core."""

    input: tuple[str, ...]
    output: str
    metadata: tuple[str, ...] = ()
    columns: Columns = NO_COLUMNS
    class_set: ClassSet = DEFAULT_CLASS_SET
    trust: str = ""
    licenses: tuple[str, ...] = ()
    group_by_patient: bool = False
    image_size: int = 180
    aspect: str = "crop"
    split_fractions: Fractions = DEFAULT_FRACTIONS
    split_from_folders: bool = False
    splits_file: str = ""
    balance: str = "oversample"
    target_per_class: str | int = "max"
    small_classes: str = "error"
    seed: int = 0
    max_reject_fraction: float = 0.25
    threads: int = 0
    overwrite: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.class_set.classes

    def as_json(self) -> dict[str, Any]:
        """All of it, for the run's report."""
        where = {"input": list(self.input), "metadata": list(self.metadata), "splits_file": self.splits_file}
        what = {"classes": list(self.classes), "image_size": self.image_size, "aspect": self.aspect, "seed": self.seed}
        return {**where, **what, **self.record_settings()}

    def record_settings(self) -> dict[str, Any]:
        """The options that decide the records, for `dataset.json` and the fingerprint."""
        return {
            "split_fractions": list(self.split_fractions),
            "split_from_folders": self.split_from_folders,
            "on_label_conflict": f"trust={self.trust}" if self.trust else "reject",
            "licenses": list(self.licenses),
            "group_by_patient": self.group_by_patient,
            "balance": self.balance,
            "target_per_class": self.target_per_class,
            "small_classes": self.small_classes,
        }


def build_parser() -> ArgumentParser:
    """The command line; its defaults are those of PrepareOptions."""
    default = PrepareOptions(input=(), output="")
    parser = ArgumentParser("python -m pipelines.prepare", description=DESCRIPTION, epilog=EPILOG)
    where = parser.add_argument_group("where")
    where.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="PATH",
        help="folder of class folders, local or gs://; may be given several times",
    )
    where.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the dataset, new or empty; local or gs://"
    )
    where.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="CSV",
        help="table with an image id column (isic_id, image_id, image or image_name) and lesion ids, diagnoses or "
        "licences: isic-cli, HAM10000, ISIC 2018 to 2020, or your own; may be repeated. A metadata.csv beside the "
        "images is found by itself",
    )
    where.add_argument("--overwrite", action="store_true", help="replace a finished dataset in --output")
    for name, what_it_holds in (
        ("id", "image ids"),
        ("label", "diagnoses"),
        ("lesion", "lesion ids"),
        ("patient", "patient ids"),
    ):
        where.add_argument(
            f"--{name}_column", default="", metavar="NAME", help=f"column with {what_it_holds} in tables of your own"
        )
    what = parser.add_argument_group("what is written")
    what.add_argument(
        "--classes",
        default="isic9",
        help=f"a class set ({', '.join(CLASS_SETS)}), a .json or .yaml file {{class: [terms]}}, or class names "
        "separated by commas",
    )
    what.add_argument(
        "--on_label_conflict",
        default="reject",
        metavar="reject|trust=SOURCE",
        help="an image whose sources disagree: reject it, or trust one source, `folder` or the file name of a table",
    )
    what.add_argument(
        "--licenses",
        metavar="LIST",
        help="take only images with one of these licences, such as CC-0,CC-BY (default: all)",
    )
    what.add_argument("--group_by_patient", action="store_true", help="keep all images of a patient in one split")
    what.add_argument(
        "--image_size", type=int, default=default.image_size, metavar="PIXELS", help="side of the square images"
    )
    what.add_argument(
        "--aspect",
        choices=images.ASPECTS,
        default=default.aspect,
        help="how a photograph becomes a square: crop its centre, pad it with black, or stretch it",
    )
    what.add_argument(
        "--split_fractions",
        default="0.8,0.1,0.1",
        metavar="TRAIN,VALIDATION,TEST",
        help="shares of the lesions of each class",
    )
    what.add_argument(
        "--split_from_folders",
        action="store_true",
        help="keep the split named by Train, Validation and Test folders; a lesion on both sides leaves the test side",
    )
    what.add_argument(
        "--splits_file",
        default="",
        metavar="CSV",
        help="table with an image id column and `split` (train, validation, test); the other images are split as usual",
    )
    what.add_argument(
        "--balance",
        choices=balance.METHODS,
        default=default.balance,
        help="training images only: add augmented copies, drop images, or leave as they are",
    )
    what.add_argument(
        "--target_per_class",
        metavar="N",
        help="training examples per class: a number, or max or min for the largest or smallest class "
        "(default: max to oversample, min to undersample)",
    )
    what.add_argument(
        "--small_classes",
        choices=("error", "reject"),
        default=default.small_classes,
        help="a class with too few images for every split: refuse to run, or reject its images (it keeps its label)",
    )
    what.add_argument(
        "--seed", type=int, default=default.seed, help="decides splits, copies and order; same seed, same bytes"
    )
    how = parser.add_argument_group("how it runs")
    how.add_argument(
        "--max_reject_fraction",
        type=float,
        default=default.max_reject_fraction,
        metavar="FRACTION",
        help="exit with code 1, after writing everything good, when more of the listed files are rejected "
        "(duplicates do not count)",
    )
    how.add_argument(
        "--threads",
        type=int,
        default=default.threads,
        metavar="N",
        help="images at once per worker process; 0: one per core",
    )
    return parser


def _fractions(text: str) -> Fractions:
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) != 3 or any(not 0.0 <= share <= 1.0 for share in shares):
        raise UsageError(f"--split_fractions {text!r}: three numbers from 0 to 1 are needed, such as 0.8,0.1,0.1")
    if abs(sum(shares) - 1.0) > 1e-6:
        raise UsageError(f"--split_fractions {text!r}: they add up to {sum(shares):g}, not to 1")
    if not shares[0]:
        raise UsageError(f"--split_fractions {text!r}: the train fraction is 0; nothing could be trained")
    return Fractions(*shares)


def _target(method: str, text: str | None) -> str | int:
    if text is None:
        return "min" if method == "undersample" else "max"
    if method == "none":
        raise UsageError(f"--target_per_class {text}: has no meaning with --balance none; leave it out")
    if text in ("max", "min"):
        return text
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise UsageError(f"--target_per_class {text!r}: a number from 1, max or min is needed")
    return int(text)


def _trust(text: str) -> str:
    if text == "reject":
        return ""
    source = text.removeprefix("trust=")
    if source == text or not source:
        raise UsageError(f"--on_label_conflict {text!r}: reject or trust=SOURCE is needed")
    return source


def require_trusted(options: PrepareOptions) -> None:
    """Raise UsageError unless the trusted source is one of the run's; its tables are known by now."""
    known = [FOLDER, *map(source_name, options.metadata)]
    if options.trust and options.trust not in known:
        raise UsageError(f"--on_label_conflict trust={options.trust}: no such source; there are {', '.join(known)}")


def parse_options(argv: Sequence[str] | None) -> tuple[PrepareOptions, list[str]]:
    """The job's options and what is left for Beam. Raises UsageError for a value that cannot be right."""
    arguments, rest = build_parser().parse_known_args(argv)
    if not 8 <= arguments.image_size <= 4096:
        raise UsageError(f"--image_size {arguments.image_size}: a number of pixels from 8 to 4096 is needed")
    require_job_limits(arguments.max_reject_fraction, arguments.threads)
    if arguments.splits_file and arguments.split_from_folders:
        raise UsageError(f"--splits_file {arguments.splits_file}: cannot be combined with --split_from_folders")
    columns = Columns(arguments.id_column, arguments.label_column, arguments.lesion_column, arguments.patient_column)
    options = PrepareOptions(
        input=tuple(arguments.input),
        output=arguments.output,
        metadata=tuple(arguments.metadata),
        columns=columns,
        class_set=resolve_classes(arguments.classes),
        trust=_trust(arguments.on_label_conflict),
        licenses=tuple(part.strip() for part in (arguments.licenses or "").split(",") if part.strip()),
        group_by_patient=arguments.group_by_patient,
        splits_file=arguments.splits_file,
        image_size=arguments.image_size,
        aspect=arguments.aspect,
        split_fractions=_fractions(arguments.split_fractions),
        split_from_folders=arguments.split_from_folders,
        balance=arguments.balance,
        target_per_class=_target(arguments.balance, arguments.target_per_class),
        small_classes=arguments.small_classes,
        seed=arguments.seed,
        max_reject_fraction=arguments.max_reject_fraction,
        threads=arguments.threads,
        overwrite=arguments.overwrite,
    )
    return options, rest
