"""Groups that no split may cut: photographs of one lesion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import apache_beam as beam

from pipelines.rows import ImageRow


class UnionFind:
    """Connected components of strings; a component is named by its smallest member."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def root(self, item: str) -> str:
        """The name of the item's component."""
        path = []
        while (parent := self._parents.get(item, item)) != item:
            path.append(item)
            item = parent
        self._parents.update(dict.fromkeys(path, item))
        return item

    def union(self, items: Iterable[str]) -> None:
        """Put all items in one component."""
        roots = {self.root(item) for item in items}
        smallest = min(roots)
        self._parents.update(dict.fromkeys(roots, smallest))

    def edges(self) -> list[tuple[str, str]]:
        """(member, name of its component) of every member seen."""
        return [(item, self.root(item)) for item in list(self._parents)]


class _LinkLesions(beam.CombineFn):
    """Lesion ids that one image carries -> {lesion id: name of its component}."""

    def create_accumulator(self) -> UnionFind:
        return UnionFind()

    def add_input(self, links: UnionFind, lesion_ids: Iterable[str]) -> UnionFind:
        links.union(lesion_ids)
        return links

    def merge_accumulators(self, accumulators: Iterable[UnionFind]) -> UnionFind:
        merged = UnionFind()
        for links in accumulators:
            for edge in links.edges():
                merged.union(edge)
        return merged

    def extract_output(self, links: UnionFind) -> dict[str, str]:
        return dict(links.edges())


def assign_group(row: ImageRow, links: Mapping[str, str]) -> ImageRow:
    """The row with its group: its lesion (component), else its content."""
    if not row.lesion_ids:
        return row._replace(group_id=f"sha256:{row.sha256}")
    return row._replace(group_id=f"lesion:{min(links.get(lesion, lesion) for lesion in row.lesion_ids)}")


class AssignGroups(beam.PTransform):
    """Rows of distinct content -> the same rows with `group_id`.

    Only images with two lesion ids (from two tables, or from two names of the same bytes) link lesions; they are
    few, so one worker joins them.
    """

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        links = (
            rows
            | "Several lesions" >> beam.Filter(lambda row: len(row.lesion_ids) > 1)
            | "Their lesions" >> beam.Map(lambda row: row.lesion_ids)
            | "Link" >> beam.CombineGlobally(_LinkLesions()).as_singleton_view()
        )
        return rows | "Assign group" >> beam.Map(assign_group, links)
