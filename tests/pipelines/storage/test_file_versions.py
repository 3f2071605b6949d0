"""Size and version of a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from apache_beam.io.filesystem import FileMetadata

from pipelines.storage.file_versions import FileVersion, is_object, local_version, metadata_version, versions_of


def test_a_local_file_has_a_new_version_when_it_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"four")
    os.utime(path, ns=(1, 1_000_000_001))
    assert local_version(str(path)) == FileVersion(4, "mtime:1000000001")
    os.utime(path, ns=(1, 1_000_000_002))
    assert local_version(str(path)).version == "mtime:1000000002"


def test_versions_come_in_the_order_of_paths_and_missing_files_have_none(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("b", "gone", "a")]
    for path, content in zip(paths[::2], (b"12", b"1"), strict=True):
        path.write_bytes(content)
    assert [found.size for found in versions_of(list(map(str, paths)))] == [2, 0, 1]
    assert versions_of([str(paths[1]), "nul\0.jpg"]) == [FileVersion(), FileVersion()]


@pytest.mark.parametrize(("updated", "version"), [(12.5, "updated:12.500"), (0.0, "")])
def test_a_file_of_another_store_has_the_time_that_it_reports(updated: float, version: str) -> None:
    assert metadata_version(FileMetadata("s3://b/a", 3, updated)) == FileVersion(3, version)


@pytest.mark.parametrize(
    ("path", "known"), [("gs://b/a", True), ("gs://b/", False), ("gs://b", False), ("s3://b/a", False), ("/b/a", False)]
)
def test_an_object_has_a_bucket_and_a_name(path: str, known: bool) -> None:
    assert is_object(path) == known
