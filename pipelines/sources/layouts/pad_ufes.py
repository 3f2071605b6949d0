"""PAD-UFES-20: photographs by smartphones; lesions are numbered, so a lesion's id gets its patient's in front."""

from collections.abc import Iterator

from pipelines.sources.layout import Form, Layout, Origin, Row, cell


def _rows(row: Row) -> Iterator[Row]:
    patient, lesion = cell(row, "patient_id"), cell(row, "lesion_id")
    yield {
        "image_id": row["img_id"],
        "diagnosis": row["diagnostic"],
        "patient_id": patient,
        "lesion_id": f"{patient}_{lesion}" if patient and lesion else "",
    }


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
