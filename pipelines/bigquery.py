"""The scores as rows of a BigQuery table: its schema, made of the scores' columns, and the load through Beam's sink."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery

from pipelines.cli import UsageError
from pipelines.score_rows import ScoreRow, ScoringRun
from pipelines.score_tables import score_records, scores_schema

# Google's rules: a project may be of a domain; a dataset has letters, digits and underscores; a table dashes, too.
_TABLE = re.compile(
    r"(?P<project>(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+:)?[a-z][a-z0-9-]{4,28}[a-z0-9])"
    r"[:.](?P<dataset>\w{1,1024})\.(?P<table>[\w-]{1,1024})",
    re.ASCII,
)
_TYPES = {
    pa.string(): "STRING",
    pa.int32(): "INTEGER",
    pa.int64(): "INTEGER",
    pa.float32(): "FLOAT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP",
}
# A run touches one day's partition; who asks for one class reads only its blocks.
_LAYOUT = {"timePartitioning": {"type": "DAY", "field": "scored_at"}, "clustering": {"fields": ["top_class"]}}
# Rows turned into lines at once: column by column is twenty times as fast as one by one.
_ROWS_AT_ONCE = 500


def parse_table(text: str) -> str:
    """`PROJECT:DATASET.TABLE` of a table named so or as `PROJECT.DATASET.TABLE`. Raises UsageError for another form."""
    found = _TABLE.fullmatch(text)
    if not found:
        raise UsageError(f"--output_table {text!r}: is no table; name it as PROJECT:DATASET.TABLE")
    return f"{found['project']}:{found['dataset']}.{found['table']}"


def require_temp_location(temp_location: str | None) -> str:
    """Where files for BigQuery to load may be written. Raises UsageError unless it is a place on gs://."""
    if not (temp_location or "").startswith("gs://"):
        given = f"--temp_location {temp_location}" if temp_location else "--output_table"
        raise UsageError(f"{given}: BigQuery loads files from gs:// only; add --temp_location gs://BUCKET/FOLDER")
    return str(temp_location)


def bigquery_schema(run: ScoringRun) -> dict[str, list[dict[str, str]]]:
    """The table's fields: those of `scores_schema`, and first `row_id`."""
    row_id = {
        "name": "row_id",
        "type": "STRING",
        "mode": "REQUIRED",
        "description": "Of path, content and run_fingerprint; rows with the same are the same row, loaded again",
    }
    return {
        "fields": [
            row_id,
            *(
                {
                    "name": field.name,
                    "type": _TYPES[field.type],
                    "mode": "NULLABLE" if field.nullable else "REQUIRED",
                    "description": field.metadata[b"description"].decode(),
                }
                for field in scores_schema(run)
            ),
        ]
    }


def row_id(row: ScoreRow, run: ScoringRun) -> str:
    """32 hex digits that a file with the same path and content has in every run with the same models."""
    decides = [row.path, row.sha256, run.fingerprint]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]


def bigquery_rows(rows: Sequence[ScoreRow], run: ScoringRun) -> list[dict[str, Any]]:
    """Scored rows as BigQuery loads them: JSON's types, times as text."""
    return [{"row_id": row_id(row, run), **record} for row, record in zip(rows, score_records(rows, run), strict=True)]


class WriteScoresToBigQuery(beam.PTransform):
    """Scored rows -> appended to a table, which is made where there is none; gives the ids of the finished jobs.

    table: see `parse_table`; temp_location: on gs://; Beam leaves there what it has loaded, so let the bucket delete
    what is old. All rows appear at once, when the load is done; a rerun after that appends them again, with the same
    row_id. Raises UsageError.
    """

    def __init__(self, run: ScoringRun, table: str, temp_location: str | None):
        super().__init__()
        self._run = run
        self._table = parse_table(table)
        self._temp_location = require_temp_location(temp_location)

    def expand(self, rows: beam.PCollection[ScoreRow]) -> beam.PCollection[str]:
        written = (
            rows
            | "Blocks" >> beam.BatchElements(_ROWS_AT_ONCE, _ROWS_AT_ONCE)
            | "Lines" >> beam.FlatMap(bigquery_rows, self._run)
            | "Load"
            >> WriteToBigQuery(
                self._table,
                schema=bigquery_schema(self._run),
                method=WriteToBigQuery.Method.FILE_LOADS,
                custom_gcs_temp_location=self._temp_location,
                create_disposition=BigQueryDisposition.CREATE_IF_NEEDED,
                write_disposition=BigQueryDisposition.WRITE_APPEND,
                additional_bq_parameters=_LAYOUT,
            )
        )
        return (
            (written.destination_load_jobid_pairs, written.destination_copy_jobid_pairs)
            | "Jobs" >> beam.Flatten()
            | "Ids" >> beam.MapTuple(lambda _, job: job.jobId)
        )
