"""The command line that prepare and audit share, and the checks of its values."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, TypeVar

from pipelines.common import console
from pipelines.common.cli import UsageError, require_job_limits
from pipelines.common.memory_limit import add_memory_budget
from pipelines.curation import folder_splits
from pipelines.curation.class_option import resolve_classes
from pipelines.curation.corrections import OPTION, CorrectionsFile, require_corrections
from pipelines.curation.fractions import DEFAULT_FRACTIONS, FOLDED_FRACTIONS, MOST_FOLDS, Fractions
from pipelines.curation.given_splits import require_splits
from pipelines.curation.options import CurationOptions
from pipelines.dataset.image_row import SIDES
from pipelines.domain.diagnoses import CLASS_SETS
from pipelines.domain.layout_registry import LAYOUTS
from pipelines.domain.metadata_columns import Columns
from pipelines.domain.quality_issues import ISSUES
from pipelines.sources.inputs import Inputs, complete_inputs, read_inputs, source_names, trusted_name
from pipelines.storage.access import require_readable

AnyCurationOptions = TypeVar("AnyCurationOptions", bound=CurationOptions)


def add_curation_options(parser: argparse.ArgumentParser, default: CurationOptions, output_help: str) -> None:
    """Declare the shared options.

    Args:
        parser: The parser to extend.
        default: The options whose values become the defaults.
        output_help: The help text of --output, which differs between jobs.
    """
    where = parser.add_argument_group("where")
    where.add_argument(
        "--input",
        action="append",
        required=True,
        metavar="[LAYOUT=]PATH",
        help="images: a folder (any depth), a glob, an archive, a list of paths, or a .yaml or .json file of sources; "
        "local or gs://; archives are .zip, .tar, .tar.gz, .hdf5 and .parquet; may be repeated. Folders and tables "
        f"say what an image shows; LAYOUT ({', '.join(LAYOUTS)}) chooses one way and finds its table: see "
        "docs/sources.md",
    )
    where.add_argument("--output", required=True, metavar="DIR", help=output_help)
    where.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="PATH",
        help="table with an image id column (isic_id, image_id, image or image_name) and lesion ids, diagnoses or "
        "licences; .csv, .tsv, .tab, .xlsx, .xls, .ods or .jsonl; that of a published set, or your own, for all "
        "images; may be repeated. A metadata.csv and tables of published sets beside the images, below or in their "
        "archive are found by themselves",
    )
    where.add_argument("--overwrite", action="store_true", help="replace a finished output in --output")
    for name, what_it_holds in (
        ("id", "image ids"),
        ("label", "diagnoses"),
        ("lesion", "lesion ids"),
        ("patient", "patient ids"),
    ):
        where.add_argument(
            f"--{name}_column",
            default="",
            metavar="NAME",
            help=f"column with {what_it_holds} in tables of your own; tables without it are read by the known names",
        )
    what = parser.add_argument_group("how images are judged")
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
        help="an image on whose class folders and tables disagree: reject it, or trust `folder` (folder names), one "
        "table (its file name), or all that one input says (its path or name)",
    )
    what.add_argument(
        "--licenses",
        metavar="LIST",
        help="take only images with one of these licences, such as CC-0,CC-BY (default: all)",
    )
    what.add_argument(
        "--exclude",
        metavar="LIST",
        help=f"reject images with one of these issues of quality ({', '.join(ISSUES)}), such as blurry,dark; see "
        "docs/quality.md",
    )
    what.add_argument("--group_by_patient", action="store_true", help="keep all images of a patient in one split")
    what.add_argument(
        "--split_fractions",
        metavar="TRAIN,VALIDATION,TEST",
        help=f"shares of the lesions of each class (default: {_text(DEFAULT_FRACTIONS)}; "
        f"with --folds {_text(FOLDED_FRACTIONS)}: the folds are the validation)",
    )
    what.add_argument(
        "--folds",
        type=int,
        default=default.folds,
        metavar="K",
        help="divide the training split into K folds by lesion, for cross-validation; each K-1 of them train, the one "
        "left out validates (its records with image/augmentation/copy 0); 0: no folds",
    )
    what.add_argument(
        "--split_from_folders",
        action="store_true",
        help=f"keep the split that the deepest folder names which names one: {folder_splits.KNOWN}",
    )
    what.add_argument(
        "--splits_file",
        default="",
        metavar="CSV",
        help="table with an image id column and `split` (train, validation, test); the other images are split as usual",
    )
    what.add_argument(
        "--splits_from",
        default="",
        metavar="DATASET",
        help="a dataset of prepare's: its images keep their split and fold; new ones are split to meet the fractions",
    )
    what.add_argument(
        OPTION,
        default="",
        metavar="CSV",
        help="table with the columns image (an image id, or a path as in the manifest), action (keep, drop or relabel) "
        "and label (the class that a relabel gives); it outranks folders and tables",
    )
    what.add_argument(
        "--on_leakage",
        choices=tuple(SIDES),
        default=default.on_leakage,
        help="where a lesion, an image or near-duplicates are on several sides of given splits (--split_from_folders, "
        "--splits_file): keep those in train and reject the others, or keep those in test, so that an official test "
        "set stays comparable",
    )
    what.add_argument(
        "--small_classes",
        choices=("error", "reject"),
        default=default.small_classes,
        help="a class with too few images for every split and fold: refuse to run, or reject its images (it keeps its "
        "label)",
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
        help="exit with code 1, after writing everything good, when more of the listed files are rejected; "
        "duplicates do not count",
    )
    how.add_argument(
        "--threads",
        type=int,
        default=default.threads,
        metavar="N",
        help="images at once per worker process; 0: one per core and one more; on other runners 16 from a bucket and 2 "
        "from a filesystem",
    )
    add_memory_budget(how)
    how.add_argument(
        "--dry_run",
        action="store_true",
        help="list inputs and read tables, say what would be read and written and how long it may take, and end",
    )


def _text(fractions: Fractions) -> str:
    return ",".join(f"{share:g}" for share in fractions)


def _folds(folds: int) -> int:
    if folds and not 2 <= folds <= MOST_FOLDS:
        raise UsageError(f"--folds {folds}: a number from 2 to {MOST_FOLDS} is needed, or 0 for no folds")
    return folds


def _fractions(text: str | None, folds: int) -> Fractions:
    if text is None:
        return FOLDED_FRACTIONS if folds else DEFAULT_FRACTIONS
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


def _licenses(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise UsageError(f"--licenses {text!r}: names no licence; leave the option out to take all images")
    return names


def _exclude(text: str | None) -> tuple[str, ...]:
    names = {part.strip() for part in (text or "").split(",")}
    unknown = sorted(names - set(ISSUES))
    if text is not None and unknown:
        raise UsageError(f"--exclude {text!r}: {unknown[0]!r} is no issue of quality; there are {', '.join(ISSUES)}")
    return tuple(name for name in ISSUES if name in names)


def _trust(text: str) -> str:
    if text == "reject":
        return ""
    source = text.removeprefix("trust=")
    if source == text or not source:
        raise UsageError(f"--on_label_conflict {text!r}: reject or trust=SOURCE is needed")
    return source


def curation_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of CurationOptions from a parsed command line.

    Raises:
        UsageError: If a value is invalid.
    """
    require_job_limits(arguments.max_reject_fraction, arguments.threads)
    given = [
        f"--{name} {value}".removesuffix(" True")
        for name in ("splits_file", "splits_from", "split_from_folders")
        if (value := getattr(arguments, name))
    ]
    if len(given) > 1:
        raise UsageError(f"{given[0]}: cannot be combined with {given[1]}; one of them says what the splits are")
    columns = Columns(arguments.id_column, arguments.label_column, arguments.lesion_column, arguments.patient_column)
    require_readable("--classes", arguments.classes)
    inputs = read_inputs(arguments.input, arguments.metadata)
    return {
        "sources": inputs.sources,
        "output": arguments.output,
        "metadata": inputs.metadata,
        "columns": columns,
        "class_set": resolve_classes(arguments.classes),
        "trust": _trust(arguments.on_label_conflict),
        "licenses": _licenses(arguments.licenses),
        "exclude": _exclude(arguments.exclude),
        "group_by_patient": arguments.group_by_patient,
        "split_fractions": _fractions(arguments.split_fractions, arguments.folds),
        "folds": _folds(arguments.folds),
        "split_from_folders": arguments.split_from_folders,
        "splits_file": arguments.splits_file,
        "splits_from": arguments.splits_from,
        "corrections": CorrectionsFile(arguments.corrections),
        "on_leakage": arguments.on_leakage,
        "small_classes": arguments.small_classes,
        "seed": arguments.seed,
        "max_reject_fraction": arguments.max_reject_fraction,
        "threads": arguments.threads,
        "memory_budget": arguments.memory_budget,
        "overwrite": arguments.overwrite,
        "dry_run": arguments.dry_run,
    }


