"""Metadata tables in every form that ISIC users have: what they say of an image, and how they are recognised.

isic-cli downloads (`isic_id`, `diagnosis_1` to `diagnosis_5` or `diagnosis`), HAM10000 (`dx`), the ISIC 2018 and 2019
ground truth (one column per class, 1.0 in the right one) and its metadata, ISIC 2020 (`benign_malignant`, `target`),
and tables of the user's own, whose columns options name. Only the image id column is sure; the rest is taken as found.
"""

from __future__ import annotations

import csv
import io
import itertools
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam

from pipelines import storage
from pipelines.cli import UsageError
from pipelines.labels import make_claim
from pipelines.rows import ImageRow
from pipelines.sources import image_id_of, read_bytes
from pipelines.taxonomy import ClassSet

# isic-cli, HAM10000, ISIC 2018 and 2019, ISIC 2020
ID_COLUMNS = ("isic_id", "image_id", "image", "image_name")
# The most precise first: the first that stands for a class is taken.
LABEL_COLUMNS = (
    *(f"diagnosis_{level}" for level in (5, 4, 3, 2, 1)),
    "diagnosis",
    "dx",
    "benign_malignant",
)
# One-hot columns of the ISIC 2018 and 2019 ground truth.
CHALLENGE_COLUMNS = ("MEL", "NV", "BCC", "AK", "AKIEC", "BKL", "DF", "VASC", "SCC", "UNK")
# How tables write that there is no id: taken for one, it would join all their images.
NO_ID = frozenset({"na", "n/a", "nan", "nil", "none", "null", "unknown", "-", "?"})
BESIDE_IMAGES = "metadata.csv"
# ISIC 2020: 1 is malignant.
TARGET_COLUMN = "target"
TARGETS = {"0": "benign", "1": "malignant"}


@dataclass(frozen=True)
class Columns:
    """Names of columns that the user gave for tables of their own; empty: those known from ISIC's tables."""

    id: str = ""
    label: str = ""
    lesion: str = ""
    patient: str = ""

    def id_column(self, names: Iterable[str]) -> str | None:
        """The image id column among `names`, or None."""
        wanted = (self.id,) if self.id else ID_COLUMNS
        return next((name for name in wanted if name in names), None)


class Facts(NamedTuple):
    """What one table says of one image. source: the table's file name; labels: as written, the most precise first."""

    source: str
    labels: tuple[str, ...] = ()
    lesion_id: str = ""
    patient_id: str = ""
    license: str = ""
    attribution: str = ""


def source_name(path: str) -> str:
    """How a table is called in messages and in `--on_label_conflict trust=`."""
    return posixpath.basename(path.replace("\\", "/"))


def table_rows(path: str) -> Iterator[dict[str, str]]:
    """Rows of a UTF-8 CSV, by column; a byte order mark, which spreadsheets write, is passed over."""
    return csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig"), newline=""))  # type: ignore[return-value]


def labels_of(row: Mapping[str, str], columns: Columns) -> tuple[str, ...]:
    """Every label of a row, the most precise first, without the empty ones."""
    if columns.label:
        found = [row.get(columns.label) or ""]
    else:
        found = [row.get(name) or "" for name in LABEL_COLUMNS]
        found += [name for name in CHALLENGE_COLUMNS if (row.get(name) or "").strip() in ("1", "1.0")]
        found.append(TARGETS.get((row.get(TARGET_COLUMN) or "").strip(), ""))
    return tuple(label.strip() for label in found if label.strip())


def facts_of(row: Mapping[str, str], source: str, columns: Columns) -> Facts:
    """What one row says."""

    def value(name: str) -> str:
        return (row.get(name) or "").strip()

    def identity(name: str) -> str:
        return "" if value(name).lower() in NO_ID else value(name)

    return Facts(
        source=source,
        labels=labels_of(row, columns),
        lesion_id=identity(columns.lesion or "lesion_id"),
        patient_id=identity(columns.patient or "patient_id"),
        license=value("copyright_license"),
        attribution=value("attribution"),
    )


