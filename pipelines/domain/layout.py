"""What a layout declares: its tables, known by their columns, and what its users ask about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from pipelines.common.tables import column_key

Row = Mapping[str, str]


def cell(row: Row, name: str) -> str:
    """Return a cell without blanks around; empty if the line is too short."""
    return (row.get(name) or "").strip()


def with_cells(row: Row, cells: Row) -> Row:
    """Return the row with these cells in place of its own of the same columns, however it spells their names."""
    keys = {column_key(name) for name in cells}
    return {**{name: value for name, value in row.items() if column_key(name) not in keys}, **cells}


class Form(NamedTuple):
    """A kind of table."""

    columns: tuple[str, ...]  # columns that every such table has
    main: bool = True  # whether the images of this layout need such a table
    # One row, as rows with the columns that `metadata_columns` knows; None if it has them.
    rows: Callable[[Row], Iterable[Row]] | None = None
    one_hot: tuple[str, ...] = ()  # columns of which one says the class, if they are others than the challenges'
    alone: bool = False  # whether a table with further columns of classes is another one
    by_lesion: bool = False  # whether a row is of a lesion; another table says which images show it
    # Pattern of the first line of a table that is no CSV with a header, and what makes one of it.
    first_line: str = ""
    as_csv: Callable[[str], str] | None = None


class Origin(NamedTuple):
    """What is known of a published set, in words for the table in docs/sources.md."""

    where: str  # where to get it
    images: str  # how many images it has
    licence: str
    ids: str  # which images it says to be of one lesion, and of one patient
    classes: str  # the class sets that fit
    command: str  # the input, as options of prepare


class Layout(NamedTuple):
    """A way in which images and labels are stored."""

    title: str  # for reports
    folders: bool = False  # whether folder names are labels
    forms: tuple[Form, ...] = ()  # the tables of this layout, if it has any
    file: str = ""  # fixed name of its table, if it has one; preferred to other tables in the same folder
    folder: str = ""  # fixed name of the folder of its tables, beside that of the images
    origin: Origin | None = None  # None for a layout that is no published set
