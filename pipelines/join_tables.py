"""Each image with what the tables say of it. ISIC ids are the same everywhere, other ids hold within their source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam

from pipelines.image_names import isic_id_of
from pipelines.labels import make_claim
from pipelines.layouts import Source, Table
from pipelines.metadata import read_facts
from pipelines.rows import ImageRow
from pipelines.table_columns import Columns, Facts
from pipelines.taxonomy import ClassSet

# (source's name, image id); the name is empty for an ISIC id.
ImageKey = tuple[str, str]


def image_key(source: str, image_id: str) -> ImageKey:
    """What an image and the lines about it have in common: `1.jpg` of two sources are two images."""
    return ("" if isic_id_of(image_id) else source, image_id)


class Speaker(NamedTuple):
    """A table to read once. sources: of whose images it speaks; owners: those of them to which it belongs."""

    path: str
    columns: Columns
    name: str
    sources: tuple[str, ...]
    owners: tuple[str, ...] = ()


def tables_to_read(sources: Sequence[Source], shared: Sequence[Table]) -> list[Speaker]:
    """Every table once, though several sources name it; a shared one speaks of the images of all."""
    everywhere = tuple(source.name for source in sources)
    shared_keys = [(table.path, table.columns, table.name) for table in shared]
    owners: dict[tuple[str, Columns, str], list[str]] = {key: [] for key in shared_keys}
    for source in sources:
        for table in source.tables:
            owners.setdefault((table.path, table.columns, table.name), []).append(source.name)
    return [
        Speaker(*key, everywhere if key in shared_keys else tuple(names), tuple(names)) for key, names in owners.items()
    ]


def _speak(table: Speaker) -> Iterator[tuple[ImageKey, Facts]]:
    for image_id, facts in read_facts(table.path, table.columns, table.name):
        for key in dict.fromkeys(image_key(source, image_id) for source in table.sources):
            yield key, facts._replace(owners=table.owners)


def with_facts(row: ImageRow, facts: Iterable[Facts], class_set: ClassSet) -> ImageRow:
    """The row with what tables say of it; the order of the facts does not matter."""
    facts = list(facts)

    def values(name: str) -> tuple[str, ...]:
        return tuple(sorted({getattr(fact, name) for fact in facts} - {""}))

    claims = {make_claim(fact.source, fact.labels, class_set, fact.owners) for fact in facts if fact.labels}
    return row._replace(
        tables=values("source"),
        claims=tuple(sorted({*row.claims, *claims})),
        lesion_ids=values("lesion_id"),
        patient_ids=values("patient_id"),
        licenses=values("license"),
        attributions=values("attribution"),
    )


def _join(element: tuple[ImageKey, dict[str, Iterable]], class_set: ClassSet) -> Iterator[ImageRow]:
    _, found = element
    facts = sorted(set(found["facts"]))
    for row in found["images"]:
        yield with_facts(row, facts, class_set)


class JoinTables(beam.PTransform):
    """Rows -> the same rows with what the tables say of them.

    The tables of a source speak of its images and of every image with an ISIC id, the shared ones of all.
    """

    def __init__(self, sources: Sequence[Source], shared: Sequence[Table], class_set: ClassSet):
        super().__init__()
        self._tables = tables_to_read(sources, shared)
        self._class_set = class_set

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        if not self._tables:
            return rows
        facts = (
            rows.pipeline
            | "Tables" >> beam.Create(self._tables, reshuffle=False)
            | "Read tables" >> beam.FlatMap(_speak)
        )
        keyed = rows | "By image id" >> beam.Map(lambda row: (image_key(row.source, row.image_id), row))
        return (
            {"images": keyed, "facts": facts}
            | "Join tables" >> beam.CoGroupByKey()
            | "With facts" >> beam.FlatMap(_join, self._class_set)
        )
