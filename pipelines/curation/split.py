"""Which group goes to which split, and which train group to which fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.beam.packed_groups import PackedGroupByKey
from pipelines.beam.partition import partition
from pipelines.beam.ranking import Ranked, RankWithin
from pipelines.curation.fractions import Fractions
from pipelines.dataset.image_row import ImageRow, is_open
from pipelines.domain.dataset_json import SPLITS

NOTHING: Mapping[Any, Any] = {}


class Quota(NamedTuple):
    """Number of groups of one class that go to validation and test; the rest go to train."""

    validation: int
    test: int


def quota(groups: int, fractions: Fractions) -> Quota:
    """Return the rounded shares of the groups of one class.

    Each split with a fraction above 0 gets at least one group.

    Args:
        groups: Number of groups. The caller makes sure that it is not less than the number of splits with a fraction
            above 0.
        fractions: Share of each split.
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
    """Return the split of a group that has none yet.

    Args:
        rank: Rank of the group, from 0, among the groups of its class that have no split yet.
        count: Number of those groups.
        fractions: Share of each split in all groups of the class.
        settled: Split -> number of groups of the class that already have it. The remaining groups are distributed so
            that all groups of the class together have the fractions.
    """
    wanted = quota(count + sum(settled.values()), fractions)
    test = max(0, wanted.test - settled.get("test", 0))
    validation = max(0, wanted.validation - settled.get("validation", 0))
    if rank < test:
        return "test"
    return "validation" if rank < test + validation else "train"


def group_label(rows: Iterable[ImageRow]) -> str:
    """Return the class by which a group is stratified: its most frequent one, the first by name if several are."""
    counts = Counter(row.label for row in rows)
    return min(counts, key=lambda label: (-counts[label], label))


def keep_given_split(rows: Sequence[ImageRow], sides: Sequence[str] = SPLITS) -> list[ImageRow]:
    """Put one group, in which at least one row has a given split, into a single split.

    Args:
        rows: The rows of the group. Past images have a say in its split.
        sides: The splits in order of preference. A group with several given splits stays in the first of them.

    Returns:
        The rows in the same order, without past images. Rows without a given split follow their group, also in its
        fold. Rows whose given split is not the group's are rejected (`leakage`).
    """
    given = {row.given_split for row in rows}
    kept = next(split for split in sides if split in given)
    fold = min((row.given_fold for row in rows if row.given_split == kept and row.given_fold >= 0), default=-1)
    resolved = []
    for row in filter(is_open, rows):
        if not row.given_split:
            row = row._replace(split=kept, given_fold=fold)
        elif row.given_split == kept:
            row = row._replace(split=kept)
        else:
            message = f"group {row.group_id} is in {kept} too: it cannot be in {row.given_split}"
            row = row.rejected("split", "leakage", message)
        resolved.append(row)
    return resolved


def by_group(rows: beam.PCollection[ImageRow]) -> beam.PCollection[tuple[str, list[ImageRow]]]:
    """Group rows into (group id, its rows sorted by content hash)."""
    return (
        rows
        | "By group" >> beam.Map(lambda row: (row.group_id, row))
        | "Groups" >> PackedGroupByKey()
        | "Ordered" >> beam.MapTuple(lambda group, rows: (group, sorted(rows, key=lambda row: row.sha256)))
    )


def _split_ranked(
    element: tuple[str, Ranked], fractions: Fractions, settled: Mapping[str, Mapping[str, int]] = NOTHING
) -> Iterator[ImageRow]:
    label, ranked = element
    split = split_of_rank(ranked.rank, ranked.stratum_size, fractions, settled.get(label, NOTHING))
    return (row._replace(split=split) for row in ranked.payload)  # type: ignore[attr-defined]


class CountPerClass(beam.PTransform):
    """PTransform: (class, part) -> (class, {part: count})."""

    def expand(self, parts: beam.PCollection) -> beam.PCollection[tuple[str, dict]]:
        """Count the elements of each part, such as a split or fold, per class."""
        return (
            parts
            | "Count" >> beam.combiners.Count.PerElement()
            | "Class" >> beam.MapTuple(lambda part, count: (part[0], (part[1], count)))
            | "Together" >> beam.GroupByKey()
            | "Counts" >> beam.MapTuple(lambda label, counts: (label, dict(counts)))
        )


class _KeepGiven(beam.DoFn):
    """(group, rows) -> settled rows.

    Further outputs: `open` has the groups that remain to be ranked, as (group, rows); `counts` has (class, split) of
    each settled group.

    Args:
        settle_train: Whether groups whose given split is train are settled too.
        sides: The splits in order of preference, see `keep_given_split`.
    """

    def __init__(self, settle_train: bool, sides: Sequence[str]):
        self._settle_train = settle_train
        self._sides = sides

    def process(self, element: tuple[str, list[ImageRow]]) -> Iterator[ImageRow | beam.pvalue.TaggedOutput]:
        group, rows = element
        if not any(map(is_open, rows)):
            return
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
    """PTransform: (group, rows) -> (class, Ranked with the rows as payload).

    Args:
        seed: Seed of the run.
        purpose: What the order is for. Different purposes give independent orders.
    """

    def __init__(self, seed: int, purpose: str):
        super().__init__()
        self._seed = seed
        self._purpose = purpose

    def expand(self, groups: beam.PCollection) -> beam.PCollection[tuple[str, Ranked]]:
        """Rank the groups of each class; the class of a group is its `group_label`."""
        return (
            groups
            | "Stratify" >> beam.MapTuple(lambda group, rows: (group_label(rows), group, rows))
            | "Rank groups" >> RankWithin(self._seed, self._purpose)
        ).ranked


