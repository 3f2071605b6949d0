"""The table of scores: the same in every format, for any name, number of models and number of rows."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from pipelines.common.text import printable
from pipelines.score.columns import encode, score_records, scores_schema
from pipelines.score.options import FORMATS
from pipelines.score.score_row import top_class
from tests.support.score_row_maker import HOSTILE_PATHS, score_row, scoring_run


def read_csv(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def typed(text: str, kind: Any | Any) -> Any:
    """A cell of a CSV file as its column's type."""
    if pa.types.is_integer(kind):
        return int(text)
    if pa.types.is_boolean(kind):
        return {"true": True, "false": False}[text]
    return np.float32(text) if pa.types.is_floating(kind) else text


def iso(time: Any) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.parametrize("models", [1, 3])
def test_all_formats_hold_the_same_values(models: int) -> None:
    run = scoring_run(models=models)
    rows = [score_row(path, run) for path in HOSTILE_PATHS]
    # Numbers at the edges: sure, evenly torn, as small as can be, larger than 32 bits.
    rows.append(score_row("sure", run, probabilities=(1.0, *[0.0] * 8), size=2**40))
    rows.append(score_row("torn", run, probabilities=tuple([float(np.float32(1 / 9))] * 9)))
    rows.append(score_row("tiny", run, probabilities=(float(np.float32(1e-45)), *[float(np.float32(1e-7))] * 8)))
    schema = scores_schema(run)
    parquet = pq.read_table(io.BytesIO(encode(rows, run, "parquet")))
    assert parquet.schema.equals(schema)
    expected = parquet.to_pylist()
    assert [row["path"] for row in expected] == [printable(row.path) for row in rows]

    header, *lines = read_csv(encode(rows, run, "csv"))
    assert header == schema.names
    jsonl = encode(rows, run, "jsonl")
    records = [json.loads(line) for line in jsonl.split(b"\n")[:-1]]
    assert records == score_records(rows, run)
    assert len(lines) == len(records) == len(rows)
    for row, line, record in zip(expected, lines, records, strict=True):
        assert list(record) == schema.names
        for name, kind, text in zip(schema.names, schema.types, line, strict=True):
            value = iso(row[name]) if pa.types.is_timestamp(kind) else row[name]
            assert typed(text, kind) == value, name
            assert (np.float32(record[name]) if pa.types.is_floating(kind) else record[name]) == value, name


def test_columns_say_what_the_row_says() -> None:
    run = scoring_run(models=2)
    row = score_row("night/ISIC_0000001.jpg", run)
    (record,) = score_records([row], run)
    float32 = [np.float32(record[f"probability_{name.replace(' ', '_')}"]) for name in run.classes]
    assert float32 == [np.float32(value) for value in row.probabilities]
    for number, values in enumerate(row.by_model, 1):
        found = [record[f"probability_{name.replace(' ', '_')}__{number}"] for name in run.classes]
        assert [np.float32(value) for value in found] == [np.float32(value) for value in values]
    assert record["top_class"] == top_class(row, run)
    assert record["malignancy_score"] == pytest.approx(
        sum(row.probabilities[run.classes.index(name)] for name in run.malignant_classes), abs=1e-6
    )
    positive = [value for value in row.probabilities if value > 0]
    assert record["entropy"] == pytest.approx(-sum(value * np.log2(value) for value in positive), abs=1e-5)
    assert record["image_id"] == "ISIC_0000001"
    assert record["model_fingerprint"] == "; ".join(model.fingerprint for model in run.models)
    assert record["run_fingerprint"] == run.fingerprint
    assert record["run_name"] == "2026-01-02"
    assert record["scored_at"] == "2026-01-02T03:04:05.678901Z"


def test_columns_are_in_this_order() -> None:
    first = ["path", "image_id", "size", "version", "sha256", "width", "height"]
    last = ["top_class", "malignancy_score", "flagged", "flag_threshold", "entropy"]
    last += ["model_fingerprint", "run_fingerprint", "run_name", "scored_at"]
    one, two = scoring_run(("mel", "nv")), scoring_run(("mel", "nv"), models=2)
    assert scores_schema(one).names == [*first, "probability_mel", "probability_nv", *last]
    by_model = [f"probability_{name}__{number}" for number in (1, 2) for name in ("mel", "nv")]
    assert scores_schema(two).names == [*first, "probability_mel", "probability_nv", *by_model, *last]
    assert all(field.metadata[b"description"] for field in scores_schema(two))
    assert [field.name for field in scores_schema(two) if field.nullable] == ["flagged", "flag_threshold"]
    # One table takes runs with a threshold and without.
    assert scores_schema(one) == scores_schema(scoring_run(("mel", "nv"), threshold=None))


def test_flagged_are_the_scores_from_the_threshold_on_as_the_table_has_them() -> None:
    # 0.3 and 0.1 + 0.2 are two numbers in 64 bits and one in the table's 32.
    sums = {"below": 0.29999, "at": 0.1 + 0.2, "above": 0.30001}
    for threshold in (0.3, 0.1 + 0.2):
        run = scoring_run(("melanoma", "nevus"), threshold=threshold)
        rows = [score_row(name, run, probabilities=(value, 1 - value)) for name, value in sums.items()]
        table = pq.read_table(io.BytesIO(encode(rows, run, "parquet"))).to_pylist()
        assert {row["path"]: row["flagged"] for row in table} == {"below": False, "at": True, "above": True}
        assert all(row["flagged"] == (row["malignancy_score"] >= row["flag_threshold"]) for row in table)


