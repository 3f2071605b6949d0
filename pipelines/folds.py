"""Folds of the training split for cross-validation: whole groups, stratified by class, chosen by hash.

Every union of all folds but one trains, and the fold left out validates.
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
    """The fold of the group with this rank among those of its class that have none.

    settled: how many groups of the class each fold has already. Groups are dealt out one by one, each to the fold that
    has the fewest, the first of several; this says where the one with `rank` comes to be.
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
    """(group, rows) -> rows of a group whose fold is recorded; outputs `open`, the other groups, as they came, and
    `counts`, class and fold of each group that has one."""

    def process(self, element: tuple[str, list[ImageRow]]) -> Iterator[ImageRow | beam.pvalue.TaggedOutput]:
        _, rows = element
        # New photographs can join two groups; all of it then takes the first of their folds.
        recorded = [row.given_fold for row in rows if row.given_fold >= 0]
        if not recorded:
            yield beam.pvalue.TaggedOutput("open", element)
            return
        yield beam.pvalue.TaggedOutput("counts", (group_label(rows), min(recorded)))
        yield from (row._replace(fold=min(recorded)) for row in rows)


class AssignFolds(beam.PTransform):
    """Split rows -> the same rows, the train rows with a fold from 0 to `folds` - 1; a group is never in two.

    Recorded folds are kept. The other groups of each class are dealt out in an order of their own, so that the number
    of groups differs by at most one from fold to fold.
    """

    def __init__(self, folds: int, seed: int):
        super().__init__()
        self._folds = folds
        self._seed = seed

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        others, train = rows | "Trains" >> partition(_trains)
        kept = by_group(train) | "Keep fold" >> beam.ParDo(_KeepFold()).with_outputs("open", "counts", main="settled")
        settled = beam.pvalue.AsDict(kept.counts | "Settled per class" >> CountPerClass())
        ranked = kept.open | "Rank" >> RankGroups(self._seed, "fold")
        dealt = ranked | "Deal" >> beam.FlatMap(_deal, settled, self._folds)
        return (others, kept.settled, dealt) | "All rows" >> beam.Flatten()
