"""Part 3 of the ISIC challenge 2016: benign or malignant, 0.0 or 1.0 for the test images; the table has no header."""

import re
from collections.abc import Iterator

from pipelines.domain.layout import Form, Layout, Origin, Row, cell
from pipelines.domain.metadata_columns import TARGETS
from pipelines.domain.missing_values import flag_of

_TRUTH = "benign or malignant"


def _rows(row: Row) -> Iterator[Row]:
    text = cell(row, _TRUTH)
    yield {"image_id": row["image_id"], "benign_malignant": TARGETS[flag_of(text)] or text.lower()}


def _as_csv(text: str) -> str:
    found = re.search(r"[,;\t]", text)
    return f"image_id{found[0] if found else ','}{_TRUTH}\n{text}"


LAYOUT = Layout(
    "ISIC 2016 table",
    forms=(
        Form(
            ("image_id", _TRUTH),
            rows=_rows,
            # A decimal comma comes with another delimiter.
            first_line=r'"?ISIC_\d{7}(?:\.(?i:jpe?g))?"?\s*(?:[,;\t]\s*"?(?:(?i:benign|malignant)|[01](?:\.0*)?)|[;\t]\s*"?[01],0*|,\s*"[01],0*)"?',
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
