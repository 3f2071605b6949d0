"""Task 3 of the ISIC challenge 2018: ground truth with a column for each class, and lesions in a second table."""

from pipelines.domain.layout import Form, Layout, Origin
from pipelines.domain.one_hot import CHALLENGE_2018

LAYOUT = Layout(
    "ISIC 2018 table",
    forms=(
        Form(("image", *CHALLENGE_2018)),
        Form(("image", "lesion_id", "diagnosis_confirm_type"), main=False),
    ),
    origin=Origin(
        where="[the challenge's data](https://challenge.isic-archive.com/data/#2018), task 3",
        images="10,015 for training",
        licence="CC-BY-NC",
        ids="lesion, in the table of lesion groupings",
        classes="`ham7`, `isic9`, `isic2019`",
        command="--input isic2018=ISIC2018_Task3_Training_Input.zip",
    ),
)
