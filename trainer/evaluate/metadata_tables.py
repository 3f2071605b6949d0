"""Read tables about images that the user names: lesion id, age, sex and body site by image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.common.cli import UsageError
from pipelines.common.csv_tables import TableError, in_line
from pipelines.common.tables import header_of, rows_of
from pipelines.domain.image_ids import image_id_of
from pipelines.domain.known_rows import KnownRow, known_rows
from pipelines.domain.layout_registry import as_csv, known_form
from pipelines.domain.metadata_columns import ID_COLUMNS, Columns, cells_of, facts_of, spelled
from pipelines.domain.missing_values import is_missing

# Our own predictions.parquet has `source_id`.
IDS = (*ID_COLUMNS, "id", "source_id")
_PATHS = ("path", "filepath", "file_path", "image_path")
# Columns of the archive, ISIC 2019 and 2020, and HAM10000. Sites stay as written: the tables divide the body
# differently.
AGE_COLUMNS = ("age_approx", "age")
SEX_COLUMNS = ("sex",)
SITE_COLUMNS = ("anatom_site_general", "anatom_site_1", "anatom_site_general_challenge", "localization")


class ImageFacts(NamedTuple):
    """Facts about the lesion and the person an image shows; "" and None mean unknown."""

    age: float | None = None  # in years
    sex: str = ""
    site: str = ""
    lesion_id: str = ""


class ImageName(NamedTuple):
    """What a row says of the image that it names."""

    id: str
    path: str  # "" if the row has no more than an id, or the name of a file


class ImageTable(NamedTuple):
    """A table about images, of any layout."""

    where: str  # option and path, for error messages
    names: list[str]
    by_lesion: bool  # whether its rows are of lesions, and another table says which images show them
    data: bytes

    def names_images(self) -> bool:
        """Return whether a column says which images the rows are of, without knowing the layout of the table."""
        return spelled(self.names, (*IDS, *_PATHS)) is not None

    def rows(self, columns: Columns, lesions: Mapping[str, Sequence[str]]) -> Iterator[tuple[ImageName, KnownRow]]:
        """Yield the image and the row, for each row that names an image.

        Args:
            columns: The label column, if it is none that is known.
            lesions: The image ids of each lesion, for tables by lesion.
        """
        for row in known_rows(rows_of(self.data), columns, lambda: lesions):
            cell = cells_of(row.cells)
            said = [value.replace("\\", "/") for value in map(cell, (*IDS, *_PATHS)) if value]
            if said:
                yield ImageName(image_id_of(said[0]), next((value for value in said if "/" in value), "")), row


def open_table(option: str, path: Path) -> ImageTable:
    """Read a table about images.

    Args:
        option: The option that names it, for error messages.
        path: The table.

    Raises:
        UsageError: It cannot be read, or does not say which images its rows are of.
    """
    where = f"{option} {path}"
    try:
        data = as_csv(path.read_bytes())
        names = header_of(data)
    except OSError as error:
        raise UsageError(f"{where}: cannot be read ({error.strerror or error})") from None
    except TableError as error:
        raise UsageError(f"{where}: {error}") from None
    form = known_form(names)
    table = ImageTable(where, names, form.by_lesion if form else False, data)
    if not table.names_images() and not (form and (form.rows or form.by_lesion)):
        raise UsageError(f"{where}: needs a column {' or '.join((*IDS, _PATHS[0]))}; it has {in_line(names, 200)}")
    return table


def _one_of(row: Mapping[str, str], columns: Iterable[str]) -> str:
    """Return the first value that is not a placeholder, in lower case; "" if there is none."""
    values = map(cells_of(row), columns)
    return next((value.lower() for value in values if not is_missing(value)), "")


def _age(text: str) -> float | None:
    try:
        age = float(text)
    except ValueError:
        return None
    return age if age >= 0 and math.isfinite(age) else None


def _has_subgroups(names: Sequence[str]) -> bool:
    return spelled(names, (*AGE_COLUMNS, *SEX_COLUMNS, *SITE_COLUMNS)) is not None


def has_subgroup_columns(path: Path, option: str) -> bool:
    """Return whether a table has a column of age, sex or body site, by which subgroups are made.

    Raises:
        UsageError: The file cannot be read as a table with image ids.
    """
    return _has_subgroups(open_table(option, path).names)


def read_image_facts(paths: Sequence[Path], option: str = "--metadata") -> dict[str, ImageFacts]:
    """Read age, sex, body site and lesion id of each image.

    Args:
        paths: The tables. If several rows or tables know a fact about an image, the first one counts.
        option: The option that error messages name.

    Returns:
        The facts by image id.

    Raises:
        UsageError: A file cannot be read as a table with image ids, or has no column of age, sex or body site.
    """
    facts: dict[str, ImageFacts] = {}
    for path in paths:
        table = open_table(option, path)
        if not _has_subgroups(table.names):
            wanted = ", ".join((*AGE_COLUMNS, *SEX_COLUMNS, *SITE_COLUMNS))
            raise UsageError(f"{table.where}: needs one of {wanted}; it has {in_line(table.names, 200)}")
        for image, (row, _) in table.rows(Columns(), {}):
            said = ImageFacts(
                _age(_one_of(row, AGE_COLUMNS)),
                _one_of(row, SEX_COLUMNS),
                _one_of(row, SITE_COLUMNS),
                facts_of(row, "", Columns()).lesion_id,
            )
            known = facts.get(image.id, ImageFacts())
            facts[image.id] = ImageFacts(
                said.age if known.age is None else known.age,
                known.sex or said.sex,
                known.site or said.site,
                known.lesion_id or said.lesion_id,
            )
    return facts
