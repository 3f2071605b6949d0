"""Join images with the facts that tables hold about them.

ISIC ids identify an image across all sources. Other ids are valid only within their source, and so are ids of lesions
and patients that are plain numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam

from pipelines.beam.packed_groups import PackedCoGroupByKey
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.identities import short_names, within
from pipelines.domain.image_ids import isic_id_of
from pipelines.domain.labels import table_claims
from pipelines.domain.metadata_columns import Columns, Facts
from pipelines.domain.taxonomy import ClassSet
from pipelines.sources.labelled_lists import list_facts
from pipelines.sources.metadata_tables import read_facts
from pipelines.sources.source import Source, Table

# (source name, image id); the name is empty for an ISIC id.
ImageKey = tuple[str, str]


def image_key(source: str, image_id: str) -> ImageKey:
    """Return the key that joins an image with its table rows.

    For an id that is not ISIC's, the key includes the source: `1.jpg` of two sources are two images.

    Args:
        source: Name of the image's source.
        image_id: Id of the image.
    """
    return ("" if isic_id_of(image_id) else source, image_id)


class Speaker(NamedTuple):
    """A table to read once, with the sources that it describes."""

    path: str
    columns: Columns
    name: str
    images: str  # see Table
    by_path: bool
    sources: tuple[str, ...]  # names of the sources whose images the table describes
    owners: tuple[str, ...] = ()  # names of those sources to which the table belongs; none if it is only shared
    space: str = ""  # where its lesions and patients are numbered, see `identities.within`


def tables_to_read(sources: Sequence[Source], shared: Sequence[Table]) -> list[Speaker]:
    """Return every table once, even if several sources name it.

    If there are several sources, lesions and patients that are plain numbers are told apart by the name of their
    source, or of their table where it is of several sources.

    Args:
        sources: Sources with their own tables.
        shared: Tables that describe the images of all sources.
    """
    everywhere = tuple(source.name for source in sources)

    def key_of(table: Table) -> tuple[str, Columns, str, str, bool]:
        return table.path, table.columns, table.name, table.images, table.by_path

    shared_keys = list(map(key_of, shared))
    owners: dict[tuple[str, Columns, str, str, bool], list[str]] = {key: [] for key in shared_keys}
    for source in sources:
        for table in source.tables:
            owners.setdefault(key_of(table), []).append(source.name)
    short = short_names(everywhere)
    # Where each table counts: in its source, or in itself if it is of several.
    spaces = {
        key: short[names[0]] if len(names) == 1 and key not in shared_keys else key[2] for key, names in owners.items()
    }
    apart = len(sources) > 1 and len(set(spaces.values())) > 1
    return [
        Speaker(
            *key,
            everywhere if key in shared_keys else tuple(names),
            tuple(names),
            spaces[key] if apart else "",
        )
        for key, names in owners.items()
    ]


def speak(table: Speaker) -> Iterator[tuple[ImageKey, Facts]]:
    """Yield what a table says of images, by the key that joins it with them."""
    if table.by_path:
        found = list_facts(table.path, table.columns, table.name)
    else:
        found = read_facts(table.path, table.columns, table.name, table.images)
    for image_id, facts in found:
        facts = facts._replace(
            owners=table.owners,
            lesion_id=within(table.space, facts.lesion_id),
            patient_id=within(table.space, facts.patient_id),
        )
        for key in dict.fromkeys(image_key(source, image_id) for source in table.sources):
            yield key, facts


def with_facts(row: ImageRow, facts: Iterable[Facts], class_set: ClassSet) -> ImageRow:
    """Return the row with the facts from tables added.

    Args:
        row: The image.
        facts: Facts about this image, in any order.
        class_set: Maps labels to classes.
    """
    facts = list(facts)

    def values(name: str) -> tuple[str, ...]:
        return tuple(sorted({getattr(fact, name) for fact in facts} - {""}))

    claims = {
        claim for fact in facts for claim in table_claims(fact.source, fact.labels, fact.hot, class_set, fact.owners)
    }
    return row._replace(
        tables=values("source"),
        claims=tuple(sorted({*row.claims, *claims})),
        lesion_ids=values("lesion_id"),
        patient_ids=values("patient_id"),
        licenses=values("license"),
        attributions=values("attribution"),
    )


def join_facts(rows: Iterable[ImageRow], facts: Iterable[Facts], class_set: ClassSet) -> Iterator[ImageRow]:
    """Yield the rows of one image key with the facts of that key."""
    facts = sorted(set(facts))
    for row in rows:
        yield with_facts(row, (fact for fact in facts if fact.file in ("", row.path)), class_set)


def _join(element: tuple[ImageKey, dict[str, Iterable]], class_set: ClassSet) -> Iterator[ImageRow]:
    yield from join_facts(element[1]["images"], element[1]["facts"], class_set)


class JoinTables(beam.PTransform):
    """PTransform that adds the facts from tables to image rows.

    The tables of a source describe its own images and every image with an ISIC id. Shared tables describe all images.
    """

    def __init__(self, sources: Sequence[Source], shared: Sequence[Table], class_set: ClassSet):
        """Initialize the transform.

        Args:
            sources: Sources with their own tables.
            shared: Tables that describe the images of all sources.
            class_set: Maps labels to classes.
        """
        super().__init__()
        self._tables = tables_to_read(sources, shared)
        self._class_set = class_set

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        """Return the same rows with the facts added."""
        if not self._tables:
            return rows
        facts = (
            rows.pipeline
            | "Tables" >> beam.Create(self._tables, reshuffle=False)
            | "Read tables" >> beam.FlatMap(speak)
        )
        keyed = rows | "By image id" >> beam.Map(lambda row: (image_key(row.source, row.image_id), row))
        return (
            {"images": keyed, "facts": facts}
            | "Join tables" >> PackedCoGroupByKey()
            | "With facts" >> beam.FlatMap(_join, self._class_set)
        )
