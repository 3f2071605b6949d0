"""Metadata tables in every form that ISIC users have: what they say of an image, and whether they can be read.

isic-cli downloads (`isic_id`, `diagnosis_1` to `diagnosis_5` or `diagnosis`), HAM10000 (`dx`), the ISIC 2018 and 2019
ground truth (one column per class, 1.0 in the right one) and its metadata, ISIC 2020 (`benign_malignant`, `target`),
and tables of the user's own, whose columns options name. Only the image id column is sure; the rest is taken as found.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.archives import is_archive, list_members, member_path, read_member, split_member_path
from pipelines.cli import UsageError
from pipelines.sources import composed, image_id_of, read_bytes
from pipelines.storage import failure, printable

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
CHALLENGE_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
CHALLENGE_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
CHALLENGE_COLUMNS = tuple(dict.fromkeys((*CHALLENGE_2018, *CHALLENGE_2019, "UNK")))
# How tables write that there is no id: taken for one, it would join all their images.
NO_ID = frozenset({"na", "n/a", "nan", "nil", "none", "null", "unknown", "-", "?"})
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

    @staticmethod
    def names() -> tuple[str, ...]:
        """What a column can be named for."""
        return tuple(field.name for field in dataclasses.fields(Columns))

    def among(self, names: Iterable[str]) -> Columns:
        """Those of the columns that a table with these `names` has; the known ones stand in for the others."""
        names = set(names)
        kept = (self.id, self.label, self.lesion, self.patient)
        return Columns(*(name if name in names else "" for name in kept))


class Facts(NamedTuple):
    """What one table says of one image.

    source: the table's name; labels: as written, the most precise first; owners: the sources to which it belongs.
    """

    source: str
    labels: tuple[str, ...] = ()
    lesion_id: str = ""
    patient_id: str = ""
    license: str = ""
    attribution: str = ""
    owners: tuple[str, ...] = ()


def file_name(path: str) -> str:
    """The last part of a table's path."""
    return posixpath.basename(path.replace("\\", "/"))


def table_bytes(path: str) -> bytes:
    """A whole table: a file, or a member of an archive where `archive.zip!/name` names one."""
    inside = split_member_path(path)
    if inside is None:
        return read_bytes(path)
    archive, name = inside
    member = next((member for member in list_members(archive) if member.name == name), None)
    if member is None:
        raise FileNotFoundError(f"no {name} in {archive}")
    return read_member(archive, member)


def table_rows(path: str) -> Iterator[dict[str, str]]:
    """Rows of a UTF-8 CSV, by column; a byte order mark, which spreadsheets write, is passed over."""
    return csv.DictReader(io.StringIO(table_bytes(path).decode("utf-8-sig"), newline=""))  # type: ignore[return-value]


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
        return "" if value(name).lower() in NO_ID else composed(value(name))

    return Facts(
        source=source,
        labels=labels_of(row, columns),
        lesion_id=identity(columns.lesion or "lesion_id"),
        patient_id=identity(columns.patient or "patient_id"),
        license=value("copyright_license"),
        attribution=value("attribution"),
    )


def read_facts(path: str, columns: Columns, name: str = "") -> Iterator[tuple[str, Facts]]:
    """(image id, Facts) of every row that names an image. name: of the table, by default its file name."""
    name = name or file_name(path)
    for row in table_rows(path):
        image = (row.get(columns.id_column(row) or "") or "").strip()
        if image:
            yield image_id_of(image), facts_of(row, name, columns)


def in_line(names: Iterable[str], longest: int = 1 << 20) -> str:
    """Column names for a message, in one line: a quoted name may hold line breaks. What is beyond `longest` is cut."""
    text = " ".join(printable(", ".join(names)).split())
    return text if len(text) <= longest else f"{text[:longest]}..."


class TableError(ValueError):
    """Why a file cannot be used as a table, in a few words that do not repeat its path."""


def _require_whole(text: str) -> None:
    """Raise csv.Error when a quote is not closed, so that a value swallows the lines after it.

    A quoted value may hold line breaks. What is quoted loosely is taken as long as it stays in its line.
    """
    record: list[str] = []

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            record.append(line)
            yield line

    rows = csv.reader(lines())
    start = 1
    try:
        for _ in rows:
            try:
                list(csv.reader(record, strict=True) if any('"' in line for line in record) else ())
            except csv.Error as error:
                if len(record) > 1 or str(error) == "unexpected end of data":
                    raise csv.Error("a quote is not closed") from error
            record.clear()
            start = rows.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {start}: {error}") from error


def read_header(path: str) -> list[str]:
    """The columns of a table that can be read to its end. Raises TableError when it cannot, or has no rows."""
    if is_archive(path):
        raise TableError(f"is an archive; name the table in it, such as {member_path(path, 'metadata.csv')}")
    try:
        text = table_bytes(path).decode("utf-8-sig")
        _require_whole(text)
        rows = csv.reader(io.StringIO(text, newline=""))
        names = [name for name in next(rows, []) if name]
        is_empty = not any(rows)
    except UnicodeDecodeError as error:
        raise TableError(f"not a UTF-8 CSV file ({error.reason})") from error
    except csv.Error as error:
        raise TableError(f"not a CSV file ({error})") from error
    except Exception as error:  # each filesystem raises its own kinds
        raise TableError(f"cannot be read ({failure(error)})") from error
    if is_empty:
        raise TableError("holds no rows")
    for name in names:
        if names.count(name) > 1:
            raise TableError(f"two columns are named {name!r}; rename one")
    return names


def require_table(option: str, path: str) -> list[str]:
    """`read_header`, with UsageError for what is wrong."""
    try:
        return read_header(path)
    except TableError as error:
        raise UsageError(f"{option} {path}: {error}") from error


def has_facts(names: Iterable[str], columns: Columns) -> bool:
    """Whether a table with columns of these `names` has something to say about images."""
    known = {columns.lesion or "lesion_id", columns.patient or "patient_id", "copyright_license", "attribution"}
    labels = {columns.label} if columns.label else {*LABEL_COLUMNS, *CHALLENGE_COLUMNS, TARGET_COLUMN}
    return not known.union(labels).isdisjoint(names)


def require_columns(option: str, path: str, names: Sequence[str], columns: Columns) -> None:
    """Raise UsageError unless a table with these columns has image ids and something to say about images."""
    has = f"it has {in_line(names)}"
    if columns.id_column(names) is None:
        wanted = columns.id or " or ".join(ID_COLUMNS)
        raise UsageError(f"{option} {path}: needs a column {wanted}; {has}")
    if not has_facts(names, columns):
        raise UsageError(f"{option} {path}: has no lesion_id, label or licence column; {has}")
