"""One image, several files: the same bytes, or the same ISIC id in two downloads. One file is kept, and one label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from pipelines.components import ConnectedComponents
from pipelines.image_names import isic_id_of
from pipelines.labels import decide
from pipelines.rows import DUPLICATE, SPLITS, ImageRow

# What a file's tables say holds for every file of the same image.
_KNOWN_OF_IMAGE = ("claims", "lesion_ids", "patient_ids", "licenses", "attributions")


def _preference(row: ImageRow, sides: Sequence[str]) -> tuple:
    # One side keeps an image that several have: a test image must be new to the model. Then the larger picture, then
    # the shorter name: "ISIC_0025509.jpg" is the original of "ISIC_0025509(1).jpg".
    side = [*sides, ""].index(row.given_split)
    return (side, -row.width * row.height, len(row.relative), row.relative, row.path)


def _union(rows: Iterable[ImageRow], name: str) -> tuple:
    return tuple(sorted({value for row in rows for value in getattr(row, name)}))


def resolve_image(rows: Iterable[ImageRow], trust: str = "", sides: Sequence[str] = SPLITS) -> list[ImageRow]:
    """Decide about the files of one image; the result does not depend on their order.

    sides: splits, those first that keep the image where it lies in several.

    Without a label on which all sources agree, all are rejected (`label_conflict`, `unmapped_label`; see
    `labels.decide`). Else the first by preference is kept, with what any source knows of the image, and the others are
    duplicates: of the same bytes (`duplicate`), or of another encoding of the same ISIC image (`same_image`).
    """
    ordered = sorted(rows, key=lambda row: _preference(row, sides))
    ordered = [row._replace(image_of=ordered[0].path) for row in ordered]
    known: dict[str, Any] = {name: _union(ordered, name) for name in _KNOWN_OF_IMAGE}
    decision = decide(known["claims"], trust)
    if decision.reason:
        places = ", ".join(row.relative for row in ordered[:4])
        rejected = [row.rejected("label", decision.reason, f"{decision.message}: {places}") for row in ordered]
        return [row._replace(**known) for row in rejected]
    kept = ordered[0]._replace(label=decision.label, **known)
    resolved = [kept]
    for row in ordered[1:]:
        if row.sha256 == kept.sha256:
            dropped = row.dropped(DUPLICATE, "deduplicate", "duplicate", f"the same bytes as {kept.relative}")
        else:
            dropped = row.dropped(DUPLICATE, "deduplicate", "same_image", f"the same image as {kept.relative}")
        resolved.append(dropped._replace(label=decision.label))
    return resolved


def image_keys(row: ImageRow) -> list[str]:
    """What makes files with other bytes the same image."""
    isic_id = isic_id_of(row.relative)
    return [isic_id] if isic_id else []


def _of_component(element: tuple[str, dict[str, Iterable]]) -> Iterator[tuple[str, ImageRow]]:
    component = next(iter(element[1]["components"]))
    return ((component, row) for row in element[1]["rows"])


class ByComponent(beam.PTransform):
    """Rows by content hash, and (content hash, component) -> (component, row)."""

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[tuple[str, ImageRow]]:
        rows, components = inputs
        keyed = rows | "By content" >> beam.Map(lambda row: (row.sha256, row))
        return (
            {"rows": keyed, "components": components}
            | "Join components" >> beam.CoGroupByKey()
            | "Of component" >> beam.FlatMap(_of_component)
        )


class ResolveImages(beam.PTransform):
    """Readable rows -> the same rows; of each image at most one is left without an outcome, and it has a label."""

    def __init__(self, trust: str = "", sides: Sequence[str] = SPLITS):
        super().__init__()
        self._trust = trust
        self._sides = sides

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        components = (
            rows
            | "Image keys" >> beam.Map(lambda row: (row.sha256, image_keys(row)))
            | "Same image" >> ConnectedComponents()
        )
        return (
            (rows, components)
            | "By image" >> ByComponent()
            | "Files of image" >> beam.GroupByKey()
            | "Files" >> beam.Values()
            | "Resolve" >> beam.FlatMap(resolve_image, self._trust, self._sides)
        )
