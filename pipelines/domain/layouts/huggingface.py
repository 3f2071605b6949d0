"""Sets as on Hugging Face: Parquet with the images in it, or a folder of images with `metadata.jsonl` or `.csv`."""

import posixpath
from collections.abc import Iterator

from pipelines.common.tables import column_key
from pipelines.domain.image_ids import image_id_of, isic_id_of
from pipelines.domain.layout import Form, Layout, Origin, Row, with_cells
from pipelines.domain.metadata_columns import COMMON_LABEL_COLUMNS, ID_COLUMNS, LABEL_COLUMNS, cells_of

_FILE = "file_name"


def _ids(row: Row) -> list[str]:
    """Return the file of a row, and its ISIC id, as files may be named by either; without both, its first other id."""
    cell = cells_of(row)
    file = posixpath.basename(cell(_FILE).replace("\\", "/"))
    isic = isic_id_of(cell("isic_id"))
    return [file, isic] if file or isic else [next(filter(None, map(cell, ID_COLUMNS)), "")]


def _rows(row: Row) -> Iterator[Row]:
    cell = cells_of(row)
    if not any(map(cell, LABEL_COLUMNS)) and (label := next(filter(None, map(cell, COMMON_LABEL_COLUMNS)), "")):
        row = with_cells(row, {"diagnosis": label})
    known = {name: value for name, value in row.items() if column_key(name) not in ID_COLUMNS}
    for identity in dict.fromkeys(image_id_of(name) for name in _ids(row) if name):
        yield {**known, "image": identity}


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
