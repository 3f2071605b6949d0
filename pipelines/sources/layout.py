"""What a layout declares: its tables, known by their columns, and what its users ask about it."""

from __future__ import annotations

from typing import NamedTuple


class Form(NamedTuple):
    """A kind of table."""

    columns: tuple[str, ...]  # columns that every such table has
    main: bool = True  # whether the images of this layout need such a table


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
    origin: Origin | None = None  # None for a layout that is no published set
