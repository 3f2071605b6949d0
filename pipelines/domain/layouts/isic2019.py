"""The ISIC challenge 2019: ground truth with a column for each class, and lesions in the metadata."""

from pipelines.domain.layout import Form, Layout, Origin
from pipelines.domain.one_hot import CHALLENGE_2019

LAYOUT = Layout(
    "ISIC 2019 table",
    forms=(Form(("image", *CHALLENGE_2019)), Form(("image", "lesion_id", "age_approx"), main=False)),
    origin=Origin(
        where="[the challenge's data](https://challenge.isic-archive.com/data/#2019)",
        images="25,331 for training",
        licence="CC-BY-NC",
        ids="lesion, of most",
        classes="`isic2019`, `isic9`",
        command="--input isic2019=ISIC_2019_Training_Input.zip",
    ),
)
