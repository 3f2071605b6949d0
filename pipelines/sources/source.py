"""A place with images, and the tables that describe them."""

from __future__ import annotations

from typing import NamedTuple

from pipelines.domain.layout_registry import FOLDERS, LAYOUTS, RECOGNIZE, TABLE
from pipelines.domain.metadata_columns import Columns


class Table(NamedTuple):
    """A metadata table to read."""

    path: str
    columns: Columns = Columns()
    name: str = ""  # name in messages and in `--on_label_conflict trust=`; see `complete_inputs`
    header: tuple[str, ...] = ()  # names of all columns, once the table has been read
    layout: str = TABLE  # layout recognized by the columns
    option: str = "--metadata"  # start of messages about this table
    images: str = ""  # of a table by lesion: another table, which names the images of each lesion
    found: bool = False  # whether it was found beside images rather than named by the user
    by_path: bool = False  # whether it is a list of paths, see `labelled_lists`


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
