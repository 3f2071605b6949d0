"""Derm7pt: a clinical and a dermoscopic photograph of each case; the table names the files of both."""

import posixpath
from collections.abc import Iterator

from pipelines.domain.layout import Form, Layout, Origin, Row, cell, with_cells
from pipelines.domain.missing_values import is_missing


def _rows(row: Row) -> Iterator[Row]:
    case = cell(row, "case_num")
    for kind in ("clinic", "derm"):
        cells = {
            "image_id": posixpath.basename(cell(row, kind).replace("\\", "/")),
            "lesion_id": "" if is_missing(case) else f"derm7pt_{case}",
        }
        yield with_cells(row, cells)


LAYOUT = Layout(
    "Derm7pt table",
    forms=(Form(("case_num", "diagnosis", "clinic", "derm"), rows=_rows),),
    file="meta.csv",
    folder="meta",
    origin=Origin(
        where="[derm.cs.sfu.ca](https://derm.cs.sfu.ca), after registration",
        images="two of each of 1,011 cases",
        licence="terms of its page",
        ids="case, taken as lesion",
        classes="`isic9`, `isic2019`, `malignant`",
        command="--input derm7pt=release_v0/images/",
    ),
)
