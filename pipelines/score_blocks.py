"""Between reading and writing: rows get their results, and travel on in packed blocks."""

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

# Rows that travel together. More would not be smaller; fewer cost the runner more.
_ROWS_PER_BLOCK = 256


class CountListed(beam.DoFn):
    """Chunks -> the same, counted for whoever watches."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._listed = Metrics.counter("score", "listed")

    def process(self, chunk: list[sources.ListedFile]) -> Iterator[list[sources.ListedFile]]:
        found = sources.images_of(chunk)
        self._listed.inc(len(found))
        self._progress.add("listed", len(found))
        if found:
            yield found


def with_result(row: ScoreRow, result: Prediction | images.BadImage) -> ScoreRow:
    """The row with what the models said."""
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
    """Finished rows -> packed blocks of them; counts them for whoever watches."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._counters = {name: Metrics.counter("score", name) for name in ("scored", "rejected")}

    def start_bundle(self) -> None:
        self._rows: list[ScoreRow] = []

    def process(self, row: ScoreRow) -> Iterator[bytes]:
        self._rows.append(row)
        self._counters[row.outcome].inc()
        if row.outcome != SCORED:
            Metrics.counter("score", f"rejected_{row.reason}").inc()
        if len(self._rows) == _ROWS_PER_BLOCK:
            yield self._take()

    def finish_bundle(self) -> Iterator[Any]:
        if self._rows:
            window = GlobalWindow()
            yield WindowedValue(self._take(), window.max_timestamp(), (window,))

    def _take(self) -> bytes:
        rows, self._rows = self._rows, []
        self._progress.add("done", len(rows))
        return pack(rows)


def of_outcome(rows: Iterable[ScoreRow], scored: bool) -> list[ScoreRow]:
    """The rows that were scored, or those that were not."""
    return [row for row in rows if (row.outcome == SCORED) is scored]


def keys_of(rows: Iterable[ScoreRow], failed: bool) -> list[bytes]:
    """Keys of files that could not be read, or of all others, which a later run need not look at again."""
    return [row.key for row in rows if (row.stage == "read") is failed]
