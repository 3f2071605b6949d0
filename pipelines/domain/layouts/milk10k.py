"""MILK10k: a clinical and a dermoscopic photograph of each lesion, with ground truth by lesion."""

from pipelines.domain.layout import Form, Layout, Origin

_CLASSES = ("AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC")


LAYOUT = Layout(
    "MILK10k table",
    forms=(
        Form(("lesion_id", *_CLASSES), one_hot=_CLASSES, by_lesion=True),
        Form(("lesion_id", "image_type", "isic_id", "skin_tone_class"), main=False),
        Form(("isic_id", "diagnosis_full"), main=False),
    ),
    origin=Origin(
        where="[the challenge's data](https://challenge.isic-archive.com/data/#milk10k)",
        images="10,480 for training, of 5,240 lesions",
        licence="CC-BY-NC",
        ids="lesion",
        classes="`isic2019`, `isic9`",
        command="--input milk10k=MILK10k_Training_Input/",
    ),
)
