"""Define the columns of the scores table in one place, and encode them as Parquet, CSV or JSON lines.

Numbers mean the same in all three formats: text has the fewest digits that restore the same 32-bit number.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.common.spreadsheets import as_text
from pipelines.common.text import printable
from pipelines.dataset.manifest import LIST_SEPARATOR
from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW, flags, malignancy_scores
from pipelines.domain.probability_table import as_metadata, class_names
from pipelines.score.options import FORMATS
from pipelines.score.score_row import ScoreRow, ScoringRun, entropies, top_classes

_TEXT, _SCORE, _TIME, _YES = pa.string(), pa.float32(), pa.timestamp("us", tz="UTC"), pa.bool_()
# Measured on 50,000 rows of nine classes: 0.63 times the size of Snappy or LZ4, in no more time.
_COMPRESSION = "zstd"
# Row group size of a Parquet file. The columns of all rows at once would take more memory than the rows themselves.
_ROWS_PER_GROUP = 1000


class Column(NamedTuple):
    """One column of the scores table."""

    name: str
    kind: pa.DataType  # int32, int64, float32, bool, string or timestamp
    description: str
    values: Sequence[Any] | np.ndarray  # one for each row
    repeated: bool = False  # whether few distinct values repeat, so that a dictionary pays
    nullable: bool = False  # whether a run may have None in it


def _matrix(values: Sequence[tuple[float, ...]], width: int) -> np.ndarray:
    """Return the values as a matrix.

    Returns:
        float64 [n, width].

    Raises:
        ValueError: A row does not have `width` values, or a value is not finite.
    """
    if any(len(line) != width for line in values):
        raise ValueError(f"a row without its {width} probabilities: such a row must be rejected, not written")
    matrix = np.array(values, np.float64).reshape(len(values), width)
    if not np.isfinite(matrix).all():
        raise ValueError("a probability is not finite: such a row must be rejected, not written")
    return matrix


def probability_matrix(rows: Sequence[ScoreRow], run: ScoringRun) -> np.ndarray:
    """Return the probabilities of scored rows as a matrix.

    Returns:
        float64 [n, classes].

    Raises:
        ValueError: A row has no probabilities, or one that is not finite.
    """
    return _matrix([row.probabilities for row in rows], len(run.classes))


def _model_columns(rows: Sequence[ScoreRow], run: ScoringRun, names: Sequence[str]) -> list[Column]:
    """Return the probability columns of each model; none for a single model."""
    if len(run.models) == 1:
        return []
    values = _matrix([sum(row.by_model, ()) for row in rows], len(run.models) * len(names))
    return [
        Column(
            f"probability_{name}__{number}",
            _SCORE,
            f"Probability of {printable(run.classes[label])} by model {number}, {model.fingerprint[:16]}",
            values[:, (number - 1) * len(names) + label],
        )
        for number, model in enumerate(run.models, 1)
        for label, name in enumerate(names)
    ]


def columns(rows: Sequence[ScoreRow], run: ScoringRun) -> list[Column]:
    """Return the columns of the table for some scored rows, in order.

    Raises:
        ValueError: A row has no probabilities, or one that is not finite.
    """
    probabilities = probability_matrix(rows, run)
    names = class_names(run.classes)
    malignancy = malignancy_scores(probabilities, run.classes, run.malignant_classes)
    threshold = run.flagging.threshold if run.flagging else None
    flagged = [None] * len(rows) if threshold is None else flags(malignancy, threshold).tolist()
    top = [printable(run.classes[label]) for label in top_classes(probabilities, run)]
    malignant = printable(", ".join(run.malignant_classes)) or "none"
    mean = " (mean over the models)" if len(run.models) > 1 else ""

    def always(name: str, kind: pa.DataType, description: str, value: Any) -> Column:
        return Column(name, kind, description, [value] * len(rows), repeated=True)

    return [
        Column("path", _TEXT, "The file, as listed", [printable(row.path) for row in rows]),
        Column(
            "image_id",
            _TEXT,
            "ISIC id in the file's name, else the name without its extension",
            [printable(row.image_id) for row in rows],
        ),
        Column("size", pa.int64(), "Bytes of the file", [row.size for row in rows]),
        Column(
            "version",
            _TEXT,
            "What the listing says of the content: checksum, generation or time; may be empty",
            [printable(row.version) for row in rows],
        ),
        Column("sha256", _TEXT, "SHA-256 of the file, 64 hex digits", [row.sha256 for row in rows]),
        Column("width", pa.int32(), "Pixels, after EXIF orientation", [row.width for row in rows]),
        Column("height", pa.int32(), "Pixels, after EXIF orientation", [row.height for row in rows]),
        *(
            Column(f"probability_{name}", _SCORE, f"Probability of {printable(full)}{mean}", probabilities[:, label])
            for label, (name, full) in enumerate(zip(names, run.classes, strict=True))
        ),
        *_model_columns(rows, run, names),
        Column(
            "top_class",
            _TEXT,
            "Class whose probability is the largest multiple of its frequency in training; of equal ones the first",
            top,
            repeated=True,
        ),
        Column("malignancy_score", _SCORE, f"Sum of the probabilities of: {malignant}", malignancy),
        Column(
            "flagged",
            _YES,
            "Whether the malignancy score is at least flag_threshold; null where no threshold is known",
            flagged,
            nullable=True,
        ),
        Column(
            "flag_threshold",
            _SCORE,
            "Malignancy score from which on images are flagged in this run",
            [threshold] * len(rows),
            repeated=True,
            nullable=True,
        ),
        Column("entropy", _SCORE, "Shannon entropy of the probabilities, bits", entropies(probabilities)),
        always(
            "model_fingerprint",
            _TEXT,
            f"Of all files of the model; of several models in their order, with {LIST_SEPARATOR!r} between",
            LIST_SEPARATOR.join(model.fingerprint for model in run.models),
        ),
        always("run_fingerprint", _TEXT, "Of all that decides a file's scores", run.fingerprint),
        # Not `run`: readers that derive columns from `run=NAME` folders would find it twice, with two types.
        always("run_name", _TEXT, "The run that scored the file", run.name),
        always("scored_at", _TIME, "When the run began, UTC", run.started.astimezone(datetime.UTC)),
    ]


def scores_schema(run: ScoringRun) -> pa.Schema:
    """Return the schema of the scores table.

    Each field has a description (metadata `description`). Few fields are nullable, and they say so. The schema's own
    metadata holds the class frequencies and the views that the probabilities assume (see `as_metadata`).
    """
    fields = (
        pa.field(column.name, column.kind, nullable=column.nullable, metadata={"description": column.description})
        for column in columns((), run)
    )
    return pa.schema(fields, metadata=as_metadata(run.prior, EIGHT_VIEWS if run.tta else ONE_VIEW))


def _plain_values(column: Column) -> Iterable[Any]:
    """Return a column's values as JSON can hold them: numbers as the shortest decimals, times as ISO 8601 with Z."""
    if column.kind == _SCORE:
        return pa.array(column.values, _SCORE).cast(pa.string()).cast(pa.float64()).to_pylist()
    if column.kind == _TIME:
        return [f"{time.replace(tzinfo=None).isoformat(timespec='microseconds')}Z" for time in column.values]
    return column.values


