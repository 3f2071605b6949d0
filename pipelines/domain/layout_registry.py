"""Find the layouts, each a module of the package `layouts`, and recognize the tables of each by their columns."""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator

from pipelines.common.csv_tables import TableError, csv_text
from pipelines.common.tables import column_key
from pipelines.domain import layouts
from pipelines.domain.layout import Form, Layout
from pipelines.domain.metadata_columns import COMMON_LABEL_COLUMNS, LABEL_COLUMNS, TARGET_COLUMN, one_hot_columns
from pipelines.domain.one_hot import CHALLENGE_COLUMNS
from pipelines.domain.taxonomy import diagnoses_of

# The first line of a table that is no CSV with a header is shorter, in any encoding.
_FIRST_LINE_BYTES = 1000
FOLDERS = "folders"
TABLE = "table"
# No layout is named: folder names and all tables provide labels.
RECOGNIZE = ""


def _declared() -> Iterator[tuple[str, Layout]]:
    for found in pkgutil.iter_modules(layouts.__path__):
        yield found.name, importlib.import_module(f"{layouts.__name__}.{found.name}").LAYOUT


# By the name of the module, in the order of names.
LAYOUTS: dict[str, Layout] = dict(sorted(_declared()))


# Columns of one-hot tables for whatever has no class of its own.
_REST = (
    *("other", "others", "rest", "remaining", "none", "none of these", "neither", "normal", "healthy", "misc"),
    *("miscellaneous", "sonstige", "sonstiges", "andere", "otro", "otros", "otra", "otras", "ninguno", "ninguna"),
)


def _keys(columns: Iterable[str]) -> set[str]:
    return {column_key(name) for name in columns}


_LABEL_KEYS = _keys((*LABEL_COLUMNS, *CHALLENGE_COLUMNS, *COMMON_LABEL_COLUMNS, TARGET_COLUMN, *_REST))


def _other_classes(form: Form, names: Iterable[str]) -> list[str]:
    """Return the columns with which a table is not of a form that has to be the only one to say the class."""
    own = _keys(form.columns)
    return [
        name
        for name in (names if form.alone else ())
        if (key := column_key(name)) not in own and (key in _LABEL_KEYS or diagnoses_of(name))
    ]


@functools.lru_cache(maxsize=256)
def _challenge_keys(names: tuple[str, ...]) -> frozenset[str]:
    """Return the keys of the challenges' columns that a table has by other names, such as `Melanoma` or `dx_mel`."""
    said = {diagnosis for term in one_hot_columns(names).terms.values() for diagnosis in diagnoses_of(term)}
    return frozenset(column_key(name) for name in CHALLENGE_COLUMNS if said.issuperset(diagnoses_of(name)))


def _fits(form: Form, names: Iterable[str]) -> bool:
    names = tuple(names)
    return _keys(form.columns) <= _keys(names) | _challenge_keys(names) and not _other_classes(form, names)


def form_of(layout: str, columns: Iterable[str]) -> Form | None:
    """Return the form in a layout that a table with these columns has, or None."""
    names = list(columns)
    return next((form for form in LAYOUTS[layout].forms if _fits(form, names)), None)


def recognize(columns: Iterable[str]) -> str:
    """Return the layout of a table with these columns; `table` if it is not a known one.

    If several fit, it is the one that asks for the most columns.
    """
    names = list(columns)
    fitting = [
        (-len(form.columns), layout) for layout in LAYOUTS for form in LAYOUTS[layout].forms if _fits(form, names)
    ]
    return min(fitting)[1] if fitting else TABLE


def known_form(columns: Iterable[str]) -> Form | None:
    """Return the form of a table of any layout, or None."""
    names = set(columns)
    return form_of(recognize(names), names)


def as_csv(data: bytes) -> bytes:
    """Return a table as CSV with a header, if it is of a kind that is published in another form."""
    with contextlib.suppress(TableError):  # the reader of the table says so
        line = csv_text(data[:_FIRST_LINE_BYTES], whole=False).text.lstrip().partition("\n")[0].strip()
        for layout in LAYOUTS.values():
            for form in layout.forms:
                if form.as_csv and re.fullmatch(form.first_line, line):
                    return form.as_csv(csv_text(data).text.lstrip()).encode()
    return data


def describe_forms(layout: str) -> str:
    """Return the columns that identify a layout's main table, for a message."""
    return " or ".join(", ".join(form.columns) for form in LAYOUTS[layout].forms if form.main)


def why_not(layout: str, columns: Iterable[str]) -> str:
    """Return why a table with these columns is none of a layout's, for a message.

    Of the layout's forms, the one with the fewest missing columns counts; there must be at least one form.
    """
    names = list(columns)
    keys = _keys(names)
    lacking, form = min(
        (([name for name in form.columns if column_key(name) not in keys], form) for form in LAYOUTS[layout].forms),
        key=lambda found: len(found[0]),
    )
    if lacking:
        return f"it lacks {'column' if len(lacking) == 1 else 'columns'} {', '.join(lacking)}"
    return f"its column {_other_classes(form, names)[0]} is of classes too"
