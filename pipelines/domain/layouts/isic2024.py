"""The ISIC challenge 2024 (SLICE-3D): crops of total body photographs, in a folder or in `train-image.hdf5`."""

from collections.abc import Iterator

from pipelines.domain.layout import Form, Layout, Origin, Row, cell, with_cells
from pipelines.domain.metadata_columns import TARGETS
from pipelines.domain.missing_values import flag_of


def _rows(row: Row) -> Iterator[Row]:
    yield with_cells(row, {"benign_malignant": TARGETS[flag_of(cell(row, "malignant"))]})


LAYOUT = Layout(
    "ISIC 2024 table",
    forms=(
        Form(("isic_id", "target", "patient_id", "iddx_full")),
        Form(("isic_id", "malignant"), rows=_rows),
        Form(("isic_id", "iddx_full"), main=False),
    ),
    origin=Origin(
        where="[Kaggle](https://www.kaggle.com/competitions/isic-2024-challenge), or "
        "[the challenge's data](https://challenge.isic-archive.com/data/#2024)",
        images="401,059 for training, 393 of them malignant",
        licence="CC-BY-NC 4.0; CC-BY 4.0 of the 217,477 images that the challenge calls permissive",
        ids="patient; lesion, of few",
        classes="`malignant`",
        command="--input isic2024=train-image.hdf5 --classes malignant",
    ),
)
