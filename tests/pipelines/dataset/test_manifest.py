"""Rows of the manifest and of the rejects."""

from __future__ import annotations

import io
import json

import pyarrow.parquet as pq
import pytest

from pipelines.dataset import manifest as dataset_manifest
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.labels import Claim


def test_manifest_rows_are_checked_against_the_schema() -> None:
    with pytest.raises(Exception, match=r"null|None|nullable"):
        dataset_manifest.parquet_bytes([{"id": None, "path": "x"}], dataset_manifest.MANIFEST_SCHEMA)


def test_what_is_unknown_of_a_file_is_null() -> None:
    row = dataset_manifest.manifest_row(ImageRow("/in/a.jpg", "a.jpg", image_id="a", source="in", outcome="rejected"))
    known = {name: value for name, value in row.items() if value is not None}
    assert known == {"id": "a", "path": "/in/a.jpg", "source": "in", "outcome": "rejected", "copies": 0}
    assert row.keys() == set(dataset_manifest.MANIFEST_SCHEMA.names)


def test_several_values_share_a_cell_and_a_claim_stands_once() -> None:
    claims = (
        Claim("folder", ("Nevus",), ()),
        Claim("t.csv", ("mel", "malignant"), ()),
        Claim("folder", ("Nevus",), (), ("x",)),
    )
    row = ImageRow("a", "a", claims=claims, lesion_ids=("L1", "L2"), licenses=("CC-0",), fold=0, phash=255)
    made = dataset_manifest.manifest_row(row)
    assert made["claims"] == "folder: Nevus; t.csv: mel > malignant"
    assert (made["lesion_id"], made["license"]) == ("L1; L2", "CC-0")
    assert (made["fold"], made["phash"]) == (0, "00000000000000ff")


def test_a_manifest_is_read_back_as_it_was_written() -> None:
    rows = [ImageRow(f"/{n}", f"{n}", image_id=f"{n}", outcome="written", copies=n) for n in range(3)]
    table = pq.read_table(io.BytesIO(dataset_manifest.manifest_bytes(rows)))
    assert table.schema.equals(dataset_manifest.MANIFEST_SCHEMA)
    assert table.to_pylist() == [dataset_manifest.manifest_row(row) for row in rows]


def test_a_rejects_line_takes_any_name_and_message() -> None:
    row = ImageRow("bad \udcff\n.jpg", "bad").rejected("check", "undecodable", "a \ud800 \u76ae")
    (line,) = dataset_manifest.rejects_bytes([row]).splitlines()
    assert json.loads(line) == {
        "path": "bad \\xff\n.jpg",
        "stage": "check",
        "reason": "undecodable",
        "message": "a \ud800 \u76ae",
    }
    assert dataset_manifest.is_dropped(row)
    assert not dataset_manifest.is_dropped(ImageRow("a", "a"))


def test_rows_are_ordered_by_their_place_below_the_input() -> None:
    rows = [ImageRow("/z/a", "a"), ImageRow("/a/b", "b"), ImageRow("/a/a", "a")]
    assert [row.path for row in sorted(rows, key=dataset_manifest.by_path)] == ["/a/a", "/z/a", "/a/b"]
