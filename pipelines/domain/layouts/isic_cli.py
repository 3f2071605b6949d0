"""Downloads of the ISIC archive, by isic-cli or from its gallery; the columns differ from download to download."""

from pipelines.domain.layout import Form, Layout, Origin

LAYOUT = Layout(
    "ISIC archive table",
    forms=(Form(("isic_id",)),),
    file="metadata.csv",
    origin=Origin(
        where="`isic image download`, or the gallery of [the archive](https://www.isic-archive.com)",
        images="as many as you ask for",
        licence="a column: CC-0, CC-BY, CC-BY-NC",
        ids="lesion and patient, where they are known",
        classes="any",
        command="--input isic_cli=download/",
    ),
)
