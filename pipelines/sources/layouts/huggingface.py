"""Sets as on Hugging Face: Parquet with the images in it, or a folder of images with `metadata.jsonl` or `.csv`."""

import posixpath
from collections.abc import Iterator

from pipelines.domain.metadata_columns import ID_COLUMNS, LABEL_COLUMNS
from pipelines.sources.layout import Form, Layout, Origin, Row, cell

_FILE = "file_name"
# What people call the class, where no column of the archive says it.
_LABELS = ("label", "labels", "class", "disease")


def _rows(row: Row) -> Iterator[Row]:
    known = {name: value for name, value in row.items() if name not in ID_COLUMNS}
    if not any(cell(row, name) for name in LABEL_COLUMNS):
        known["diagnosis"] = next(filter(None, (cell(row, name) for name in _LABELS)), "")
    yield {**known, "image": posixpath.basename(cell(row, _FILE).replace("\\", "/"))}


LAYOUT = Layout(
    "Hugging Face table",
    forms=(Form((_FILE,), rows=_rows),),
    file="metadata.jsonl",
    origin=Origin(
        where="[huggingface.co](https://huggingface.co/datasets): a download of a set's files",
        images="those of the set",
        licence="that of the set",
        ids="where the set has columns `lesion_id` and `patient_id`",
        classes="any",
        command="--input huggingface=data/",
    ),
)
