"""Part 3 of the ISIC challenge 2017: columns for melanoma and seborrheic keratosis; neither means a nevus."""

from collections.abc import Iterator

from pipelines.domain.layout import Form, Layout, Origin, Row, cell, with_cells
from pipelines.domain.missing_values import flag_of

_CLASSES = ("melanoma", "seborrheic_keratosis")


def _rows(row: Row) -> Iterator[Row]:
    neither = all(flag_of(cell(row, name)) is False for name in _CLASSES)
    yield with_cells(row, {"diagnosis": "nevus"}) if neither else row


LAYOUT = Layout(
    "ISIC 2017 table",
    forms=(Form(("image_id", *_CLASSES), rows=_rows, one_hot=_CLASSES, alone=True),),
    origin=Origin(
        where="[the challenge's data](https://challenge.isic-archive.com/data/#2017), part 3",
        images="2,000 for training, 150 for validation, 600 for test",
        licence="CC-0",
        ids="none",
        classes="`melanoma,nevus,seborrheic keratosis`, `isic9`, `isic2019`, `ham7`, `malignant`",
        command="--input isic2017=ISIC-2017_Training_Data.zip",
    ),
)
