"""Metadata CSVs: which lesion a photograph shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

import apache_beam as beam

from pipelines.cli import UsageError
from pipelines.rows import ImageRow
from pipelines.sources import image_id_of, read_bytes

# isic-cli, HAM10000, ISIC 2019, ISIC 2020
ID_COLUMNS = ("isic_id", "image_id", "image", "image_name")
LESION_COLUMN = "lesion_id"


def _rows(path: str) -> Iterator[dict[str, str]]:
    # utf-8-sig: spreadsheets put a byte order mark before the first column's name.
    return csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig"), newline=""))  # type: ignore[return-value]


def _id_column(columns: Iterable[str]) -> str | None:
    return next((name for name in ID_COLUMNS if name in columns), None)


def require_metadata(path: str) -> None:
    """Raise UsageError unless `path` is a CSV with an image id column and `lesion_id`."""
    try:
        first = next(iter(_rows(path)), None)
    except UnicodeDecodeError as error:
        raise UsageError(f"--metadata {path}: not a UTF-8 CSV file ({error.reason})") from error
    except csv.Error as error:
        raise UsageError(f"--metadata {path}: not a CSV file ({error})") from error
    except Exception as error:  # each filesystem raises its own kinds
        raise UsageError(f"--metadata {path}: cannot be read ({error.__class__.__name__})") from error
    if first is None:
        raise UsageError(f"--metadata {path}: holds no rows")
    columns = [name for name in first if name]
    if _id_column(columns) is None:
        raise UsageError(f"--metadata {path}: needs a column {' or '.join(ID_COLUMNS)}; it has {', '.join(columns)}")
    if LESION_COLUMN not in columns:
        raise UsageError(f"--metadata {path}: needs a column {LESION_COLUMN}; it has {', '.join(columns)}")


def read_lesions(path: str) -> Iterator[tuple[str, str]]:
    """(image id, lesion id) of each row that has both."""
    for row in _rows(path):
        image = row.get(_id_column(row) or "") or ""
        lesion = (row.get(LESION_COLUMN) or "").strip()
        if image.strip() and lesion:
            yield image_id_of(image.strip()), lesion


def _join(element: tuple[str, dict[str, Iterable]]) -> Iterator[ImageRow]:
    _, found = element
    lesions = tuple(sorted(set(found["lesions"])))
    for row in found["images"]:
        yield row._replace(lesion_ids=lesions)


class JoinMetadata(beam.PTransform):
    """Rows -> the same rows with the lesion ids that the CSVs give for their image id."""

    def __init__(self, paths: Iterable[str]):
        super().__init__()
        self._paths = list(paths)

    def expand(self, rows: beam.PCollection[ImageRow]) -> beam.PCollection[ImageRow]:
        if not self._paths:
            return rows
        lesions = (
            rows.pipeline
            | "Metadata" >> beam.Create(self._paths, reshuffle=False)
            | "Read lesions" >> beam.FlatMap(read_lesions)
        )
        keyed = rows | "By image id" >> beam.Map(lambda row: (row.image_id, row))
        return (
            {"images": keyed, "lesions": lesions}
            | "Join lesions" >> beam.CoGroupByKey()
            | "With lesions" >> beam.FlatMap(_join)
        )
