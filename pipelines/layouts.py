"""The layouts in which images and their labels come, and how each one's tables are known by their columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipelines.table_columns import CHALLENGE_2018, CHALLENGE_2019, Columns


class Form(NamedTuple):
    """One kind of table. columns: those it always has; main: whether its layout's images need such a table."""

    columns: tuple[str, ...]
    main: bool = True


class Layout(NamedTuple):
    """title: for reports. folders: whether folder names say what an image shows. forms: its tables, if it has any of
    its own. file: the name of its table where that is always the same; it goes before other tables beside it."""

    title: str
    folders: bool = False
    forms: tuple[Form, ...] = ()
    file: str = ""


FOLDERS = "folders"
TABLE = "table"
# Nothing named: folder names and every table speak.
RECOGNIZE = ""

# The order is that of recognition.
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
    # Version 1 and 2; the second has lesion ids too.
    "isic2020": Layout(
        "ISIC 2020 table", forms=(Form(("image_name", "benign_malignant")), Form(("image_name", "target")))
    ),
    TABLE: Layout("table"),
}


class Table(NamedTuple):
    """A table to read. name: what messages and `--on_label_conflict trust=` call it, see `name_tables`.

    header: the names of all its columns, once it was read; layout: the layout that they show. option: how a message
    about it begins. found: nobody named it.
    """

    path: str
    columns: Columns = Columns()
    name: str = ""
    header: tuple[str, ...] = ()
    layout: str = TABLE
    option: str = "--metadata"
    found: bool = False


class Source(NamedTuple):
    """Images from one place. layout: a name in LAYOUTS, or RECOGNIZE. tables: those that belong to these images.

    option: how a message about its path begins.
    """

    name: str
    path: str
    layout: str = RECOGNIZE
    tables: tuple[Table, ...] = ()
    option: str = "--input"

    @property
    def folders_speak(self) -> bool:
        """Whether folder names say what an image shows."""
        return self.layout == RECOGNIZE or LAYOUTS[self.layout].folders

    def read_as(self) -> str:
        """What its labels come from, for the reader of a report: `class folders + HAM10000 table`."""
        titles = [LAYOUTS[FOLDERS].title] if self.folders_speak else []
        titles += [LAYOUTS[table.layout].title for table in self.tables]
        return " + ".join(dict.fromkeys(titles)) or "images"

    def as_json(self) -> dict[str, object]:
        """For a report."""
        tables = [table.path for table in self.tables]
        layout = self.layout or self.read_as()
        return {"name": self.name, "path": self.path, "layout": layout, "tables": tables}


def form_of(layout: str, columns: Iterable[str]) -> Form | None:
    """Which of the layout's tables has these columns."""
    return next((form for form in LAYOUTS[layout].forms if set(form.columns) <= set(columns)), None)


def recognize(columns: Iterable[str]) -> str:
    """The layout of a table with these columns; `table` when it is none of ISIC's."""
    names = set(columns)
    return next((layout for layout in LAYOUTS if form_of(layout, names)), TABLE)


def describe_forms(layout: str) -> str:
    """The columns by which the layout's own table is known, for a message."""
    return " or ".join(", ".join(form.columns) for form in LAYOUTS[layout].forms if form.main)


def missing_columns(layout: str, columns: Iterable[str]) -> list[str]:
    """What a table lacks to be one of the layout's: of the form to which it comes nearest."""
    names = set(columns)
    lacking = [[name for name in form.columns if name not in names] for form in LAYOUTS[layout].forms]
    return min(lacking, key=len)
