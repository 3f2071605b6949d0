"""Balance the train split by deciding how many copies of each image are written.

Only train rows come in, so nothing else can be balanced. Classes are balanced within each fold, so that every union of
folds is balanced too.
"""

from __future__ import annotations

from collections.abc import Iterable

import apache_beam as beam

from pipelines.beam.ranking import Ranked, RankWithin
from pipelines.dataset.image_row import UNDERSAMPLED, ImageRow, fold_name


def target_count(method: str, target: str | int, counts: Iterable[int]) -> int:
    """Return the number of examples per class to aim at.

    Args:
        method: One of `options.METHODS`.
        target: A number for all folds together, or `max`, `mean` or `min` of the counts.
        counts: The number of images of each class in the train split or, with folds, of each class in each fold.

    Returns:
        The target; 0 if there is nothing to balance.
    """
    counts = list(counts)
    if method == "none" or not counts:
        return 0
    if isinstance(target, int):
        return target
    if target == "mean":
        return round(sum(counts) / len(counts))
    return max(counts) if target == "max" else min(counts)


def target_of_fold(target: int, fold: int, folds: int) -> int:
    """Return the share of one fold in the `target` examples of a class.

    The shares of all folds add up to `target`.
    """
    return target // folds + (1 if fold < target % folds else 0)


def copies_of_rank(method: str, target: int, rank: int, count: int) -> int:
    """Return the number of examples to write of one image.

    Oversampling writes every image at least once and adds copies as evenly as possible until the class has `target`
    examples. Undersampling keeps `target` images of a class.

    Args:
        method: One of `options.METHODS`.
        target: The number of examples to aim at for the class.
        rank: The rank of the image within its class, from 0.
        count: The number of images of the class.

    Returns:
        The number of examples, the original included; 0 drops the image.
    """
    if method == "oversample":
        return max(1, target // count + (1 if rank < target % count else 0))
    if method == "undersample":
        return 1 if rank < target else 0
    return 1


def _plan(element: tuple[str, Ranked], target: int, method: str, shared_by: int) -> ImageRow:
    ranked = element[1]
    row: ImageRow = ranked.payload  # type: ignore[assignment]
    goal = target_of_fold(target, row.fold, shared_by) if shared_by else target
    copies = copies_of_rank(method, goal, ranked.rank, ranked.stratum_size)
    if copies:
        return row._replace(copies=copies)
    where = "" if row.fold < 0 else f" of {fold_name(row.fold)}"
    message = f"{row.label!r}{where} is cut from {ranked.stratum_size} to {goal} images"
    dropped = row.dropped(UNDERSAMPLED, "balance", "undersampled", message)
    # The image keeps its split and fold: an update may write it later and must not move it.
    return dropped._replace(split=row.split, fold=row.fold)


def write_once(row: ImageRow) -> ImageRow:
    """Return a row that is to be written once and unchanged."""
    return row._replace(copies=1)


class BalanceTrain(beam.PTransform):
    """PTransform that balances the classes of the train split.

    Args:
        method: One of `options.METHODS`.
        target: A number of examples per class, or `max`, `mean` or `min`; see `target_count`.
        seed: Decides which images are copied or dropped.
        folds: The number of folds that the rows are in; 0 for none.
    """

    def __init__(self, method: str, target: str | int, seed: int, folds: int = 0):
        super().__init__()
        self._method = method
        self._target = target
        self._seed = seed
        self._folds = folds

    def expand(self, train: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        """Turn train rows into the same rows with `copies` set, or with the outcome `undersampled`."""
        if self._method == "none":
            return train | "Once each" >> beam.Map(write_once)
        ranking = (
            train
            | "By fold and class" >> beam.Map(lambda row: (f"{row.fold} {row.label}", row.sha256, row))
            | "Rank images" >> RankWithin(self._seed, "balance")
        )
        target = (
            train.pipeline
            | "Once" >> beam.Create([None])
            | "Target"
            >> beam.Map(
                lambda _, method, target, counts: target_count(method, target, counts),
                self._method,
                self._target,
                beam.pvalue.AsList(ranking.sizes | "Counts" >> beam.Values()),
            )
        )
        shared_by = self._folds if isinstance(self._target, int) else 0
        return ranking.ranked | "Plan copies" >> beam.Map(
            _plan, beam.pvalue.AsSingleton(target), self._method, shared_by
        )
