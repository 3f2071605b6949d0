"""Train, validation and test: whole groups, stratified by class, chosen by hash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.ranking import Ranked, RankWithin
from pipelines.rows import SPLITS, ImageRow, is_open, partition

NOTHING: Mapping[Any, Any] = {}


class Fractions(NamedTuple):
    """Shares of the groups of each class; they add up to 1."""

    train: float
    validation: float
    test: float


class Quota(NamedTuple):
    """How many groups of one class go to validation and test; the rest trains."""

    validation: int
    test: int


def quota(groups: int, fractions: Fractions) -> Quota:
    """Rounded shares of `groups`; a split with a fraction above 0 gets at least one, and so does training.

    The caller has made sure that there are as many groups as splits with a fraction above 0.
    """
    test = max(1, int(groups * fractions.test + 0.5)) if fractions.test else 0
    validation = max(1, int(groups * fractions.validation + 0.5)) if fractions.validation else 0
    reserved = 1 if fractions.train else 0
    while test + validation > groups - reserved:
        if validation >= test:
            validation -= 1
        else:
            test -= 1
    return Quota(validation, test)


def split_of_rank(rank: int, count: int, fractions: Fractions, settled: Mapping[str, int] = NOTHING) -> str:
    """The split of the group with this rank among the `count` groups of its class that have none.

    settled: how many groups of the class already have each split; the others fill up what all of them together want.
    """
    wanted = quota(count + sum(settled.values()), fractions)
    test = max(0, wanted.test - settled.get("test", 0))
    validation = max(0, wanted.validation - settled.get("validation", 0))
    if rank < test:
        return "test"
    return "validation" if rank < test + validation else "train"


def group_label(rows: Iterable[ImageRow]) -> str:
    """The class under which a group is stratified: its most frequent, the first by name where several are."""
    counts = Counter(row.label for row in rows)
    return min(counts, key=lambda label: (-counts[label], label))


def keep_given_split(rows: Sequence[ImageRow], sides: Sequence[str] = SPLITS) -> list[ImageRow]:
    """Apply given splits to one group, in which some row has one: a group on several sides stays on the first of them.

    sides: the splits, those first that keep a group. Rows of a side that is left are rejected (`leakage`); rows without
    a given split follow their group.
    """
    given = {row.given_split for row in rows}
    kept = next(split for split in sides if split in given)
    resolved = []
    for row in rows:
        if row.given_split in ("", kept):
            row = row._replace(split=kept)
        else:
            message = f"group {row.group_id} is in {kept} too: it cannot be in {row.given_split}"
            row = row.rejected("split", "leakage", message)
        resolved.append(row)
    return resolved


def by_group(rows: beam.PCollection[ImageRow]) -> beam.PCollection[tuple[str, list[ImageRow]]]:
    """Rows -> (group, its rows in an order of their own)."""
    return (
        rows
        | "By group" >> beam.Map(lambda row: (row.group_id, row))
        | "Groups" >> beam.GroupByKey()
        | "Ordered" >> beam.MapTuple(lambda group, rows: (group, sorted(rows, key=lambda row: row.sha256)))
    )


def _split_ranked(
    element: tuple[str, Ranked], fractions: Fractions, settled: Mapping[str, Mapping[str, int]] = NOTHING
) -> Iterator[ImageRow]:
    label, ranked = element
    split = split_of_rank(ranked.rank, ranked.stratum_size, fractions, settled.get(label, NOTHING))
    return (row._replace(split=split) for row in ranked.payload)  # type: ignore[attr-defined]


class CountPerClass(beam.PTransform):
    """(class, part) -> (class, {part: how many})."""

    def expand(self, parts: beam.PCollection) -> beam.PCollection[tuple[str, dict]]:
        return (
            parts
            | "Count" >> beam.combiners.Count.PerElement()
            | "Class" >> beam.MapTuple(lambda part, count: (part[0], (part[1], count)))
            | "Together" >> beam.GroupByKey()
            | "Counts" >> beam.MapTuple(lambda label, counts: (label, dict(counts)))
        )


class _KeepGiven(beam.DoFn):
    """(group, rows) -> rows that are settled; outputs `open`, groups to be ranked, as they came, and `counts`, class
    and split of each group that is settled.

    settle_train: a group whose given split is train is settled too.
    """

    def __init__(self, settle_train: bool, sides: Sequence[str]):
        self._settle_train = settle_train
        self._sides = sides

    def process(self, element: tuple[str, list[ImageRow]]) -> Iterator[ImageRow | beam.pvalue.TaggedOutput]:
        group, rows = element
        if not any(row.given_split for row in rows):
            yield beam.pvalue.TaggedOutput("open", (group, rows))
            return
        resolved = keep_given_split(rows, self._sides)
        ranked = [row for row in resolved if row.split == "train" and not self._settle_train]
        if ranked:
            yield beam.pvalue.TaggedOutput("open", (group, ranked))
        settled = [row for row in resolved if row.split != "train" or self._settle_train]
        if counted := [row for row in settled if is_open(row)]:
            yield beam.pvalue.TaggedOutput("counts", (group_label(counted), counted[0].split))
        yield from settled


class RankGroups(beam.PTransform):
    """(group, rows) -> (class, Ranked with the rows). Another purpose gives another order."""

    def __init__(self, seed: int, purpose: str):
        super().__init__()
        self._seed = seed
        self._purpose = purpose

    def expand(self, groups: beam.PCollection) -> beam.PCollection[tuple[str, Ranked]]:
        return (
            groups
            | "Stratify" >> beam.MapTuple(lambda group, rows: (group_label(rows), group, rows))
            | "Rank groups" >> RankWithin(self._seed, self._purpose)
        )


class SplitGroups(beam.PTransform):
    """Rows with a group -> the same rows with a split; a group is never in two.

    Given splits are kept; for `sides` see `keep_given_split`. The other groups are split by the fractions, or, to
    `fill_up`, so that all groups together have them.
    """

    def __init__(self, fractions: Fractions, seed: int, sides: Sequence[str] = SPLITS, fill_up: bool = False):
        super().__init__()
        self._fractions = fractions
        self._seed = seed
        self._sides = sides
        self._fill_up = fill_up

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        keep = _KeepGiven(True, self._sides)
        kept = by_group(rows) | "Keep given" >> beam.ParDo(keep).with_outputs("open", "counts", main="settled")
        counted: Any = NOTHING
        if self._fill_up:
            counted = beam.pvalue.AsDict(kept.counts | "Settled per class" >> CountPerClass())
        ranked = kept.open | RankGroups(self._seed, "split")
        split = ranked | "Split" >> beam.FlatMap(_split_ranked, self._fractions, counted)
        return (kept.settled, split) | "All rows" >> beam.Flatten()


def _require_given(row: ImageRow) -> ImageRow:
    if row.given_split:
        return row
    return row.rejected("split", "no_split_folder", "lies in no Train, Validation or Test folder")


def _set_aside(element: tuple[str, Ranked], validation_exists: bool, fractions: Fractions) -> Iterator[ImageRow]:
    return _split_ranked(element, Fractions(1.0, 0.0, 0.0) if validation_exists else fractions)


class SplitFromFolders(beam.PTransform):
    """Rows with a group -> the same rows with the split of their folder; rows outside of any are rejected.

    Where no folder names validation images, groups of the training folder are set aside for it, in the proportion
    of the train and validation fractions. For `sides` see `keep_given_split`.
    """

    def __init__(self, fractions: Fractions, seed: int, sides: Sequence[str] = SPLITS):
        super().__init__()
        share = fractions.validation / ((fractions.train + fractions.validation) or 1.0)
        self._fractions = Fractions(1.0 - share, share, 0.0)
        self._seed = seed
        self._sides = sides

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        outside, inside = rows | "In a folder" >> beam.Map(_require_given) | "Given" >> partition(is_open)
        keep = _KeepGiven(False, self._sides)
        kept = by_group(inside) | "Keep given" >> beam.ParDo(keep).with_outputs("open", "counts", main="settled")
        validation_exists = (
            kept.settled
            | "Is validation" >> beam.Map(lambda row: row.split == "validation")
            | "Any validation" >> beam.CombineGlobally(any)
        )
        trained = (
            kept.open
            | RankGroups(self._seed, "split")
            | "Set aside" >> beam.FlatMap(_set_aside, beam.pvalue.AsSingleton(validation_exists), self._fractions)
        )
        return (outside, kept.settled, trained) | "All rows" >> beam.Flatten()
