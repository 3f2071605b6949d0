"""Read a table of out-of-fold predictions, as `trainer.experiment` writes it (`out_of_fold.parquet`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.common.cli import UsageError, first_line
from pipelines.domain.image_ids import isic_id_of
from pipelines.domain.probability_table import class_names
from pipelines.storage import filesystem

if TYPE_CHECKING:
    import pyarrow as pa

OPTION = "--predictions"
# Probabilities are counted in these parts, so that sums are exact in any order of addition.
PARTS = 1 << 20
# How far the sum of an image's probabilities may be from 1. Tables rounded to a few decimals stay within it.
_TOLERANCE = 0.01
_IDS = ("source_id", "sha256")
_PREFIX = "probability_"


def prediction_key(name: str, sha256: str) -> str:
    """Return what joins an image with its prediction: its ISIC id if its name has one, or else its content.

    Args:
        name: The image id, or the path of the file.
        sha256: The content hash of the file.
    """
    return isic_id_of(name) or sha256


def read_predictions(path: str, classes: Sequence[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Read the probabilities of every image.

    Args:
        path: The Parquet file.
        classes: Class names in label order.

    Yields:
        The key of an image, see `prediction_key`, and its probability of each class in units of 1 / PARTS.

    Raises:
        UsageError: The file is no such table, is of other classes, or holds values that are not probabilities.
    """
    # Imported late: command lines start without it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [f"{_PREFIX}{name}" for name in class_names(classes)]
    try:
        table = pq.ParquetFile(filesystem.open_file(path))
        names = table.schema_arrow.names
        found = [name for name in names if name.startswith(_PREFIX)]
        if not found or not set(_IDS) <= set(names):
            raise UsageError(
                f"{OPTION} {path}: needs the columns {', '.join(_IDS)} and {_PREFIX}CLASS; "
                "give the out_of_fold.parquet of trainer.experiment"
            )
        if differing := sorted(set(found) ^ set(columns)):
            raise UsageError(
                f"{OPTION} {path}: its classes are not those of --classes (difference: "
                f"{', '.join(name.removeprefix(_PREFIX) for name in differing[:9])})"
            )
        _require_kinds(path, table.schema_arrow, columns)
        for batch in table.iter_batches(columns=[*_IDS, *columns]):
            values = np.stack([batch[name].to_numpy(zero_copy_only=False) for name in columns], axis=1)
            if not _are_probabilities(values.astype(np.float64)):
                raise UsageError(f"{OPTION} {path}: some of its numbers are no probabilities (0 to 1, together 1)")
            parts = np.rint(values.astype(np.float64) * PARTS).astype(np.int64).tolist()
            ids = zip(*(batch[name].to_pylist() for name in _IDS), strict=True)
            for (name, sha256), row in zip(ids, parts, strict=True):
                yield prediction_key(name or "", sha256 or ""), tuple(row)
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{OPTION} {path}: is no Parquet file that can be read ({first_line(error)})") from error


def _require_kinds(path: str, schema: pa.Schema, columns: Sequence[str]) -> None:
    import pyarrow.types as kinds

    def is_text(kind: pa.DataType) -> bool:
        kind = kind.value_type if kinds.is_dictionary(kind) else kind
        return kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind) or kinds.is_null(kind)

    def is_number(kind: pa.DataType) -> bool:
        return kinds.is_floating(kind) or kinds.is_integer(kind)

    for names, fits, wanted in ((_IDS, is_text, "text"), (columns, is_number, "numbers")):
        if wrong := [name for name in names if not fits(schema.field(name).type)]:
            raise UsageError(
                f"{OPTION} {path}: the column {wrong[0]} must hold {wanted}; it has {schema.field(wrong[0]).type}"
            )


def _are_probabilities(values: np.ndarray) -> bool:
    return bool(
        np.isfinite(values).all() and (values > -_TOLERANCE).all() and (abs(values.sum(axis=1) - 1) < _TOLERANCE).all()
    )


def require_predictions(path: str, classes: Sequence[str]) -> None:
    """Raise UsageError unless a file holds one prediction of these classes for each of its images.

    Args:
        path: The Parquet file.
        classes: Class names in label order.
    """
    known: set[str] = set()
    for key, _ in read_predictions(path, classes):
        if not key or key in known:
            what = f"has {key} twice; an out-of-fold table has each image once" if key else "has an image without an id"
            raise UsageError(f"{OPTION} {path}: {what}")
        known.add(key)
    if not known:
        raise UsageError(f"{OPTION} {path}: holds no image")