class SplitGroups(beam.PTransform):
    """PTransform: rows with a group -> the same rows with a split; each group is in one split.

    Given splits are kept. The remaining groups are split by the fractions.

    Args:
        fractions: Share of each split.
        seed: Seed of the run.
        sides: The splits in order of preference, see `keep_given_split`.
        fill_up: Whether the fractions apply to all groups together, with the given splits counted in. Otherwise they
            apply to the remaining groups alone.
    """

    def __init__(self, fractions: Fractions, seed: int, sides: Sequence[str] = SPLITS, fill_up: bool = False):
        super().__init__()
        self._fractions = fractions
        self._seed = seed
        self._sides = sides
        self._fill_up = fill_up

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        """Set the split of each row; rows whose given split is not their group's are rejected."""
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
    return row.rejected("split", "no_split_folder", "lies in no folder that names a split, such as train or train_dir")


def _set_aside(element: tuple[str, Ranked], validation_exists: bool, fractions: Fractions) -> Iterator[ImageRow]:
    return _split_ranked(element, Fractions(1.0, 0.0, 0.0) if validation_exists else fractions)


class SplitFromFolders(beam.PTransform):
    """PTransform: rows with a group -> the same rows with the split of their folder, or rejected if there is none.

    If no folder is for validation, groups of the training folder are set aside for it.

    Args:
        fractions: Share of each split. Only the ratio of train to validation is used, for the groups set aside.
        seed: Seed of the run.
        sides: The splits in order of preference, see `keep_given_split`.
    """

    def __init__(self, fractions: Fractions, seed: int, sides: Sequence[str] = SPLITS):
        super().__init__()
        share = fractions.validation / ((fractions.train + fractions.validation) or 1.0)
        self._fractions = Fractions(1.0 - share, share, 0.0)
        self._seed = seed
        self._sides = sides

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        """Set the split of each row to its folder's; rows without such a folder, or on the wrong side, are rejected."""
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


def _trains(row: ImageRow) -> bool:
    return is_open(row) and row.split == "train"


def fold_of_rank(rank: int, settled: Mapping[int, int], folds: int) -> int:
    """Return the fold of a group that has none yet.

    The groups of a class are dealt out in the order of their ranks, each to the fold with the fewest groups, the first
    of several. The result is the fold of the group with this rank.

    Args:
        rank: Rank of the group, from 0, among the groups of its class that have no fold yet.
        settled: Fold -> number of groups of the class that it already has.
        folds: Number of folds.
    """
    level = min(settled.get(fold, 0) for fold in range(folds))
    while True:
        open_folds = [fold for fold in range(folds) if settled.get(fold, 0) <= level]
        if rank < len(open_folds):
            return open_folds[rank]
        rank -= len(open_folds)
        level += 1
        if len(open_folds) == folds:
            return rank % folds


def _deal(element: tuple[str, Ranked], settled: Mapping[str, Mapping[int, int]], folds: int) -> Iterator[ImageRow]:
    label, ranked = element
    fold = fold_of_rank(ranked.rank, settled.get(label, NOTHING), folds)
    return (row._replace(fold=fold) for row in ranked.payload)  # type: ignore[attr-defined]


class _KeepFold(beam.DoFn):
    """(group, rows) -> the rows of groups with a recorded fold.

    Further outputs: `open` has the other groups, as (group, rows); `counts` has (class, fold) of each group with a
    recorded fold.
    """

    def process(self, element: tuple[str, list[ImageRow]]) -> Iterator[ImageRow | beam.pvalue.TaggedOutput]:
        _, rows = element
        # New images can join two groups; the joined group then gets the lower of their folds.
        recorded = [row.given_fold for row in rows if row.given_fold >= 0]
        if not recorded:
            yield beam.pvalue.TaggedOutput("open", element)
            return
        yield beam.pvalue.TaggedOutput("counts", (group_label(rows), min(recorded)))
        yield from (row._replace(fold=min(recorded)) for row in rows)


class AssignFolds(beam.PTransform):
    """PTransform: rows with a split -> the same rows, the train rows with a fold; each group is in one fold.

    Recorded folds are kept. The other groups of each class are dealt out in hash order, so that the folds have equally
    many groups of a class, give or take one, unless the recorded folds are too uneven.

    Args:
        folds: Number of folds. They are numbered from 0.
        seed: Seed of the run.
    """

    def __init__(self, folds: int, seed: int):
        super().__init__()
        self._folds = folds
        self._seed = seed

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        """Set the fold of the open train rows; all other rows pass unchanged."""
        others, train = rows | "Trains" >> partition(_trains)
        kept = by_group(train) | "Keep fold" >> beam.ParDo(_KeepFold()).with_outputs("open", "counts", main="settled")
        settled = beam.pvalue.AsDict(kept.counts | "Settled per class" >> CountPerClass())
        ranked = kept.open | "Rank" >> RankGroups(self._seed, "fold")
        dealt = ranked | "Deal" >> beam.FlatMap(_deal, settled, self._folds)
        return (others, kept.settled, dealt) | "All rows" >> beam.Flatten()
