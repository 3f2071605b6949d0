"""Blocks of score rows as a few bytes each, for what crosses a shuffle."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from pipelines.score_rows import ScoreRow

_SECONDS = ("read_seconds", "score_seconds")
# Another level takes longer and saves nothing: hashes and probabilities do not get smaller.
_ZLIB_LEVEL = 1


def _pack_floats(values: Iterable[float]) -> tuple[str, bytes]:
    """Type and bytes; 32-bit where that loses nothing, as models give such numbers."""
    exact = np.fromiter(values, np.float64)
    short = exact.astype(np.float32)
    kept = short if np.array_equal(short, exact, equal_nan=True) else exact
    return kept.dtype.str, kept.tobytes()


def _unpack_floats(packed: tuple[str, bytes]) -> list[float]:
    kind, data = packed
    return np.frombuffer(data, kind).tolist()


def _cut(values: Iterable[Any], lengths: Iterable[int]) -> tuple[tuple, ...]:
    """Consecutive values as tuples of these lengths."""
    left = iter(values)
    return tuple(tuple(islice(left, length)) for length in lengths)


def _pack_tuples(tuples: Sequence[tuple[float, ...]]) -> tuple:
    return tuple(map(len, tuples)), _pack_floats(chain.from_iterable(tuples))


def _unpack_tuples(packed: tuple) -> tuple[tuple[float, ...], ...]:
    lengths, values = packed
    return _cut(_unpack_floats(values), lengths)


def pack(rows: Sequence[ScoreRow]) -> bytes:
    """Rows as bytes that `unpack` makes exactly them of; best some hundred at once.

    Column by column, because values of one column resemble each other.
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
    """The rows of a block made by `pack`."""
    if not data:
        return []
    columns = dict(zip(ScoreRow._fields, pickle.loads(zlib.decompress(data)), strict=True))
    columns["probabilities"] = _unpack_tuples(columns["probabilities"])
    counts, models = columns["by_model"]
    columns["by_model"] = _cut(_unpack_tuples(models), counts)
    for name in _SECONDS:
        columns[name] = _unpack_floats(columns[name])
    return list(map(ScoreRow._make, zip(*columns.values(), strict=True)))
