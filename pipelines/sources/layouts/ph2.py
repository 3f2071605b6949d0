"""PH2: a folder a case, with a photograph and masks as BMP; `PH2_dataset.txt` says what the photographs show."""

import csv
import io
from collections.abc import Iterator

from pipelines.sources.layout import Form, Layout, Origin, Row, cell

_COLUMNS = ("Name", "Histological Diagnosis", "Clinical Diagnosis")
_DIAGNOSES = {"0": "common nevus", "1": "atypical nevus", "2": "melanoma"}


def _as_csv(text: str) -> str:
    """Return the columns that count; a legend follows the lines that begin with bars."""
    lines = [line.split("||")[1:4] for line in text.splitlines() if line.lstrip().startswith("||")]
    file = io.StringIO()
    csv.writer(file).writerows([_COLUMNS, *([part.strip() for part in line] for line in lines[1:])])
    return file.getvalue()


def _rows(row: Row) -> Iterator[Row]:
    code = cell(row, "Clinical Diagnosis")
    yield {"image_id": row["Name"], "diagnosis": _DIAGNOSES.get(code, code)}


LAYOUT = Layout(
    "PH2 table",
    forms=(Form(_COLUMNS, rows=_rows, first_line=r"\|\|\s*Name\s*\|\|.*", as_csv=_as_csv),),
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
