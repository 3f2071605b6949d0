"""One image filed several times: keep one, or none when the files disagree about its class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import apache_beam as beam

from pipelines.rows import DUPLICATE, ImageRow

# Where the same bytes stand in several folders, the training side keeps them: a test image must be new to the model.
_SPLIT_ORDER = {"train": 0, "validation": 1, "test": 2, "": 3}


def _preference(row: ImageRow) -> tuple:
    # The shorter name is the original: "ISIC_0025509.jpg" before "ISIC_0025509(1).jpg".
    return (_SPLIT_ORDER[row.folder_split], len(row.relative), row.relative, row.path)


def resolve_content(rows: Iterable[ImageRow]) -> list[ImageRow]:
    """Decide about files with the same bytes; the result does not depend on their order.

    Two or more classes: all rejected (`label_conflict`). Else the first by name is kept, with the lesion ids of
    all, and the others are duplicates of it.
    """
    ordered = sorted(rows, key=_preference)
    labels = sorted({row.label for row in ordered})
    if len(labels) > 1:
        places = ", ".join(f"{row.relative} ({row.label})" for row in ordered[:4])
        message = f"the same image is filed under {' and '.join(labels)}: {places}"
        return [row.rejected("deduplicate", "label_conflict", message) for row in ordered]
    kept = ordered[0]._replace(lesion_ids=tuple(sorted({lesion for row in ordered for lesion in row.lesion_ids})))
    return [kept] + [
        row.dropped(DUPLICATE, "deduplicate", "duplicate", f"the same bytes as {kept.relative}") for row in ordered[1:]
    ]


def _resolve(element: tuple[str, Iterable[ImageRow]]) -> Iterator[ImageRow]:
    yield from resolve_content(element[1])


class ResolveDuplicates(beam.PTransform):
    """Usable rows -> rows of which those without an outcome have distinct content; the others say why not."""

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        return (
            rows
            | "By content" >> beam.Map(lambda row: (row.sha256, row))
            | "Same content" >> beam.GroupByKey()
            | "Resolve" >> beam.FlatMap(_resolve)
        )
