"""Scores for BigQuery: the schema, the rows, and a load by Beam's own sink into a BigQuery on loopback."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import fastavro.validation
import pytest
from apache_beam.io.gcp.bigquery_tools import (
    RowAsDictJsonCoder,
    get_avro_schema_from_table_schema,
    get_dict_table_schema,
    parse_table_schema_from_json,
)

from pipelines.common.cli import UsageError
from pipelines.common.text import printable
from pipelines.score.bigquery import (
    WriteScoresToBigQuery,
    bigquery_rows,
    bigquery_schema,
    row_id,
)
from pipelines.score.bigquery_table import parse_table, require_temp_location
from pipelines.score.columns import score_records, scores_schema
from tests.support.bigquery_server import LocalBigQuery, local_bigquery
from tests.support.gcs import local_gcs
from tests.support.killing import ROOT
from tests.support.score_row_maker import HOSTILE_PATHS, score_row, scoring_run

BUCKET = "staging"
TABLE = "lesions-1:nightly.scores"
# What a job does with the rows it has scored; arguments: the temporary location, the table and how many rows.
LOAD = """
import sys
import apache_beam as beam
from tests.support.score_row_maker import HOSTILE_PATHS, score_row, scoring_run
from pipelines.score.bigquery import WriteScoresToBigQuery
from pipelines.beam.runner import beam_options
run = scoring_run(models=2)
rows = [score_row(path, run) for path in (*HOSTILE_PATHS, *(f"{n}.jpg" for n in range(1200)))][: int(sys.argv[3])]
with beam.Pipeline(options=beam_options(["--project", "lesions-1"])) as pipeline:
    jobs = pipeline | beam.Create(rows) | WriteScoresToBigQuery(run, sys.argv[2], sys.argv[1])
    jobs | beam.Map(lambda job: print("finished", job, flush=True))
"""


@pytest.mark.parametrize(("models", "threshold"), [(1, 0.5), (2, None)])
def test_beam_agrees_that_rows_have_the_schema(models: int, threshold: float | None) -> None:
    run = scoring_run(models=models, threshold=threshold)
    rows = [score_row(path, run) for path in HOSTILE_PATHS]
    rows.append(score_row("sure", run, probabilities=(1.0, *[0.0] * 8), size=2**40))
    schema = bigquery_schema(run)
    avro = fastavro.parse_schema(get_avro_schema_from_table_schema(get_dict_table_schema(schema)))
    coder = RowAsDictJsonCoder()
    records = score_records(rows, run)
    for row, record, line in zip(rows, records, bigquery_rows(rows, run), strict=True):
        # JSON has no times; BigQuery reads this text as one.
        typed = {**line, "scored_at": datetime.datetime.fromisoformat(line["scored_at"])}
        assert fastavro.validation.validate(typed, avro, strict=True)
        assert coder.decode(coder.encode(line)) == line
        assert line == {"row_id": row_id(row, run), **record}
    parsed = parse_table_schema_from_json(json.dumps(schema))
    assert [field.name for field in parsed.fields] == ["row_id", *scores_schema(run).names]
    kinds = {field.name: field.type for field in parsed.fields}
    assert [kinds[name] for name in ("path", "size", "width", "flagged", "entropy", "scored_at")] == [
        *("STRING", "INTEGER", "INTEGER", "BOOLEAN", "FLOAT", "TIMESTAMP")
    ]
    assert all(field.description for field in parsed.fields)
    assert {field.name for field in parsed.fields if field.mode != "REQUIRED"} == {"flagged", "flag_threshold"}


def test_a_row_id_is_of_file_content_and_models() -> None:
    run = scoring_run()
    row = score_row("a/b.jpg", run)
    again = row._replace(read_seconds=9.0, version="touched")
    assert row_id(row, run) == row_id(again, scoring_run(name="another night", threshold=0.1))
    others = [
        row_id(row._replace(path="a/b.jpg "), run),
        row_id(row._replace(sha256="0" * 64), run),
        row_id(row, scoring_run(tta=True)),
        row_id(row, scoring_run(models=2)),
        # Two paths that print alike.
        row_id(row._replace(path="\udcff"), run),
        row_id(row._replace(path="\\xff"), run),
    ]
    assert len({row_id(row, run), *others}) == 7


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("my-project:nightly.scores", "my-project:nightly.scores"),
        ("my-project.nightly.scores-2026", "my-project:nightly.scores-2026"),
        ("example.com:my-project:d_1.t", "example.com:my-project:d_1.t"),
    ],
)
def test_a_table_is_named_in_two_ways(text: str, table: str) -> None:
    assert parse_table(text) == table


@pytest.mark.parametrize(
    "text",
    [
        *("", "scores", "nightly.scores", "my-project:nightly", "my-project:night-ly.scores", "p:d.t"),
        *("my-project/nightly/scores", "my-project:nightly.scores.more", "My-Project:nightly.scores"),
        *("my-project:nightly.scores$20260101", "my-project:nightly.scores; DROP TABLE x", "my-project:a.b\n"),
    ],
)
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--output_table .*PROJECT:DATASET\.TABLE"):
        parse_table(text)


@pytest.mark.parametrize("temp_location", [None, "", "scratch", "/scratch", "s3://bucket/scratch"])
def test_without_a_place_on_gcs_nothing_can_be_loaded(temp_location: str | None) -> None:
    with pytest.raises(UsageError, match="--temp_location gs://BUCKET/FOLDER"):
        require_temp_location(temp_location)
    with pytest.raises(UsageError, match="--temp_location gs://BUCKET/FOLDER"):
        WriteScoresToBigQuery(scoring_run(), TABLE, temp_location)


def load(tmp_path: Path, counts: list[int]) -> LocalBigQuery:
    """What a BigQuery on loopback has after loads of so many rows each."""
    with (
        local_gcs(tmp_path, BUCKET) as storage,
        local_bigquery(tmp_path, storage["STORAGE_EMULATOR_HOST"]) as (service, environment),
    ):
        for count in counts:
            done = subprocess.run(
                [sys.executable, "-c", LOAD, f"gs://{BUCKET}/scratch", TABLE, str(count)],
                check=False,
                capture_output=True,
                text=True,
                env={**os.environ, **storage, **environment, "PYTHONPATH": str(ROOT)},
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.count("finished ") == (count > 0)
    assert service.other == []
    return service


def test_beam_loads_the_rows(tmp_path: Path) -> None:
    service = load(tmp_path, [2000, 2000])  # the second as when a run was killed after its load
    run = scoring_run(models=2)
    expected = [score_row(path, run) for path in (*HOSTILE_PATHS, *(f"{n}.jpg" for n in range(1200)))]
    assert list(service.tables) == [TABLE]
    loaded = service.tables[TABLE]
    once = {line["row_id"]: line for line in loaded}
    assert len(loaded) == 2 * len(once)
    assert once == {line["row_id"]: line for line in bigquery_rows(expected, run)}
    assert {printable(path) for path in HOSTILE_PATHS} <= {line["path"] for line in loaded}
    for job in service.loads:
        assert job["createDisposition"] == "CREATE_IF_NEEDED"
        assert job["writeDisposition"] == "WRITE_APPEND"
        assert job["timePartitioning"] == {"type": "DAY", "field": "scored_at"}
        assert job["clustering"] == {"fields": ["top_class"]}
        assert job["schema"] == bigquery_schema(run)


def test_nothing_new_loads_nothing(tmp_path: Path) -> None:
    service = load(tmp_path, [0])
    assert service.tables.get(TABLE, []) == []
