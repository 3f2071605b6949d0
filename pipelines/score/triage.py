"""What the triage report needs of all rows, and its pictures, made inside the job."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam

from pipelines.dataset.tfrecord import RecordPlace
from pipelines.imaging.images import BadImage
from pipelines.imaging.previews import TriagePictures, malignancy_map, triage_pictures
from pipelines.score.batches import model_input
from pipelines.score.model_handler import load_models
from pipelines.score.score_row import (
    PROBABILITY_UNIT,
    SCORED,
    ScoreRow,
    ScoringRun,
    entropy,
    malignancy_score,
    top_class,
)
from pipelines.sources.read_ahead import read_files
from pipelines.sources.source_file import SourceFile

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


class _MakePictures(beam.DoFn):
    """DoFn that makes the pictures of a scored row, keyed by its path as bytes.

    Yields nothing for a file that can no longer be read or decoded.
    """

    def __init__(self, run: ScoringRun):
        self._run = run

    def setup(self) -> None:
        # Reuses the models if this process also scores.
        self._models = load_models(self._run.models, self._run.tta)

    def process(self, row: ScoreRow) -> Iterator[tuple[bytes, TriagePictures]]:
        model = self._run.models[0]
        try:
            ((file, data),) = read_files([file_of(row)])
            if isinstance(data, Exception):
                return
            heat = None
            _, _, image = model_input(file, data, self._run)
            activation = self._models.activation(image)
            if activation is not None:
                probabilities = row.by_model[0] if row.by_model else row.probabilities
                heat = malignancy_map(activation, probabilities, [c in model.malignant_classes for c in model.classes])
            pictures = triage_pictures(data, heat, model.image_size, model.aspect)
            # A path may not be valid Unicode, which Beam's string coder refuses.
            yield row.path.encode("utf-8", "surrogateescape"), pictures
        except BadImage:
            return


class ReportParts(beam.PTransform):
    """PTransform that collects the parts of the triage report from blocks of finished rows."""

    def __init__(self, run: ScoringRun, top: int):
        """Initialize the transform.

        Args:
            run: The scoring run.
            top: Number of images in the report.
        """
        super().__init__()
        self._run = run
        self._top = top

    def expand(self, blocks: beam.PCollection) -> dict[str, beam.PCollection]:
        """Collect the report parts from blocks of finished rows.

        Returns:
            `triage`: one Triage of all rows. `pictures`: (path as bytes, TriagePictures) for each of its top images,
            see `by_path`.
        """
        run = self._run
        collect = CollectTriage(run, self._top)
        triage = blocks | "Collect" >> beam.CombineGlobally(collect)
        pictures = (
            triage
            | "Top" >> beam.FlatMap(_top_rows)
            | "Share out" >> beam.Reshuffle()
            | "Pictures" >> beam.ParDo(_MakePictures(run))
        )
        return {"triage": triage, "pictures": pictures}


def file_of(row: ScoreRow) -> SourceFile:
    """Return the listed file that a row describes."""
    record, member = (row.place, None) if isinstance(row.place, RecordPlace) else (None, row.place)
    return SourceFile(row.path, row.relative, row.size, member, row.version, record)


def by_path(pictures: Mapping[bytes, TriagePictures]) -> dict[str, TriagePictures]:
    """Return the output `pictures` of ReportParts as a dict keyed by path, decoded to text."""
    return {path.decode("utf-8", "surrogateescape"): made for path, made in pictures.items()}


def _top_rows(triage: Triage) -> list[ScoreRow]:
    return list(triage.top)