def test_nothing_is_said_of_flags_where_no_threshold_is_known() -> None:
    run = scoring_run(threshold=None)
    rows = [score_row("a.jpg", run)]
    names = scores_schema(run).names
    (record,) = pq.read_table(io.BytesIO(encode(rows, run, "parquet"))).to_pylist()
    assert (record["flagged"], record["flag_threshold"]) == (None, None)
    (line,) = read_csv(encode(rows, run, "csv"))[1:]
    assert (line[names.index("flagged")], line[names.index("flag_threshold")]) == ("", "")
    assert json.loads(encode(rows, run, "jsonl"))["flagged"] is None


def test_odd_class_names_become_names_that_every_table_takes() -> None:
    classes = (
        *("Nævus, NOS", "nevus", "NEVUS", "nevus 2", "Bowen's disease", "\u76ae\u819a", "a/b", "a b", "a_b"),
        *("", "_", "x" * 400, "x" * 400 + "y", "mel__1", "n\u00e9vus", '"; DROP TABLE --\n'),
    )
    run = scoring_run(classes, models=2)
    names = scores_schema(run).names
    assert len({name.lower() for name in names}) == len(names) == 7 + 3 * len(classes) + 9
    for name in names:
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,299}", name), name
    assert names[7:9] == ["probability_Nvus_NOS", "probability_nevus"]
    rows = [score_row("a.jpg", run)]
    assert read_csv(encode(rows, run, "csv"))[0] == names
    assert pq.read_table(io.BytesIO(encode(rows, run, "parquet"))).schema.names == names


def test_a_run_without_new_images_writes_empty_tables() -> None:
    run = scoring_run(models=2)
    empty = pq.read_table(io.BytesIO(encode([], run, "parquet")))
    assert empty.num_rows == 0
    assert empty.schema.equals(scores_schema(run))
    assert read_csv(encode([], run, "csv")) == [scores_schema(run).names]
    assert encode([], run, "jsonl") == b""


@pytest.mark.parametrize("table_format", FORMATS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_never_written(table_format: str, value: float) -> None:
    run = scoring_run(("mel", "nv"), models=2)
    in_mean = score_row("a", run, probabilities=(value, 0.5))
    in_one = score_row("a", run, by_model=((0.5, 0.5), (0.5, value)))
    for row in (in_mean, in_one):
        with pytest.raises(ValueError, match="not finite"):
            encode([row], run, table_format)


@pytest.mark.parametrize("table_format", FORMATS)
def test_a_row_without_its_scores_is_never_written(table_format: str) -> None:
    run = scoring_run(("mel", "nv"), models=2)
    for missing in ({"probabilities": ()}, {"by_model": ((0.5, 0.5),)}):
        with pytest.raises(ValueError, match="without its"):
            encode([score_row("a", run), score_row("b", run, **missing)], run, table_format)


def test_the_same_rows_give_the_same_bytes() -> None:
    run = scoring_run()
    rows = [score_row(path, run) for path in HOSTILE_PATHS]
    for table_format in FORMATS:
        assert encode(rows, run, table_format) == encode(list(rows), run, table_format)


def test_shards_of_many_nights_are_one_dataset(tmp_path: Path) -> None:
    paths = []
    for night in ("2026-01-02", "2026-01-03"):
        run = scoring_run(name=night)
        folder = tmp_path / f"run={night}"
        folder.mkdir()
        for shard in range(4):
            mine = [f"{night}/{shard}/{number}.jpg" for number in range(shard * 3)]
            paths += mine
            data = encode([score_row(path, run) for path in mine], run, "parquet")
            (folder / f"scores-{shard:05d}-of-00004.parquet").write_bytes(data)
    # The simplest way to read them all takes another column from the folders' names.
    read = pq.read_table(tmp_path)
    assert sorted(read["path"].to_pylist()) == sorted(paths)
    assert read["run"].cast(pa.string()).to_pylist() == read["run_name"].to_pylist()
    second = pyarrow.dataset.field("run") == "2026-01-03"
    only = pyarrow.dataset.dataset(tmp_path, partitioning="hive").to_table(filter=second)
    assert sorted(only["path"].to_pylist()) == sorted(path for path in paths if path.startswith("2026-01-03"))


def test_no_cell_of_a_csv_for_spreadsheets_begins_like_a_formula() -> None:
    run = scoring_run()
    names = ["=HYPERLINK(A1)", "-a;=1+1", "+1", "@b", "\tc", "plain", 'a";=1"', "＝1"]  # noqa: RUF001
    rows = [score_row(f"{name}.jpg", run) for name in names]
    plain, escaped = (read_csv(encode(rows, run, "csv", escaped)) for escaped in (False, True))
    assert [row[0] for row in plain[1:]] == [row.path for row in rows]
    assert [row[0] for row in escaped[1:]] == [f"{'' if name[0] in 'pa' else chr(39)}{name}.jpg" for name in names]
    # Nothing else differs.
    assert [[cell.removeprefix("'") for cell in row] for row in escaped] == plain