def _trusted_name(trust: str, inputs: Inputs) -> str:
    name = trusted_name(trust, inputs)
    if name is None:
        known = ", ".join(source_names(inputs))
        raise UsageError(f"--on_label_conflict trust={trust}: no such source; there are {known}")
    return name


def with_found_tables(options: AnyCurationOptions) -> AnyCurationOptions:
    """Return the options completed with the tables that lie beside the images.

    Tables beside the images that are not read are notes.

    Raises:
        UsageError: If any input named in the options cannot be read.
    """
    if options.splits_from:
        # Imported late: it reads Parquet, which few command lines need.
        from pipelines.curation.recorded_splits import require_dataset_splits

        require_dataset_splits("--splits_from", options.splits_from, options.folds)
    splits = require_splits(options.splits_file, options.columns) if options.splits_file else []
    inputs = complete_inputs(Inputs(options.sources, options.metadata), options.columns, splits)
    trust = _trusted_name(options.trust, inputs) if options.trust else ""
    corrections = options.corrections
    if corrections.path:
        corrections = require_corrections(corrections.path, options.class_set)
    return dataclasses.replace(
        options,
        sources=inputs.sources,
        metadata=inputs.metadata,
        trust=trust,
        corrections=corrections,
        notes=tuple(inputs.notes),
    )


def print_notes(options: CurationOptions) -> None:
    """Print the notes of a run that begins. A command line that is refused has one line, and no notes."""
    for note in options.notes:
        console.say(note, "note")
