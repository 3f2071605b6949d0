"""Define the layouts in which images and labels come, and recognize the tables of each by their columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipelines.domain.metadata_columns import CHALLENGE_2018, CHALLENGE_2019, Columns


class Form(NamedTuple):
    """A kind of table."""

    columns: tuple[str, ...]  # columns that every such table has
    main: bool = True  # whether the images of this layout need such a table


class Layout(NamedTuple):
    """A way in which images and labels are stored."""

    title: str  # for reports
    folders: bool = False  # whether folder names are labels
    forms: tuple[Form, ...] = ()  # the tables of this layout, if it has any
    file: str = ""  # fixed name of its table, if it has one; preferred to other tables in the same folder


FOLDERS = "folders"
TABLE = "table"
# No layout is named: folder names and all tables provide labels.
RECOGNIZE = ""


# In the order in which layouts are tried for recognition.
LAYOUTS: dict[str, Layout] = {
    FOLDERS: Layout("class folders", folders=True),
    "isic_cli": Layout("ISIC archive table", forms=(Form(("isic_id",)),), file="metadata.csv"),
    "ham10000": Layout("HAM10000 table", forms=(Form(("image_id", "dx")),)),
    "isic2018": Layout(
        "ISIC 2018 table",
        forms=(
            Form(("image", *CHALLENGE_2018)),
            Form(("image", "lesion_id", "diagnosis_confirm_type"), main=False),
        ),
    ),
    "isic2019": Layout(
        "ISIC 2019 table",
        forms=(Form(("image", *CHALLENGE_2019)), Form(("image", "lesion_id", "age_approx"), main=False)),
    ),
    # Versions 1 and 2; the second has lesion ids too.
    "isic2020": Layout(
        "ISIC 2020 table", forms=(Form(("image_name", "benign_malignant")), Form(("image_name", "target")))
    ),
    TABLE: Layout("table"),
}


class Table(NamedTuple):
    """A metadata table to read."""

    path: str
    columns: Columns = Columns()
    name: str = ""  # name in messages and in `--on_label_conflict trust=`; see `complete_inputs`
    header: tuple[str, ...] = ()  # names of all columns, once the table has been read
    layout: str = TABLE  # layout recognized by the columns
    option: str = "--metadata"  # start of messages about this table
    found: bool = False  # whether it was found beside images rather than named by the user


class Source(NamedTuple):
    """Images from one place, with their tables."""

    name: str
    path: str
    layout: str = RECOGNIZE  # a key of LAYOUTS, or RECOGNIZE
    tables: tuple[Table, ...] = ()  # tables of these images only, unlike shared ones
    option: str = "--input"  # start of messages about the path

    @property
    def folders_speak(self) -> bool:
        """Return whether folder names are labels of the images."""
        return self.layout == RECOGNIZE or LAYOUTS[self.layout].folders

    def read_as(self) -> str:
        """Return where the labels come from, for a report: `class folders + HAM10000 table`."""
        titles = [LAYOUTS[FOLDERS].title] if self.folders_speak else []
        titles += [LAYOUTS[table.layout].title for table in self.tables]
        return " + ".join(dict.fromkeys(titles)) or "images"

    def as_json(self) -> dict[str, object]:
        """Return the source as a JSON object for a report."""
        tables = [table.path for table in self.tables]
        layout = self.layout or self.read_as()
        return {"name": self.name, "path": self.path, "layout": layout, "tables": tables}


def form_of(layout: str, columns: Iterable[str]) -> Form | None:
    """Return the form in a layout that a table with these columns has, or None."""
    return next((form for form in LAYOUTS[layout].forms if set(form.columns) <= set(columns)), None)


def recognize(columns: Iterable[str]) -> str:
    """Return the layout of a table with these columns; `table` if it is not one of ISIC's."""
    names = set(columns)
    return next((layout for layout in LAYOUTS if form_of(layout, names)), TABLE)


def describe_forms(layout: str) -> str:
    """Return the columns that identify a layout's main table, for a message."""
    return " or ".join(", ".join(form.columns) for form in LAYOUTS[layout].forms if form.main)


def missing_columns(layout: str, columns: Iterable[str]) -> list[str]:
    """Return the columns that a table lacks to be one of a layout's.

    Of the layout's forms, the one with the fewest missing columns counts; there must be at least one form.
    """
    names = set(columns)
    lacking = [[name for name in form.columns if name not in names] for form in LAYOUTS[layout].forms]
    return min(lacking, key=len)
