"""Part 3 of the ISIC challenge 2016: benign or malignant, 0.0 or 1.0 for the test images; the table has no header."""

from collections.abc import Iterator

from pipelines.sources.layout import Form, Layout, Origin, Row, cell, marked

_TRUTH = "benign or malignant"


def _rows(row: Row) -> Iterator[Row]:
    text = cell(row, _TRUTH).lower()
    found = "malignant" if marked(row, (_TRUTH,)) else "benign" if text in ("0", "0.0") else text
    yield {"image_id": row["image_id"], "benign_malignant": found}


def _as_csv(text: str) -> str:
    return f"image_id,{_TRUTH}\n{text}"


LAYOUT = Layout(
    "ISIC 2016 table",
    forms=(
        Form(
            ("image_id", _TRUTH),
            rows=_rows,
            first_line=r'"?ISIC_\d{7}"?\s*,\s*"?(?:benign|malignant|[01](?:\.0*)?)"?',
            as_csv=_as_csv,
        ),
    ),
    origin=Origin(
        where="[the challenge's data](https://challenge.isic-archive.com/data/#2016), part 3",
        images="900 for training, 379 for test",
        licence="CC-0",
        ids="none",
        classes="`malignant`",
        command="--input isic2016=ISBI2016_ISIC_Part3_Training_Data.zip --classes malignant",
    ),
)
