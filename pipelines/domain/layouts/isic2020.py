"""The ISIC challenge 2020: ground truth of version 1, or of version 2, which has lesions too."""

from pipelines.domain.layout import Form, Layout, Origin

LAYOUT = Layout(
    "ISIC 2020 table",
    forms=(Form(("image_name", "benign_malignant")), Form(("image_name", "target"))),
    origin=Origin(
        where="[the challenge's data](https://challenge.isic-archive.com/data/#2020)",
        images="33,126 for training",
        licence="CC-BY-NC",
        ids="patient; lesion in version 2",
        classes="`malignant`",
        command="--input isic2020=ISIC_2020_Training_JPEG.zip --classes malignant",
    ),
)
