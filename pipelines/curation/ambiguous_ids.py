"""Find numbers that name an image in a table, where several sources have different images of that number."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import apache_beam as beam

from pipelines.beam.packed_groups import PackedGroupByKey
from pipelines.common.text import printable
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.identities import is_plain_number
from pipelines.sources.source import Table


def meant_twice(image_id: str, rows: Iterable[ImageRow]) -> str:
    """Return what is wrong with an id in a table of several sources; empty if it means one image.

    Args:
        image_id: The id.
        rows: The files of all sources with this id; those that cannot be read do not count.
    """
    rows = [row for row in rows if row.sha256]
    sources = sorted({row.source for row in rows})
    if not is_plain_number(image_id) or len(sources) < 2 or len({row.sha256 for row in rows}) < 2:
        return ""
    first, second = map(printable, sources[:2])
    return f"image {image_id!r} is one image in {first} and another in {second}"


def _numbered(row: ImageRow, tables: Collection[str]) -> Iterator[tuple[tuple[str, str], ImageRow]]:
    if is_plain_number(row.image_id):
        # Only what is compared: a row has much more.
        brief = ImageRow(row.path, row.relative, source=row.source, sha256=row.sha256)
        yield from (((table, row.image_id), brief) for table in row.tables if table in tables)


def _lines(element: tuple[tuple[str, str], Iterable[ImageRow]], starts: Mapping[str, str]) -> Iterator[str]:
    (table, image_id), rows = element
    if wrong := meant_twice(image_id, rows):
        yield f"{starts[table]}: {wrong}; name each source with its own table, in a file of sources (docs/sources.md)"


class FindAmbiguous(beam.PTransform):
    """PTransform: rows with their tables -> one line for each number that a shared table cannot mean.

    Args:
        shared: The tables that describe the images of all sources.
    """

    def __init__(self, shared: Sequence[Table]):
        super().__init__()
        self._starts = {table.name: f"{table.option} {table.path}" for table in shared}

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[str]:
        """Return the lines."""
        return (
            rows
            | "Numbered" >> beam.FlatMap(_numbered, frozenset(self._starts))
            | "Of one number" >> PackedGroupByKey()
            | "Lines" >> beam.FlatMap(_lines, self._starts)
        )
