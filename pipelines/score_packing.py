"""Pack blocks of score rows into few bytes for the shuffle."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from pipelines.score_rows import ScoreRow

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
