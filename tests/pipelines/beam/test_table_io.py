"""Tables in shards: sorted, complete, the same for any order of rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq

from pipelines.beam import table_io
from pipelines.dataset import manifest as dataset_manifest
from pipelines.dataset.image_row import ImageRow
from tests.support.collecting import run, run_source


def test_tables_are_sorted_complete_and_the_same_for_any_order(tmp_path: Path) -> None:
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


def test_an_empty_table_is_a_file_all_the_same(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/m-{{index}}-of-{{count}}.parquet"
    run([], table_io.WriteTable(pattern, dataset_manifest.manifest_bytes, dataset_manifest.by_path))
    assert pq.read_table(tmp_path / "m-0-of-1.parquet").num_rows == 0


def as_lines(rows: Iterable[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def by_text(row: str) -> tuple[str]:
    return (row,)


def packed(rows: Iterable[str]) -> bytes:
    return json.dumps(rows).encode()


class _Blocks(beam.PTransform):
    """Writes blocks of rows, with a bound on their number."""

    def __init__(self, pattern: str, bound: int):
        super().__init__()
        self._pattern = pattern
        self._bound = bound

    def expand(self, blocks: beam.PCollection) -> beam.PCollection:
        bound = blocks.pipeline | "Bound" >> beam.Create([self._bound])
        return blocks | table_io.WriteBlocks(self._pattern, as_lines, by_text, packed, json.loads, bound, 30)


def test_blocks_of_rows_give_the_files_of_single_rows(tmp_path: Path) -> None:
    rows = [f"row {n:03}" for n in range(100)]
    blocks = [rows[:7], [], rows[60:], rows[7:60]]
    found = run(
        rows, table_io.WriteTable(f"{tmp_path}/one/t-{{index}}-{{count}}", as_lines, by_text, rows_per_shard=30)
    )
    run(blocks, _Blocks(f"{tmp_path}/two/t-{{index}}-{{count}}", 100))
    one, two = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert sorted(one) == [f"t-{index}-4" for index in range(4)]
    assert {written.path for written in found} == {f"{tmp_path}/one/{name}" for name in one}
    assert all(data == as_lines(sorted(data.decode().splitlines())) for data in one.values())


def read_lines(path: str) -> Iterator[Any]:
    with open(path) as file:
        yield from file.read().splitlines()


def test_a_table_is_read_from_all_files_that_match(tmp_path: Path) -> None:
    for name in ("t-0", "t-1", "other"):
        (tmp_path / name).write_text(f"{name} a\n{name} b\n")
    found = run_source(table_io.ReadTable(f"{tmp_path}/t-*", read_lines))
    assert sorted(found) == ["t-0 a", "t-0 b", "t-1 a", "t-1 b"]
