"""The columns of metadata tables in every form that ISIC users have, and what a row says of its image. Imports no Beam.

isic-cli downloads (`isic_id`, `diagnosis_1` to `diagnosis_5` or `diagnosis`), HAM10000 (`dx`), the ISIC 2018 and 2019
ground truth (one column per class, 1.0 in the right one) and its metadata, ISIC 2020 (`benign_malignant`, `target`),
and tables of the user's own, whose columns options name. Only the image id column is sure; the rest is taken as found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.image_names import composed

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


def has_facts(names: Iterable[str], columns: Columns) -> bool:
    """Whether a table with columns of these `names` has something to say about images."""
    known = {columns.lesion or "lesion_id", columns.patient or "patient_id", "copyright_license", "attribution"}
    labels = {columns.label} if columns.label else {*LABEL_COLUMNS, *CHALLENGE_COLUMNS, TARGET_COLUMN}
    return not known.union(labels).isdisjoint(names)
