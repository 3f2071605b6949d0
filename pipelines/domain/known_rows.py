"""Bring the rows of a table of any layout into columns that are known; see `metadata_columns`. Imports no Beam."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pipelines.domain.layout import Form, with_cells
from pipelines.domain.layout_registry import known_form
from pipelines.domain.metadata_columns import Columns, cells_of


class KnownRow(NamedTuple):
    """A row in columns that are known, or that the user named."""

    cells: Mapping[str, str]
    one_hot: Mapping[str, str] | None  # the one-hot columns of the table's form, with their terms; None for any others


def known_rows(
    rows: Iterable[Mapping[str, str]], columns: Columns, images: Callable[[], Mapping[str, Sequence[str]]]
) -> Iterator[KnownRow]:
    """Yield the rows of a table in known columns.

    Args:
        rows: The rows as the table has them.
        columns: Columns that the user named; if there are any, known forms are not tried.
        images: Returns the image ids of each lesion; called once, if the rows are of lesions.
    """
    form: Form | None = None
    one_hot: Mapping[str, str] | None = None
    of_lesion: Mapping[str, Sequence[str]] = {}
    for number, row in enumerate(rows):
        if not number and columns == Columns():
            form = known_form(row)
            one_hot = {name: name for name in form.one_hot} if form and form.one_hot else None
            of_lesion = images() if form and form.by_lesion else {}
        for known in form.rows(_spelled_as(form, row)) if form and form.rows else (row,):
            if form and form.by_lesion:
                lesion = cells_of(known)("lesion_id")
                yield from (KnownRow({**known, "isic_id": image}, one_hot) for image in of_lesion.get(lesion, ()))
            else:
                yield KnownRow(known, one_hot)


def _spelled_as(form: Form, row: Mapping[str, str]) -> Mapping[str, str]:
    """Return the row with the columns of its form spelled as in the form."""
    cell = cells_of(row)
    return with_cells(row, {name: cell(name) for name in form.columns})
