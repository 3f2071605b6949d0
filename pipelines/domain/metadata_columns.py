"""Interpret the columns of metadata tables, in every form that ISIC users have. Imports no Beam.

Supported are isic-cli downloads (`isic_id`, `diagnosis_1` to `diagnosis_5` or `diagnosis`), HAM10000 (`dx`), the ISIC
2018 and 2019 ground truth (one column per class, 1.0 in the right one) and its metadata, ISIC 2020 (`benign_malignant`,
`target`), ISIC 2024 (`iddx_1` to `iddx_5`, `iddx_full`), and the user's own tables, whose columns are named by options.
Only the image id column is required; all others are optional.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.domain.image_ids import composed

# In order: isic-cli, HAM10000, ISIC 2018 and 2019, ISIC 2020.
ID_COLUMNS = ("isic_id", "image_id", "image", "image_name")
# Most specific first: the first label that maps to a class is used.
LABEL_COLUMNS = (
    *(f"{name}_{level}" for level in (5, 4, 3, 2, 1) for name in ("diagnosis", "iddx")),
    "diagnosis_full",
    "iddx_full",
    "diagnosis",
    "dx",
    "benign_malignant",
)
# One-hot columns of the ISIC 2018 and 2019 ground truth.
CHALLENGE_2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
CHALLENGE_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
CHALLENGE_COLUMNS = tuple(dict.fromkeys((*CHALLENGE_2018, *CHALLENGE_2019, "UNK")))
# Between the levels of a diagnosis in one cell, the most general first: `Benign::...::Nevus`.
_LEVELS = "::"
# Placeholders for a missing id. Taken as an id, they would group all images that have them.
NO_ID = frozenset({"na", "n/a", "nan", "nil", "none", "null", "unknown", "-", "?"})
# ISIC 2020: 1 means malignant.
TARGET_COLUMN = "target"
TARGETS = {"0": "benign", "1": "malignant"}


@dataclass(frozen=True)
class Columns:
    """Column names that the user gave for their own tables; an empty name stands for the columns known from ISIC."""

    id: str = ""
    label: str = ""
    lesion: str = ""
    patient: str = ""

    def id_column(self, names: Iterable[str]) -> str | None:
        """Return the image id column among `names`, or None."""
        wanted = (self.id,) if self.id else ID_COLUMNS
        return next((name for name in wanted if name in names), None)

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the kinds of columns that the user can name: the fields of this class."""
        return tuple(field.name for field in dataclasses.fields(Columns))

    def among(self, names: Iterable[str]) -> Columns:
        """Return these columns restricted to the ones that a table has.

        Args:
            names: The table's column names. A column that is not among them becomes empty, so that the known ones
                apply.
        """
        names = set(names)
        kept = (self.id, self.label, self.lesion, self.patient)
        return Columns(*(name if name in names else "" for name in kept))


class Facts(NamedTuple):
    """The facts that one table holds about one image."""

    source: str  # name of the table
    labels: tuple[str, ...] = ()  # as written, most specific first
    lesion_id: str = ""
    patient_id: str = ""
    license: str = ""
    attribution: str = ""
    owners: tuple[str, ...] = ()  # names of the sources to which the table belongs


def labels_of(row: Mapping[str, str], columns: Columns) -> tuple[str, ...]:
    """Return every non-empty label of a row, most specific first."""
    if columns.label:
        found = [row.get(columns.label) or ""]
    else:
        found = [row.get(name) or "" for name in LABEL_COLUMNS]
        found += [name for name in CHALLENGE_COLUMNS if (row.get(name) or "").strip() in ("1", "1.0")]
        found.append(TARGETS.get((row.get(TARGET_COLUMN) or "").strip(), ""))
    levels = (level.strip() for label in found for level in reversed(label.split(_LEVELS)))
    return tuple(level for level in levels if level)


def facts_of(row: Mapping[str, str], source: str, columns: Columns) -> Facts:
    """Return the facts in one row.

    Args:
        row: Cells by column name.
        source: Name of the table.
        columns: Column names that the user gave; empty ones stand for the known columns.
    """

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


def has_facts(names: Iterable[str], columns: Columns) -> bool:
    """Return whether a table has any column with facts about images, besides their ids.

    Args:
        names: The table's column names.
        columns: Column names that the user gave; empty ones stand for the known columns.
    """
    known = {columns.lesion or "lesion_id", columns.patient or "patient_id", "copyright_license", "attribution"}
    labels = {columns.label} if columns.label else {*LABEL_COLUMNS, *CHALLENGE_COLUMNS, TARGET_COLUMN}
    return not known.union(labels).isdisjoint(names)


def normalize_license(text: str) -> str:
    """Return a licence name in capitals with dashes: `cc by-nc` becomes `CC-BY-NC`."""
    return "-".join(text.upper().replace("-", " ").split())