def score_records(rows: Sequence[ScoreRow], run: ScoringRun) -> list[dict[str, Any]]:
    """Return each scored row as a record of the table: column name -> text, number, bool or None."""
    table = columns(rows, run)
    names = [column.name for column in table]
    return [dict(zip(names, line, strict=True)) for line in zip(*map(_plain_values, table), strict=True)]


def _parquet(rows: Sequence[ScoreRow], run: ScoringRun) -> bytes:
    schema = scores_schema(run)
    repeated = [column.name for column in columns((), run) if column.repeated]
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression=_COMPRESSION, use_dictionary=repeated) as writer:
        for start in range(0, max(1, len(rows)), _ROWS_PER_GROUP):
            table = columns(rows[start : start + _ROWS_PER_GROUP], run)
            arrays = [pa.array(column.values, column.kind) for column in table]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    return buffer.getvalue()


def _cells(column: Column) -> Iterable[Any]:
    """Return a column's values as CSV cells: as in JSON, but bools as `true` and `false`."""
    if column.kind == _YES:
        return pa.array(column.values, _YES).cast(_TEXT).to_pylist()
    return _plain_values(column)


def _csv(rows: Sequence[ScoreRow], run: ScoringRun) -> bytes:
    """Encode rows as RFC 4180 CSV in UTF-8 with a header; null is an empty cell."""
    table = columns(rows, run)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([column.name for column in table])
    writer.writerows(zip(*map(_cells, table), strict=True))
    return buffer.getvalue().encode()


def _csv_for_spreadsheets(rows: Sequence[ScoreRow], run: ScoringRun) -> bytes:
    """Encode rows as CSV in which no cell is a formula; text is in quotes, as OWASP recommends."""
    table = columns(rows, run)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([column.name for column in table])
    writer.writerows(zip(*(map(as_text, _cells(column)) for column in table), strict=True))
    return buffer.getvalue().encode()


def _jsonl(rows: Sequence[ScoreRow], run: ScoringRun) -> bytes:
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    return "".join(encode(record) + "\n" for record in score_records(rows, run)).encode()


_ENCODERS: dict[str, Callable[[Sequence[ScoreRow], ScoringRun], bytes]] = dict(
    zip(FORMATS, (_parquet, _csv, _jsonl), strict=True)
)


def encode(rows: Sequence[ScoreRow], run: ScoringRun, table_format: str, escape_formulas: bool = False) -> bytes:
    """Encode scored rows as one file, in the given order.

    Args:
        rows: Scored rows.
        run: The run that they belong to.
        table_format: One of FORMATS.
        escape_formulas: Whether a CSV is for spreadsheets, see `as_text`.
    """
    return _csv_for_spreadsheets(rows, run) if escape_formulas else _ENCODERS[table_format](rows, run)
