"""PAD-UFES-20: photographs by smartphones; lesions are numbered, so a lesion's id gets its patient's in front."""

from collections.abc import Iterator

from pipelines.domain.layout import Form, Layout, Origin, Row, cell, with_cells
from pipelines.domain.missing_values import is_no_id


def _rows(row: Row) -> Iterator[Row]:
    patient, lesion = cell(row, "patient_id"), cell(row, "lesion_id")
    known = [part for part in (patient, lesion) if not is_no_id(part)]
    cells = {
        "image_id": row["img_id"],
        "diagnosis": row["diagnostic"],
        "lesion_id": "" if is_no_id(lesion) else "_".join(known),
    }
    yield with_cells(row, cells)


LAYOUT = Layout(
    "PAD-UFES-20 table",
    forms=(Form(("img_id", "diagnostic", "patient_id", "lesion_id"), rows=_rows),),
    file="metadata.csv",
    origin=Origin(
        where="[Mendeley Data](https://doi.org/10.17632/zr7vgbcyr2.1)",
        images="2,298, of 1,641 lesions of 1,373 patients",
        licence="CC-BY 4.0",
        ids="lesion and patient",
        classes="`isic9`, `isic2019`, `malignant`",
        command="--input pad_ufes=images/",
    ),
)
