"""HAM10000, from Dataverse or Kaggle."""

from pipelines.domain.layout import Form, Layout, Origin

LAYOUT = Layout(
    "HAM10000 table",
    forms=(Form(("image_id", "dx")),),
    origin=Origin(
        where="[Harvard Dataverse](https://doi.org/10.7910/DVN/DBW86T)",
        images="10,015",
        licence="CC-BY-NC 4.0",
        ids="lesion",
        classes="`ham7`, `isic9`, `isic2019`",
        command="--input ham10000=HAM10000_images_part_1.zip --input ham10000=HAM10000_images_part_2.zip",
    ),
)