def read_facts(path: str, columns: Columns) -> Iterator[tuple[str, Facts]]:
    """(image id, Facts) of every row that names an image."""
    for row in table_rows(path):
        image = (row.get(columns.id_column(row) or "") or "").strip()
        if image:
            yield image_id_of(image), facts_of(row, source_name(path), columns)


def require_table(option: str, path: str) -> list[str]:
    """The columns of a table that can be read to its end. Raises UsageError when it cannot, or has no rows."""
    try:
        rows = table_rows(path)
        first = next(rows, None)
        for row in itertools.chain([first or {}], rows):
            if any("\n" in (text or "") for name, text in row.items() if name):
                raise csv.Error("a value holds a line break, as when a quote is not closed")
    except UnicodeDecodeError as error:
        raise UsageError(f"{option} {path}: not a UTF-8 CSV file ({error.reason})") from error
    except csv.Error as error:
        raise UsageError(f"{option} {path}: not a CSV file ({error})") from error
    except Exception as error:  # each filesystem raises its own kinds
        raise UsageError(f"{option} {path}: cannot be read ({error.__class__.__name__})") from error
    if first is None:
        raise UsageError(f"{option} {path}: holds no rows")
    return [name for name in first if name]


def require_metadata(path: str, columns: Columns = Columns()) -> None:
    """Raise UsageError unless `path` is a CSV with an image id column and something to say about images."""
    names = require_table("--metadata", path)
    has = f"it has {', '.join(names)}"
    if columns.id_column(names) is None:
        wanted = columns.id or " or ".join(ID_COLUMNS)
        raise UsageError(f"--metadata {path}: needs a column {wanted}; {has}")
    known = {columns.lesion or "lesion_id", columns.patient or "patient_id", "copyright_license", "attribution"}
    labels = {columns.label} if columns.label else {*LABEL_COLUMNS, *CHALLENGE_COLUMNS, TARGET_COLUMN}
    if not known.union(labels).intersection(names):
        raise UsageError(f"--metadata {path}: has no lesion_id, label or licence column; {has}")


def find_metadata(inputs: Iterable[str], given: Sequence[str]) -> tuple[str, ...]:
    """The tables given and, as isic-cli leaves it beside its images, the `metadata.csv` of each input folder."""
    found = list(given)
    for root in inputs:
        path = storage.join(root, BESIDE_IMAGES)
        if path not in found and storage.exists(path) and Columns().id_column(require_table("--input", path)):
            found.append(path)
    return tuple(found)


def with_facts(row: ImageRow, facts: Iterable[Facts], class_set: ClassSet) -> ImageRow:
    """The row with what tables say of it; the order of the facts does not matter."""
    facts = list(facts)

    def values(name: str) -> tuple[str, ...]:
        return tuple(sorted({getattr(fact, name) for fact in facts} - {""}))

    claims = {make_claim(fact.source, fact.labels, class_set) for fact in facts if fact.labels}
    return row._replace(
        tables=values("source"),
        claims=tuple(sorted({*row.claims, *claims})),
        lesion_ids=values("lesion_id"),
        patient_ids=values("patient_id"),
        licenses=values("license"),
        attributions=values("attribution"),
    )


def _join(element: tuple[str, dict[str, Iterable]], class_set: ClassSet) -> Iterator[ImageRow]:
    _, found = element
    facts = sorted(set(found["facts"]))
    for row in found["images"]:
        yield with_facts(row, facts, class_set)


class JoinMetadata(beam.PTransform):
    """Rows -> the same rows with what the tables say of their image id."""

    def __init__(self, paths: Iterable[str], columns: Columns, class_set: ClassSet):
        super().__init__()
        self._paths = list(paths)
        self._columns = columns
        self._class_set = class_set

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        if not self._paths:
            return rows
        facts = (
            rows.pipeline
            | "Tables" >> beam.Create(self._paths, reshuffle=False)
            | "Read tables" >> beam.FlatMap(read_facts, self._columns)
        )
        keyed = rows | "By image id" >> beam.Map(lambda row: (row.image_id, row))
        return (
            {"images": keyed, "facts": facts}
            | "Join tables" >> beam.CoGroupByKey()
            | "With facts" >> beam.FlatMap(_join, self._class_set)
        )
