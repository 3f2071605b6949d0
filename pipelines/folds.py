"""Assign training images to cross-validation folds by whole groups, stratified by class and chosen by hash.

For each fold, a model trains on all other folds and is validated on this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import apache_beam as beam

from pipelines.ranking import Ranked
from pipelines.rows import ImageRow, is_open, partition
from pipelines.split import NOTHING, CountPerClass, RankGroups, by_group, group_label

MOST_FOLDS = 100


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
