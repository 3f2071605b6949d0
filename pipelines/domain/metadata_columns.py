"""Interpret the columns of metadata tables, in every form that ISIC users have. Imports no Beam.

Supported are isic-cli downloads (`isic_id`, `diagnosis_1` to `diagnosis_5` or `diagnosis`), HAM10000 (`dx`), the ISIC
2018 and 2019 ground truth (one column per class, 1.0 in the right one; see `one_hot`) and its metadata, ISIC 2020
(`benign_malignant`, `target`), ISIC 2024 (`iddx_1` to `iddx_5`, `iddx_full`), and the user's own tables, whose columns
are named by options.
Only the image id column is required; all others are optional. Names of columns are compared by `column_key`: `Image ID`
is `image_id`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipelines.common.tables import column_key
from pipelines.domain.image_ids import composed
from pipelines.domain.missing_values import flag_of, is_no_id
from pipelines.domain.one_hot import OneHot, one_hot_of

# In order: isic-cli, HAM10000, ISIC 2018 and 2019, ISIC 2020.
ID_COLUMNS = ("isic_id", "image_id", "image", "image_name")
# Most specific first: the first label that maps to a class is used.
DIAGNOSIS_COLUMNS = (
    *(f"{name}_{level}" for level in (5, 4, 3, 2, 1) for name in ("diagnosis", "iddx")),
    "diagnosis_full",
    "iddx_full",
    "diagnosis",
    "dx",
)
LABEL_COLUMNS = (*DIAGNOSIS_COLUMNS, "benign_malignant")
# What people call the class, where no column of the archive says it.
COMMON_LABEL_COLUMNS = ("label", "labels", "class", "disease")
# Between the levels of a diagnosis in one cell, the most general first: `Benign::...::Nevus`.
_LEVELS = "::"
# ISIC 2020: 1 means malignant.
TARGET_COLUMN = "target"
TARGETS = {None: "", False: "benign", True: "malignant"}


@functools.lru_cache(maxsize=256)
def _spellings(names: tuple[str, ...]) -> dict[str, str]:
    return {column_key(name): name for name in reversed(names)}


def spelled(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """Return the first wanted column that a table has, as the table writes it, or None.

    Args:
        names: The table's column names.
        wanted: Column names in order of preference.
    """
    spellings = _spellings(tuple(names))
    return next((spellings[key] for key in map(column_key, wanted) if key in spellings), None)


def cells_of(row: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function from the name of a column to the cell in it, without blanks around; empty if there is none."""
    spellings = _spellings(tuple(row))
    return lambda name: (row.get(spellings.get(column_key(name), name)) or "").strip()


@dataclass(frozen=True)
class Columns:
    """Column names that the user gave for their own tables; an empty name stands for the columns known from ISIC."""

    id: str = ""
    label: str = ""
    lesion: str = ""
    patient: str = ""

    def id_column(self, names: Iterable[str]) -> str | None:
        """Return the image id column among `names`, as it is written there, or None."""
        return spelled(names, (self.id,) if self.id else ID_COLUMNS)

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
        names = tuple(names)
        kept = (self.id, self.label, self.lesion, self.patient)
        return Columns(*(name and (spelled(names, [name]) or "") for name in kept))


class Facts(NamedTuple):
    """The facts that one table holds about one image."""

    source: str  # name of the table
    labels: tuple[str, ...] = ()  # as written, most specific first
    lesion_id: str = ""
    patient_id: str = ""
    license: str = ""
    attribution: str = ""
    owners: tuple[str, ...] = ()  # names of the sources to which the table belongs
    hot: tuple[str, ...] = ()  # terms of one-hot columns that hold 1; if there are several, each is a label of its own
    file: str = ""  # path of the only file with this image id that they are about; empty for all


def labels_of(row: Mapping[str, str], columns: Columns) -> tuple[str, ...]:
    """Return every non-empty label of a row that is written in words, or as a target, most specific first."""
    cell = cells_of(row)
    if columns.label:
        found = [cell(columns.label)]
    else:
        found = [*map(cell, LABEL_COLUMNS), TARGETS[flag_of(cell(TARGET_COLUMN))]]
    levels = (level.strip() for label in found for level in reversed(label.split(_LEVELS)))
    return tuple(filter(None, levels))


def one_hot_columns(names: Iterable[str]) -> OneHot:
    """Return the one-hot columns of a table.

    Args:
        names: The table's column names.
    """
    names = tuple(names)
    return one_hot_of(names, spelled(names, DIAGNOSIS_COLUMNS) is not None)


def hot_of(row: Mapping[str, str], columns: Columns, one_hot: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the terms of the one-hot columns in which a row has 1.

    Args:
        row: Cells by column name.
        columns: Column names that the user gave. If there is a label column, it speaks alone.
        one_hot: Column -> term, if others count than those that `one_hot_columns` finds.
    """
    if columns.label:
        return ()
    terms = one_hot_columns(row).terms if one_hot is None else one_hot
    cell = cells_of(row)
    return tuple(term for name, term in terms.items() if flag_of(cell(name)))


def facts_of(row: Mapping[str, str], source: str, columns: Columns, one_hot: Mapping[str, str] | None = None) -> Facts:
    """Return the facts in one row.

    Args:
        row: Cells by column name.
        source: Name of the table.
        columns: Column names that the user gave; empty ones stand for the known columns.
        one_hot: One-hot columns, as for `hot_of`.
    """
    cell = cells_of(row)

    def identity(name: str) -> str:
        return "" if is_no_id(cell(name)) else composed(cell(name))

    return Facts(
        source=source,
        labels=labels_of(row, columns),
        lesion_id=identity(columns.lesion or "lesion_id"),
        patient_id=identity(columns.patient or "patient_id"),
        license=cell("copyright_license"),
        attribution=cell("attribution"),
        hot=hot_of(row, columns, one_hot),
    )


def has_facts(names: Iterable[str], columns: Columns) -> bool:
    """Return whether a table has any column with facts about images, besides their ids.

    Args:
        names: The table's column names.
        columns: Column names that the user gave; empty ones stand for the known columns.
    """
    known = (columns.lesion or "lesion_id", columns.patient or "patient_id", "copyright_license", "attribution")
    names = tuple(names)
    labels = (columns.label,) if columns.label else (*LABEL_COLUMNS, TARGET_COLUMN)
    if spelled(names, (*known, *labels)) is not None:
        return True
    one_hot = OneHot({}) if columns.label else one_hot_columns(names)
    return bool(one_hot.terms or one_hot.ambiguous)


def normalize_license(text: str) -> str:
    """Return a licence name in capitals with dashes: `cc by-nc` becomes `CC-BY-NC`."""
    return "-".join(text.upper().replace("-", " ").split())
