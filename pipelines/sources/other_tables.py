"""Make a CSV of tables in other formats: JSON Lines, and the columns that stand beside the images of a Parquet file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.common.cli import first_line
from pipelines.common.tables import column_key
from pipelines.storage.archive_member import one_kind_of_error
from pipelines.storage.errors import StorageError
from pipelines.storage.parquet_archive import id_column, open_parquet, row_names, table_columns

# The column that says, in a folder of images as Hugging Face has them, to which file a row belongs.
FILE_NAME = "file_name"


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _as_csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    file = io.StringIO()
    columns = list(columns)
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_text(row.get(name)) for name in columns] for row in rows)
    return file.getvalue().encode("utf-8", "replace")


def csv_of_json_lines(data: bytes) -> bytes:
    """Return a table in JSON Lines as CSV, with every key as a column.

    Raises:
        StorageError: If a line is no JSON object.
    """
    rows = []
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise StorageError(f"line {number} is not JSON ({first_line(error)})") from error
            if not isinstance(row, dict):
                raise StorageError(f"line {number} is no JSON object")
            rows.append(row)
    return _as_csv(dict.fromkeys(name for row in rows for name in row), rows)


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of the classes of each column that holds their numbers, as Hugging Face declares them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {name: list(one["names"]) for name, one in features.items() if one.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def csv_of_parquet(path: str) -> bytes:
    """Return the columns beside the images of a Parquet file as CSV, with the names of its rows in `file_name`.

    The names stand in its column of image ids too, if there is one. Numbers of classes become
    names, where the file says which.

    Raises:
        StorageError: If the file cannot be read.
    """
    names = row_names(path)
    with one_kind_of_error(), open_parquet(path) as file:
        columns = [name for name in table_columns(file) if column_key(name) != FILE_NAME]
        known = id_column(file)
        classes = _class_names(file.schema_arrow.metadata)
        rows = file.read(columns).to_pylist() if columns else [{} for _ in names]
    for name, row in zip(names, rows, strict=True):
        row.update(dict.fromkeys(filter(None, (FILE_NAME, known)), name))
        for label, terms in classes.items():
            if isinstance(number := row.get(label), int) and 0 <= number < len(terms):
                row[label] = terms[number]
    return _as_csv([FILE_NAME, *columns], rows)
