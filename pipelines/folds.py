"""Folds of the training split for cross-validation: whole groups, stratified by class, chosen by hash.

Every union of all folds but one trains, and the fold left out validates.
"""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam

from pipelines.ranking import Ranked
from pipelines.rows import ImageRow, is_open, partition
from pipelines.split import RankGroups, by_group

MOST_FOLDS = 100


def _trains(row: ImageRow) -> bool:
    return is_open(row) and row.split == "train"


def _deal(element: tuple[str, Ranked], folds: int) -> Iterator[ImageRow]:
    ranked = element[1]
    return (row._replace(fold=ranked.rank % folds) for row in ranked.payload)  # type: ignore[attr-defined]


class AssignFolds(beam.PTransform):
    """Split rows -> the same rows, the train rows with a fold from 0 to `folds` - 1; a group is never in two.

    The groups of each class are dealt out in an order of their own, so their number differs by at most one from fold
    to fold.
    """

    def __init__(self, folds: int, seed: int):
        super().__init__()
        self._folds = folds
        self._seed = seed

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        others, train = rows | "Trains" >> partition(_trains)
        dealt = by_group(train) | "Rank" >> RankGroups(self._seed, "fold") | "Deal" >> beam.FlatMap(_deal, self._folds)
        return (others, dealt) | "All rows" >> beam.Flatten()
