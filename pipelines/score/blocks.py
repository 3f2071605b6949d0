"""Rows get their results and travel on in packed blocks."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from pipelines.beam import progress
from pipelines.beam.threads import in_global_window
from pipelines.imaging import images
from pipelines.score.model_handler import Prediction
from pipelines.score.score_row import SCORED, ScoreRow
from pipelines.sources import list_images

# Larger blocks do not compress better; smaller ones cost the runner more.
_ROWS_PER_BLOCK = 256


class ReportListed(beam.DoFn):
    """DoFn that counts the images of each chunk of listed files and drops all other files."""

    def __init__(self) -> None:
        self._listed = Metrics.counter("score", "listed")

    def process(self, chunk: list[list_images.ListedFile]) -> Iterator[list[list_images.ListedFile]]:
        """Yield the images of a chunk as a chunk; nothing if it has none."""
        found = list_images.images_of(chunk)
        self._listed.inc(len(found))
        progress.count("done", len(chunk) - len(found))
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

    def __init__(self) -> None:
        self._counters = {name: Metrics.counter("score", name) for name in ("scored", "rejected")}

    def start_bundle(self) -> None:
        """Start an empty block."""
        self._rows: list[ScoreRow] = []

    def process(self, row: ScoreRow) -> Iterator[bytes]:
        """Add a row to the block; yield the packed block when it is full."""
        self._rows.append(row)
        self._counters[row.outcome].inc()
        progress.count("done")
        if row.outcome != SCORED:
            Metrics.counter("score", f"rejected_{row.reason}").inc()
        if len(self._rows) == _ROWS_PER_BLOCK:
            yield self._take()

    def finish_bundle(self) -> Iterator[Any]:
        """Yield the last block, which may be incomplete."""
        if self._rows:
            yield in_global_window(self._take())

    def _take(self) -> bytes:
        rows, self._rows = self._rows, []
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


_SECONDS = ("read_seconds", "score_seconds")
# Higher levels take longer and save nothing: hashes and probabilities do not compress further.
_ZLIB_LEVEL = 1


def _pack_floats(values: Iterable[float]) -> tuple[str, bytes]:
    """Return dtype and bytes of the values: as 32-bit floats if that is lossless (models give such), else as 64-bit."""
    exact = np.fromiter(values, np.float64)
    short = exact.astype(np.float32)
    kept = short if np.array_equal(short, exact, equal_nan=True) else exact
    return kept.dtype.str, kept.tobytes()


def _unpack_floats(packed: tuple[str, bytes]) -> list[float]:
    kind, data = packed
    return np.frombuffer(data, kind).tolist()


def _cut(values: Iterable[Any], lengths: Iterable[int]) -> tuple[tuple, ...]:
    """Split consecutive values into tuples of the given lengths."""
    left = iter(values)
    return tuple(tuple(islice(left, length)) for length in lengths)


def _pack_tuples(tuples: Sequence[tuple[float, ...]]) -> tuple:
    return tuple(map(len, tuples)), _pack_floats(chain.from_iterable(tuples))


def _unpack_tuples(packed: tuple) -> tuple[tuple[float, ...], ...]:
    lengths, values = packed
    return _cut(_unpack_floats(values), lengths)


def pack(rows: Sequence[ScoreRow]) -> bytes:
    """Pack rows into bytes; `unpack` restores them exactly.

    Packing works column by column, because the values of a column resemble each other. Pack a few hundred rows at
    once for the best ratio.
    """
    if not rows:
        return b""
    columns: dict[str, Any] = dict(zip(ScoreRow._fields, zip(*rows, strict=True), strict=True))
    columns["probabilities"] = _pack_tuples(columns["probabilities"])
    models = columns["by_model"]
    columns["by_model"] = (tuple(map(len, models)), _pack_tuples(tuple(chain.from_iterable(models))))
    for name in _SECONDS:
        columns[name] = _pack_floats(columns[name])
    return zlib.compress(pickle.dumps(tuple(columns.values()), pickle.HIGHEST_PROTOCOL), _ZLIB_LEVEL)


def unpack(data: bytes) -> list[ScoreRow]:
    """Return the rows of a block made by `pack`."""
    if not data:
        return []
    columns = dict(zip(ScoreRow._fields, pickle.loads(zlib.decompress(data)), strict=True))
    columns["probabilities"] = _unpack_tuples(columns["probabilities"])
    counts, models = columns["by_model"]
    columns["by_model"] = _cut(_unpack_tuples(models), counts)
    for name in _SECONDS:
        columns[name] = _unpack_floats(columns[name])
    return list(map(ScoreRow._make, zip(*columns.values(), strict=True)))
