"""Steps between reading and writing: join results to rows, and pack rows into blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipelines import images, sources
from pipelines.inference import Prediction
from pipelines.progress import Progress
from pipelines.score_packing import pack
from pipelines.score_rows import SCORED, ScoreRow

# Larger blocks do not compress better; smaller ones cost the runner more.
_ROWS_PER_BLOCK = 256


class CountListed(beam.DoFn):
    """DoFn that counts the images of each chunk of listed files and drops all other files."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._listed = Metrics.counter("score", "listed")

    def process(self, chunk: list[sources.ListedFile]) -> Iterator[list[sources.ListedFile]]:
        """Yield the images of a chunk as a chunk; nothing if it has none."""
        found = sources.images_of(chunk)
        self._listed.inc(len(found))
        self._progress.add("listed", len(found))
        if found:
            yield found


def with_result(row: ScoreRow, result: Prediction | images.BadImage) -> ScoreRow:
    """Return the row with the models' result: scored, or rejected with the reason."""
    if isinstance(result, images.BadImage):
        return row.rejected("score", result.reason, result.message)
    if not np.isfinite(result.by_model).all():
        return row.rejected("score", "not_finite", "the model gives no finite probabilities")
    by_model = tuple(map(tuple, result.by_model.tolist()))
    mean = tuple(result.by_model.mean(axis=0, dtype="float64").tolist())
    return row._replace(
        probabilities=mean,
        by_model=by_model if len(by_model) > 1 else (),
        outcome=SCORED,
        score_seconds=result.seconds,
    )


class PackRows(beam.DoFn):
    """DoFn that packs finished rows into blocks and counts them."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._counters = {name: Metrics.counter("score", name) for name in ("scored", "rejected")}

    def start_bundle(self) -> None:
        """Start an empty block."""
        self._rows: list[ScoreRow] = []

    def process(self, row: ScoreRow) -> Iterator[bytes]:
        """Add a row to the block; yield the packed block when it is full."""
        self._rows.append(row)
        self._counters[row.outcome].inc()
        if row.outcome != SCORED:
            Metrics.counter("score", f"rejected_{row.reason}").inc()
        if len(self._rows) == _ROWS_PER_BLOCK:
            yield self._take()

    def finish_bundle(self) -> Iterator[Any]:
        """Yield the last block, which may be incomplete."""
        if self._rows:
            window = GlobalWindow()
            yield WindowedValue(self._take(), window.max_timestamp(), (window,))

    def _take(self) -> bytes:
        rows, self._rows = self._rows, []
        self._progress.add("done", len(rows))
        return pack(rows)


def of_outcome(rows: Iterable[ScoreRow], scored: bool) -> list[ScoreRow]:
    """Return the scored rows, or the rejected ones if `scored` is False."""
    return [row for row in rows if (row.outcome == SCORED) is scored]


def keys_of(rows: Iterable[ScoreRow], failed: bool) -> list[bytes]:
    """Return the keys of the files that could not be read, or of all others.

    Args:
        rows: Finished rows.
        failed: Whether to return keys of unreadable files. The others are those that a later run can skip.
    """
    return [row.key for row in rows if (row.stage == "read") is failed]
