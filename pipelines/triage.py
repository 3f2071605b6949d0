"""Collect what the triage report needs from a run's rows, in memory that does not grow with their number.

That is the images with the highest malignancy scores, the first rejects of each reason, and counts. The result does
not depend on the order or grouping of rows: lists are ordered by (score, path), and sums are of integers.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.score_rows import PROBABILITY_UNIT, SCORED, ScoreRow, ScoringRun, entropy, malignancy_score, top_class

# Number of bins of a histogram.
BINS = 20
# Number of rejects kept for each reason.
REJECTS = 10
_SCORE_EDGES = [index / BINS for index in range(BINS)]


class Triage(NamedTuple):
    """What the triage report needs from all rows of a run; classes are in label order."""

    top: tuple[ScoreRow, ...]  # scored rows by malignancy score, highest first, then by path
    rejects: dict[str, tuple[ScoreRow, ...]]  # reason -> its first rows by path, at most REJECTS
    rejected: dict[str, int]  # reason -> number of rows
    # For each class, the scored rows with that top class by malignancy score: BINS equal bins from 0 to 1. A bin
    # includes its lower edge, the last bin both edges.
    score_bins: tuple[tuple[int, ...], ...]
    # All scored rows by entropy: BINS equal bins from 0 to log2(C) bits for C classes, with edges as above.
    entropy_bins: tuple[int, ...]
    mean_probability: tuple[float, ...]  # for each class, over the scored rows; 0 if there are none

    @property
    def scored(self) -> int:
        """Number of scored rows."""
        return sum(self.entropy_bins)

    def at_least(self, threshold: float) -> int:
        """Return the number of scored rows with at least the given malignancy score.

        Args:
            threshold: A lower edge of a bin of `score_bins`.

        Raises:
            ValueError: The threshold is not an edge.
        """
        return sum(sum(bins[_SCORE_EDGES.index(threshold) :]) for bins in self.score_bins)


# (score key, path, row). Rows with equal score and path are ordered by their remaining fields.
_Entry = tuple[float, str, ScoreRow]


def _insert(entries: list[_Entry], entry: _Entry, limit: int) -> None:
    """Insert an entry into an ordered list that keeps the `limit` smallest ones."""
    if len(entries) == limit:
        if limit == 0 or entry >= entries[-1]:
            return
        entries.pop()
    bisect.insort(entries, entry)


@dataclass
class TriageTally:
    """The accumulator of CollectTriage.

    Its size depends only on the limits and the numbers of classes and reasons.
    """

    top: list[_Entry]
    rejects: dict[str, list[_Entry]]
    rejected: dict[str, int]
    score_bins: list[list[int]]
    entropy_bins: list[int] = field(default_factory=lambda: [0] * BINS)
    probability_sums: list[int] = field(default_factory=list)


class CollectTriage(beam.CombineFn):
    """CombineFn that reduces lists of finished rows, scored and rejected in any mixture, to a Triage."""

    def __init__(self, run: ScoringRun, limit: int):
        """Initialize the CombineFn.

        Args:
            run: The scoring run.
            limit: Number of images to keep, 0 or more.
        """
        super().__init__()
        self._run = run
        self._classes = run.classes
        self._malignant = run.malignant_classes
        self._limit = limit

    def create_accumulator(self, *_: Any) -> TriageTally:
        """Return an empty accumulator."""
        count = len(self._classes)
        return TriageTally([], {}, {}, [[0] * BINS for _ in range(count)], probability_sums=[0] * count)

    def add_input(self, tally: TriageTally, rows: Iterable[ScoreRow]) -> TriageTally:
        """Add a list of finished rows to the accumulator."""
        for row in rows:
            if row.outcome == SCORED:
                self._add_scored(tally, row)
            else:
                tally.rejected[row.reason] = tally.rejected.get(row.reason, 0) + 1
                _insert(tally.rejects.setdefault(row.reason, []), (0.0, row.path, row), REJECTS)
        return tally

    def _add_scored(self, tally: TriageTally, row: ScoreRow) -> None:
        score = malignancy_score(row, self._classes, self._malignant)
        label = self._classes.index(top_class(row, self._run))
        tally.score_bins[label][bisect.bisect_right(_SCORE_EDGES, score) - 1] += 1
        share = entropy(row) / math.log2(len(self._classes))
        tally.entropy_bins[min(BINS - 1, int(share * BINS))] += 1
        for index, probability in enumerate(row.probabilities):
            tally.probability_sums[index] += round(probability / PROBABILITY_UNIT)
        _insert(tally.top, (-score, row.path, row), self._limit)

    def merge_accumulators(self, tallies: Iterable[TriageTally]) -> TriageTally:
        """Merge accumulators into a new one."""
        merged = self.create_accumulator()
        for tally in tallies:
            for entry in tally.top:
                _insert(merged.top, entry, self._limit)
            for reason, entries in tally.rejects.items():
                for entry in entries:
                    _insert(merged.rejects.setdefault(reason, []), entry, REJECTS)
            for reason, count in tally.rejected.items():
                merged.rejected[reason] = merged.rejected.get(reason, 0) + count
            merged.score_bins = [_added(*pair) for pair in zip(merged.score_bins, tally.score_bins, strict=True)]
            merged.entropy_bins = _added(merged.entropy_bins, tally.entropy_bins)
            merged.probability_sums = _added(merged.probability_sums, tally.probability_sums)
        return merged

    def extract_output(self, tally: TriageTally) -> Triage:
        """Return the accumulated rows and counts as a Triage."""
        scored = sum(tally.entropy_bins)
        return Triage(
            top=tuple(row for _, _, row in tally.top),
            rejects={reason: tuple(row for _, _, row in tally.rejects[reason]) for reason in sorted(tally.rejects)},
            rejected={reason: tally.rejected[reason] for reason in sorted(tally.rejected)},
            score_bins=tuple(map(tuple, tally.score_bins)),
            entropy_bins=tuple(tally.entropy_bins),
            mean_probability=tuple(total * PROBABILITY_UNIT / max(scored, 1) for total in tally.probability_sums),
        )


def _added(first: Sequence[int], second: Sequence[int]) -> list[int]:
    return [one + other for one, other in zip(first, second, strict=True)]
