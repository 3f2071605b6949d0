"""Tables in shards: sorted, complete, the same for any order of rows."""

from __future__ import annotations

import hashlib
import json

import pyarrow.parquet as pq

from pipelines.beam import table_io
from pipelines.dataset import manifest as dataset_manifest
from pipelines.dataset.image_row import ImageRow
from tests.support.collecting import run


def test_tables_are_sorted_complete_and_the_same_for_any_order(tmp_path):
    rows = [
        ImageRow(f"/a/{n:03}", f"{n:03}", outcome="rejected", stage="check", reason="x", message="ü \udce9")
        for n in range(100)
    ]
    digests = []
    for order, folder in ((rows, "one"), (rows[::-1], "two")):
        pattern = f"{tmp_path}/{folder}/rejects-{{index:05d}}-of-{{count:05d}}.jsonl"
        run(
            order,
            table_io.WriteTable(pattern, dataset_manifest.rejects_bytes, dataset_manifest.by_path, rows_per_shard=40),
        )
        files = sorted((tmp_path / folder).iterdir())
        assert [file.name for file in files] == [f"rejects-0000{n}-of-00003.jsonl" for n in range(3)]
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        assert sorted(line["path"] for line in lines) == [row.path for row in rows]
        digests.append([hashlib.sha256(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


def test_an_empty_table_is_a_file_all_the_same(tmp_path):
    pattern = f"{tmp_path}/m-{{index}}-of-{{count}}.parquet"
    run([], table_io.WriteTable(pattern, dataset_manifest.manifest_bytes, dataset_manifest.by_path))
    assert pq.read_table(tmp_path / "m-0-of-1.parquet").num_rows == 0
