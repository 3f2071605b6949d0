"""Find the layouts, each a module of the package `layouts`, and recognize the tables of each by their columns."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator

from pipelines.common.tables import column_key
from pipelines.sources import layouts
from pipelines.sources.layout import Form, Layout

FOLDERS = "folders"
TABLE = "table"
# No layout is named: folder names and all tables provide labels.
RECOGNIZE = ""


def _declared() -> Iterator[tuple[str, Layout]]:
    for found in pkgutil.iter_modules(layouts.__path__):
        yield found.name, importlib.import_module(f"{layouts.__name__}.{found.name}").LAYOUT


# By the name of the module, in the order of names.
LAYOUTS: dict[str, Layout] = dict(sorted(_declared()))


def _keys(columns: Iterable[str]) -> set[str]:
    return {column_key(name) for name in columns}


def form_of(layout: str, columns: Iterable[str]) -> Form | None:
    """Return the form in a layout that a table with these columns has, or None."""
    names = _keys(columns)
    return next((form for form in LAYOUTS[layout].forms if _keys(form.columns) <= names), None)


def recognize(columns: Iterable[str]) -> str:
    """Return the layout of a table with these columns; `table` if it is not a known one.

    If several fit, it is the one that asks for the most columns.
    """
    names = _keys(columns)
    fitting = [
        (-len(form.columns), layout)
        for layout in LAYOUTS
        for form in LAYOUTS[layout].forms
        if _keys(form.columns) <= names
    ]
    return min(fitting)[1] if fitting else TABLE


def known_form(columns: Iterable[str]) -> Form | None:
    """Return the form of a table of any layout, or None."""
    names = set(columns)
    return form_of(recognize(names), names)


def as_csv(data: bytes) -> bytes:
    """Return a table as CSV with a header, if it is of a kind that is published in another form."""
    line = data[:1000].decode("utf-8", "replace").removeprefix("\ufeff").partition("\n")[0].strip()
    for layout in LAYOUTS.values():
        for form in layout.forms:
            if form.as_csv and re.fullmatch(form.first_line, line):
                return form.as_csv(data.decode("utf-8-sig", "replace")).encode()
    return data


def describe_forms(layout: str) -> str:
    """Return the columns that identify a layout's main table, for a message."""
    return " or ".join(", ".join(form.columns) for form in LAYOUTS[layout].forms if form.main)


def missing_columns(layout: str, columns: Iterable[str]) -> list[str]:
    """Return the columns that a table lacks to be one of a layout's.

    Of the layout's forms, the one with the fewest missing columns counts; there must be at least one form.
    """
    names = _keys(columns)
    lacking = [[name for name in form.columns if column_key(name) not in names] for form in LAYOUTS[layout].forms]
    return min(lacking, key=len)
