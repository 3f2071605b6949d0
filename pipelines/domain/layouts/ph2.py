"""PH2: a folder a case, with a photograph and masks as BMP; a text and a workbook say what the photographs show."""

import csv
import io
from collections.abc import Iterator

from pipelines.domain.layout import Form, Layout, Origin, Row, cell, with_cells

_COLUMNS = ("Name", "Histological Diagnosis", "Clinical Diagnosis")
_DIAGNOSES = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}
# The workbook marks the diagnosis with an X.
_MARKED = ("Common Nevus", "Atypical Nevus", "Melanoma")


def _as_csv(text: str) -> str:
    """Return the columns that count; a legend follows the lines that begin with bars."""
    lines = [line.split("||")[1:4] for line in text.splitlines() if line.lstrip().startswith("||")]
    file = io.StringIO()
    csv.writer(file).writerows([_COLUMNS, *([part.strip() for part in line] for line in lines[1:])])
    return file.getvalue()


def _rows(row: Row) -> Iterator[Row]:
    code = cell(row, "Clinical Diagnosis")
    yield {"image_id": row["Name"], "diagnosis": _DIAGNOSES.get(code, code)}


def _marked_rows(row: Row) -> Iterator[Row]:
    yield with_cells(row, {name: "1" if cell(row, name).lower() == "x" else cell(row, name) for name in _MARKED})


LAYOUT = Layout(
    "PH2 table",
    forms=(
        Form(_COLUMNS, rows=_rows, first_line=r"\|\|\s*Name\s*\|\|.*", as_csv=_as_csv),
        Form(("Image Name", *_MARKED), rows=_marked_rows, one_hot=_MARKED),
    ),
    file="PH2_dataset.txt",
    origin=Origin(
        where="[its page](https://www.fc.up.pt/addi/ph2%20database.html)",
        images="200: 80 common nevi, 80 atypical nevi, 40 melanomas",
        licence="for research and benchmarking; see its page",
        ids="none",
        classes="`melanoma,nevus`, `malignant`",
        command="--input ph2=PH2Dataset/ --classes melanoma,nevus",
    ),
)
