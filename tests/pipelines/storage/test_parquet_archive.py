"""Parquet files with an encoded image a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.storage import archives, path_lists
from pipelines.storage.archive_member import ArchiveError


def write(path: Path, rows: list[dict[str, Any]], rows_per_group: int = 7) -> str:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=rows_per_group)
    return str(path)


def content_of(row: int) -> bytes:
    return b"\xff\xd8" + bytes([row]) * (1000 + row)


def test_rows_are_members_by_image_id_and_read_in_any_order(tmp_path: Path) -> None:
    rows = [{"image": {"bytes": content_of(row), "path": "x.jpg"}, "image_id": f"I{row}"} for row in range(50)]
    path = write(tmp_path / "train-00000-of-00001.parquet", rows)
    assert archives.is_archive(path)
    assert not path_lists.is_path_list(path)
    members = list(archives.list_members(path))
    assert [member.name for member in members] == [f"I{row}" for row in range(50)]
    for some in (members, members[::-1], members[13:14], members[30:45]):
        assert list(archives.read_members(path, some)) == [(member, content_of(member.offset)) for member in some]
    gone = members[0]._replace(offset=99)
    assert isinstance(dict(archives.read_members(path, [gone]))[gone], ArchiveError)


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        (
            [{"image": {"bytes": b"a", "path": "f/a.jpg"}}, {"image": {"bytes": b"b", "path": "b.jpg"}}],
            ["test-a.jpg", "test-b.jpg"],
        ),
        ([{"image": {"bytes": b"a", "path": "a.jpg"}}, {"image": {"bytes": b"b", "path": "a.jpg"}}], None),
        ([{"image": {"bytes": b"a", "path": None}}, {"image": {"bytes": b"b", "path": None}}], None),
        ([{"img": b"a", "label": 0}, {"img": b"b", "label": 1}], None),
    ],
)
def test_rows_without_ids_are_named_by_their_files_or_numbers(tmp_path: Path, rows: list, names: list | None) -> None:
    path = write(tmp_path / "test.parquet", rows)
    expected = names or ["test-0000000", "test-0000001"]
    assert [member.name for member in archives.list_members(path)] == expected
    assert [content for _, content in archives.read_members(path, archives.list_members(path))] == [b"a", b"b"]


def test_parquet_without_images_is_a_list_of_paths(tmp_path: Path) -> None:
    path = write(tmp_path / "list.parquet", [{"path": "a.jpg", "sha256": b"x"}])
    assert not archives.is_archive(path)
    assert path_lists.is_path_list(path)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    assert not archives.is_archive(str(tmp_path / "damaged.parquet"))
