"""How many copies of each training image are written. Takes the train rows alone: nothing else can be balanced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apache_beam as beam

from pipelines.ranking import Ranked, RankWithin
from pipelines.rows import UNDERSAMPLED, ImageRow

METHODS = ("oversample", "undersample", "none")


def target_count(method: str, target: str | int, counts: Iterable[int]) -> int:
    """Examples per class to aim at: a number, or the largest (`max`) or smallest (`min`) class of the train split."""
    counts = list(counts)
    if method == "none" or not counts:
        return 0
    if isinstance(target, int):
        return target
    return max(counts) if target == "max" else min(counts)


def copies_of_rank(method: str, target: int, rank: int, count: int) -> int:
    """Examples written of the image with this rank among `count` of its class; 0 drops it.

    Oversampling writes every image at least once and adds copies as evenly as possible until the class has `target`
    examples. Undersampling keeps `target` images of a class.
    """
    if method == "oversample":
        return max(1, target // count + (1 if rank < target % count else 0))
    if method == "undersample":
        return 1 if rank < target else 0
    return 1


def _plan(element: tuple[str, Ranked], counts: Sequence[int], method: str, target: str | int) -> ImageRow:
    label, ranked = element
    goal = target_count(method, target, counts)
    copies = copies_of_rank(method, goal, ranked.rank, ranked.stratum_size)
    row: ImageRow = ranked.payload  # type: ignore[assignment]
    if copies:
        return row._replace(copies=copies)
    return row.dropped(
        UNDERSAMPLED, "balance", "undersampled", f"{label!r} is cut from {ranked.stratum_size} to {goal} images"
    )


def write_once(row: ImageRow) -> ImageRow:
    """A validation or test row: written as it is, once."""
    return row._replace(copies=1)


class BalanceTrain(beam.PTransform):
    """Train rows -> the same rows with `copies`, or the outcome `undersampled`."""

    def __init__(self, method: str, target: str | int, seed: int):
        super().__init__()
        self._method = method
        self._target = target
        self._seed = seed

    def expand(self, train: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        ranked = (
            train
            | "By class" >> beam.Map(lambda row: (row.label, row.sha256, row))
            | "Rank images" >> RankWithin(self._seed, "balance")
        )
        counts = (
            ranked
            | "Class of" >> beam.Map(lambda element: element[0])
            | "Count classes" >> beam.combiners.Count.PerElement()
            | "Counts" >> beam.Values()
        )
        return ranked | "Plan copies" >> beam.Map(_plan, beam.pvalue.AsList(counts), self._method, self._target)
