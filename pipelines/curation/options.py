"""Command-line options that prepare and audit share: what is read, and how images are judged, grouped and split."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from pipelines.common.cli import UsageError, require_job_limits
from pipelines.curation import folder_splits
from pipelines.curation.corrections import NO_CORRECTIONS, OPTION, CorrectionsFile, require_corrections
from pipelines.curation.fractions import DEFAULT_FRACTIONS, FOLDED_FRACTIONS, MOST_FOLDS, Fractions
from pipelines.curation.given_splits import require_splits
from pipelines.dataset.image_row import SIDES
from pipelines.domain.metadata_columns import Columns
from pipelines.domain.quality_issues import ISSUES
from pipelines.domain.taxonomy import CLASS_SETS, ClassSet, built_in_set, mapped_set, named_set, normalize_term
from pipelines.sources.inputs import Inputs, complete_inputs, read_inputs, source_names, trusted_name
from pipelines.sources.layout_registry import LAYOUTS
from pipelines.sources.location import Location
from pipelines.sources.source import Source, Table
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError
from pipelines.storage.gcs_access import require_readable


def _notations(term: str) -> list[str]:
    """Return a term; if it is a whole number, in both notations, because tables have `1.0` for `1`."""
    number = re.fullmatch(r"(\d+)(?:\.0+)?", term.strip())
    return [number[1], f"{number[1]}.0"] if number else [term]


def _require_distinct(path: str, mapping: Mapping[str, Iterable[str]]) -> None:
    """Raise UsageError if a term of a mapping file stands for two classes."""
    owners: dict[str, str] = {}
    for name, terms in mapping.items():
        for term in (name, *terms):
            owner = owners.setdefault(normalize_term(term), name)
            if owner != name:
                raise UsageError(f"--classes {path}: {term!r} stands for two classes, {owner!r} and {name!r}")


def _mapping_file(path: str) -> ClassSet:
    """Read a class set from a JSON or YAML file {class: [terms]}.

    Raises:
        UsageError: The file cannot be read or does not hold such a mapping.
    """
    try:
        # JSON is YAML. BaseLoader leaves every term as it is written: `yes` and `1` are words, as they are in a table.
        content = yaml.load(filesystem.read_if_exists(path) or b"", yaml.BaseLoader)
    except StorageError as error:
        raise UsageError(f"--classes {path}: cannot be read as JSON or YAML ({error.kind})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--classes {path}: cannot be read as JSON or YAML ({type(error).__name__})") from error
    valid = isinstance(content, dict) and all(
        isinstance(terms, list) and all(isinstance(term, str) for term in terms) for terms in content.values()
    )
    if not valid or len(content) < 2:
        raise UsageError(
            f"--classes {path}: must hold two or more classes, each with a list of terms: {{class: [term]}}"
        )
    mapping = {name: [notation for term in terms for notation in _notations(term)] for name, terms in content.items()}
    _require_distinct(path, mapping)
    return mapped_set(mapping)


def resolve_classes(value: str) -> ClassSet:
    """Return the class set for the value of `--classes`.

    Args:
        value: The name of a known set, the path of a mapping file (.json, .yaml or .yml), or names separated by commas.

    Raises:
        UsageError: The set is unknown, the file does not hold a mapping, a name is repeated, or there are fewer than
            two names.
    """
    if value in CLASS_SETS:
        return built_in_set(value)
    if value.lower().endswith((".json", ".yaml", ".yml")):
        return _mapping_file(value)
    names = [name for name in map(normalize_term, value.split(",")) if name]
    if len(names) < 2:
        known = ", ".join(CLASS_SETS)
        raise UsageError(
            f"--classes {value!r}: neither a known set ({known}), a .json or .yaml file, nor names separated by commas"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"--classes {value!r}: {repeated[0]!r} is named twice")
    return named_set(names)


DEFAULT_CLASS_SET = built_in_set("isic9")
NO_COLUMNS = Columns()


AnyCurationOptions = TypeVar("AnyCurationOptions", bound="CurationOptions")


@dataclass(frozen=True)
class CurationOptions:
    """Validated options about reading, judging, grouping and splitting images."""

    sources: tuple[Source, ...]
    output: str
    metadata: tuple[Table, ...] = ()  # tables that apply to all images
    columns: Columns = NO_COLUMNS
    class_set: ClassSet = DEFAULT_CLASS_SET
    trust: str = ""  # source that decides label conflicts; empty: such images are rejected
    licenses: tuple[str, ...] = ()  # empty: all are allowed
    exclude: tuple[str, ...] = ()  # issues of quality, see `quality_issues`
    group_by_patient: bool = False
    split_fractions: Fractions = DEFAULT_FRACTIONS
    folds: int = 0  # 0: no folds
    split_from_folders: bool = False
    splits_file: str = ""
    splits_from: str = ""
    corrections: CorrectionsFile = NO_CORRECTIONS
    on_leakage: str = "remove_from_test"
    small_classes: str = "error"
    seed: int = 0
    max_reject_fraction: float = 0.25
    # Images at once per worker process; 0: one per core and one more, or 16 where workers are other machines.
    threads: int = 0
    overwrite: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.class_set.classes

    def places(self) -> dict[str, Any]:
        """Return where everything is read from, for a report."""
        return {
            "sources": [source.as_json() for source in self.sources],
            "metadata": [table.path for table in self.metadata],
            "splits_file": self.splits_file,
            "splits_from": self.splits_from,
            "corrections": self.corrections.path,
        }

    def paths(self) -> list[str]:
        """Return every image folder, archive and table that is read; none of them may be the output."""
        tables = [*self.metadata, *(table for source in self.sources for table in source.tables)]
        return [*(source.path for source in self.sources), *(table.path for table in tables)]

    def locations(self) -> list[Location]:
        """Return what workers read or write, inputs first.

        Files of sources or classes are not included: workers do not read them.
        """
        inputs = [Location(source.option, source.path, is_input=True) for source in self.sources]
        tables = [*(table for source in self.sources for table in source.tables), *self.metadata]
        given = [
            ("--splits_file", self.splits_file),
            ("--splits_from", self.splits_from),
            (OPTION, self.corrections.path),
            ("--output", self.output),
        ]
        return [
            *inputs,
            *(Location(table.option, table.path) for table in tables),
            *(Location(option, path) for option, path in given if path),
        ]

    def read_as(self) -> list[str]:
        """Return one line per source saying what it was read as, and one for the tables that apply to all images."""
        lines = [f"read {source.path} as {source.read_as()}" for source in self.sources]
        if self.metadata:
            tables = (f"{LAYOUTS[table.layout].title} {table.path}" for table in self.metadata)
            lines.append(f"for all images: {', '.join(tables)}")
        if self.corrections.path:
            lines.append(self.corrections.read_as())
        return lines

    def decision_settings(self) -> dict[str, Any]:
        """Return the options that decide what becomes of an image."""
        return {
            "split_fractions": list(self.split_fractions),
            "folds": self.folds,
            "split_from_folders": self.split_from_folders,
            "on_leakage": self.on_leakage,
            "on_label_conflict": f"trust={self.trust}" if self.trust else "reject",
            "licenses": list(self.licenses),
            "group_by_patient": self.group_by_patient,
            "small_classes": self.small_classes,
            # Without corrections a dataset has the fingerprint that it had before there were any.
            **({"exclude": list(self.exclude)} if self.exclude else {}),
            **({"corrections": self.corrections.digest} if self.corrections.path else {}),
        }


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
        help="images: a folder (any depth), a glob, an archive (.zip, .tar, .tar.gz, .hdf5, "
        ".parquet), a list of paths, local or gs://; or a "
        ".yaml or .json file of sources; may be repeated. Folder names and tables say what an image shows; LAYOUT "
        f"({', '.join(LAYOUTS)}) chooses one way and finds its table: see docs/sources.md",
    )
    where.add_argument("--output", required=True, metavar="DIR", help=output_help)
    where.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="CSV",
        help="table with an image id column (isic_id, image_id, image or image_name) and lesion ids, diagnoses or "
        "licences: isic-cli, HAM10000, ISIC 2018 to 2020, or your own; it speaks of all images; may be repeated. A "
        "metadata.csv beside the images, one folder below or in their archive is found by itself",
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
        help="divide the training split into K folds by lesion, for cross-validation: each K-1 of them train, the one "
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
        help="a dataset of prepare's: its images keep their split and fold; new ones fill up the fractions",
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
        help="exit with code 1, after writing everything good, when more of the listed files are rejected "
        "(duplicates do not count)",
    )
    how.add_argument(
        "--threads",
        type=int,
        default=default.threads,
        metavar="N",
        help="images at once per worker process; 0: one per core and one more, or 16 on other machines",
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
        "overwrite": arguments.overwrite,
    }


def _trusted_name(trust: str, inputs: Inputs) -> str:
    name = trusted_name(trust, inputs)
    if name is None:
        known = ", ".join(source_names(inputs))
        raise UsageError(f"--on_label_conflict trust={trust}: no such source; there are {known}")
    return name


def with_found_tables(options: AnyCurationOptions) -> AnyCurationOptions:
    """Return the options completed with the tables that lie beside the images.

    Tables beside the images that are not read are reported on stderr.

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
    for note in inputs.notes:
        print(f"note: {note}", file=sys.stderr)
    return dataclasses.replace(
        options, sources=inputs.sources, metadata=inputs.metadata, trust=trust, corrections=corrections
    )
