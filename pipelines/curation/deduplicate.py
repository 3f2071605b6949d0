"""Merge the files of one image, which share their bytes or their ISIC id and look alike: keep one file, one label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam

from pipelines.beam.components import ConnectedComponents
from pipelines.beam.packed_groups import PackedCoGroupByKey, PackedGroupByKey
from pipelines.curation.corrections import DROP, RELABEL
from pipelines.curation.id_conflicts import separate
from pipelines.curation.masks import is_in_mask_folder
from pipelines.dataset.image_row import CORRECTED, DUPLICATE, ImageRow
from pipelines.dataset.manifest import LIST_SEPARATOR
from pipelines.domain.dataset_json import SPLITS
from pipelines.domain.image_ids import isic_id_of
from pipelines.domain.labels import ResolvedLabel, claimed_classes, resolve_label

# Fields whose values, once known for one file, hold for all files of the same image.
_UNITED = ("claims", "lesion_ids", "patient_ids", "licenses", "attributions")


def _preference(row: ImageRow, sides: Sequence[str]) -> tuple:
    # If an image is in several splits, only one keeps it, because a test image must be new to the model. A photograph
    # with something drawn over it, in a folder named so, is the last choice. After that the larger image wins, then the
    # shorter name: "ISIC_0025509.jpg" is the original of "ISIC_0025509(1).jpg".
    side = [*sides, ""].index(row.given_split)
    drawn_over = is_in_mask_folder(row.relative)
    return (side, drawn_over, -row.width * row.height, len(row.relative), row.relative, row.path)


def _union(rows: Iterable[ImageRow], name: str) -> tuple:
    return tuple(sorted({value for row in rows for value in getattr(row, name)}))


def merge_files(rows: Iterable[ImageRow], trust: str = "", sides: Sequence[str] = SPLITS) -> list[ImageRow]:
    """Choose one file and one label for an image; the result does not depend on the order of the rows.

    If the sources do not agree on a label, all rows are rejected (`label_conflict` or `unmapped_label`, see
    `labels.resolve_label`). Otherwise the first row by preference is kept, with what any source knows about the image.
    The other rows become duplicates: `duplicate` if the bytes are the same, `same_image` if the file is another
    encoding of the same ISIC image. A correction of one file holds for the image: a drop rejects all rows
    (`corrected`), a relabel outranks all sources.

    Args:
        rows: The rows of all files of one image.
        trust: The source of labels that outranks the others, see `labels.trusted`; empty for none.
        sides: The splits in order of preference: if the image has several given splits, the first of them keeps it.

    Returns:
        All rows, in order of preference.
    """
    ordered = sorted(rows, key=lambda row: _preference(row, sides))
    ordered = [row._replace(image_of=ordered[0].path) for row in ordered]
    united: dict[str, Any] = {name: _union(ordered, name) for name in _UNITED}
    chosen = resolve_label(united["claims"], trust)
    # If there are two, the run is refused, see `corrections.problems_with`.
    correction, label = min(((row.correction, row.label) for row in ordered if row.correction), default=("", ""))
    old_label = ""
    if correction in (DROP, RELABEL):
        old_label = chosen.label or LIST_SEPARATOR.join(claimed_classes(united["claims"]))
        chosen = ResolvedLabel(label)
    ordered = [row._replace(label=chosen.label, correction=correction, old_label=old_label) for row in ordered]
    places = ", ".join(row.relative for row in ordered[:4])
    if correction == DROP:
        rejected = [row.rejected("correct", CORRECTED, f"dropped by --corrections: {places}") for row in ordered]
        return [row._replace(**united) for row in rejected]
    if chosen.reason:
        rejected = [row.rejected("label", chosen.reason, f"{chosen.message}: {places}") for row in ordered]
        return [row._replace(**united) for row in rejected]
    kept = ordered[0]._replace(**united)
    resolved = [kept]
    for row in ordered[1:]:
        if row.sha256 == kept.sha256:
            dropped = row.dropped(DUPLICATE, "deduplicate", "duplicate", f"the same bytes as {kept.relative}")
        else:
            dropped = row.dropped(DUPLICATE, "deduplicate", "same_image", f"the same image as {kept.relative}")
        resolved.append(dropped)
    return resolved


def resolve_files(rows: Iterable[ImageRow], trust: str = "", sides: Sequence[str] = SPLITS) -> Iterator[ImageRow]:
    """Yield the rows of files that share bytes or ids, each resolved.

    Masks and different pictures under one id are rejected, see `id_conflicts`; the other files are merged, see
    `merge_files`.

    Args:
        rows: The rows of files that share their bytes or their ISIC id, directly or through others.
        trust: See `merge_files`.
        sides: See `merge_files`.
    """
    separated = separate(rows)
    yield from separated.rejected
    for image in separated.images:
        yield from merge_files(image, trust, sides)


def image_keys(row: ImageRow) -> list[str]:
    """Return the keys that identify the image of a file beyond its bytes: its ISIC id, if any."""
    isic_id = isic_id_of(row.relative)
    return [isic_id] if isic_id else []


def _of_component(element: tuple[str, dict[str, Iterable]]) -> Iterator[tuple[str, ImageRow]]:
    component = next(iter(element[1]["components"]))
    return ((component, row) for row in element[1]["rows"])


class ByComponent(beam.PTransform):
    """PTransform: (rows, (content hash, component) pairs) -> (component, row)."""

    def expand(self, inputs: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection[tuple[str, ImageRow]]:
        """Join rows and components on the content hash; each content hash must have a component."""
        rows, components = inputs
        keyed = rows | "By content" >> beam.Map(lambda row: (row.sha256, row))
        return (
            {"rows": keyed, "components": components}
            | "Join components" >> PackedCoGroupByKey()
            | "Of component" >> beam.FlatMap(_of_component)
        )


class DeduplicateImages(beam.PTransform):
    """PTransform: readable rows -> the same rows, with at most one row per image left open, and that one labelled.

    Args:
        trust: The source of labels that outranks the others, see `labels.trusted`; empty for none.
        sides: The splits in order of preference, see `merge_files`.
    """

    def __init__(self, trust: str = "", sides: Sequence[str] = SPLITS):
        super().__init__()
        self._trust = trust
        self._sides = sides

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        """Turn readable rows into rows that are labelled, dropped as duplicates or rejected."""
        components = (
            rows
            | "Image keys" >> beam.Map(lambda row: (row.sha256, image_keys(row)))
            | "Same image" >> ConnectedComponents()
        )
        return (
            (rows, components)
            | "By image" >> ByComponent()
            | "Files of image" >> PackedGroupByKey()
            | "Files" >> beam.Values()
            | "Resolve" >> beam.FlatMap(resolve_files, self._trust, self._sides)
        )
